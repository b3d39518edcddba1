//! Semaphores.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tasklet_core::backend::Backend;
use tasklet_sync::{Mutex, Semaphore, WaitError};

use super::Case;
use super::setup::{Dice, Log, caught_text, give_way, run, until, waiting};

/// In the order of their coming, a thread among them; nobody who tries gets in before.
pub fn waiters_are_let_in_oldest_first<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let (semaphore, order) = (Arc::new(Semaphore::new(1)), Arc::new(Mutex::new(Vec::new())));
        let permit = semaphore.acquire();
        let enter = |number: usize| {
            let (semaphore, order) = (semaphore.clone(), order.clone());
            move || {
                let _permit = semaphore.acquire();
                order.lock().unwrap().push(number);
                give_way();
            }
        };
        let first = case.spawn_waiting(|| waiting(&*semaphore), enter(0));
        let thread = std::thread::spawn(enter(1));
        until(|| waiting(&*semaphore) == 2);
        let last = case.spawn_waiting(|| waiting(&*semaphore), enter(2));
        drop(permit);
        assert!(semaphore.try_acquire().is_err() || order.lock().unwrap().len() == 3);
        first.join().unwrap();
        thread.join().unwrap();
        last.join().unwrap();
        assert_eq!(*order.lock().unwrap(), [0, 1, 2]);
        assert_eq!(semaphore.available_permits(), 1);
    });
}

/// One that wants many is not passed by those who want few.
pub fn few_do_not_pass_many<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let (semaphore, log) = (Arc::new(Semaphore::new(3)), Log::default());
        let permits = [semaphore.acquire(), semaphore.acquire()];
        let enter = |name: &'static str, count: usize| {
            let (its, log) = (semaphore.clone(), log.clone());
            case.spawn_waiting(
                || waiting(&*semaphore),
                move || {
                    let _permits = its.acquire_many(count);
                    log.add(name);
                },
            )
        };
        let many = enter("many", 3);
        let few = enter("few", 1);
        assert_eq!(semaphore.try_acquire().unwrap_err(), WaitError::WouldBlock);
        let [first, second] = permits;
        drop(first);
        (0..5).for_each(|_| give_way());
        log.assert("");
        drop(second);
        many.join().unwrap();
        few.join().unwrap();
        log.assert("many few");
        assert_eq!(semaphore.available_permits(), 3);
    });
}

/// An owned permit goes to another tasklet, and to a thread, and keeps the semaphore.
pub fn owned_permits_travel<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let semaphore = Arc::new(Semaphore::new(2));
        let (first, second) = (semaphore.acquire_owned(), semaphore.try_acquire_owned().unwrap());
        assert!(semaphore.try_acquire_owned().is_err());
        let waiter = case.spawn_waiting(|| waiting(&*semaphore), {
            let semaphore = semaphore.clone();
            move || drop(semaphore.acquire_many_owned(2))
        });
        case.spawn(move || drop(first)).join().unwrap();
        std::thread::spawn(move || drop(second)).join().unwrap();
        waiter.join().unwrap();
        assert_eq!(semaphore.available_permits(), 2);
        let permit = semaphore.acquire_owned();
        drop(semaphore);
        assert_eq!(permit.semaphore().available_permits(), 1);
    });
}

/// The number of permits may change.
pub fn permits_are_added_and_forgotten<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let semaphore = Arc::new(Semaphore::new(0));
        let waiter = case.spawn_waiting(|| waiting(&*semaphore), {
            let semaphore = semaphore.clone();
            move || semaphore.acquire_many(2).forget()
        });
        semaphore.add_permits(1);
        (0..5).for_each(|_| give_way());
        assert!(!waiter.is_finished());
        semaphore.add_permits(2);
        waiter.join().unwrap();
        assert_eq!(semaphore.available_permits(), 1);
        assert_eq!(semaphore.forget_permits(5), 1);
        assert!(semaphore.try_acquire().is_err());
        assert_eq!(semaphore.acquire_many(0).count(), 0);
    });
}

/// A permit goes back also where there are as many as can be counted; and it may go to another thread.
pub fn permits_go_back_to_a_full_semaphore<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let semaphore = Semaphore::new(usize::MAX);
        let (one, two) = (semaphore.acquire(), semaphore.acquire_many(2));
        semaphore.add_permits(2);
        assert!(caught_text(|| semaphore.add_permits(2)).contains("more permits than can be counted"));
        assert_eq!(semaphore.available_permits(), usize::MAX - 1);
        std::thread::scope(|scope| drop(scope.spawn(move || drop(two))));
        drop(one);
        assert_eq!(semaphore.available_permits(), usize::MAX);
    });
}

/// Permits are taken apart and put together.
pub fn permits_are_split_and_merged<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let (semaphore, other) = (Arc::new(Semaphore::new(4)), Semaphore::new(1));
        let mut permits = semaphore.acquire_many(3);
        let mut two = permits.split(2).unwrap();
        assert!(permits.split(2).is_none());
        assert_eq!((permits.count(), two.count()), (1, 2));
        two.merge(permits);
        two.merge(semaphore.acquire());
        drop(two.split(3));
        assert_eq!((two.count(), semaphore.available_permits()), (1, 3));
        assert!(caught_text(|| two.merge(other.acquire())).contains("another semaphore"));
        assert_eq!(other.available_permits(), 1);
        drop(two);
        let mut owned = semaphore.try_acquire_many_owned(4).unwrap();
        assert!(semaphore.try_acquire_many_owned(1).is_err());
        let part = owned.split(3).unwrap();
        drop(owned);
        assert_eq!(semaphore.available_permits(), 1);
        owned = semaphore.acquire_owned();
        owned.merge(part);
        assert_eq!(owned.count(), 4);
    });
}

/// Random programs of tasklets and threads: there are never more inside than permits, what a mutex guards is whole, and all comes back.
pub fn random_programs_keep_their_counts<B: Backend>(case: Case) {
    const PERMITS: usize = 3;
    for seed in 1..=6 {
        let semaphore = Arc::new(Semaphore::new(PERMITS));
        let inside = Arc::new(AtomicUsize::new(0));
        let total = Arc::new(if seed % 2 == 0 { Mutex::new(0_u64) } else { Mutex::new_fair(0) });
        let program = {
            let (semaphore, inside, total) = (semaphore.clone(), inside.clone(), total.clone());
            move |seed: u64| {
                let mut dice = Dice::new(seed);
                let mut added = 0;
                for _ in 0..60 {
                    match dice.below(4) {
                        0 | 1 => {
                            let count = 1 + dice.below(PERMITS as u64) as usize;
                            let permits = match dice.below(3) {
                                0 => semaphore.try_acquire_many(count).ok(),
                                _ => Some(semaphore.acquire_many(count)),
                            };
                            if let Some(permits) = permits {
                                let now = inside.fetch_add(permits.count(), Ordering::SeqCst) + permits.count();
                                assert!(now <= PERMITS, "{now} are inside; seed {seed}");
                                if dice.below(2) == 0 {
                                    give_way();
                                }
                                inside.fetch_sub(permits.count(), Ordering::SeqCst);
                            }
                        }
                        2 => {
                            let mut total = total.lock().unwrap();
                            let seen = *total;
                            if dice.below(2) == 0 {
                                give_way();
                            }
                            *total = seen + 1;
                            added += 1;
                        }
                        _ => give_way(),
                    }
                }
                added
            }
        };
        let thread = std::thread::spawn({
            let program = program.clone();
            move || program(seed * 100)
        });
        let added = Arc::new(AtomicUsize::new(0));
        let sum = added.clone();
        run::<B>(case, move || {
            let spawn_one = |number| {
                let program = program.clone();
                case.spawn(move || program(seed * 100 + number))
            };
            let tasklets: Vec<_> = (1..8).map(spawn_one).collect();
            for tasklet in tasklets {
                sum.fetch_add(tasklet.join().unwrap() as usize, Ordering::SeqCst);
            }
        });
        let sum = added.load(Ordering::SeqCst) as u64 + thread.join().unwrap();
        assert_eq!(*total.lock().unwrap(), sum, "seed {seed}");
        assert_eq!(semaphore.available_permits(), PERMITS, "seed {seed}");
    }
}
