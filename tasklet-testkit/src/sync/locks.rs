//! Exclusion, its order, and what a panic leaves.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, TryLockError};

use tasklet_core::backend::Backend;
use tasklet_sync::{Mutex, MutexGuard, RwLock, RwLockWriteGuard};

use super::Case;
use super::setup::{Flag, Log, caught, fail, give_way, run, until, waiting};

const ROUNDS: u64 = 200;

/// Tasklets and threads add to one number, in two steps with a switch between them.
pub fn one_at_a_time_is_in_a_mutex<B: Backend>(case: Case) {
    for mutex in [Mutex::new(0), Mutex::new_fair(0)] {
        let total = Arc::new(mutex);
        let add = {
            let total = total.clone();
            move || {
                for round in 0..ROUNDS {
                    let mut total = total.lock().unwrap();
                    let seen = *total;
                    if round % 8 == 0 {
                        give_way();
                    }
                    *total = seen + 1;
                }
            }
        };
        let thread = std::thread::spawn(add.clone());
        run::<B>(case, move || {
            let adders: Vec<_> = (0..4).map(|_| case.spawn(add.clone())).collect();
            adders.into_iter().for_each(|adder| adder.join().unwrap());
        });
        thread.join().unwrap();
        assert_eq!(*total.lock().unwrap(), 5 * ROUNDS);
        assert!(!total.is_locked());
    }
}

/// Others of the worker run while a holder waits, and do not get in.
pub fn a_mutex_is_held_while_its_tasklet_waits<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let (mutex, go, ran) = (Arc::new(Mutex::new(0)), Flag::default(), Flag::default());
        let holder = case.spawn({
            let (mutex, go) = (mutex.clone(), go.clone());
            move || {
                let mut value = mutex.lock().unwrap();
                *value = 1;
                until(|| go.is_set());
                *value = 2;
            }
        });
        until(|| mutex.is_locked());
        let waiter = case.spawn({
            let (mutex, ran) = (mutex.clone(), ran.clone());
            move || {
                ran.set();
                *mutex.lock().unwrap()
            }
        });
        until(|| ran.is_set());
        (0..20).for_each(|_| give_way());
        assert!(!waiter.is_finished());
        go.set();
        assert_eq!(waiter.join().unwrap(), 2);
        holder.join().unwrap();
    });
}

/// Tasklets, and a thread among them, get a fair mutex in the order in which they have begun to wait, and before one who comes later.
pub fn a_fair_mutex_goes_to_the_oldest<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let mutex = Arc::new(Mutex::new_fair(Vec::new()));
        let guard = mutex.lock().unwrap();
        let enter = |number: usize| {
            let mutex = mutex.clone();
            move || {
                let mut order = mutex.lock().unwrap();
                order.push(number);
                // Whoever has it lets others run; nobody who comes meanwhile is before those who wait.
                give_way();
            }
        };
        let first = case.spawn_waiting(|| waiting(&*mutex), enter(0));
        let second = std::thread::spawn(enter(1));
        until(|| waiting(&*mutex) == 2);
        let rest: Vec<_> = (2..6).map(|number| case.spawn_waiting(|| waiting(&*mutex), enter(number))).collect();
        drop(guard);
        // It was handed over already.
        assert!(matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)) || waiting(&*mutex) == 0);
        mutex.lock().unwrap().push(6);
        first.join().unwrap();
        second.join().unwrap();
        rest.into_iter().for_each(|waiter| waiter.join().unwrap());
        assert_eq!(*mutex.lock().unwrap(), [0, 1, 2, 3, 4, 5, 6]);
    });
}

/// `unlock_fair` hands a mutex of the usual kind over.
pub fn a_fair_unlock_goes_to_the_oldest<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let mutex = Arc::new(Mutex::new(Vec::new()));
        let guard = mutex.lock().unwrap();
        let waiter = case.spawn_waiting(|| waiting(&*mutex), {
            let mutex = mutex.clone();
            move || mutex.lock().unwrap().push(0)
        });
        MutexGuard::unlock_fair(guard);
        mutex.lock().unwrap().push(1);
        waiter.join().unwrap();
        assert_eq!(*mutex.lock().unwrap(), [0, 1]);
    });
}

/// One that unlocks and locks again at once, with others let run only while it holds the mutex, lets a waiter in before long.
pub fn a_waiter_is_not_passed_for_ever<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let (mutex, entered) = (Arc::new(Mutex::new(())), Flag::default());
        let guard = mutex.lock().unwrap();
        let waiter = case.spawn_waiting(|| waiting(&*mutex), {
            let (mutex, entered) = (mutex.clone(), entered.clone());
            move || {
                let _guard = mutex.lock().unwrap();
                entered.set();
            }
        });
        drop(guard);
        let mut rounds = 0;
        while !entered.is_set() {
            let _guard = mutex.lock().unwrap();
            give_way();
            rounds += 1;
            assert!(rounds < 1000, "it is passed for ever");
        }
        waiter.join().unwrap();
    });
}

/// A panic with the guard poisons; a panic elsewhere, and a guard taken in a destructor that runs in one, do not.
pub fn a_panic_poisons<B: Backend>(case: Case) {
    struct Locks(Arc<Mutex<i32>>);
    impl Drop for Locks {
        fn drop(&mut self) {
            *self.0.lock().unwrap() += 1;
        }
    }
    run::<B>(case, move || {
        let mutex = Arc::new(Mutex::new(1));
        let in_destructor = case.spawn({
            let mutex = mutex.clone();
            move || {
                let _locks = Locks(mutex);
                fail("on purpose");
            }
        });
        assert!(in_destructor.join().is_err());
        assert!(!mutex.is_poisoned());
        assert_eq!(*mutex.lock().unwrap(), 2);

        let with_guard = case.spawn({
            let mutex = mutex.clone();
            move || {
                let mut value = mutex.lock().unwrap();
                *value = 3;
                fail("on purpose");
            }
        });
        assert!(with_guard.join().is_err());
        assert!(mutex.is_poisoned());
        assert_eq!(*mutex.lock().unwrap_err().into_inner(), 3);
        assert!(matches!(mutex.try_lock(), Err(TryLockError::Poisoned(_))));
        mutex.clear_poison();
        assert_eq!(*mutex.lock().unwrap(), 3);

        let lock = RwLock::new(1);
        assert!(
            caught(|| -> () {
                let _reader = lock.read().unwrap();
                fail("on purpose")
            })
            .is_err()
        );
        assert!(!lock.is_poisoned());
        assert!(
            caught(|| -> () {
                let _writer = lock.write().unwrap();
                fail("on purpose")
            })
            .is_err()
        );
        assert!(lock.is_poisoned() && lock.read().is_err() && lock.write().is_err());
    });
}

/// A tasklet that is killed while it holds a guard has left its work half done.
pub fn a_kill_poisons<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let mutex = Arc::new(Mutex::new(1));
        let holder = case.spawn({
            let mutex = mutex.clone();
            move || {
                let _guard = mutex.lock().unwrap();
                loop {
                    give_way();
                }
            }
        });
        until(|| mutex.is_locked());
        holder.kill();
        assert!(holder.join().unwrap_err().is_killed());
        assert!(mutex.lock().is_err());
    });
}

/// Tries do not wait.
pub fn a_try_takes_what_is_free<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let mutex = Mutex::new(1);
        let guard = mutex.try_lock().unwrap();
        assert!(matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)));
        drop(guard);
        assert!(mutex.try_lock().is_ok());
        let lock = RwLock::new(1);
        let reader = lock.try_read().unwrap();
        assert!(lock.try_read().is_ok());
        assert!(matches!(lock.try_write(), Err(TryLockError::WouldBlock)));
        drop(reader);
        let writer = lock.try_write().unwrap();
        assert!(lock.try_read().is_err() && lock.try_write().is_err());
        drop(writer);
        assert!(lock.try_write().is_ok());
    });
}

/// Readers are together, a writer is alone; beside a thread.
pub fn many_read_and_one_writes<B: Backend>(case: Case) {
    let lock = Arc::new(RwLock::new((0_u64, 0_u64)));
    let readers = Arc::new(AtomicUsize::new(0));
    let write = {
        let lock = lock.clone();
        move || {
            for _ in 0..ROUNDS {
                let mut pair = lock.write().unwrap();
                pair.0 += 1;
                give_way();
                pair.1 += 1;
            }
        }
    };
    let read = {
        let (lock, readers) = (lock.clone(), readers.clone());
        move || {
            for _ in 0..ROUNDS {
                let pair = lock.read().unwrap();
                readers.fetch_add(1, Ordering::SeqCst);
                assert_eq!(pair.0, pair.1);
                give_way();
                assert_eq!(pair.0, pair.1);
                readers.fetch_sub(1, Ordering::SeqCst);
            }
        }
    };
    let threads = [std::thread::spawn(write.clone()), std::thread::spawn(read.clone())];
    run::<B>(case, move || {
        // Both are in there at the same time, or neither would go on.
        let shared = Arc::new(RwLock::new(()));
        let inside = Arc::new(AtomicUsize::new(0));
        let together = |_| {
            let (shared, inside) = (shared.clone(), inside.clone());
            case.spawn(move || {
                let _reader = shared.read().unwrap();
                inside.fetch_add(1, Ordering::SeqCst);
                until(|| inside.load(Ordering::SeqCst) == 3);
            })
        };
        (0..3).map(together).collect::<Vec<_>>().into_iter().for_each(|reader| reader.join().unwrap());

        let all = [case.spawn(write.clone()), case.spawn(read.clone()), case.spawn(read)];
        all.into_iter().for_each(|tasklet| tasklet.join().unwrap());
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(*lock.read().unwrap(), (2 * ROUNDS, 2 * ROUNDS));
    assert_eq!(readers.load(Ordering::SeqCst), 0);
}

/// Readers that come after a writer do not get in before it; those that wait in a row get in together.
pub fn a_writer_is_not_starved<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let (lock, log) = (Arc::new(RwLock::new(())), Log::default());
        let reader = lock.read().unwrap();
        let writer = case.spawn_waiting(|| waiting(&*lock), {
            let (lock, log) = (lock.clone(), log.clone());
            move || {
                let _writer = lock.write().unwrap();
                log.add("writes");
            }
        });
        assert!(lock.try_read().is_err());
        let inside = Arc::new(AtomicUsize::new(0));
        let late = [0, 1].map(|_| {
            let (its, log, inside) = (lock.clone(), log.clone(), inside.clone());
            case.spawn_waiting(
                || waiting(&*lock),
                move || {
                    let _reader = its.read().unwrap();
                    log.add("reads");
                    inside.fetch_add(1, Ordering::SeqCst);
                    until(|| inside.load(Ordering::SeqCst) == 2);
                },
            )
        });
        log.assert("");
        drop(reader);
        writer.join().unwrap();
        late.into_iter().for_each(|reader| reader.join().unwrap());
        log.assert("writes reads reads");
    });
}

/// A writer that goes on as a reader lets other readers in and no writer.
pub fn a_downgrade_lets_readers_in<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let lock = Arc::new(RwLock::new(1));
        let mut writer = lock.write().unwrap();
        *writer = 2;
        let late = case.spawn_waiting(|| waiting(&*lock), {
            let lock = lock.clone();
            move || *lock.read().unwrap()
        });
        let reader = RwLockWriteGuard::downgrade(writer);
        assert_eq!(late.join().unwrap(), 2);
        assert!(lock.try_write().is_err() && lock.try_read().is_ok());
        drop(reader);
        assert!(lock.try_write().is_ok());
    });
}
