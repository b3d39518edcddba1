//! Waits that end otherwise: kills, cancellations, time limits. What a waiter was given that goes away is passed on.

use std::sync::Arc;
use std::thread::JoinHandle;

use tasklet_core::backend::Backend;
use tasklet_core::current;
use tasklet_core::park::ParkError;
use tasklet_scheduler::stealing::CancelToken;
use tasklet_sync::{Barrier, Condvar, Event, Mutex, Once, RwLock, Semaphore, WaitError, WaitGroup};

use super::Case;
use super::setup::{Dice, Log, fail, give_way, ms, run, run_virtual, spawn, spawn_waiting, until, waiting};
use crate::kinds;

/// Tasklets wait, the oldest is killed before or after it was given the lock: the next one gets it.
fn a_mutex_is_passed_on<B: Backend>(case: Case, make: fn() -> Mutex<u32>) {
    run::<B>(case, move || {
        for give_first in [false, true] {
            for _ in 0..30 {
                let mutex = Arc::new(make());
                let guard = mutex.lock().unwrap();
                let wait = || {
                    let its = mutex.clone();
                    spawn_waiting(|| waiting(&*mutex), move || *its.lock().unwrap() += 1)
                };
                let (victim, next) = (wait(), wait());
                if give_first {
                    drop(guard);
                    victim.kill();
                } else {
                    victim.kill();
                    until(|| waiting(&*mutex) == 1);
                    drop(guard);
                }
                next.join().unwrap();
                let came = u32::from(victim.join().is_ok());
                assert!(give_first || came == 0);
                // Not poisoned: who was killed had not begun.
                assert_eq!(*mutex.lock().unwrap(), 1 + came);
                assert!(!mutex.is_locked());
            }
        }
    });
}

/// One of the usual kind.
pub fn a_killed_waiter_passes_the_mutex_on<B: Backend>(case: Case) {
    a_mutex_is_passed_on::<B>(case, || Mutex::new(0));
}

/// One that is handed over.
pub fn a_killed_waiter_of_a_fair_mutex_passes_it_on<B: Backend>(case: Case) {
    a_mutex_is_passed_on::<B>(case, || Mutex::new_fair(0));
}

/// Readers that wait behind a writer get in when that goes away, while another reader is inside.
pub fn a_killed_writer_lets_readers_in<B: Backend>(case: Case) {
    run::<B>(case, || {
        let lock = Arc::new(RwLock::new(()));
        let reader = lock.read().unwrap();
        let writer = spawn_waiting(|| waiting(&*lock), {
            let lock = lock.clone();
            move || drop(lock.write())
        });
        let late = spawn_waiting(|| waiting(&*lock), {
            let lock = lock.clone();
            move || drop(lock.read())
        });
        writer.kill();
        late.join().unwrap();
        assert!(writer.join().unwrap_err().is_killed());
        drop(reader);
        assert!(lock.try_write().is_ok());
    });
}

/// Killed before or after the permits were given.
pub fn a_killed_acquirer_passes_its_permits_on<B: Backend>(case: Case) {
    run::<B>(case, || {
        for _ in 0..30 {
            let semaphore = Arc::new(Semaphore::new(2));
            let permits = semaphore.acquire_many(2);
            let wait = |count: usize| {
                let its = semaphore.clone();
                spawn_waiting(|| waiting(&*semaphore), move || drop(its.acquire_many(count)))
            };
            let (victim, others) = (wait(2), [wait(1), wait(1)]);
            drop(permits);
            victim.kill();
            others.into_iter().for_each(|other| other.join().unwrap());
            drop(victim.join());
            assert_eq!(semaphore.available_permits(), 2);
        }
    });
}

/// One that wants more than there are is killed: those behind it want less.
pub fn a_killed_acquirer_stands_in_nobodys_way<B: Backend>(case: Case) {
    run::<B>(case, || {
        let semaphore = Arc::new(Semaphore::new(2));
        let victim = spawn_waiting(|| waiting(&*semaphore), {
            let semaphore = semaphore.clone();
            move || drop(semaphore.acquire_many(3))
        });
        let others = [1, 2].map(|_| {
            let its = semaphore.clone();
            spawn_waiting(|| waiting(&*semaphore), move || drop(its.acquire()))
        });
        victim.kill();
        others.into_iter().for_each(|other| other.join().unwrap());
        assert!(victim.join().unwrap_err().is_killed());
        assert_eq!(semaphore.available_permits(), 2);
    });
}

/// Killed after it was notified, before it runs or while it locks the mutex again: the notification is the next one's.
pub fn a_killed_waiter_passes_its_notification_on<B: Backend>(case: Case) {
    run::<B>(case, || {
        for hold in [false, true] {
            for _ in 0..30 {
                let shared = Arc::new((Mutex::new(0), Condvar::new()));
                let wait = || {
                    let its = shared.clone();
                    spawn_waiting(
                        || waiting(&shared.1),
                        move || {
                            let guard = its.0.lock().unwrap();
                            *its.1.wait(guard).unwrap() += 1;
                        },
                    )
                };
                let (victim, next) = (wait(), wait());
                let guard = hold.then(|| shared.0.lock().unwrap());
                shared.1.notify_one();
                if hold {
                    until(|| waiting(&shared.0) == 1);
                }
                victim.kill();
                let notified = if hold {
                    // Its kill ends the wait for the mutex.
                    assert!(victim.join().unwrap_err().is_killed());
                    drop(guard);
                    false
                } else {
                    victim.join().is_ok()
                };
                if notified {
                    assert_eq!(waiting(&shared.1), 1);
                    shared.1.notify_one();
                }
                next.join().unwrap();
                assert_eq!(*shared.0.lock().unwrap(), 1 + u32::from(notified));
            }
        }
    });
}

/// Tasklets lock, acquire and meet at random, and are killed at random. Afterwards all is free.
pub fn random_kills_lose_nothing<B: Backend>(case: Case) {
    run::<B>(case, || {
        for seed in 1..=8 {
            let mut dice = Dice::new(seed);
            let semaphore = Arc::new(Semaphore::new(3));
            let mutexes = Arc::new([Mutex::new(()), Mutex::new_fair(())]);
            let lock = Arc::new(RwLock::new(()));
            let work = |seed: u64| {
                let (semaphore, mutexes, lock) = (semaphore.clone(), mutexes.clone(), lock.clone());
                move || {
                    let mut dice = Dice::new(seed);
                    for _ in 0..40 {
                        // One at a time, so that there is no circle.
                        match dice.below(5) {
                            0 => {
                                let _permits = semaphore.acquire_many(1 + dice.below(3) as usize);
                                give_way();
                            }
                            at @ 1..3 => {
                                let _guard = mutexes[at as usize - 1].lock();
                                give_way();
                            }
                            3 => {
                                let _reader = lock.read();
                                give_way();
                            }
                            _ => {
                                let _writer = lock.write();
                                give_way();
                            }
                        }
                    }
                }
            };
            let tasklets: Vec<_> = (0..12).map(|number| spawn(work(seed * 100 + number))).collect();
            for _ in 0..30 {
                give_way();
                if dice.below(3) == 0 {
                    tasklets[dice.below(12) as usize].kill();
                }
            }
            tasklets.into_iter().for_each(|tasklet| drop(tasklet.join()));
            assert_eq!(semaphore.available_permits(), 3, "seed {seed}");
            assert!(!mutexes[0].is_locked() && !mutexes[1].is_locked(), "seed {seed}");
            lock.clear_poison();
            assert!(lock.try_write().is_ok(), "seed {seed}");
        }
    });
}

/// Clean-up needs locks: they are waited for under a cancelled token too.
pub fn a_cancelled_tasklet_locks<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (mutex, lock, token) = (Arc::new(Mutex::new(0)), Arc::new(RwLock::new(0)), CancelToken::new());
        token.cancel();
        let guards = (mutex.lock().unwrap(), lock.read().unwrap());
        let under = |work: Box<dyn FnOnce() + Send>| {
            let token = token.clone();
            move || token.run(work)
        };
        let locks = spawn_waiting(|| waiting(&*mutex), {
            let mutex = mutex.clone();
            under(Box::new(move || *mutex.lock().unwrap() += 1))
        });
        let writes = spawn_waiting(|| waiting(&*lock), {
            let lock = lock.clone();
            under(Box::new(move || *lock.write().unwrap() += 1))
        });
        (0..5).for_each(|_| give_way());
        assert!(!locks.is_finished() && !writes.is_finished());
        drop(guards);
        locks.join().unwrap();
        writes.join().unwrap();
        assert_eq!((*mutex.lock().unwrap(), *lock.read().unwrap()), (1, 1));
    });
}

/// What may be long ends: by unwinding, or with an error.
pub fn a_cancellation_ends_long_waits<B: Backend>(case: Case) {
    run::<B>(case, || {
        let (event, token) = (Arc::new(Event::new()), CancelToken::new());
        let waits = spawn_waiting(|| waiting(&*event), {
            let (event, token) = (event.clone(), token.clone());
            move || token.run(|| event.wait())
        });
        let is_told = spawn_waiting(|| waiting(&*event), {
            let (event, token) = (event.clone(), token.clone());
            move || token.run(|| event.wait_timeout(std::time::Duration::MAX))
        });
        token.cancel();
        assert!(waits.join().unwrap_err().is_killed());
        // A loop until the time is up ends.
        let changed = Condvar::new();
        token.run(|| {
            let mutex = Mutex::new(());
            let (guard, result) = changed.wait_timeout(mutex.lock().unwrap(), ms(60_000)).unwrap();
            assert!(result.timed_out());
            assert!(changed.wait_timeout_while(guard, ms(60_000), |()| true).unwrap().1.timed_out());
        });
        assert_eq!(is_told.join().unwrap(), Err(WaitError::Refused(ParkError::Cancelled)));
        let mutex = Mutex::new(());
        let _guard = mutex.lock().unwrap();
        token.run(|| assert!(mutex.try_lock_for(ms(60_000)).is_err()));
    });
}

/// Does something when it is dropped.
struct Later<F: FnMut()>(F);

impl<F: FnMut()> Drop for Later<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A thread on which a tasklet panics, and a destructor of it waits meanwhile, so that the thread is blocked.
fn panics_and_waits<B: Backend>(case: Case, wait: impl FnMut() + Send + 'static) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let scheduler = kinds::local::<B>(case.kind).build();
        let tasklet = scheduler.spawn_joinable(|| {
            let _later = Later(wait);
            fail("on purpose");
        });
        assert!(tasklet.join().is_err());
    })
}

/// A destructor that runs in a panic waits in the queue, as others do: those who come later are behind it.
pub fn a_destructor_waits_in_place<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let mutex = Arc::new(Mutex::new_fair(Vec::new()));
        let lock = Arc::new(RwLock::new(Vec::new()));
        let (semaphore, order) = (Arc::new(Semaphore::new(1)), Log::default());
        let guards = (mutex.lock().unwrap(), lock.write().unwrap(), semaphore.acquire());
        let enter = |number: u32| {
            let (mutex, lock, semaphore, order) = (mutex.clone(), lock.clone(), semaphore.clone(), order.clone());
            (
                move || mutex.lock().unwrap().push(number),
                move || lock.write().unwrap().push(number),
                move || {
                    let _permit = semaphore.acquire();
                    order.add(if number == 0 { "first" } else { "second" });
                },
            )
        };
        let (locks, writes, acquires) = enter(0);
        let threads = [
            panics_and_waits::<B>(case, locks),
            panics_and_waits::<B>(case, writes),
            panics_and_waits::<B>(case, acquires),
        ];
        until(|| waiting(&*mutex) == 1 && waiting(&*lock) == 1 && waiting(&*semaphore) == 1);
        let (locks, writes, acquires) = enter(1);
        let late = [
            spawn_waiting(|| waiting(&*mutex), locks),
            spawn_waiting(|| waiting(&*lock), writes),
            spawn_waiting(|| waiting(&*semaphore), acquires),
        ];
        drop(guards);
        late.into_iter().for_each(|tasklet| tasklet.join().unwrap());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!((&*mutex.lock().unwrap(), &*lock.read().unwrap()), (&vec![0, 1], &vec![0, 1]));
        order.assert("first second");
    });
}

/// So it does where it waits for others to come, or to end what they do.
pub fn a_destructor_waits_for_what_happens<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let (event, once) = (Arc::new(Event::new()), Arc::new(Once::new()));
        let shared = Arc::new((Mutex::new(false), Condvar::new()));
        let threads = [
            panics_and_waits::<B>(case, {
                let event = event.clone();
                move || event.wait()
            }),
            panics_and_waits::<B>(case, {
                let once = once.clone();
                move || once.wait()
            }),
            panics_and_waits::<B>(case, {
                let shared = shared.clone();
                move || drop(shared.1.wait_while(shared.0.lock().unwrap(), |is_done| !*is_done).unwrap())
            }),
        ];
        until(|| waiting(&*event) == 1 && waiting(&*once) == 1 && waiting(&shared.1) == 1);
        event.set();
        once.call_once(|| ());
        *shared.0.lock().unwrap() = true;
        shared.1.notify_one();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!((waiting(&*event), waiting(&*once), waiting(&shared.1)), (0, 0, 0));
    });
}

/// In virtual time.
pub fn limits_end_waits<B: Backend>(case: Case) {
    run_virtual::<B>(case, limits);
}

/// On a plain thread, whose clock is the real one.
pub fn limits_end_waits_of_threads<B: Backend>(_: Case) {
    limits();
}

fn limits() {
    let start = current::now();
    let mut count = 0;
    let mut past = |ended: bool| {
        count += 1;
        assert!(ended, "wait {count}");
        let now = current::now();
        assert!(now >= start + ms(2) * count, "wait {count} has ended at {now:?}");
    };
    let mutex = Mutex::new(());
    let guard = mutex.lock().unwrap();
    past(mutex.try_lock_for(ms(2)).is_err());
    past(mutex.try_lock_until(current::now() + ms(2)).is_err());
    let lock = RwLock::new(());
    let reader = lock.read().unwrap();
    past(lock.try_write_for(ms(2)).is_err());
    past(lock.try_write_until(current::now() + ms(2)).is_err());
    assert!(lock.try_read_for(ms(2)).is_ok());
    drop(reader);
    let writer = lock.try_write_for(ms(2)).unwrap();
    past(lock.try_read_for(ms(2)).is_err());
    past(lock.try_read_until(current::now() + ms(2)).is_err());
    drop(writer);
    let semaphore = Arc::new(Semaphore::new(1));
    drop(semaphore.acquire_timeout(ms(2)).unwrap());
    past(semaphore.acquire_many_timeout(2, ms(2)).unwrap_err() == WaitError::TimedOut);
    let permit = semaphore.acquire();
    past(semaphore.acquire_owned_timeout(ms(2)).is_err());
    drop(permit);
    let changed = Condvar::new();
    let (guard, result) = changed.wait_timeout(guard, ms(2)).unwrap();
    past(result.timed_out());
    let (guard, result) = changed.wait_timeout_while(guard, ms(2), |()| true).unwrap();
    past(result.timed_out());
    assert!(mutex.is_locked());
    drop(guard);
    past(Event::new().wait_timeout(ms(2)) == Err(WaitError::TimedOut));
    let barrier = Barrier::new(2);
    past(barrier.wait_timeout(ms(2)) == Err(WaitError::TimedOut));
    past(barrier.wait_timeout(ms(2)) == Err(WaitError::TimedOut));
    let group = WaitGroup::new();
    let member = group.clone();
    past(group.wait_timeout(ms(2)) == Err(WaitError::TimedOut));
    drop(member);
    // Nothing of all that is left behind.
    assert!(mutex.try_lock().is_ok() && lock.try_write().is_ok());
    assert_eq!(semaphore.available_permits(), 1);
}
