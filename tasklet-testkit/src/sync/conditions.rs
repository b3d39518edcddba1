//! Condition variables.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tasklet_core::backend::Backend;
use tasklet_sync::{Condvar, Mutex};

use super::Case;
use super::setup::{give_way, run, until, waiting};

/// What waiters wait for, and how they are told.
type Shared<T> = Arc<(Mutex<T>, Condvar)>;

fn shared<T>(value: T) -> Shared<T> {
    Arc::new((Mutex::new(value), Condvar::new()))
}

/// Each notification wakes one, and the oldest; one that finds nobody is not kept.
pub fn notify_one_wakes_the_oldest<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let shared = shared(Vec::new());
        shared.1.notify_one();
        let wait = |number: usize| {
            let its = shared.clone();
            case.spawn_waiting(
                || waiting(&shared.1),
                move || {
                    let guard = its.0.lock().unwrap();
                    its.1.wait(guard).unwrap().push(number);
                },
            )
        };
        let waiters: Vec<_> = (0..4).map(wait).collect();
        for count in 1..=4 {
            shared.1.notify_one();
            until(|| shared.0.lock().unwrap().len() == count);
            (0..5).for_each(|_| give_way());
            assert_eq!(waiting(&shared.1), 4 - count);
        }
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        assert_eq!(*shared.0.lock().unwrap(), [0, 1, 2, 3]);
    });
}

/// All that wait go on, a thread too; those that come afterwards wait.
pub fn notify_all_wakes_those_who_wait<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let shared = shared(0_u32);
        let wait = || {
            let its = shared.clone();
            move || {
                let mut rounds = its.1.wait_while(its.0.lock().unwrap(), |rounds| *rounds == 0).unwrap();
                *rounds += 1;
            }
        };
        let waiters: Vec<_> = (0..3).map(|_| case.spawn_waiting(|| waiting(&shared.1), wait())).collect();
        let thread = std::thread::spawn(wait());
        until(|| waiting(&shared.1) == 4);
        *shared.0.lock().unwrap() = 1;
        shared.1.notify_all();
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        thread.join().unwrap();
        assert_eq!(*shared.0.lock().unwrap(), 5);
        let late = case.spawn_waiting(|| waiting(&shared.1), {
            let its = shared.clone();
            move || drop(its.1.wait(its.0.lock().unwrap()).unwrap())
        });
        (0..5).for_each(|_| give_way());
        assert!(!late.is_finished());
        shared.1.notify_all();
        late.join().unwrap();
    });
}

/// A bounded queue of a mutex and two condition variables, with makers and takers on tasklets and threads: a lost notification would hang it.
pub fn messages_go_through_a_condition<B: Backend>(case: Case) {
    const EACH: u64 = 300;
    struct Queue {
        items: Mutex<VecDeque<u64>>,
        filled: Condvar,
        emptied: Condvar,
    }
    let queue = Arc::new(Queue { items: Mutex::default(), filled: Condvar::new(), emptied: Condvar::new() });
    let make = {
        let queue = queue.clone();
        move || {
            for item in 0..EACH {
                let guard = queue.items.lock().unwrap();
                let mut items = queue.emptied.wait_while(guard, |items| items.len() >= 2).unwrap();
                items.push_back(item);
                drop(items);
                queue.filled.notify_one();
            }
        }
    };
    let take = move || {
        let mut sum = 0;
        for _ in 0..EACH {
            let guard = queue.items.lock().unwrap();
            let mut items = queue.filled.wait_while(guard, |items| items.is_empty()).unwrap();
            sum += items.pop_front().unwrap();
            drop(items);
            queue.emptied.notify_one();
        }
        sum
    };
    let threads = (std::thread::spawn(make.clone()), std::thread::spawn(take.clone()));
    let sum = Arc::new(AtomicU64::new(0));
    let taken = sum.clone();
    run::<B>(case, move || {
        let makers = [0, 1].map(|_| case.spawn(make.clone()));
        let takers = [0, 1].map(|_| case.spawn(take.clone()));
        makers.into_iter().for_each(|maker| maker.join().unwrap());
        for taker in takers {
            taken.fetch_add(taker.join().unwrap(), Ordering::SeqCst);
        }
    });
    threads.0.join().unwrap();
    let sum = sum.load(Ordering::SeqCst) + threads.1.join().unwrap();
    assert_eq!(sum, 3 * EACH * (EACH - 1) / 2);
}
