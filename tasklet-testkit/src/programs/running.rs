//! An actor that runs: a tasklet of the caller's scheduler, with a stack or soft, or a plain thread.

use tasklet_core::tasklet::JoinHandle;

use crate::channels::setup::until;
use crate::random::Dice;
use crate::stealing::setup::Census;
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
    /// With what says that its code is gone: a soft tasklet that is killed has finished before its future is dropped.
    Tasklet(JoinHandle<()>, Census),
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
        Running::Tasklet(handle, gone)
    }

    pub(super) fn is_finished(&self) -> bool {
        match self {
            Running::Thread(thread) => thread.is_finished(),
            Running::Tasklet(tasklet, gone) => tasklet.is_finished() && gone.dropped() == 1,
        }
    }

    /// If it is a tasklet.
    pub(super) fn kill(&self) {
        if let Running::Tasklet(tasklet, _) = self {
            tasklet.kill();
        }
    }

    /// Lets others run until it has finished.
    #[track_caller]
    pub(super) fn join(self) {
        until(|| self.is_finished());
        match self {
            Running::Thread(thread) => thread.join().expect("no actor panics"),
            Running::Tasklet(tasklet, _) => match tasklet.join() {
                Err(error) if !error.is_killed() => panic!("{error}"),
                _ => {}
            },
        }
    }
}
