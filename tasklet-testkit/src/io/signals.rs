//! Signals. Tests run beside each other in one process: each has signals of its own.

use std::sync::Arc;

use tasklet_channels::{select, unbounded};
use tasklet_core::backend::Backend;
use tasklet_io::signal::{SIGCONT, SIGINT, SIGIO, SIGPIPE, SIGURG, SIGUSR1, SIGUSR2, SIGWINCH, Signals, ctrl_c};

use super::Case;
use super::setup::{Flag, give_way, run, spawn, until};

/// Sends a signal to this thread, which has handled it afterwards.
fn raise(signal: i32) {
    // SAFETY: it has a handler, which belongs to who listens.
    let result = unsafe { libc::raise(signal) };
    assert_eq!(result, 0, "signal {signal}");
}

/// Sends a signal to this process, of which some thread handles it.
fn send(signal: i32) {
    // SAFETY: as above.
    let result = unsafe { libc::kill(libc::getpid(), signal) };
    assert_eq!(result, 0, "signal {signal}");
}

/// Who waits is woken, each of those who listen; others run meanwhile.
pub fn everybody_who_listens_is_told<B: Backend>(case: Case) {
    run::<B>(case, || {
        let listeners: Vec<_> = (0..3)
            .map(|_| {
                let signals = Signals::new([SIGUSR1]).unwrap();
                spawn(move || signals.recv().unwrap())
            })
            .collect();
        (0..10).for_each(|_| give_way());
        assert!(listeners.iter().all(|listener| !listener.is_finished()));
        send(SIGUSR1);
        listeners.into_iter().for_each(|listener| assert_eq!(listener.join().unwrap(), SIGUSR1));
    });
}

/// A signal is kept until it is received, once.
pub fn a_signal_is_kept<B: Backend>(case: Case) {
    run::<B>(case, || {
        let signals = Signals::new([SIGUSR2, SIGCONT]).unwrap();
        assert_eq!(signals.try_recv().unwrap(), None);
        for _ in 0..3 {
            raise(SIGUSR2);
        }
        assert_eq!(signals.recv().unwrap(), SIGUSR2);
        assert_eq!(signals.try_recv().unwrap(), None);
        raise(SIGCONT);
        raise(SIGUSR2);
        let mut both = [signals.recv().unwrap(), signals.recv().unwrap()];
        both.sort_unstable();
        assert_eq!(both, [SIGCONT.min(SIGUSR2), SIGCONT.max(SIGUSR2)]);
        assert_eq!(signals.try_recv().unwrap(), None);
    });
}

/// Each signal wakes one of those who wait together.
pub fn several_wait_together<B: Backend>(case: Case) {
    run::<B>(case, || {
        let signals = Arc::new(Signals::new([SIGWINCH, SIGURG]).unwrap());
        for _ in 0..20 {
            let waiters = [0, 1].map(|_| {
                let signals = signals.clone();
                spawn(move || signals.recv().unwrap())
            });
            give_way();
            raise(SIGWINCH);
            raise(SIGURG);
            let mut received = waiters.map(|waiter| waiter.join().unwrap());
            received.sort_unstable();
            assert_eq!(received, [SIGURG.min(SIGWINCH), SIGURG.max(SIGWINCH)]);
        }
    });
}

/// A select takes a signal if it chooses that arm, and no other.
pub fn a_select_takes_a_signal<B: Backend>(case: Case) {
    run::<B>(case, || {
        let signals = Signals::new([SIGPIPE]).unwrap();
        let (sender, receiver) = unbounded::<i32>();
        let (tell, told) = unbounded::<i32>();
        select! {
            recv(signals) -> _ => panic!("none has come"),
            default => {}
        }
        let waiter = spawn(move || {
            for _ in 0..10 {
                select! {
                    recv(signals) -> signal => tell.send(signal.unwrap()).unwrap(),
                    recv(receiver) -> message => tell.send(message.unwrap()).unwrap(),
                }
            }
            signals.try_recv().unwrap()
        });
        for number in 100..105 {
            (0..3).for_each(|_| give_way());
            raise(SIGPIPE);
            assert_eq!(told.recv().unwrap(), SIGPIPE);
            (0..3).for_each(|_| give_way());
            sender.send(number).unwrap();
            assert_eq!(told.recv().unwrap(), number);
        }
        assert_eq!(waiter.join().unwrap(), None);
    });
}

/// What comes later is for the next one.
pub fn a_killed_waiter_has_taken_none<B: Backend>(case: Case) {
    run::<B>(case, || {
        let signals = Arc::new(Signals::new([SIGIO]).unwrap());
        let (other, begins) = (signals.clone(), Flag::default());
        let told = begins.clone();
        let waiter = spawn(move || {
            told.set();
            let _ = other.recv();
        });
        until(|| begins.is_set());
        (0..3).for_each(|_| give_way());
        waiter.kill();
        assert!(waiter.join().unwrap_err().is_killed());
        raise(SIGIO);
        assert_eq!(signals.recv().unwrap(), SIGIO);
    });
}

/// An interrupt is an event, and ends nothing, also when nobody listens any longer.
pub fn an_interrupt_is_received<B: Backend>(case: Case) {
    let ended = case.in_child(|| {
        run::<B>(case, || {
            let interrupt = ctrl_c().unwrap();
            let waiter = spawn(move || interrupt.recv().unwrap());
            (0..3).for_each(|_| give_way());
            send(SIGINT);
            assert_eq!(waiter.join().unwrap(), SIGINT);
            raise(SIGINT);
        });
    });
    assert!(ended.success, "{ended:?}");
}

/// What cannot be listened to is refused, with its number.
pub fn some_signals_are_refused<B: Backend>(case: Case) {
    run::<B>(case, || {
        for signal in [9, 11, 1000] {
            let error = Signals::new([SIGUSR1, signal]).unwrap_err();
            assert!(error.to_string().contains(&format!("signal {signal}")), "{error}");
        }
        assert!(Signals::new([0; 0]).unwrap_err().to_string().contains("name one"));
    });
}
