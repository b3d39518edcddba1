#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod backend;
pub mod guide;

/// The deterministic scheduler: one thread, Stackless's order, driven by its host.
pub mod local {
    pub use tasklet_scheduler::local::Scheduler as SchedulerOn;
    #[doc(inline)]
    pub use tasklet_scheduler::local::*;

    /// A local scheduler on the [default backend](crate::backend::Default); [`SchedulerOn`] takes any.
    pub type Scheduler = SchedulerOn<crate::backend::Default>;

    /// Yields: the next tasklet in the queue runs, and the caller when its turn comes. Does nothing while the thread is unwinding.
    ///
    /// # Scheduling
    ///
    /// The caller becomes last. Alone in the queue, it goes on.
    ///
    /// # Panics
    ///
    /// The switch trap is set, a hook calls, or there is no local scheduler on this thread.
    /// Unwinds with what is thrown at the caller meanwhile.
    #[inline(always)]
    #[track_caller]
    pub fn schedule() {
        schedule_by::<crate::backend::Switch>();
    }
}

/// The work-stealing scheduler: tasklets on every core. What most programs need of it is in the root of this crate too.
pub mod stealing {
    #[doc(inline)]
    pub use crate::backend::run::*;
    #[doc(inline)]
    pub use tasklet_scheduler::stealing::*;
    pub use tasklet_scheduler::stealing::{Builder as BuilderOn, Runtime as RuntimeOn};

    /// A runtime on the [default backend](crate::backend::Default); [`RuntimeOn`] takes any.
    pub type Runtime = RuntimeOn<crate::backend::Default>;

    /// Makes a runtime on the [default backend](crate::backend::Default); [`BuilderOn`] takes any.
    pub type Builder = BuilderOn<crate::backend::Default>;

    /// Lets every other tasklet of this worker that can go on run first. On a plain thread, as [`std::thread::yield_now`].
    ///
    /// # Scheduling
    ///
    /// The caller is appended to its worker's queue. It goes on at once if nobody else can.
    ///
    /// # Panics
    ///
    /// Unwinds with what is thrown at the caller meanwhile.
    #[inline(always)]
    pub fn yield_now() {
        yield_by::<crate::backend::Switch>();
    }
}

/// Futures in tasklets, and sockets in async code.
#[cfg(feature = "futures")]
pub mod futures {
    #[doc(inline)]
    pub use tasklet_bridge::futures::*;
    #[doc(inline)]
    pub use tasklet_io::futures::*;
}

/// Pools of rayon's, for tasklets that have much to compute.
#[cfg(feature = "rayon")]
pub mod rayon {
    #[doc(inline)]
    pub use tasklet_bridge::rayon::*;
}

/// The local scheduler in an event loop of somebody else's: `poll(2)`, a window system's, tokio's.
pub mod event_loop {
    pub use tasklet_io::reactor;
    #[doc(inline)]
    pub use tasklet_scheduler::local::{Next, Pump};
}

/// Channels between tasklets, and between tasklets and threads.
pub mod channel {
    #[doc(inline)]
    pub use tasklet_channels::*;

    /// A rendezvous channel of this thread; see [`ChannelBy`].
    pub type Channel<T> = ChannelBy<T, Local<crate::backend::Switch>>;

    /// A channel handle that may go to other threads, if its values may. Made by [`share`](ChannelBy::share).
    pub type SharedChannel<T> = ChannelBy<T, Shared<crate::backend::Switch>>;

    /// Sends into a channel; see [`SenderBy`].
    pub type Sender<T> = SenderBy<T, crate::backend::Switch>;

    /// Receives from a channel; see [`ReceiverBy`].
    pub type Receiver<T> = ReceiverBy<T, crate::backend::Switch>;

    /// Room for one message; see [`PermitBy`].
    pub type Permit<'s, T> = PermitBy<'s, T, crate::backend::Switch>;

    /// A sender that does not keep its channel open; see [`WeakSenderBy`].
    pub type WeakSender<T> = WeakSenderBy<T, crate::backend::Switch>;

    /// A receiver that does not keep its channel open; see [`WeakReceiverBy`].
    pub type WeakReceiver<T> = WeakReceiverBy<T, crate::backend::Switch>;

    /// A channel with room for `capacity` messages. With 0 it is a rendezvous: a send and a receive happen together.
    ///
    /// # Panics
    ///
    /// No memory could hold so many messages; see [`try_bounded`].
    #[track_caller]
    pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
        bounded_by(capacity)
    }

    /// As [`bounded`], with an error instead of a panic.
    ///
    /// # Errors
    ///
    /// `capacity` messages are more than half of the address space holds.
    pub fn try_bounded<T>(capacity: usize) -> Result<(Sender<T>, Receiver<T>), CapacityError> {
        try_bounded_by(capacity)
    }

    /// A channel without a buffer: a send and a receive happen together. The same as `bounded(0)`.
    pub fn rendezvous<T>() -> (Sender<T>, Receiver<T>) {
        bounded_by(0)
    }

    /// A channel with room for any number of messages: a send never waits.
    pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
        unbounded_by()
    }

    /// A receiver that nothing ever comes to and that is never closed: an arm of a select that is switched off.
    pub fn never<T>() -> Receiver<T> {
        never_by()
    }
    pub use tasklet_core::channel::{ChannelEvent, Direction};
}

/// Locks and other synchronisation, for tasklets of both schedulers and plain threads together.
pub mod sync {
    #[doc(inline)]
    pub use tasklet_sync::*;
}

/// Descriptors that tasklets wait for, of any kind, pipes, the standard streams, and copies from one to another. Sockets are in [`net`], files in [`fs`].
pub mod io {
    #[doc(inline)]
    pub use tasklet_io::pipe::{Reader as PipeReader, Writer as PipeWriter, pipe};
    #[doc(inline)]
    pub use tasklet_io::stdio::*;
    #[doc(inline)]
    pub use tasklet_io::{Async, CopyFrom, CopyTo, Relay, copy};
}

/// Files, with the names of [`std::fs`].
pub mod fs {
    #[doc(inline)]
    pub use tasklet_io::fs::*;
}

/// Other processes, with the names of [`std::process`].
pub mod process {
    #[doc(inline)]
    pub use tasklet_io::process::*;
}

/// Signals to wait for.
pub mod signal {
    #[doc(inline)]
    pub use tasklet_io::signal::*;
}

/// Sockets, with the names of [`std::net`].
pub mod net {
    #[doc(inline)]
    pub use tasklet_io::net::*;
}

/// Sockets with paths for addresses, with the names of [`std::os::unix::net`].
pub mod unix {
    #[doc(inline)]
    pub use tasklet_io::unix::*;
}

/// Stacks: sizes, limits, guards, figures.
pub mod stack {
    pub use tasklet_core::current::{install_overflow_handler, stack_usage};
    pub use tasklet_core::stack::{
        Depot, GuardMode, StackConfig, StackError, StackPool, StackSize, StackStats, StackUsage,
    };
}

/// Time as schedulers see it, and what they sleep on. The functions work in tasklets of every scheduler, and on plain threads.
pub mod time {
    pub use tasklet_core::clock::{Clock, RealClock, VirtualClock};
    pub use tasklet_core::driver::{Driver, Notify, ThreadDriver, VirtualDriver};
    #[doc(inline)]
    pub use tasklet_scheduler::time::{Interval, interval, now, sleep, sleep_until, try_sleep_until};
}

/// What travels up a tasklet's stack: panics, interrupts, the exit that kill raises.
pub mod unwind {
    pub use tasklet_core::unwind::{Payload, TaskletExit, is_tasklet_exit, message};
}

#[doc(inline)]
pub use tasklet_scheduler::swapped;

#[doc(inline)]
pub use backend::run::*;
#[cfg(feature = "futures")]
pub use futures::block_on;
#[doc(inline)]
pub use stealing::{
    Builder, CancelToken, Runtime, blocking, checkpoint, join, mask, scope, sleep, spawn, spawn_async, spawn_local,
    spawn_on, timeout, try_spawn, yield_now,
};
pub use tasklet_channels::{select, select_biased};
pub use tasklet_scheduler::tasklet_local;

pub use channel::{
    Channel, Preference, Receiver, RecvError, Select, SendError, Sender, SharedChannel, bounded, rendezvous, unbounded,
};
pub use tasklet_core::current::stack_usage;
pub use tasklet_core::id::{ChannelId, SchedulerId, TaskletId};
pub use tasklet_core::park::{ParkError, ParkReason};
pub use tasklet_core::tasklet::{JoinError, JoinHandle};

/// What most programs need.
///
/// ```
/// use tasklet::prelude::*;
///
/// let scheduler = local::Scheduler::new();
/// let sum = scheduler.spawn_joinable(|| 1 + 2);
/// assert_eq!(sum.join().unwrap(), 3);
/// ```
pub mod prelude {
    pub use crate::channel::{Channel, Preference, SharedChannel};
    pub use crate::local;
    pub use tasklet_core::tasklet::JoinHandle;
}
