//! Guards that forbid something while they live.

use std::fmt;
use std::rc::Rc;

use super::inner::Inner;
use super::tasklet::Tasklet;

/// While it lives, every operation of its scheduler that would switch is refused and changes nothing.
///
/// Operations that need no switch work. See [`switch_trap`](super::switch_trap).
#[must_use = "the trap is set only while the guard lives"]
pub struct SwitchTrap(Rc<Inner>);

impl SwitchTrap {
    pub(super) fn new(inner: Rc<Inner>) -> SwitchTrap {
        inner.switch_trap.set(inner.switch_trap.get() + 1);
        SwitchTrap(inner)
    }
}

impl Drop for SwitchTrap {
    fn drop(&mut self) {
        // Zero after the scheduler's end, which lifts all traps.
        self.0.switch_trap.set(self.0.switch_trap.get().saturating_sub(1));
    }
}

impl fmt::Debug for SwitchTrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SwitchTrap")
    }
}

/// While it lives, the tasklet that made it is not interrupted by a budget. Explicit switches are allowed.
///
/// See [`atomic`](super::atomic).
#[must_use = "the tasklet is atomic only while the guard lives"]
#[derive(Debug)]
pub struct Atomic {
    tasklet: Tasklet,
    inner: Opaque,
}

struct Opaque(Rc<Inner>);

impl fmt::Debug for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

impl Atomic {
    pub(super) fn new(tasklet: Tasklet, inner: Rc<Inner>) -> Atomic {
        let depth = &inner.local(tasklet.record()).atomic;
        depth.set(depth.get().checked_add(1).expect("65,535 atomic guards in one tasklet"));
        Atomic { tasklet, inner: Opaque(inner) }
    }
}

impl Drop for Atomic {
    fn drop(&mut self) {
        let inner = &self.inner.0;
        let fields = inner.local(self.tasklet.record());
        fields.atomic.set(fields.atomic.get() - 1);
        if fields.atomic.get() == 0 && fields.pending_interrupt.get() && !inner.meter.is_soft() {
            fields.pending_interrupt.set(false);
            inner.meter.expire(&inner.clock());
        }
    }
}

/// While it lives, it is an error for its tasklet to block. A rendezvous that succeeds is allowed, even if it switches.
///
/// See [`block_trap`](super::block_trap).
#[must_use = "the trap is set only while the guard lives"]
#[derive(Debug)]
pub struct BlockTrap {
    tasklet: Tasklet,
    before: bool,
}

impl BlockTrap {
    pub(super) fn new(tasklet: Tasklet) -> BlockTrap {
        let before = tasklet.set_block_trap(true);
        BlockTrap { tasklet, before }
    }
}

impl Drop for BlockTrap {
    fn drop(&mut self) {
        self.tasklet.set_block_trap(self.before);
    }
}
