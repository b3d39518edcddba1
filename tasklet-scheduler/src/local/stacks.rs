//! The stacks of a scheduler's tasklets: measured, and trimmed where nothing runs.

use tasklet_core::clock::Clock as _;
use tasklet_core::stack::StackUsage;
use tasklet_core::tasklet::Record;

use crate::engine::{Host as _, Which};

use super::inner::Inner;

/// Free stacks whose pages are released at the beginning of a run: in some 20 microseconds.
const COOL_AT_RUN: usize = 32;

/// The same at a time before the thread sleeps, between two looks for requests: 0.2 milliseconds.
const COOL: usize = 256;

impl Inner {
    /// At the beginning of a run: releases what some free stacks hold, and looks at some of those in use, if they are due.
    pub(super) fn begin_run_with_stacks(&self) {
        if !self.hooks.is_quiet() {
            self.engine().cool(COOL_AT_RUN);
            self.look_at_stacks();
        }
    }

    /// Looks at some stacks in use, if they are due.
    pub(super) fn look_at_stacks(&self) {
        if self.looks.is_off() || self.hooks.is_quiet() {
            return;
        }
        let switches = self.meter.switches();
        if self.looked_at.replace(switches) != switches {
            self.looks.disturb();
        }
        if self.looks.are_wanted() {
            self.looks.look(self.clock().now(), self.engine());
        }
    }

    /// Before the thread sleeps: releases what free stacks hold, until somebody asks for something.
    pub(super) fn cool_stacks(&self) {
        while !self.token.has_requests() && self.engine().cool(COOL) != 0 {}
    }

    /// On the host's stack, at rest: gives back what the stacks of tasklets that wait do not need.
    pub(super) fn trim_stacks(&self) {
        self.engine().trim(Which::All, 0..usize::MAX, usize::MAX);
    }

    /// How much memory the stack takes that a tasklet sits on.
    pub(super) fn stack_usage_of(&self, record: &Record) -> Option<StackUsage> {
        self.local(record).fiber.get().and_then(|fiber| self.engine().stack_usage(fiber.cast()))
    }
}
