//! Asking politely, and putting it off: cancel tokens and masks.

use std::io::Read;
use std::time::Duration;

use tasklet_core::backend::Backend;
use tasklet_core::park::ParkError;
use tasklet_io::net::TcpListener;
use tasklet_io::unix::UnixStream;
use tasklet_scheduler::stealing::{self, CancelToken};

use super::Case;
use super::setup::{Census, Flag, LIMIT, Log, caught_text, channel, park_for_ever, spawn_parked, yield_until};

/// Every kind of wait under a cancelled token, before it begins or while it lasts, fails; a value comes back; what need not wait works.
fn every_wait_fails(token: &CancelToken, cancel_meanwhile: bool) {
    let census = Census::default();
    let values = channel();
    let joined = std::rc::Rc::new(stealing::spawn(park_for_ever::<()>));
    let token = token.clone();
    // Cancels while `wait` waits, if that is asked for, and looks at what it says.
    let cancelled = |wait: Box<dyn FnOnce() -> Option<ParkError>>| {
        let own = if cancel_meanwhile { CancelToken::new() } else { token.clone() };
        let under = own.clone();
        let waiter = spawn_parked(move |waits| {
            under.run(|| {
                waits.set();
                wait()
            })
        });
        if cancel_meanwhile {
            own.cancel();
        }
        assert_eq!(waiter.join().unwrap(), Some(ParkError::Cancelled));
    };
    let (receive, send) = (values.clone(), channel());
    cancelled(Box::new(move || {
        receive.recv().map(|value: super::setup::Counted| drop(value)).unwrap_err().park_error()
    }));
    let value = census.one();
    cancelled(Box::new(move || {
        let error = send.send(value).unwrap_err();
        let cause = error.park_error();
        // It came back whole.
        drop(error.into_inner());
        cause
    }));
    census.assert_all_dropped();
    let handle = joined.clone();
    cancelled(Box::new(move || handle.wait().err()));
    cancelled(Box::new(|| stealing::park().err()));
    cancelled(Box::new(|| stealing::park_timeout(LIMIT).err()));
    cancelled(Box::new(|| {
        // Returns early.
        stealing::sleep(LIMIT);
        stealing::try_sleep_until(stealing::now() + LIMIT).err()
    }));
    let cause = |error: std::io::Error| error.get_ref()?.downcast_ref::<ParkError>().copied();
    let (mut stream, _other) = UnixStream::pair().unwrap();
    cancelled(Box::new(move || cause(stream.read(&mut [0]).unwrap_err())));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    cancelled(Box::new(move || {
        // A loop over those who come ends, whatever it does with errors.
        let mut errors: Vec<_> = listener.incoming().map(Result::unwrap_err).collect();
        assert_eq!(errors.len(), 1);
        cause(errors.pop()?)
    }));
    joined.kill();
    joined.wait().unwrap();
    assert_eq!(values.balance(), 0);
}

/// A token that was cancelled before.
pub fn nobody_waits_under_a_cancelled_token<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        let token = CancelToken::new();
        token.cancel();
        every_wait_fails(&token, false);
    });
}

/// A token that is cancelled meanwhile.
pub fn cancelling_ends_waits<B: Backend>(case: Case) {
    case.run::<B, _>(|| every_wait_fails(&CancelToken::new(), true));
}

/// Nothing unwinds, what is ready is done, and what comes after the token's scope waits as ever.
pub fn a_cancelled_tasklet_decides_how_it_ends<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        let token = CancelToken::new();
        assert!(!stealing::is_cancelled());
        let values = channel::<u32>();
        let source = values.clone();
        let sender = stealing::spawn(move || source.send(1).unwrap());
        yield_until(|| values.balance() == 1);
        let result = token.run(|| {
            assert!(!stealing::is_cancelled());
            token.cancel();
            token.cancel();
            assert!(stealing::is_cancelled() && token.is_cancelled());
            stealing::yield_now();
            stealing::checkpoint();
            assert_eq!(values.recv(), Ok(1));
            let finished = stealing::spawn(|| ());
            yield_until(|| finished.is_finished());
            finished.join().unwrap();
            assert_eq!(values.recv().unwrap_err().park_error(), Some(ParkError::Cancelled));
            7
        });
        assert_eq!(result, 7);
        sender.join().unwrap();
        assert!(!stealing::is_cancelled());
        stealing::sleep(Duration::from_micros(10));
        stealing::spawn(stealing::yield_now).join().unwrap();
    });
}

/// A parent is cancelled with all below it, held or not; a child alone.
pub fn tokens_are_a_tree<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        let root = CancelToken::new();
        let (left, right) = (root.child(), root.child());
        let leaf = left.child().child();
        right.cancel();
        assert!(right.is_cancelled() && right.child().is_cancelled());
        assert!(!root.is_cancelled() && !left.is_cancelled() && !leaf.is_cancelled());
        drop(left);
        let under = leaf.clone();
        let waiter = spawn_parked(move |waits| {
            under.run(|| {
                waits.set();
                stealing::park()
            })
        });
        root.cancel();
        assert!(leaf.is_cancelled() && root.child().is_cancelled());
        assert_eq!(waiter.join().unwrap(), Err(ParkError::Cancelled));
    });
}

/// A tasklet under several tokens is cancelled by each of them.
pub fn tokens_nest_in_a_tasklet<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        for which in 0..2 {
            let tokens = [CancelToken::new(), CancelToken::new()];
            let its = tokens.clone();
            let waiter = spawn_parked(move |waits| {
                its[0].run(|| {
                    let inner = its[1].run(|| {
                        waits.set();
                        stealing::park()
                    });
                    (inner, stealing::is_cancelled())
                })
            });
            tokens[which].cancel();
            assert_eq!(waiter.join().unwrap(), (Err(ParkError::Cancelled), which == 0));
        }
    });
}

/// From a plain thread, while the tasklets of all workers wait.
pub fn a_token_is_cancelled_from_anywhere<B: Backend>(case: Case) {
    let runtime = case.runtime::<B>();
    let (token, waiting) = (CancelToken::new(), Census::default());
    let waiters: Vec<_> = (0..20)
        .map(|_| {
            let (token, waiting) = (token.clone(), waiting.clone());
            runtime.spawn(move || {
                token.run(|| {
                    let _one = waiting.one();
                    stealing::park()
                })
            })
        })
        .collect();
    super::setup::spin_until(|| waiting.made() == 20);
    token.cancel();
    for waiter in waiters {
        assert_eq!(waiter.join().unwrap(), Err(ParkError::Cancelled));
    }
    super::setup::end(runtime);
    assert_eq!(caught_text(|| token.run(|| ())), "could not run under a cancel token: no tasklet of a runtime calls");
}

/// A kill that comes under a mask takes effect after it; waits in between are whole.
pub fn a_mask_puts_a_kill_off<B: Backend>(case: Case) {
    let log = Log::default();
    case.run::<B, _>(|| {
        let (inner, killed) = (log.clone(), Flag::default());
        let (values, kills) = (channel::<u32>(), killed.clone());
        let source = values.clone();
        let victim = spawn_parked(move |started| {
            {
                let _mask = stealing::mask();
                {
                    let _again = stealing::mask();
                    started.set();
                    kills.wait();
                }
                stealing::yield_now();
                stealing::checkpoint();
                stealing::sleep(Duration::from_micros(10));
                inner.add(format!("{:?}", values.recv()));
                stealing::spawn(stealing::yield_now).join().unwrap();
                inner.add("masked");
            }
            inner.add("unmasked");
            stealing::checkpoint();
            inner.add("went on");
        });
        victim.kill();
        killed.set();
        yield_until(|| source.balance() == -1);
        source.send(3).unwrap();
        assert!(victim.join().unwrap_err().is_killed());
    });
    log.assert("Ok(3) masked unmasked");
}

/// A mask that begins when the kill is on its way puts that off too; and one of a wait that lasts when it comes.
pub fn a_kill_does_not_end_a_masked_wait<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        let values = channel::<u32>();
        let (source, got) = (values.clone(), Log::default());
        let inner = got.clone();
        let victim = spawn_parked(move |waits| {
            let mask = stealing::mask();
            waits.set();
            inner.add(format!("{:?}", values.recv()));
            drop(mask);
            park_for_ever::<()>();
        });
        victim.kill();
        (0..100).for_each(|_| stealing::yield_now());
        assert_eq!(source.balance(), -1);
        source.send(8).unwrap();
        assert!(victim.join().unwrap_err().is_killed());
        got.assert("Ok(8)");
    });
}

/// Time limits and cancellation wait as well.
pub fn a_mask_puts_timeouts_and_cancellation_off<B: Backend>(case: Case) {
    case.run::<B, _>(|| {
        let log = Log::default();
        let limited = stealing::timeout(Duration::from_millis(2), || {
            let mask = stealing::mask();
            stealing::sleep(Duration::from_millis(10));
            log.add("slept");
            drop(mask);
            stealing::sleep(LIMIT);
        });
        assert!(limited.is_err());
        log.assert("slept");

        let token = CancelToken::new();
        let under = token.clone();
        let values = channel::<u32>();
        let source = values.clone();
        let waiter = spawn_parked(move |waits| {
            under.run(|| {
                let mask = stealing::mask();
                waits.set();
                let masked = (values.recv(), stealing::is_cancelled());
                drop(mask);
                (masked, stealing::is_cancelled(), values.recv().unwrap_err().park_error())
            })
        });
        token.cancel();
        (0..100).for_each(|_| stealing::yield_now());
        source.send(4).unwrap();
        assert_eq!(waiter.join().unwrap(), ((Ok(4), false), true, Some(ParkError::Cancelled)));
    });
    assert_eq!(caught_text(stealing::mask), "could not mask kills: no tasklet of a runtime calls");
}
