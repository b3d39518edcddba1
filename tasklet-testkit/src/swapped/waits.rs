//! Waits of tasklets that are copied away meanwhile.

use std::rc::Rc;
use std::time::Duration;

use tasklet_bridge::futures::block_on;
use tasklet_channels::{Channel, rendezvous, select, unbounded};
use tasklet_core::backend::Backend;
use tasklet_core::current;
use tasklet_scheduler::{stealing, time};

use super::Case;
use super::places::{self, Place};
use super::setup::{
    Census, evict, give_way, ignore, one_slot, run, run_virtual, scheduler, spawn, spawn_here, spawn_waiting, until,
};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Whoever waits is copied away, served, copied away again before it runs, and goes on.
pub fn every_wait_is_served<B: Backend>(case: Case) {
    run::<B>(case, || {
        for Place { name, wait, serve } in places::all() {
            let waiting = spawn_waiting(move |ready| {
                let mine = std::hint::black_box([0x77_u8; 100]);
                ready();
                let served = wait(None);
                served && std::hint::black_box(mine) == [0x77; 100]
            });
            assert!(!waiting.is_finished(), "{name}");
            serve();
            evict();
            assert!(waiting.join().unwrap(), "{name}");
        }
    });
}

/// Whoever waits is copied away and killed: what it had is dropped, once, and nobody else minds.
pub fn every_wait_is_killed<B: Backend>(case: Case) {
    let census = Census::default();
    let counted = census.clone();
    run::<B>(case, move || {
        for Place { name, wait, serve } in places::all() {
            let one = census.one();
            let waiting = spawn_waiting(move |ready| {
                let _one = one;
                ready();
                wait(None)
            });
            let before = census.dropped();
            waiting.kill();
            evict();
            assert!(waiting.join().unwrap_err().is_killed(), "{name}");
            assert_eq!(census.dropped(), before + 1, "{name}");
            drop(serve);
        }
    });
    counted.assert_all_dropped();
}

/// In virtual time: whoever is copied away finds that its time is up, or that it was served before.
pub fn limits_end_every_wait<B: Backend>(case: Case) {
    run_virtual::<B>(case, || {
        for (served, limit) in [(false, 5), (true, 50_000)] {
            for Place { name, wait, serve } in places::all() {
                let waiting = spawn_waiting(move |ready| {
                    ready();
                    let before = current::now();
                    let served = wait(Some(ms(limit)));
                    (served, current::now() - before)
                });
                if served {
                    serve();
                    evict();
                }
                let (was_served, after) = waiting.join().unwrap();
                assert_eq!(was_served, served, "{name}");
                assert!(served || after >= ms(limit), "{name}: {after:?}");
            }
        }
    });
}

/// Sleepers that are copied away wake in their order; a kill ends a sleep.
pub fn sleepers_wake<B: Backend>(case: Case) {
    run_virtual::<B>(case, || {
        let (sender, woken) = unbounded();
        let sleepers: Vec<_> = [30_u64, 10, 20, 40]
            .map(|millis| {
                let sender = sender.clone();
                spawn_here(move || {
                    let mine = [millis; 30];
                    time::sleep(ms(millis));
                    sender.send(std::hint::black_box(mine)[29]).unwrap();
                    let mut ticks = time::interval(ms(7));
                    (0..3).for_each(|_| ignore(ticks.tick()));
                })
            })
            .into();
        let killed = spawn_waiting(|ready| {
            ready();
            time::sleep(ms(50_000));
        });
        killed.kill();
        assert!(killed.join().unwrap_err().is_killed());
        sleepers.into_iter().for_each(|sleeper| sleeper.join().unwrap());
        assert_eq!(woken.try_iter().collect::<Vec<_>>(), [10, 20, 30, 40]);
    });
}

/// What lies in the cell of a sender that is away comes to whoever receives, or goes with the sender, or comes back; each once.
pub fn messages_that_wait_are_dropped_once<B: Backend>(case: Case) {
    let census = Census::default();
    let counted = census.clone();
    run::<B>(case, move || {
        for end in 0..4 {
            let (sender, receiver) = rendezvous();
            let stackless = Channel::new().share();
            let (queue, other) = (sender.clone(), stackless.clone());
            let (one, two) = (census.one(), census.one());
            let sends = spawn_waiting(move |ready| {
                ready();
                sender.send(one).map_err(|error| drop(error.into_inner())).is_ok()
            });
            let meets = spawn_waiting(move |ready| {
                ready();
                other.send(two).map_err(|error| drop(error.into_inner())).is_ok()
            });
            let before = census.dropped();
            match end {
                0 => {
                    let (one, two) = (receiver.recv().unwrap(), stackless.recv().unwrap());
                    evict();
                    assert_eq!(census.dropped(), before, "they are here");
                    drop((one, two));
                }
                1 => [&sends, &meets].into_iter().for_each(|sends| sends.kill()),
                2 => {
                    drop(receiver);
                    stackless.close();
                }
                _ => {
                    queue.close();
                    stackless.close();
                }
            }
            evict();
            let ended = [sends, meets].map(|sends| sends.join());
            for ended in ended {
                match end {
                    0 => assert!(ended.unwrap()),
                    1 => assert!(ended.unwrap_err().is_killed()),
                    _ => assert!(!ended.unwrap()),
                }
            }
            assert_eq!(census.dropped(), before + 2, "{end}");
        }
    });
    counted.assert_all_dropped();
}

#[repr(align(64))]
struct Line([u8; 64]);

#[repr(align(4096))]
struct Page([u8; 4096]);

/// Values that look at where they are when they are moved or dropped.
trait Placed: Send + 'static {
    fn new(byte: u8) -> Self;
    fn check(&self, byte: u8);
}

impl Placed for Line {
    fn new(byte: u8) -> Line {
        Line([byte; 64])
    }

    fn check(&self, byte: u8) {
        assert!(std::ptr::from_ref(self).addr().is_multiple_of(64) && self.0.iter().all(|other| *other == byte));
    }
}

impl Placed for Page {
    fn new(byte: u8) -> Page {
        Page([byte; 4096])
    }

    fn check(&self, byte: u8) {
        assert!(std::ptr::from_ref(self).addr().is_multiple_of(4096) && self.0.iter().all(|other| *other == byte));
    }
}

/// Messages with much alignment: those that wait in a copy are aligned there too.
pub fn aligned_messages_come_through<B: Backend>(case: Case) {
    run::<B>(case, || {
        come_through::<Line>();
        come_through::<Page>();
    });
}

fn come_through<M: Placed>() {
    // Several, at different depths of the stack.
    for padding in 0..4_usize {
        let (sender, receiver) = rendezvous::<M>();
        let (from, to) = (sender.clone(), receiver.clone());
        let sends = spawn_waiting(move |ready| {
            pad(padding, &mut || {
                ready();
                from.send(M::new(3)).unwrap();
            });
        });
        // A sender that is away is looked at where it is: the message is moved from its copy.
        receiver.recv().unwrap().check(3);
        sends.join().unwrap();
        let receives = spawn_waiting(move |ready| {
            pad(padding, &mut || {
                ready();
                to.recv().unwrap().check(4);
            });
        });
        sender.send(M::new(4)).unwrap();
        evict();
        receives.join().unwrap();
        let (to, never) = (receiver.clone(), rendezvous::<M>());
        let selects = spawn_waiting(move |ready| {
            pad(padding, &mut || {
                ready();
                select! { recv(to) -> got => got.unwrap().check(5), send(never.0, M::new(9)) -> _ => unreachable!() }
            });
        });
        sender.send(M::new(5)).unwrap();
        evict();
        selects.join().unwrap();
    }
}

/// Calls `f` some odd number of bytes further down.
fn pad(levels: usize, f: &mut dyn FnMut()) {
    let frame = std::hint::black_box([levels as u8; 24]);
    if levels == 0 {
        f()
    } else {
        pad(levels - 1, f)
    }
    assert!(std::hint::black_box(frame).iter().all(|byte| *byte == levels as u8));
}

/// Threads send to and receive from tasklets that are copied away and back all the time.
pub fn threads_serve_who_is_away<B: Backend>(case: Case) {
    const ROUNDS: u32 = 300;
    run::<B>(case, || {
        let (to_thread, at_thread) = rendezvous::<[u32; 4]>();
        let (from_thread, back) = rendezvous::<[u32; 4]>();
        let threads = [0, 1].map(|_| {
            let (at_thread, from_thread) = (at_thread.clone(), from_thread.clone());
            std::thread::spawn(move || at_thread.iter().for_each(|message| from_thread.send(message).unwrap()))
        });
        drop((at_thread, from_thread));
        let senders: Vec<_> = (0..3_u32)
            .map(|number| {
                let to_thread = to_thread.clone();
                spawn(move || (0..ROUNDS).for_each(|round| to_thread.send([number, round, round, number]).unwrap()))
            })
            .collect();
        drop(to_thread);
        let receivers: Vec<_> = (0..3)
            .map(|_| {
                let back = back.clone();
                spawn(move || {
                    let of = |[number, round, again, twin]: [u32; 4]| {
                        assert_eq!((number, round), (twin, again));
                        u64::from(round) + 1
                    };
                    back.iter().map(of).sum::<u64>()
                })
            })
            .collect();
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        let sum: u64 = receivers.into_iter().map(|receiver| receiver.join().unwrap()).sum();
        assert_eq!(sum, 3 * u64::from(ROUNDS) * u64::from(ROUNDS + 1) / 2);
        until(|| threads.iter().all(std::thread::JoinHandle::is_finished));
    });
}

/// A future that a swapped tasklet waits for lies elsewhere, so whoever serves it finds it.
pub fn futures_are_waited_for<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (sender, receiver) = rendezvous();
        let (back, answers) = unbounded();
        let waiting: Vec<_> = (0..4)
            .map(|_| {
                let (receiver, back) = (receiver.clone(), back.clone());
                spawn_here(move || {
                    block_on(async {
                        while let Ok(number) = receiver.recv_async().await {
                            back.send_async(number + 1_u32).await.unwrap();
                        }
                    });
                })
            })
            .collect();
        for number in 0..40 {
            evict();
            sender.send(number).unwrap();
        }
        sender.close();
        waiting.into_iter().for_each(|waiting| waiting.join().unwrap());
        let mut got: Vec<u32> = answers.try_iter().collect();
        got.sort_unstable();
        assert_eq!(got, (1..41).collect::<Vec<_>>());
    });
}

/// A permit comes from other workers and threads, at any time.
pub fn permits_come_from_anywhere<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (told, unparkers) = unbounded::<stealing::Unparker>();
        let parked: Vec<_> = (0..4)
            .map(|_| {
                let told = told.clone();
                stealing::spawn(move || {
                    for _ in 0..50 {
                        told.send(stealing::unparker()).unwrap();
                        stealing::park().unwrap();
                    }
                })
            })
            .collect();
        drop(told);
        let thread = {
            let unparkers = unparkers.clone();
            std::thread::spawn(move || unparkers.iter().for_each(|unparker| unparker.unpark()))
        };
        unparkers.iter().for_each(|unparker| {
            give_way();
            unparker.unpark();
        });
        parked.into_iter().for_each(|parked| parked.join().unwrap());
        until(|| thread.is_finished());
    });
}

/// What is shown of those who are away is what they wait for.
pub fn dumps_show_who_is_away<B: Backend>(case: Case) {
    let scheduler = scheduler::<B>(case, one_slot());
    let mut shown = Vec::new();
    let mut kept = Vec::new();
    for Place { name, wait, serve } in places::all() {
        let tasklet = scheduler.tasklet().name(name).spawn(move || {
            wait(None);
        });
        scheduler.run().unwrap();
        // Another takes the stack.
        scheduler.spawn(|| ignore(std::hint::black_box([0x3c_u8; 3000])));
        scheduler.run().unwrap();
        shown.push((name, format!("{tasklet:?}"), tasklet.state()));
        kept.push((tasklet, serve));
    }
    for (name, text, state) in shown {
        assert!(text.contains(name), "{text}");
        let blocked = format!("{state:?}");
        assert!(blocked.contains("Blocked"), "{name}: {blocked} {text}");
    }
    for (tasklet, _) in &kept {
        tasklet.kill().unwrap();
    }
    scheduler.run().unwrap();
}

/// Nobody can end the waits of those who are away: the last to wait is told.
pub fn deadlocks_are_found<B: Backend>(case: Case) {
    let scheduler = scheduler::<B>(case, one_slot());
    let channel = Rc::new(Channel::<u8>::new());
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let channel = channel.clone();
            scheduler.spawn_joinable(move || channel.recv().is_err())
        })
        .collect();
    let last = channel.clone();
    scheduler.spawn(move || {
        select! { recv(last) -> _ => {} }
    });
    scheduler.run().unwrap();
    assert!(channel.recv().is_err(), "main is the last");
    drop(waiting);
}
