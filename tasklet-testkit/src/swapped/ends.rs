//! Ends of tasklets that were copied away: panics, kills, the end of their scheduler.

use std::backtrace::Backtrace;
use std::cell::Cell;
use std::rc::Rc;

use tasklet_channels::{Channel, rendezvous};
use tasklet_core::backend::Backend;
use tasklet_core::unwind::is_tasklet_exit;

use super::Case;
use super::setup::{
    Census, LIMIT, caught, caught_text, end, evict, fail, give_way, ignore, one_slot, run, runtime, scheduler,
    spawn_here, spawn_waiting, until,
};
use super::stacks::descend;

/// Payloads go up through frames that were copied away and back, to whoever catches them or to the handle.
pub fn panics_are_caught<B: Backend>(case: Case) {
    fn unwinds(depth: u32, kept: &Cell<u32>) {
        struct Counts<'c>(&'c Cell<u32>);

        impl Drop for Counts<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }

        let _counts = Counts(kept);
        give_way();
        if depth == 0 {
            evict();
            fail("on purpose");
        }
        unwinds(depth - 1, kept);
    }

    run::<B>(case, || {
        let catches: Vec<_> = (0..3)
            .map(|_| {
                spawn_here(|| {
                    let kept = Cell::new(0);
                    for round in 1..4 {
                        assert_eq!(caught_text(|| unwinds(20, &kept)), "on purpose");
                        assert_eq!(kept.get(), 21 * round);
                        give_way();
                    }
                })
            })
            .collect();
        let fails = spawn_waiting(|ready| {
            ready();
            unwinds(30, &Cell::new(0));
        });
        catches.into_iter().for_each(|catches| catches.join().unwrap());
        assert!(fails.join().unwrap_err().is_panic());
    });
}

/// A destructor fails that runs when its tasklet is back, after a wait and at a kill; nobody else minds.
pub fn a_destructor_fails_after_the_copy<B: Backend>(case: Case) {
    struct Fails;

    impl Drop for Fails {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                fail("a destructor");
            }
        }
    }

    run::<B>(case, || {
        let (sender, receiver) = rendezvous::<u8>();
        let other = spawn_waiting({
            let receiver = receiver.clone();
            move |ready| {
                ready();
                receiver.recv()
            }
        });
        let fails = spawn_waiting(move |ready| {
            let _fails = Fails;
            ready();
            receiver.recv().unwrap()
        });
        (0..2).for_each(|number| sender.send(number).unwrap());
        evict();
        assert_eq!(other.join().unwrap(), Ok(0));
        assert!(fails.join().unwrap_err().to_string().contains("a destructor"));
        // A destructor that waits, while its tasklet is unwound by a kill.
        let (gate, opened) = rendezvous::<u8>();
        let killed = spawn_waiting(move |ready| {
            let _one = Gives(opened.clone());
            ready();
            give_way();
            opened.recv()
        });
        evict();
        killed.kill();
        let _ = gate.try_send(1);
        assert!(killed.join().is_err());
    });
}

/// Looks for a message when it is dropped.
struct Gives(tasklet_channels::Receiver<u8>);

impl Drop for Gives {
    fn drop(&mut self) {
        let _ = self.0.try_recv();
    }
}

/// A backtrace that is taken after a copy shows all calls up to the tasklet's closure.
pub fn backtraces_come_to_the_root<B: Backend>(case: Case) {
    #[inline(never)]
    fn innermost_call(levels: u32) -> String {
        if levels > 0 {
            let text = innermost_call(levels - 1);
            return std::hint::black_box(text);
        }
        evict();
        Backtrace::force_capture().to_string()
    }

    #[inline(never)]
    fn outermost_call() -> String {
        let text = innermost_call(10);
        std::hint::black_box(text)
    }

    run::<B>(case, || {
        let taken: Vec<_> = (0..3).map(|_| spawn_here(outermost_call)).collect();
        for taken in taken {
            let text = taken.join().unwrap();
            assert_eq!(text.matches("innermost_call").count(), 11, "{text}");
            assert!(text.contains("outermost_call"), "{text}");
        }
    });
}

/// A kill restores whom it unwinds: destructors run where the values are, in order, once.
pub fn a_kill_unwinds_who_is_away<B: Backend>(case: Case) {
    let census = Census::default();
    let counted = census.clone();
    run::<B>(case, move || {
        let (_gate, opened) = rendezvous::<u8>();
        let victims: Vec<_> = [1, 40, 200]
            .map(|depth| {
                let (opened, census) = (opened.clone(), census.clone());
                spawn_waiting(move |ready| {
                    ready();
                    descend(depth, None, &mut || {
                        let _one = census.one();
                        let _ = opened.recv();
                    });
                })
            })
            .into();
        evict();
        victims.iter().for_each(tasklet_core::tasklet::JoinHandle::kill);
        evict();
        for victim in victims {
            assert!(victim.join().unwrap_err().is_killed());
        }
        // One that catches its kill goes on.
        let lives = spawn_waiting(|ready| {
            ready();
            let (_gate, opened) = rendezvous::<u8>();
            let killed = caught(|| opened.recv());
            evict();
            killed.is_err_and(|payload| is_tasklet_exit(&payload))
        });
        lives.kill();
        assert!(lives.join().unwrap());
    });
    counted.assert_all_dropped();
}

/// A scheduler that ends unwinds all that wait, wherever their stacks are.
pub fn the_end_of_a_scheduler_unwinds_all<B: Backend>(case: Case) {
    let census = Census::default();
    let scheduler = scheduler::<B>(case, one_slot());
    let channel = Rc::new(Channel::<u8>::new());
    for depth in 0..40 {
        let (channel, one) = (channel.clone(), census.one());
        scheduler.spawn(move || {
            let _one = one;
            descend(depth, None, &mut || ignore(channel.recv()));
        });
    }
    scheduler.run().unwrap();
    assert_eq!(scheduler.slot_stats().tasklets, 40);
    let report = scheduler.shut_down();
    assert_eq!((report.killed, report.refused.len()), (40, 0));
    assert_eq!(channel.balance(), 0);
    census.assert_all_dropped();
}

/// One that catches ten kills is leaked, and told of, though its stack is used by others, who are unwound; its place in a list stays good.
pub fn who_refuses_to_end_is_leaked<B: Backend>(case: Case) {
    let census = Census::default();
    let (sender, receiver) = rendezvous::<u32>();
    let scheduler = scheduler::<B>(case, one_slot());
    let refuses = {
        let receiver = receiver.clone();
        scheduler.spawn(move || {
            loop {
                let _ = caught(|| receiver.recv());
            }
        })
    };
    for _ in 0..5 {
        let (receiver, one) = (receiver.clone(), census.one());
        scheduler.spawn(move || {
            let _one = one;
            let _ = receiver.recv();
        });
    }
    scheduler.run().unwrap();
    let report = scheduler.shut_down();
    assert_eq!((report.killed, report.refused), (5, vec![refuses.id()]));
    census.assert_all_dropped();
    // What it left in the list is its copy, or its stack, which are never freed.
    assert_eq!(sender.blocked_receivers(), 1);
    let _ = sender.try_send(7);
    drop(receiver);
}

/// The same of a runtime, from outside.
pub fn the_end_of_a_runtime_unwinds_all<B: Backend>(case: Case) {
    let census = Census::default();
    let runtime = runtime::<B>(case, one_slot());
    let (_gate, opened) = rendezvous::<u8>();
    let handles: Vec<_> = (0..60)
        .map(|depth| {
            let (opened, one) = (opened.clone(), census.one());
            runtime.spawn(move || {
                let _one = one;
                descend(depth, None, &mut || {
                    if depth % 2 == 0 {
                        ignore(opened.recv());
                    }
                    loop {
                        give_way();
                    }
                })
            })
        })
        .collect();
    until(|| runtime.metrics().started >= 60);
    end(runtime);
    for handle in handles {
        assert!(handle.join().unwrap_err().is_killed());
    }
    census.assert_all_dropped();
}

/// A runtime counts those that refuse to end, and ends the others.
pub fn who_refuses_to_end_is_counted<B: Backend>(case: Case) {
    let census = Census::default();
    let runtime = runtime::<B>(case, one_slot());
    let (sender, receiver) = rendezvous::<u32>();
    let other = receiver.clone();
    let refuses = runtime.spawn(move || -> () {
        loop {
            let _ = caught(|| other.recv());
        }
    });
    let handles: Vec<_> = (0..10)
        .map(|_| {
            let (receiver, one) = (receiver.clone(), census.one());
            runtime.spawn(move || {
                let _one = one;
                receiver.recv()
            })
        })
        .collect();
    until(|| sender.blocked_receivers() == 11);
    let handle = runtime.handle();
    let report = runtime.shutdown(LIMIT);
    assert!(!report.is_clean(), "{report}");
    assert_eq!(handle.metrics().leaked, 1);
    for handle in handles {
        assert!(handle.join().unwrap_err().is_killed());
    }
    census.assert_all_dropped();
    drop(refuses);
}
