//! An actor that runs: a tasklet of the caller's scheduler, with a stack or soft, or a plain thread.

use tasklet_core::tasklet::JoinHandle;

use crate::channels::setup::until;
use crate::random::Dice;
use crate::stealing::setup::{Census, Flag};
use crate::who::{Who, call};

/// What an actor is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Form {
    Thread,
    Tasklet(Who),
}

impl Form {
    /// A tasklet in so many of a hundred cases, of which half are soft.
    pub(super) fn draw(dice: &mut Dice, tasklets: usize) -> Form {
        if !dice.chance(tasklets) {
            Form::Thread
        } else if dice.chance(50) {
            Form::Tasklet(Who::Soft)
        } else {
            Form::Tasklet(Who::Stackful)
        }
    }

    /// How it waits.
    pub(super) fn who(self) -> Who {
        match self {
            Form::Thread => Who::Stackful,
            Form::Tasklet(who) => who,
        }
    }
}

pub(super) enum Running {
    Thread(std::thread::JoinHandle<()>),
    Tasklet {
        handle: JoinHandle<()>,
        /// Says that its code is gone: a soft tasklet that is killed has finished before its future is dropped.
        gone: Census,
        was_killed: Flag,
    },
}

impl Running {
    pub(super) fn new(form: Form, act: impl Future<Output = ()> + Send + 'static) -> Running {
        let Form::Tasklet(who) = form else {
            return Running::Thread(std::thread::spawn(move || call(act)));
        };
        let gone = Census::default();
        let both = (act, gone.one());
        let handle = who.spawn(async move {
            let (act, _last) = both;
            act.await;
        });
        Running::Tasklet { handle, gone, was_killed: Flag::default() }
    }

    pub(super) fn is_finished(&self) -> bool {
        match self {
            Running::Thread(thread) => thread.is_finished(),
            Running::Tasklet { handle, gone, .. } => handle.is_finished() && gone.dropped() == 1,
        }
    }

    /// If it is a tasklet.
    pub(super) fn kill(&self) {
        if let Running::Tasklet { handle, was_killed, .. } = self {
            was_killed.set();
            handle.kill();
        }
    }

    /// Lets others run until it has finished.
    #[track_caller]
    pub(super) fn join(self) {
        until(|| self.is_finished());
        match self {
            Running::Thread(thread) => thread.join().expect("no actor panics"),
            Running::Tasklet { handle, was_killed, .. } => match handle.join() {
                // One that nobody has killed and that ends so was lost by whoever should have woken it.
                Err(error) if !error.is_killed() || !was_killed.is_set() => panic!("{error}"),
                _ => {}
            },
        }
    }
}
