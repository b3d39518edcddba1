//! What is done or made once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tasklet_core::backend::Backend;
use tasklet_sync::{LazyLock, Once, OnceCell};

use super::Case;
use super::setup::{caught, caught_text, fail, give_way, run};

/// One of many does it, and all find it done when they go on.
pub fn one_caller_does_it<B: Backend>(case: Case) {
    let (once, count) = (Arc::new(Once::new()), Arc::new(AtomicUsize::new(0)));
    let call = {
        let (once, count) = (once.clone(), count.clone());
        move || {
            once.call_once(|| {
                (0..5).for_each(|_| give_way());
                count.fetch_add(1, Ordering::SeqCst);
            });
            assert_eq!(count.load(Ordering::SeqCst), 1);
        }
    };
    let thread = std::thread::spawn(call.clone());
    run::<B>(case, move || {
        let waiter = case.spawn({
            let once = once.clone();
            move || once.wait()
        });
        let callers: Vec<_> = (0..8).map(|_| case.spawn(call.clone())).collect();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        waiter.join().unwrap();
        assert!(once.is_completed());
    });
    thread.join().unwrap();
}

/// Those who wait for a function that unwinds are told, or do it themselves.
pub fn what_unwinds_poisons_a_once<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let once = Arc::new(Once::new());
        let begun = Arc::new(AtomicUsize::new(0));
        let fails = case.spawn({
            let (once, begun) = (once.clone(), begun.clone());
            move || {
                once.call_once(|| {
                    begun.fetch_add(1, Ordering::SeqCst);
                    (0..5).for_each(|_| give_way());
                    fail("on purpose")
                })
            }
        });
        super::setup::until(|| begun.load(Ordering::SeqCst) == 1);
        let waits = case.spawn({
            let once = once.clone();
            move || caught_text(|| once.call_once(|| unreachable!("it is poisoned")))
        });
        assert!(fails.join().is_err());
        assert!(waits.join().unwrap().contains("unwound"));
        assert!(!once.is_completed());
        assert!(caught(|| once.wait()).is_err());
        once.call_once_force(|state| assert!(state.is_poisoned()));
        assert!(once.is_completed());
        once.call_once(|| unreachable!("it is done"));
    });
}

/// Several race to make or set the value; one wins, and all see its value.
pub fn a_cell_is_made_by_one<B: Backend>(case: Case) {
    for round in 0..20 {
        let (cell, made) = (Arc::new(OnceCell::new()), Arc::new(AtomicUsize::new(0)));
        let make = {
            let (cell, made) = (cell.clone(), made.clone());
            move |number: usize| {
                if number.is_multiple_of(3) {
                    match cell.set(number) {
                        Ok(()) => drop(made.fetch_add(1, Ordering::SeqCst)),
                        Err(back) => assert_eq!(back, number),
                    }
                }
                *cell.get_or_init(|| {
                    give_way();
                    made.fetch_add(1, Ordering::SeqCst);
                    number
                })
            }
        };
        let thread = std::thread::spawn({
            let make = make.clone();
            move || make(round)
        });
        let winner = cell.clone();
        run::<B>(case, move || {
            let awaits = case.spawn({
                let winner = winner.clone();
                move || *winner.wait()
            });
            let makers = (1..6).map(|number| {
                let make = make.clone();
                case.spawn(move || make(number + round))
            });
            for maker in makers.collect::<Vec<_>>() {
                assert_eq!(Some(&maker.join().unwrap()), winner.get());
            }
            assert_eq!(Some(&awaits.join().unwrap()), winner.get());
        });
        assert_eq!(Some(&thread.join().unwrap()), cell.get());
        assert_eq!(made.load(Ordering::SeqCst), 1);
    }
}

/// Not poisoned, other than a `Once`.
pub fn a_cell_whose_maker_unwinds_is_made_by_the_next<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let mut cell = OnceCell::new();
        assert!(caught(|| cell.get_or_init(|| fail("on purpose"))).is_err());
        assert_eq!(cell.get(), None);
        assert_eq!(*cell.get_or_init(|| 5), 5);
        assert_eq!(cell.take(), Some(5));
        assert_eq!(cell.set(6), Ok(()));
        *cell.get_mut().unwrap() += 1;
        assert_eq!(cell.clone(), OnceCell::from(7));
        assert_eq!(cell.into_inner(), Some(7));
    });
}

/// Once; and if its function unwinds it is never there.
pub fn a_lazy_value_is_made_when_it_is_used<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let made = Arc::new(AtomicUsize::new(0));
        let count = made.clone();
        let lazy = Arc::new(LazyLock::new(move || {
            give_way();
            count.fetch_add(1, Ordering::SeqCst) + 5
        }));
        assert_eq!(made.load(Ordering::SeqCst), 0);
        let users = [0; 4].map(|_| {
            let lazy = lazy.clone();
            case.spawn(move || **lazy)
        });
        users.into_iter().for_each(|user| assert_eq!(user.join().unwrap(), 5));
        assert_eq!(made.load(Ordering::SeqCst), 1);
        let broken: LazyLock<u32> = LazyLock::new(|| fail("on purpose"));
        assert!(caught(|| *broken).is_err());
        assert!(caught_text(|| *broken).contains("unwound"));
    });
}
