//! What a host may attach to a scheduler: schedule hook, channel hook, error handler.
//!
//! Code of the user's that the scheduler calls in the middle of its own work runs in a *quiet section*: hooks, the clock, the driver,
//! destructors of payloads and results. In one, nothing switches, nothing leaves the queue, no run begins, and the scheduler cannot
//! be dropped; so what the scheduler holds across the call stays as it is.
//!
//! Hooks observe. They run on the stack of whoever triggered them, must not switch (operations that would are refused with
//! [`ParkError::InHook`](tasklet_core::park::ParkError::InHook)), and are not called for what they do themselves. A panic in one is
//! reported by the panic hook and disturbs nothing.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tasklet_core::channel::ChannelEvent;
use tasklet_core::clock::Clock;
use tasklet_core::id::TaskletId;
use tasklet_core::unwind::{AbortOnUnwind, Payload, drop_quietly};

/// A switch from one tasklet to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switch {
    /// Who gives way. It may have ended.
    pub from: TaskletId,
    /// Who goes on.
    pub to: TaskletId,
}

/// Called at every switch.
pub type ScheduleHook = Box<dyn FnMut(&Switch)>;

/// Called at every channel operation: before it, or after it if it serves a tasklet of another scheduler.
pub type ChannelHook = Box<dyn FnMut(&ChannelEvent)>;

/// Called in a tasklet that ends with an error, with its identity and the payload. `Ok` consumes the error; `Err`, or a panic of
/// the handler, goes where the policy says.
pub type ErrorHandler = Box<dyn FnMut(TaskletId, Payload) -> Result<(), Payload>>;

#[derive(Default)]
pub(super) struct Hooks {
    schedule: RefCell<Option<ScheduleHook>>,
    channel: RefCell<Option<ChannelHook>>,
    error: RefCell<Option<ErrorHandler>>,
    has_schedule: Cell<bool>,
    has_channel: Cell<bool>,
    has_error: Cell<bool>,
    /// Depth of quiet sections.
    quiet: Cell<u32>,
}

/// A quiet section: lasts while this lives.
pub(super) struct Quiet<'a>(&'a Cell<u32>);

impl<'a> Quiet<'a> {
    fn enter(depth: &'a Cell<u32>) -> Quiet<'a> {
        depth.set(depth.get() + 1);
        Quiet(depth)
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// The user's clock, called in a quiet section. A panic of it would leave a switch half done, so it ends the process.
pub(super) struct QuietClock<'a> {
    clock: &'a dyn Clock,
    quiet: &'a Cell<u32>,
}

impl Clock for QuietClock<'_> {
    fn now(&self) -> Duration {
        let _quiet = Quiet::enter(self.quiet);
        let guard = AbortOnUnwind::new("a scheduler's clock");
        let now = self.clock.now();
        guard.disarm();
        now
    }
}

impl Hooks {
    /// Whether the user's code runs in the middle of the scheduler's.
    #[inline]
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet.get() != 0
    }

    /// A clock to be called in quiet sections.
    #[inline]
    pub(super) fn quiet_clock<'a>(&'a self, clock: &'a dyn Clock) -> QuietClock<'a> {
        QuietClock { clock, quiet: &self.quiet }
    }

    /// Begins a quiet section.
    pub(super) fn quiet(&self) -> Quiet<'_> {
        Quiet::enter(&self.quiet)
    }

    /// Drops what the user made, in a quiet section.
    pub(super) fn drop_quietly<T>(&self, value: T) {
        let _quiet = self.quiet();
        drop_quietly(value);
    }

    pub(super) fn set_schedule(&self, hook: Option<ScheduleHook>) -> Option<ScheduleHook> {
        self.has_schedule.set(hook.is_some());
        self.schedule.replace(hook)
    }

    pub(super) fn set_channel(&self, hook: Option<ChannelHook>) -> Option<ChannelHook> {
        self.has_channel.set(hook.is_some());
        self.channel.replace(hook)
    }

    pub(super) fn set_error(&self, handler: Option<ErrorHandler>) -> Option<ErrorHandler> {
        self.has_error.set(handler.is_some());
        self.error.replace(handler)
    }

    /// Removes all.
    pub(super) fn clear(&self) {
        drop_quietly((self.set_schedule(None), self.set_channel(None), self.set_error(None)));
    }

    #[inline]
    pub(super) fn has_schedule_hook(&self) -> bool {
        self.has_schedule.get()
    }

    #[inline]
    pub(super) fn has_channel_hook(&self) -> bool {
        self.has_channel.get()
    }

    /// Calls a hook, unless one is being called. It is taken out meanwhile, so that it may replace or remove itself; `has` tells
    /// whether it shall be put back.
    fn call<H>(&self, slot: &RefCell<Option<H>>, has: &Cell<bool>, f: impl FnOnce(&mut H)) {
        if self.is_quiet() {
            return;
        }
        let _quiet = self.quiet();
        let hook = slot.borrow_mut().take();
        if let Some(mut hook) = hook {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| f(&mut hook)));
            drop_quietly(result);
            put_back(slot, has, hook);
        }
    }

    #[cold]
    pub(super) fn schedule(&self, switch: &Switch) {
        self.call(&self.schedule, &self.has_schedule, |hook| hook(switch));
    }

    #[cold]
    pub(super) fn channel(&self, event: &ChannelEvent) {
        self.call(&self.channel, &self.has_channel, |hook| hook(event));
    }

    /// Asks the error handler, if there is one. It may switch: it runs as part of the tasklet.
    pub(super) fn error(&self, id: TaskletId, payload: Payload) -> Result<(), Payload> {
        let Some(mut handler) = self.error.borrow_mut().take() else { return Err(payload) };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| handler(id, payload)));
        put_back(&self.error, &self.has_error, handler);
        result.unwrap_or_else(Err)
    }
}

/// Puts a hook back that was called, unless it has replaced or removed itself. Its destructor runs with nothing borrowed.
fn put_back<H>(slot: &RefCell<Option<H>>, has: &Cell<bool>, hook: H) {
    let mut current = slot.borrow_mut();
    if has.get() && current.is_none() {
        *current = Some(hook);
    } else {
        drop(current);
        drop_quietly(hook);
    }
}
