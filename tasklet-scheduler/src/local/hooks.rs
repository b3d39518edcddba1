//! What a host may attach to a scheduler: schedule hook, channel hook, error handler.
//!
//! Hooks observe. They run on the stack of whoever triggered them, must not switch (operations that would are refused with
//! [`ParkError::InHook`](tasklet_core::park::ParkError::InHook)), and are not called for what they do themselves. A panic in one is
//! reported by the panic hook and disturbs nothing.

use std::cell::{Cell, RefCell};

use tasklet_core::channel::ChannelEvent;
use tasklet_core::id::TaskletId;
use tasklet_core::unwind::{Payload, drop_quietly};

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
    running: Cell<bool>,
}

impl Hooks {
    /// Whether a hook is being called.
    #[inline]
    pub(super) fn is_running(&self) -> bool {
        self.running.get()
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
        if self.running.replace(true) {
            return;
        }
        let hook = slot.borrow_mut().take();
        if let Some(mut hook) = hook {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| f(&mut hook)));
            drop_quietly(result);
            if has.get() {
                slot.borrow_mut().get_or_insert(hook);
            }
        }
        self.running.set(false);
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
        if self.has_error.get() {
            self.error.borrow_mut().get_or_insert(handler);
        }
        result.unwrap_or_else(Err)
    }
}
