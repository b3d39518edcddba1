#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod backend;

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

/// Channels between tasklets, and between tasklets and threads.
pub mod channel {
    #[doc(inline)]
    pub use tasklet_channels::*;

    /// A rendezvous channel of this thread; see [`ChannelBy`].
    pub type Channel<T> = ChannelBy<T, Local<crate::backend::Switch>>;

    /// A channel handle that may go to other threads, if its values may. Made by [`share`](ChannelBy::share).
    pub type SharedChannel<T> = ChannelBy<T, Shared<crate::backend::Switch>>;
    pub use tasklet_core::channel::{ChannelEvent, Direction};
}

/// Stacks: sizes, limits, guards, figures.
pub mod stack {
    pub use tasklet_core::current::install_overflow_handler;
    pub use tasklet_core::stack::{Depot, GuardMode, StackConfig, StackError, StackPool, StackSize, StackStats};
}

/// Time as schedulers see it, and what they sleep on.
pub mod time {
    pub use tasklet_core::clock::{Clock, RealClock, VirtualClock};
    pub use tasklet_core::driver::{Driver, Notify, ThreadDriver, VirtualDriver};
}

/// What travels up a tasklet's stack: panics, interrupts, the exit that kill raises.
pub mod unwind {
    pub use tasklet_core::unwind::{Payload, TaskletExit, is_tasklet_exit, message};
}

pub use channel::{Channel, Preference, RecvError, SendError, SharedChannel};
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
