//! Receivers that time sends to, on the virtual clock.

use std::time::Duration;

use tasklet_channels::{Channel, Select, TypedArm, after, at, bounded, never, select, select_biased, tick};
use tasklet_core::backend::Backend;
use tasklet_core::current;

use super::Case;
use super::setup::{give_way, run_virtual, spawn};
use crate::kinds;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// One point in time comes when it is due, once, to one of those who share it.
pub fn a_point_in_time_comes_once<B: Backend>(case: Case) {
    run_virtual::<B>(case, |_| {
        let start = current::now();
        let timer = after(ms(10));
        assert!(timer.try_recv().unwrap_err().is_would_block());
        assert!(timer.recv_timeout(ms(3)).unwrap_err().is_timeout());
        assert_eq!(timer.recv(), Ok(start + ms(10)));
        assert_eq!(current::now(), start + ms(10));
        assert!(timer.clone().recv_timeout(ms(50)).unwrap_err().is_timeout(), "it has come");
        assert_eq!(at(start).recv(), Ok(start), "the past is due at once");
        let shared = after(ms(5));
        let other = spawn({
            let shared = shared.clone();
            move || shared.recv_timeout(ms(100)).is_ok()
        });
        let mine = shared.recv_timeout(ms(100)).is_ok();
        assert!(mine != other.join().unwrap(), "one of the two has it");
    });
}

/// Ticks come a period apart. One that nobody took is late, those that were missed altogether are left out.
pub fn ticks_that_were_missed_are_left_out<B: Backend>(case: Case) {
    run_virtual::<B>(case, |clock| {
        let start = current::now();
        let ticks = tick(ms(10));
        let first: Vec<_> = ticks.iter().take(3).collect();
        assert_eq!(first, [10, 20, 30].map(|millis| start + ms(millis)));
        clock.advance(ms(35));
        assert_eq!(ticks.recv(), Ok(start + ms(40)), "late");
        assert_eq!(ticks.recv(), Ok(start + ms(70)), "50 and 60 are left out");
        assert!(ticks.try_recv().unwrap_err().is_would_block());
    });
}

/// A period of nothing makes no sense.
pub fn a_tick_needs_a_period<B: Backend>(_: Case) {
    let text = crate::stealing::setup::caught_text(|| tick(Duration::ZERO));
    assert!(text.contains("period"), "{text}");
}

/// Nothing comes from `never`, in no form, and it is not closed.
pub fn nothing_comes_from_never<B: Backend>(case: Case) {
    run_virtual::<B>(case, |_| {
        let nothing = never::<u8>();
        assert!(nothing.try_recv().unwrap_err().is_would_block());
        assert!(nothing.recv_timeout(ms(1000)).unwrap_err().is_timeout());
        assert!(!nothing.is_closed() && nothing.is_empty());
        let start = current::now();
        assert_eq!(select! { recv(nothing) -> _ => 1, recv(after(ms(7))) -> _ => 2 }, 2);
        assert_eq!(current::now() - start, ms(7));
    });
}

/// Of several limits the earliest counts: that of the select, of a timer among its arms.
pub fn the_earliest_limit_ends_a_select<B: Backend>(case: Case) {
    run_virtual::<B>(case, move |_| {
        let (sender, receiver) = bounded::<u8>(1);
        for (timer, limit, expected) in [(5, 9, 1), (9, 5, 2)] {
            let start = current::now();
            let chosen = select! {
                recv(receiver) -> _ => 0,
                recv(after(ms(timer))) -> _ => 1,
                default(ms(limit)) => 2,
            };
            assert_eq!((chosen, current::now() - start), (expected, ms(5)));
        }
        // A message that comes first wins, and the limit does not come later.
        let who = case.who;
        let source = who.spawn(async move {
            who.sleep(ms(3)).await;
            who.send(&sender, 7).await.unwrap();
            sender
        });
        let start = current::now();
        assert_eq!(select! { recv(receiver) -> message => message, default(ms(5)) => unreachable!() }, Ok(7));
        assert_eq!(current::now() - start, ms(3));
        drop(source.join().unwrap());
        let start = current::now();
        let mut arm = receiver.recv_arm();
        assert_eq!(Select::new([&mut arm]).wait_deadline(start), Ok(0), "closed, which is ready");
        assert!(arm.output().unwrap_err().is_closed());
        assert!(Select::empty().wait_timeout(ms(4)).unwrap_err().is_timeout());
        assert_eq!(current::now() - start, ms(4));
    });
}

/// A limit comes though nobody else has the channel: to a tasklet, to the main of a local scheduler, to a plain thread.
pub fn a_limit_comes_though_nobody_will<B: Backend>(case: Case) {
    fn wait() {
        let channel = Channel::<u8>::new();
        assert!(select! { recv(channel) -> _ => false, default(ms(5)) => true });
        assert!(select! { recv(channel) -> _ => false, recv(after(ms(5))) -> _ => true });
    }

    run_virtual::<B>(case, |_| wait());
    std::thread::spawn(wait).join().unwrap();
    let _main = kinds::local::<B>(case.kind).build();
    wait();
}

/// A heartbeat beside work, as it is written in Go: work is done, and each beat comes.
pub fn a_heartbeat_beside_work<B: Backend>(case: Case) {
    run_virtual::<B>(case, move |_| {
        let (sender, receiver) = bounded(4);
        let who = case.who;
        let source = who.spawn(async move {
            for number in 0..10 {
                who.sleep(ms(7)).await;
                who.send(&sender, number).await.unwrap();
            }
        });
        let beats = tick(ms(10));
        let (mut sum, mut count) = (0, 0);
        loop {
            select_biased! {
                recv(beats) -> beat => {
                    count += 1;
                    assert!(beat.is_ok());
                }
                recv(receiver) -> message => match message {
                    Ok(number) => sum += number,
                    Err(error) => {
                        assert!(error.is_closed());
                        break;
                    }
                }
            }
            give_way();
        }
        source.join().unwrap();
        assert_eq!(sum, 45);
        assert!((6..=7).contains(&count), "{count} beats in 70 ms");
    });
}
