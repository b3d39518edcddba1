//! What every test of the local scheduler begins with.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tasklet_channels::{ChannelBy, Local, Preference, Reach};
use tasklet_core::backend::Backend;
use tasklet_core::operation::On;
use tasklet_core::tasklet::StackKind;
use tasklet_core::unwind::{Payload, message, raise};
use tasklet_scheduler::local::{self, RunError, RunOutcome, Scheduler, Tasklet};

use crate::Recorder;
use crate::kinds;

/// A scheduler and a list of events. Tasklets are named, so that the queue can be read.
pub(super) struct Setup<B: Backend> {
    pub(super) scheduler: Scheduler<B>,
    pub(super) log: Recorder,
}

impl<B: Backend> Setup<B> {
    pub(super) fn new(kind: StackKind) -> Setup<B> {
        Setup::on(kinds::local(kind).build())
    }

    pub(super) fn on(scheduler: Scheduler<B>) -> Setup<B> {
        Setup { scheduler, log: Recorder::new() }
    }

    /// A queued tasklet.
    pub(super) fn spawn(&self, name: &str, f: impl FnOnce(Recorder) + 'static) -> Tasklet {
        let log = self.log.clone();
        self.scheduler.tasklet().name(name).spawn(move || f(log))
    }

    /// A queued tasklet with its own clone of something.
    pub(super) fn spawn_with<C: Clone + 'static>(
        &self,
        name: &str,
        shared: &C,
        f: impl FnOnce(Recorder, C) + 'static,
    ) -> Tasklet {
        let shared = shared.clone();
        self.spawn(name, move |log| f(log, shared))
    }

    /// A tasklet in no queue.
    pub(super) fn paused(&self, name: &str, f: impl FnOnce(Recorder) + 'static) -> Tasklet {
        let log = self.log.clone();
        self.scheduler.tasklet().name(name).paused(move || f(log))
    }

    /// A queued tasklet that logs its name and ends.
    pub(super) fn says(&self, name: &'static str) -> Tasklet {
        self.spawn(name, move |log| log.log(name))
    }

    /// A queued tasklet that logs its name with a number and yields, so many times.
    pub(super) fn yields(&self, name: &'static str, rounds: usize) -> Tasklet {
        self.spawn(name, move |log| {
            for i in 0..rounds {
                log.log(format!("{name}{i}"));
                local::schedule_by::<On<B>>();
            }
        })
    }

    /// Runs until nothing is runnable.
    #[track_caller]
    pub(super) fn run(&self) {
        let outcome = self.scheduler.run();
        assert!(matches!(outcome, Ok(RunOutcome::Idle)), "{outcome:?}");
    }

    /// Runs until a tasklet fails; returns the text of what it failed with.
    #[track_caller]
    pub(super) fn run_to_error(&self) -> String {
        text(self.scheduler.run())
    }

    /// The names in the queue, from the running one on.
    pub(super) fn queue(&self) -> String {
        names(&self.scheduler.runnable())
    }
}

/// The names of tasklets, separated by spaces.
pub(super) fn names(tasklets: &[Tasklet]) -> String {
    let names: Vec<&str> = tasklets.iter().map(|tasklet| tasklet.name().unwrap_or("?")).collect();
    names.join(" ")
}

/// Logs a name with a number and yields, so many times.
pub(super) fn yields(log: &Recorder, name: &str, rounds: usize) {
    for i in 0..rounds {
        log.log(format!("{name}{i}"));
        local::schedule();
    }
}

/// The text of a tasklet's failure that a run reports.
#[track_caller]
pub(super) fn text(outcome: Result<RunOutcome, RunError>) -> String {
    match outcome {
        Err(RunError::Tasklet(error)) => error.message().to_owned(),
        other => panic!("a tasklet should have failed, but the run ended with {other:?}"),
    }
}

/// Leaves the queue, and does not care how it comes back.
pub(super) fn leave() {
    let _ = local::schedule_remove();
}

/// A channel with the backend's switch compiled in. Chapters that use [`Channel`](tasklet_channels::Channel) look it up at run time.
pub(super) type Chan<B, T> = ChannelBy<T, Local<On<B>>>;

/// A channel with the default preference.
pub(super) fn channel<B: Backend, T>() -> Chan<B, T> {
    Chan::<B, T>::new()
}

/// A channel with a preference.
pub(super) fn preferring<B: Backend, T>(preference: Preference) -> Chan<B, T> {
    Chan::<B, T>::with_preference(preference)
}

/// Receives, and does not care what.
pub(super) fn receive<T, R: Reach>(channel: &ChannelBy<T, R>) {
    let _ = channel.recv();
}

/// Ends the tasklet with an error, without the panic hook's words.
pub(super) fn fail(text: &'static str) -> ! {
    raise(Box::new(text))
}

/// Calls `f` and catches what unwinds out of it.
pub(super) fn caught<R>(f: impl FnOnce() -> R) -> Result<R, Payload> {
    catch_unwind(AssertUnwindSafe(f))
}

/// The text of what unwinds out of `f`.
#[track_caller]
pub(super) fn caught_text<R>(f: impl FnOnce() -> R) -> String {
    match caught(f) {
        Ok(_) => panic!("nothing was raised"),
        Err(payload) => message(&payload).to_owned(),
    }
}
