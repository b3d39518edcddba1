//! An actor that runs: a tasklet of the caller's scheduler, or a plain thread.

use tasklet_core::tasklet::JoinHandle;

use crate::channels::setup::{spawn, until};

pub(super) enum Running {
    Thread(std::thread::JoinHandle<()>),
    Tasklet(JoinHandle<()>),
}

impl Running {
    pub(super) fn new(as_thread: bool, act: impl FnOnce() + Send + 'static) -> Running {
        if as_thread { Running::Thread(std::thread::spawn(act)) } else { Running::Tasklet(spawn(act)) }
    }

    pub(super) fn is_finished(&self) -> bool {
        match self {
            Running::Thread(thread) => thread.is_finished(),
            Running::Tasklet(tasklet) => tasklet.is_finished(),
        }
    }

    /// If it is a tasklet.
    pub(super) fn kill(&self) {
        if let Running::Tasklet(tasklet) = self {
            tasklet.kill();
        }
    }

    /// Lets others run until it has finished.
    #[track_caller]
    pub(super) fn join(self) {
        until(|| self.is_finished());
        match self {
            Running::Thread(thread) => thread.join().expect("no actor panics"),
            Running::Tasklet(tasklet) => match tasklet.join() {
                Err(error) if !error.is_killed() => panic!("{error}"),
                _ => {}
            },
        }
    }
}
