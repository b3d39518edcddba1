//! `scope` and `join`: children that borrow, and parents that wait for them whatever happens.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tasklet_core::backend::Backend;
use tasklet_core::unwind::message;
use tasklet_scheduler::stealing::{self, TaskletBuilder};

use super::Case;
use super::setup::{
    Census, Flag, LIMIT, Log, caught, caught_text, channel, end, fail, park_for_ever, spawn_parked, yield_until,
};

/// Children borrow from their parent, each other's parts apart, and give results that borrow.
pub fn children_borrow<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        let mut numbers: Vec<u32> = (0..100).collect();
        let text = String::from("a b c");
        let words = stealing::scope(|scope| {
            for part in numbers.chunks_mut(7) {
                scope.spawn(move || {
                    stealing::yield_now();
                    part.iter_mut().for_each(|number| *number *= 2);
                });
            }
            let words = scope.spawn_with(TaskletBuilder::new().name("words"), || text.split(' ').collect::<Vec<_>>());
            words.join().unwrap()
        });
        assert_eq!(words, ["a", "b", "c"]);
        assert_eq!(numbers, (0..200).step_by(2).collect::<Vec<_>>());
    });
}

/// The scope ends after those whose handles nobody has kept, and after what those have spawned in it.
pub fn a_scope_waits_for_all_its_children<B: Backend>(case: Case) {
    let ended = AtomicUsize::new(0);
    case.run::<B, _>(|| {
        stealing::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| {
                    stealing::sleep(Duration::from_micros(100));
                    stealing::scope(|inner| {
                        inner.spawn(|| {
                            stealing::yield_now();
                            ended.fetch_add(1, Ordering::SeqCst);
                        });
                    });
                    scope.spawn(|| {
                        stealing::yield_now();
                        ended.fetch_add(1, Ordering::SeqCst);
                    });
                    ended.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        assert_eq!(ended.load(Ordering::SeqCst), 30);
        stealing::scope(|_| ());
    });
}

/// Also when its closure panics: the children come to their end first.
pub fn a_scope_waits_when_its_closure_panics<B: Backend>(case: Case) {
    let log = Log::default();
    case.run::<B, _>(|| {
        let go = Flag::default();
        let borrowed = log.on_drop("borrowed");
        let text = caught_text(|| {
            stealing::scope(|scope| {
                scope.spawn(|| {
                    go.wait();
                    (0..10).for_each(|_| stealing::yield_now());
                    borrowed.add("child");
                });
                go.set();
                fail("E")
            })
        });
        assert_eq!(text, "E");
        drop(borrowed);
    });
    log.assert("child borrowed");
}

/// A killed parent kills its children, waits for them, and only then do its locals go: children never see freed data.
pub fn a_killed_parent_outlives_its_children<B: Backend>(case: Case) {
    for in_closure in [false, true] {
        let log = Log::default();
        case.run::<B, _>(|| {
            let inner = log.clone();
            let (running, parent_waits) = (Census::default(), Flag::default());
            let (children, waits) = (running.clone(), parent_waits.clone());
            let parent = stealing::spawn(move || {
                let borrowed = inner.on_drop("data");
                stealing::scope(|scope| {
                    for _ in 0..3 {
                        scope.spawn(|| {
                            struct Guard<'a>(&'a super::setup::OnDrop);
                            impl Drop for Guard<'_> {
                                fn drop(&mut self) {
                                    self.0.add("child");
                                }
                            }
                            let _guard = Guard(&borrowed);
                            let _one = children.one();
                            park_for_ever::<()>();
                        });
                    }
                    waits.set();
                    if in_closure {
                        park_for_ever::<()>();
                    }
                });
                inner.add("went on");
            });
            yield_until(|| running.made() == 3 && parent_waits.is_set());
            parent.kill();
            assert!(parent.join().unwrap_err().is_killed());
            running.assert_all_dropped();
        });
        log.assert("child child child data");
    }
}

/// A child that catches its kill and lives on is waited for all the same.
pub fn a_killed_parent_waits_for_a_child_that_lives_on<B: Backend>(case: Case) {
    let log = Log::default();
    case.run::<B, _>(|| {
        let (inner, started, survived, go) = (log.clone(), Flag::default(), Flag::default(), Flag::default());
        let (starts, survives, waits) = (started.clone(), survived.clone(), go.clone());
        let parent = stealing::spawn(move || {
            let borrowed = inner.on_drop("data");
            stealing::scope(|scope| {
                scope.spawn(|| {
                    starts.set();
                    assert!(caught(park_for_ever::<()>).is_err());
                    survives.set();
                    waits.wait();
                    borrowed.add("child");
                });
            });
        });
        started.wait();
        parent.kill();
        survived.wait();
        (0..100).for_each(|_| stealing::yield_now());
        assert!(!parent.is_finished());
        go.set();
        assert!(parent.join().unwrap_err().is_killed());
    });
    log.assert("child data");
}

/// A time limit of the parent ends its children too.
pub fn a_timeout_ends_a_scope<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        let census = Census::default();
        let limited = stealing::timeout(Duration::from_millis(5), || {
            stealing::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        let _one = census.one();
                        stealing::sleep(LIMIT);
                    });
                }
            });
        });
        assert!(limited.is_err());
        census.assert_all_dropped();
    });
}

/// A panic that nobody asks for makes the scope panic; one that was joined does not, nor does a kill.
pub fn an_unjoined_panic_makes_the_scope_panic<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        let text = caught_text(|| {
            stealing::scope(|scope| {
                scope.spawn(|| -> () { fail("E") });
            });
        });
        assert_eq!(text, "a scoped tasklet panicked");
        stealing::scope(|scope| {
            let handle = scope.spawn(|| -> () { fail("E") });
            assert!(handle.join().unwrap_err().is_panic());
            let killed = scope.spawn(park_for_ever::<()>);
            killed.kill();
            yield_until(|| killed.is_finished());
        });
    });
}

/// Two children panic, one is joined: the other's panic is not forgotten.
pub fn a_joined_panic_does_not_hide_another<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        let text = caught_text(|| {
            stealing::scope(|scope| {
                let (one, other) = (scope.spawn(|| -> () { fail("A") }), scope.spawn(|| -> () { fail("B") }));
                yield_until(|| one.is_finished() && other.is_finished());
                assert!(one.join().unwrap_err().is_panic());
                drop(other);
            });
        });
        assert_eq!(text, "a scoped tasklet panicked");
    });
}

/// A plain thread that has entered a runtime may open a scope; one that has not is told.
pub fn a_plain_thread_opens_a_scope<B: Backend>(case: Case) {
    let runtime = case.runtime::<B>();
    let numbers = [1, 2, 3];
    {
        let _entered = runtime.enter();
        let sum = stealing::scope(|scope| {
            let tasklet = scope.spawn(|| numbers.iter().sum::<i32>());
            tasklet.join().unwrap()
        });
        assert_eq!(sum, 6);
    }
    let text = caught_text(|| {
        stealing::scope(|scope| {
            scope.spawn(|| ());
        });
    });
    assert!(text.contains("there is no runtime here"), "{text}");
    end(runtime);
}

fn fib(n: u32) -> u64 {
    if n < 2 {
        return n.into();
    }
    let (a, b) = stealing::join(|| fib(n - 1), || fib(n - 2));
    a + b
}

/// Both results, from many halves in many halves; outside of a runtime one after the other.
pub fn join_returns_both_results<B: Backend>(case: Case) {
    let (numbers, text) = ([1, 2, 3], String::from("abc"));
    let both = || stealing::join(|| numbers.iter().sum::<i32>(), || text.len());
    assert_eq!(case.run::<B, _>(both), (6, 3));
    assert_eq!(both(), (6, 3));
    assert_eq!(case.run::<B, _>(|| fib(16)), 987);
    assert_eq!(fib(10), 55);
}

/// Halves that wait: for others, for each other, and asleep.
pub fn both_halves_of_a_join_may_wait<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        let (there, back) = (channel::<u32>(), channel::<u32>());
        let sums = stealing::join(
            || {
                // Each waits for the other: the second half has to run while the first one waits.
                (0..20)
                    .map(|number| {
                        there.send(number).unwrap();
                        back.recv().unwrap()
                    })
                    .sum::<u32>()
            },
            || {
                (0..20)
                    .map(|_| {
                        let number = there.recv().unwrap();
                        stealing::sleep(Duration::from_micros(10));
                        back.send(2 * number).unwrap();
                        number
                    })
                    .sum::<u32>()
            },
        );
        assert_eq!(sums, (380, 190));
        fn tree(depth: u32) -> u32 {
            stealing::yield_now();
            if depth == 0 {
                return 1;
            }
            let (a, b) = stealing::join(|| tree(depth - 1), || tree(depth - 1));
            stealing::yield_now();
            a + b
        }
        assert_eq!(tree(6), 64);
    });
}

/// Who panics is heard, the first half before the second, when both have ended.
pub fn a_panic_in_a_join_comes_when_both_have_ended<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        let ended = Flag::default();
        let first = caught_text(|| {
            stealing::join(
                || {
                    // The second half has begun, so it is waited for.
                    yield_until(|| ended.is_set());
                    fail("first")
                },
                || {
                    ended.set();
                    stealing::yield_now();
                },
            )
        });
        assert_eq!(first, "first");
        assert_eq!(caught_text(|| stealing::join(|| 1, || -> u32 { fail("second") })), "second");
        let begun = Flag::default();
        let both = caught_text(|| {
            stealing::join(
                || -> u32 {
                    begun.wait();
                    fail("first")
                },
                || -> u32 {
                    begun.set();
                    fail("second")
                },
            )
        });
        assert_eq!(both, "first");
    });
}

/// The second half that nobody has taken up is dropped, not called, when the first one panics.
pub fn a_panic_before_the_second_half_drops_it<B: Backend>(case: Case) {
    let (census, called) = (Census::default(), Flag::default());
    case.run::<B, _>(|| {
        let captured = census.one();
        let result = caught(|| {
            stealing::join(
                || -> () { fail("E") },
                || {
                    called.set();
                    drop(captured);
                },
            )
        });
        assert_eq!(message(&result.unwrap_err()), "E");
        census.assert_all_dropped();
    });
    assert!(!called.is_set());
}

/// What a tasklet spawns in a half of a join does not get into the way of its other half.
pub fn a_half_of_a_join_may_spawn<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        let mut handles = Vec::new();
        let (_, b) = stealing::join(|| (0..5).for_each(|number| handles.push(stealing::spawn(move || number))), || 7);
        assert_eq!(b, 7);
        assert_eq!(handles.into_iter().map(|handle| handle.join().unwrap()).sum::<i32>(), 10);
        let parked = spawn_parked(|waits| {
            waits.set();
            stealing::join(|| stealing::park().unwrap(), || 1).1
        });
        parked.record().unwrap().spot().unpark();
        assert_eq!(parked.join().unwrap(), 1);
    });
}
