//! What other threads ask for, done at this scheduler's scheduling points. Rules R61 and R63 of the Stackless order.

use std::ptr::NonNull;
use std::sync::Arc;

use tasklet_core::home::Remote;
use tasklet_core::tasklet::{Record, Spec};
use tasklet_core::unwind::{drop_quietly, is_tasklet_exit};

use super::inner::Inner;

impl Inner {
    /// Does what is in the inbox, oldest first. Switches to nobody.
    #[cold]
    pub(super) fn take_requests(&self) {
        // What requests hold is dropped here, and destructors are the user's code.
        let _quiet = self.hooks.quiet();
        let idle = self.ring.len() == 0;
        for request in self.token.take_requests() {
            self.take_request(request, idle);
        }
    }

    fn take_request(&self, request: Remote, idle: bool) {
        match request {
            Remote::Unpark(who) => {
                self.ring.insert(who.into_record(&self.token), &self.token);
            }
            Remote::Insert(record) => self.insert_remote(&record),
            Remote::Run(record) => {
                self.insert_remote(&record);
                if self.is_linked(&record) && NonNull::from(&*record) != self.running.get() {
                    if idle {
                        self.ring.set_current(NonNull::from(&*record));
                    } else {
                        self.move_next(&record);
                    }
                }
            }
            Remote::Throw(record, payload) => {
                if self.is_alive(&record) {
                    let replaced = self.local(&record).set_interrupt(Some(payload));
                    self.make_runnable(NonNull::from(&*record));
                    drop_quietly(replaced);
                } else if !is_tasklet_exit(&payload) {
                    drop_quietly(payload);
                }
            }
            Remote::Spawn(f) => {
                let record =
                    Record::detached(self.next_id(), Spec { kind: self.kind.get(), ..Spec::here() }, &self.token, f);
                self.ring.insert(record, &self.token);
            }
            Remote::Dispose(remains) => remains.dispose(&self.token),
            Remote::Call(f) => f(self),
            // Its tasklets have no cancel tokens.
            Remote::Cancel(_) | Remote::Recheck => {}
        }
    }

    /// Appends a tasklet unless it is queued, blocked or dead: nobody is there to be told.
    fn insert_remote(&self, record: &Arc<Record>) {
        if !self.is_linked(record) && !self.is_blocked(record) && self.is_alive(record) {
            self.insert(record);
        }
    }
}
