//! Kinds of tasklets side by side, ways of making them, schedulers in them, and what is refused.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tasklet_channels::{bounded, rendezvous};
use tasklet_core::backend::{Backend, Swaps};
use tasklet_core::stack::StackSize;
use tasklet_core::tasklet::StackKind;
use tasklet_scheduler::local::{self, RunOutcome};
use tasklet_scheduler::stealing::{self, Runtime, TaskletBuilder};

use super::Case;
use super::setup::{
    LIMIT, caught_text, end, evict, fail, give_way, one_slot, run, runtime, scheduler, spawn_here, spawn_waiting,
};
use super::stacks::descend;
use crate::kinds;
use crate::stealing::setup::{channel, spin_until};

/// A builder of swapped tasklets, for those that lend nothing of their stacks.
fn swapped() -> TaskletBuilder {
    // SAFETY: the tests' closures share what is counted, and move the rest.
    unsafe { TaskletBuilder::new().swapped() }
}

/// Swapped tasklets, such with stacks of their own and soft ones talk to each other.
pub fn kinds_live_together<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (sender, receiver) = bounded(2);
        let mut handles = Vec::new();
        for number in 0..12_u64 {
            let sender = sender.clone();
            let body = move || {
                (0..50).for_each(|round| sender.send(number * 100 + round).unwrap());
                descend(30, None, &mut give_way);
            };
            handles.push(if number % 3 == 0 { spawn_own(body) } else { spawn_here(body) });
        }
        drop(sender);
        let mut got: Vec<u64> = receiver.iter().collect();
        got.sort_unstable();
        assert_eq!(got, (0..12).flat_map(|number| (0..50).map(move |round| number * 100 + round)).collect::<Vec<_>>());
        handles.into_iter().for_each(|handle| handle.join().unwrap());
    });
}

/// A tasklet with a large stack of its own.
fn spawn_own(f: impl FnOnce() + Send + 'static) -> tasklet_core::tasklet::JoinHandle<()> {
    if stealing::worker_index().is_some() {
        return TaskletBuilder::new().stackful().stack_size(StackSize::new(2 << 20).unwrap()).spawn(f);
    }
    // The free functions of the local scheduler make what it makes by default.
    spawn_here(f)
}

/// What a builder says counts more than what its scheduler does: both ways, under a scheduler of either kind.
pub fn a_local_builder_says_what_it_makes<B: Backend>(_: Case) {
    for kind in [StackKind::Private, StackKind::Swapped] {
        let scheduler = kinds::local::<B>(kind).slots(one_slot()).build();
        let (gate, opened) = rendezvous::<()>();
        let waits = |opened: &tasklet_channels::Receiver<()>| {
            let opened = opened.clone();
            move || opened.recv().unwrap()
        };
        let large = StackSize::new(4 << 20).unwrap();
        scheduler.tasklet().stackful().stack_size(large).spawn(waits(&opened));
        // SAFETY: they lend nothing.
        let builder = unsafe { scheduler.tasklet().swapped() }.expect("a backend that swaps");
        let asks = builder.stack_size(large).spawn(waits(&opened));
        scheduler.tasklet().spawn(waits(&opened));
        scheduler.run().unwrap();
        let swapped = if kind == StackKind::Swapped { 2 } else { 1 };
        assert_eq!(scheduler.slot_stats().tasklets, swapped, "{kind:?}");
        assert_eq!(scheduler.fibers().0, 3 - swapped, "{kind:?}");
        // Its stack is a slot, whatever it has asked for.
        assert_eq!(asks.stack_size(), StackSize::new(1 << 20).unwrap());
        (0..3).for_each(|_| gate.try_send(()).unwrap());
        scheduler.run().unwrap();
        assert_eq!(scheduler.slot_stats().tasklets, 0);
    }
}

/// However a swapped tasklet is made, it is one.
pub fn every_way_of_spawning<B: Backend>(case: Case) {
    // A runtime whose tasklets are not swapped unless they ask for it.
    let runtime = kinds::stealing::<B>(StackKind::Private, case.workers).slots(one_slot()).build().expect("a runtime");
    let last = case.workers - 1;
    runtime.run(move || {
        // Five that are deeper than a stack of the default size, which a slot is not too small for.
        let deep = || {
            let mut rounds = 0;
            let sum = descend(120, None, &mut || {
                (0..3).for_each(|_| give_way());
                rounds += 1;
            });
            assert_eq!(rounds, 1);
            sum
        };
        let handles = [
            swapped().spawn(deep),
            swapped().spawn_local(deep),
            swapped().spawn_on(last, deep).unwrap(),
            swapped().name("named").try_spawn(deep).unwrap(),
            swapped().stack_size(StackSize::new(16 << 10).unwrap()).spawn(deep),
        ];
        for handle in handles {
            assert_eq!(handle.join().unwrap(), 120 * 121 / 2);
        }
        // SAFETY: it keeps nothing of its thread.
        let moving = unsafe { swapped().spawn_migratable(|| ()) };
        assert!(moving.is_err(), "a copy belongs to its worker");
        assert_eq!(swapped().spawn_async(async { 3 }).join().unwrap(), 3);
    });
    end(runtime);
}

/// Children of a scope may be swapped: they borrow, and lend nothing.
pub fn scopes_have_swapped_children<B: Backend>(case: Case) {
    let runtime = kinds::stealing::<B>(StackKind::Private, case.workers).slots(one_slot()).build().expect("a runtime");
    let words = ["one", "two", "three"];
    runtime.run(|| {
        let lengths: Vec<usize> = stealing::scope(|scope| {
            let children: Vec<_> = words
                .iter()
                .map(|word| {
                    scope.spawn_with(swapped(), move || {
                        let mine = std::hint::black_box([word; 20]);
                        (0..4).for_each(|_| give_way());
                        mine.iter().map(|word| word.len()).sum::<usize>()
                    })
                })
                .collect();
            children.into_iter().map(|child| child.join().unwrap()).collect()
        });
        assert_eq!(lengths, [60, 60, 100]);
    });
    end(runtime);
}

/// Calls that would lend the stack say so, in a swapped tasklet and in no other; the halves of a join are called one after the other.
pub fn what_lends_a_stack_is_refused<B: Backend>(case: Case) {
    let runtime = runtime::<B>(case, one_slot());
    runtime.run(|| {
        assert!(caught_text(|| stealing::scope(|_| ())).contains("scope was called in a swapped tasklet"));
        assert!(caught_text(|| stealing::blocking(|| ())).contains("blocking was called in a swapped tasklet"));
        let other = Runtime::<B>::with_defaults().unwrap();
        assert!(caught_text(|| other.run(|| ())).contains("Runtime::run was called in a swapped tasklet"));
        drop(other);
        let (first, second) = stealing::join(
            || {
                evict();
                stealing::worker_index()
            },
            stealing::worker_index,
        );
        assert_eq!(first, second);
        let own = TaskletBuilder::new().stackful().spawn(|| stealing::scope(|scope| scope.spawn(|| 5).join().unwrap()));
        assert_eq!(own.join().unwrap(), 5);
        let own = TaskletBuilder::new().stackful().spawn(|| stealing::blocking(|| 6));
        assert_eq!(own.join().unwrap(), 6);
    });
    end(runtime);
}

/// What a destructor calls while its tasklet unwinds is not refused: its thread waits then, and nothing is copied.
pub fn a_destructor_may_block_while_it_unwinds<B: Backend>(case: Case) {
    struct Flushes(Arc<AtomicUsize>);

    impl Drop for Flushes {
        fn drop(&mut self) {
            stealing::blocking(|| self.0.fetch_add(1, Ordering::Relaxed));
        }
    }

    let runtime = runtime::<B>(case, one_slot());
    let flushed = Arc::new(AtomicUsize::new(0));
    let (flushes, panics) = (Flushes(flushed.clone()), Flushes(flushed.clone()));
    runtime.run(|| {
        let (begins, begun) = rendezvous();
        let killed = stealing::spawn(move || {
            let _flushes = flushes;
            begins.send(()).unwrap();
            stealing::park().unwrap();
        });
        begun.recv().unwrap();
        evict();
        killed.kill();
        assert!(killed.join().unwrap_err().is_killed());
        let panicked = stealing::spawn(move || {
            let _flushes = panics;
            fail("on purpose");
        });
        assert!(panicked.join().unwrap_err().is_panic());
    });
    assert_eq!(flushed.load(Ordering::Relaxed), 2);
    end(runtime);
}

/// A new swapped tasklet starts although newer ones want stacks of their own and there are none, which may wait for it.
pub fn who_needs_no_stack_is_not_held_up<B: Backend>(case: Case) {
    let size = StackSize::new(64 << 10).unwrap();
    let builder = case.builder::<B>().stack_size(size).slots(one_slot().size(size)).stack_ceiling(1_000_000);
    let runtime = builder.build().unwrap();
    runtime.run(|| {
        let (started, (sender, receiver)) = (Arc::new(AtomicUsize::new(0)), bounded::<()>(100));
        let own = || TaskletBuilder::new().stackful();
        let waiting: Vec<_> = (0..40)
            .map(|_| {
                let (started, receiver) = (started.clone(), receiver.clone());
                own().spawn(move || {
                    started.fetch_add(1, Ordering::Relaxed);
                    receiver.recv().unwrap();
                })
            })
            .collect();
        // As many as can have started when the count has stood still for a while.
        let (mut seen, mut still) = (0, 0);
        while still < 200 {
            give_way();
            let before = std::mem::replace(&mut seen, started.load(Ordering::Relaxed));
            still = if seen == before { still + 1 } else { 0 };
        }
        assert!((1..40).contains(&seen), "{seen} have a stack");
        let sends = stealing::spawn(move || (0..40).for_each(|_| sender.send(()).unwrap()));
        let newest = own().spawn(|| ());
        waiting.into_iter().chain([sends, newest]).for_each(|tasklet| tasklet.join().unwrap());
    });
    end(runtime);
}

/// A worker that sleeps since there is no memory for stacks finds what a thread spawns and needs none, behind what needs one.
pub fn who_needs_no_stack_is_found_by_who_waits_for_memory<B: Backend>(case: Case) {
    let builder = case.builder::<B>().resident_ceiling(100 * 4096).trim_after(None).slots(one_slot());
    let runtime = builder.build().unwrap();
    let handle = runtime.handle();
    // There is a slot before there is no memory.
    handle.spawn(give_way).join().unwrap();
    let gate = channel::<()>();
    let waiting: Vec<_> = (0..300)
        .map(|_| {
            let gate = gate.clone();
            TaskletBuilder::new().stackful().on(&handle).spawn(move || gate.recv().unwrap())
        })
        .collect();
    // Its pauses are the longest then.
    let slept = handle.metrics().slept;
    spin_until(|| handle.metrics().slept >= slept + 15);
    assert!((1..300).contains(&-gate.balance()), "{} wait", -gate.balance());
    let start = Instant::now();
    for _ in 0..3 {
        handle.spawn(|| ()).join().unwrap();
    }
    // Three pauses at most. If it came to the injector by chance alone, this would take minutes.
    assert!(start.elapsed() < LIMIT / 6, "{:?}", start.elapsed());
    waiting.iter().for_each(|_| gate.send(()).unwrap());
    waiting.into_iter().for_each(|tasklet| tasklet.join().unwrap());
    end(runtime);
}

/// Runs nest in swapped tasklets: each caller waits, copied away, for those it has spawned.
pub fn runs_nest<B: Backend>(case: Case) {
    fn nested(depth: u32, log: Rc<RefCell<Vec<u32>>>) {
        let mine = std::hint::black_box([depth; 100]);
        if depth < 6 {
            let inner = log.clone();
            local::spawn(move || nested(depth + 1, inner));
            local::spawn(evict);
            assert!(matches!(local::run(), Ok(RunOutcome::Idle)));
        }
        assert!(std::hint::black_box(mine).iter().all(|word| *word == depth));
        log.borrow_mut().push(depth);
    }

    let scheduler = scheduler::<B>(case, one_slot());
    let log = Rc::new(RefCell::new(Vec::new()));
    let inner = log.clone();
    scheduler.spawn(move || nested(0, inner));
    scheduler.run().unwrap();
    assert_eq!(*log.borrow(), [6, 5, 4, 3, 2, 1, 0]);
}

/// A swapped tasklet owns a local scheduler, with swapped tasklets of its own, and gives way between its runs.
pub fn a_scheduler_lives_on_a_swapped_stack<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let owners: Vec<_> = (0..3_u32)
            .map(|number| {
                spawn_waiting(move |ready| {
                    let scheduler = scheduler::<B>(case, one_slot());
                    let sum = Rc::new(RefCell::new(0));
                    for _ in 0..5 {
                        let sum = sum.clone();
                        scheduler.spawn(move || {
                            for round in 0..10 {
                                local::schedule();
                                *sum.borrow_mut() += number * round;
                            }
                        });
                    }
                    ready();
                    scheduler.run().unwrap();
                    let told = *sum.borrow();
                    // The scheduler, and what waits in it, is on the heap.
                    let (gate, opened) = rendezvous::<u32>();
                    let last = scheduler.spawn_joinable(move || opened.recv().unwrap());
                    scheduler.run().unwrap();
                    gate.try_send(told).unwrap();
                    scheduler.run().unwrap();
                    last.join().unwrap()
                })
            })
            .collect();
        for (number, owner) in owners.into_iter().enumerate() {
            assert_eq!(owner.join().unwrap(), 5 * 45 * number as u32);
        }
    });
}

/// A backend that cannot swap says so where a swapped tasklet is asked for, and its name; nothing else is different there.
pub fn a_backend_that_cannot_swap_says_so<B: Backend>() {
    let Swaps::No(reason) = B::swaps() else {
        // SAFETY: nothing is made.
        assert!(unsafe { local::Scheduler::<B>::builder().swapped() }.is_ok());
        return;
    };
    let expected = format!("tasklets of the backend {} cannot be swapped: {reason}", B::NAME);
    // SAFETY: nothing is made.
    let errors = unsafe {
        let scheduler = local::Scheduler::<B>::new();
        [
            local::Scheduler::<B>::builder().swapped().err().unwrap().to_string(),
            stealing::Builder::<B>::new().swapped().err().unwrap().to_string(),
            scheduler.tasklet().swapped().err().unwrap().to_string(),
        ]
    };
    for error in errors {
        assert!(error.starts_with(&expected), "{error}");
    }
    let runtime: Runtime<B> = stealing::Builder::new().workers(1).build().unwrap();
    runtime.run(|| {
        let error = swapped().try_spawn(|| ()).unwrap_err();
        assert!(error.is_cannot_swap() && error.to_string().contains(reason), "{error}");
        assert!(swapped().spawn_on(0, || ()).unwrap_err().is_cannot_swap());
        assert!(caught_text(|| swapped().spawn(|| ())).contains(reason));
        assert!(caught_text(|| swapped().spawn_local(|| ())).contains(reason));
    });
    end(runtime);
}
