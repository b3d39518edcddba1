//! Sleeping, intervals and time limits, on one worker in virtual time: the order is exact, and hours are over at once.

use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::task::Poll;
use std::time::Duration;

use tasklet_bridge::futures::block_on;
use tasklet_core::backend::Backend;
use tasklet_core::clock::{Clock as _, VirtualClock};
use tasklet_scheduler::stealing::{self, Elapsed};

use super::Case;
use super::setup::{Census, Log, caught_text, channel, fail, ignore, spawn_parked, yield_until};

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Sleepers wake by deadline; those with the same one in the order of falling asleep.
pub fn sleepers_wake_in_the_order_of_their_deadlines<B: Backend>(case: Case) {
    let log = Log::default();
    let took = case.run_virtual::<B, _>(|clock| {
        let start = clock.now();
        let sleepers: Vec<_> = [("d", 3_600_000), ("b", 20), ("a", 10), ("c", 20)]
            .map(|(name, time)| {
                let log = log.clone();
                spawn_parked(move |waits| {
                    waits.set();
                    stealing::sleep_until(start + ms(time));
                    log.add(name);
                    assert!(stealing::now() >= start + ms(time));
                })
            })
            .into();
        sleepers.into_iter().for_each(|sleeper| sleeper.join().unwrap());
        clock.now() - start
    });
    log.assert("a b c d");
    assert_eq!(took, ms(3_600_000));
}

/// A sleep takes as long as it was told to.
pub fn a_sleep_takes_its_time<B: Backend>(case: Case) {
    case.run_virtual::<B, _>(|clock| {
        for time in [ms(0), ms(1), ms(7), Duration::from_secs(86_400)] {
            let start = clock.now();
            stealing::sleep(time);
            assert_eq!(clock.now() - start, time);
        }
    });
}

/// A point in time that has passed is not waited for.
pub fn sleeping_until_the_past_returns_at_once<B: Backend>(case: Case) {
    case.run_virtual::<B, _>(|clock| {
        stealing::sleep(ms(50));
        let start = clock.now();
        stealing::sleep_until(start - ms(20));
        stealing::sleep_until(start);
        assert_eq!(stealing::try_sleep_until(Duration::ZERO), Ok(()));
        assert_eq!(clock.now(), start);
    });
}

/// A tick that comes late does not shift the others; those that were missed altogether are left out.
pub fn an_interval_leaves_missed_ticks_out<B: Backend>(case: Case) {
    let ticks = case.run_virtual::<B, _>(|clock| {
        let start = clock.now();
        let mut interval = stealing::interval(ms(10));
        let mut tick = || (interval.tick() - start, clock.now() - start);
        let first = tick();
        stealing::sleep(ms(35));
        vec![first, tick(), tick(), tick()]
    });
    assert_eq!(ticks, [(ms(0), ms(0)), (ms(10), ms(35)), (ms(40), ms(40)), (ms(50), ms(50))]);
    assert_eq!(caught_text(|| stealing::interval(Duration::ZERO)), "an interval needs a period above zero");
}

/// A value that comes in time; a panic that does; and both ends of a limit that is too short.
pub fn a_timeout_ends_what_takes_too_long<B: Backend>(case: Case) {
    let log = Log::default();
    case.run_virtual::<B, _>(|clock| {
        let in_time = stealing::timeout(ms(10), || {
            stealing::sleep(ms(5));
            7
        });
        assert_eq!(in_time, Ok(7));
        assert_eq!(caught_text(|| stealing::timeout(ms(10), || fail("E"))), "E");

        let start = clock.now();
        let late = stealing::timeout(ms(10), || {
            let _outer = log.on_drop("outer");
            let _inner = log.on_drop("inner");
            stealing::sleep(ms(1_000));
            log.add("slept");
        });
        assert_eq!(late.unwrap_err().to_string(), "the time was up");
        assert_eq!(clock.now() - start, ms(10));
        // What was too late for its limit comes to nobody.
        stealing::sleep(ms(2_000));
    });
    log.assert("inner outer");
}

/// A limit reaches code that computes, at its next scheduling point; not at all if there is none before its end.
pub fn a_timeout_comes_at_a_scheduling_point<B: Backend>(case: Case) {
    case.run_virtual::<B, _>(|clock| {
        let computed = stealing::timeout(ms(10), || {
            clock.advance(ms(20));
            5
        });
        assert_eq!(computed, Ok(5));
        let checked = stealing::timeout(ms(10), || {
            clock.advance(ms(20));
            let start = std::time::Instant::now();
            while start.elapsed() < super::setup::LIMIT {
                stealing::checkpoint();
            }
        });
        assert!(checked.is_err());
        stealing::sleep(ms(100));
    });
}

/// A wait for a future that ends early leaves the permit that was meant for another wait.
pub fn a_future_that_is_given_up_leaves_the_permit<B: Backend>(case: Case) {
    case.run_virtual::<B, _>(|_| {
        let keeps_permit = |wait: &dyn Fn()| {
            stealing::unparker().unpark();
            wait();
            stealing::park_timeout(ms(1)).unwrap()
        };
        let gives_up = || assert!(stealing::timeout(ms(10), || block_on(pending::<()>())).is_err());
        assert!(keeps_permit(&gives_up), "a time limit");
        let panics = || {
            let mut polls = 0;
            let future = poll_fn(|_| {
                polls += 1;
                if polls == 2 { resume_unwind(Box::new("why")) } else { Poll::<()>::Pending }
            });
            assert!(catch_unwind(AssertUnwindSafe(|| block_on(future))).is_err());
        };
        assert!(keeps_permit(&panics), "a panic");
    });
}

/// The inner limit first, the outer one first, both at once.
pub fn timeouts_nest<B: Backend>(case: Case) {
    case.run_virtual::<B, _>(|clock| {
        let start = clock.now();
        let inner_first = stealing::timeout(ms(100), || {
            let inner = stealing::timeout(ms(10), || stealing::sleep(ms(1_000)));
            assert!(inner.is_err());
            5
        });
        assert_eq!((inner_first, clock.now() - start), (Ok(5), ms(10)));

        let start = clock.now();
        let outer_first: Result<(), Elapsed> = stealing::timeout(ms(10), || {
            let inner = stealing::timeout(ms(100), || stealing::sleep(ms(1_000)));
            unreachable!("the outer limit was shorter, but {inner:?}");
        });
        assert!(outer_first.is_err());
        assert_eq!(clock.now() - start, ms(10));

        let both: Result<(), Elapsed> = stealing::timeout(ms(10), || {
            let inner = stealing::timeout(ms(10), || stealing::sleep(ms(1_000)));
            unreachable!("the outer limit ends both, but {inner:?}");
        });
        assert!(both.is_err());
    });
}

/// When both limits have passed before the tasklet notices, the outer one is not forgotten.
pub fn an_outer_limit_is_not_lost_to_an_inner_one<B: Backend>(case: Case) {
    case.run_virtual::<B, _>(|clock| {
        let outer = stealing::timeout(ms(20), || {
            let _inner = stealing::timeout(ms(10), || {
                clock.advance(ms(30));
                // Timers are looked at now and then.
                (0..100).for_each(|_| stealing::yield_now());
            });
            stealing::sleep(ms(3_600_000));
        });
        assert!(outer.is_err());
    });
}

/// Meets a receiver that waits under a time limit, at every distance from the worker's next look at its timers; what was sent arrives,
/// or is still in the channel.
pub fn a_timeout_does_not_lose_a_message<B: Backend>(case: Case) {
    let (mut received, mut left) = (0, 0);
    case.run_virtual::<B, _>(|clock| {
        let census = Census::default();
        for round in 0..100 {
            let values = channel();
            let source = values.clone();
            let receiver = spawn_parked(move |waits| {
                waits.set();
                stealing::timeout(ms(10), || values.recv().unwrap())
            });
            yield_until(|| source.balance() == -1);
            (0..round % 37).for_each(|_| stealing::yield_now());
            source.try_send(census.one()).unwrap();
            clock.advance(ms(20));
            match receiver.join().unwrap() {
                Ok(value) => {
                    drop(value);
                    received += 1;
                }
                Err(_) => left += 1,
            }
        }
        census.assert_all_dropped();
    });
    // The channel has no buffer: what `try_send` has handed over is the receiver's.
    assert_eq!((received, left), (100, 0));
}

/// Who gives up waiting leaves the channel as it was: neither side finds somebody who is not there, and what waits stays.
pub fn a_timeout_leaves_the_channel_as_it_was<B: Backend>(case: Case) {
    case.run_virtual::<B, _>(|_| {
        let values = channel::<u32>();
        for _ in 0..3 {
            assert!(stealing::timeout(ms(1), || ignore(values.recv())).is_err());
            assert!(values.try_send(1).unwrap_err().is_would_block());
            assert!(stealing::timeout(ms(1), || ignore(values.send(2))).is_err());
            assert!(values.try_recv().unwrap_err().is_would_block());
        }
        let source = values.clone();
        let patient = spawn_parked(move |waits| {
            waits.set();
            source.send(3).unwrap();
        });
        assert!(stealing::timeout(ms(1), || ignore(values.send(4))).is_err());
        assert_eq!(values.recv(), Ok(3));
        patient.join().unwrap();
    });
}

/// As above, for a sender whose value was taken: it is told so, or it would send twice.
pub fn a_timeout_does_not_deny_a_message_that_was_taken<B: Backend>(case: Case) {
    let denied = case.run_virtual::<B, _>(|clock| {
        let mut denied = 0;
        for round in 0..100 {
            let values = channel::<u32>();
            let source = values.clone();
            let sender = spawn_parked(move |waits| {
                waits.set();
                stealing::timeout(ms(10), || source.send(round).unwrap())
            });
            yield_until(|| values.balance() == 1);
            (0..round % 37).for_each(|_| stealing::yield_now());
            assert_eq!(values.try_recv(), Ok(round));
            clock.advance(ms(20));
            denied += u32::from(sender.join().unwrap().is_err());
        }
        denied
    });
    assert_eq!(denied, 0);
}

/// A kill that is on its way is not replaced by a limit, nor taken for one.
pub fn a_kill_counts_more_than_a_timeout<B: Backend>(case: Case) {
    case.run_virtual::<B, _>(|clock| {
        let log = Log::default();
        let after = log.clone();
        let victim = spawn_parked(move |waits| {
            waits.set();
            let result = stealing::timeout(ms(10), || stealing::sleep(ms(1_000)));
            after.add(format!("went on: {result:?}"));
        });
        victim.kill();
        clock.advance(ms(20));
        assert!(victim.join().unwrap_err().is_killed());

        let after = log.clone();
        let victim = spawn_parked(move |waits| {
            let result = stealing::timeout(ms(10), || {
                waits.set();
                stealing::sleep(ms(1_000));
            });
            after.add(format!("went on: {result:?}"));
        });
        // The limit is about to be raised when the kill comes.
        clock.advance(ms(20));
        victim.kill();
        assert!(victim.join().unwrap_err().is_killed());
        log.assert("");
    });
}

/// Limits of several tasklets, and of waits on channels, joins and permits.
pub fn a_timeout_ends_every_kind_of_wait<B: Backend>(case: Case) {
    fn limited(clock: &VirtualClock, f: impl FnOnce()) {
        let start = clock.now();
        assert!(stealing::timeout(ms(10), f).is_err());
        assert_eq!(clock.now() - start, ms(10));
    }
    case.run_virtual::<B, _>(|clock| {
        let values = channel::<u32>();
        limited(clock, || ignore(values.recv()));
        limited(clock, || ignore(values.send(1)));
        assert_eq!(values.balance(), 0);
        let sleeper = stealing::spawn(|| stealing::sleep(ms(5_000)));
        limited(clock, || sleeper.wait().unwrap());
        limited(clock, super::setup::park_for_ever);
        limited(clock, || {
            loop {
                stealing::sleep(ms(3));
            }
        });
        sleeper.join().unwrap();
    });
}

/// There is nobody to limit outside of a runtime.
pub fn a_timeout_needs_a_tasklet<B: Backend>(_: Case) {
    let text = caught_text(|| stealing::timeout(ms(1), || ()));
    assert_eq!(text, "could not limit the time: no tasklet of a runtime calls");
}

/// With several workers in real time: nobody wakes early, and everybody wakes.
pub fn sleepers_of_all_workers_wake<B: Backend>(case: Case) {
    let who = case.who;
    case.run::<B, _>(|| {
        let sleepers: Vec<_> = (0..40)
            .map(|number| {
                who.spawn(async move {
                    let start = std::time::Instant::now();
                    who.sleep(ms(number % 7)).await;
                    start.elapsed() >= ms(number % 7)
                })
            })
            .collect();
        for sleeper in sleepers {
            assert!(sleeper.join().unwrap());
        }
        assert_eq!(stealing::timeout(ms(1), || stealing::sleep(super::setup::LIMIT)).map_err(|_| ()), Err(()));
        assert_eq!(stealing::timeout(super::setup::LIMIT, || 1).map_err(|_| ()), Ok(1));
    });
}
