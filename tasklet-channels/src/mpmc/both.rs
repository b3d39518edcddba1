//! What senders and receivers have in common: closing, counts, names.

use tasklet_core::id::ChannelId;

use super::receiver::ReceiverBy;
use super::sender::SenderBy;
use super::state::UNBOUNDED;
use crate::primitive::atomic::Ordering;

/// The same methods for each handle.
macro_rules! both {
    ($($handle:ident),*) => {$(impl<T, S> $handle<T, S> {
        /// Closes the channel: nothing can be sent any more, and whoever waits to send gets the message back. What was sent can still be
        /// received. Returns whether it was open.
        ///
        /// # Scheduling
        ///
        /// Those woken are appended to their queues, oldest first. The caller goes on.
        pub fn close(&self) -> bool {
            self.chan().close()
        }

        /// Whether nothing can be sent any more.
        pub fn is_closed(&self) -> bool {
            self.chan().place.lock().closed
        }

        /// Messages in the buffer.
        pub fn len(&self) -> usize {
            self.chan().place.lock().buffer.len()
        }

        /// Whether the buffer is empty. That of a rendezvous always is.
        pub fn is_empty(&self) -> bool {
            self.len() == 0
        }

        /// Whether a message would have to wait for room. That of a rendezvous always would.
        pub fn is_full(&self) -> bool {
            !self.chan().place.lock().has_room()
        }

        /// Messages that the buffer has room for; `None` without a limit.
        pub fn capacity(&self) -> Option<usize> {
            Some(self.chan().place.lock().capacity).filter(|capacity| *capacity != UNBOUNDED)
        }

        /// Senders alive.
        pub fn sender_count(&self) -> usize {
            self.chan().senders.load(Ordering::Relaxed)
        }

        /// Receivers alive.
        pub fn receiver_count(&self) -> usize {
            self.chan().receivers.load(Ordering::Relaxed)
        }

        /// Callers that wait to send or to reserve.
        pub fn blocked_senders(&self) -> usize {
            let state = self.chan().place.lock();
            state.senders.len() + state.reservers.len()
        }

        /// Callers that wait to receive.
        pub fn blocked_receivers(&self) -> usize {
            self.chan().place.lock().receivers.len()
        }

        /// Its identity, shown in dumps.
        pub fn id(&self) -> ChannelId {
            self.chan().place.lock().id
        }

        /// Its name, if it was given one.
        pub fn name(&self) -> Option<String> {
            self.chan().place.lock().name.as_deref().map(str::to_owned)
        }

        /// Gives it a name, for dumps and `Debug`.
        pub fn set_name(&self, name: impl Into<String>) {
            let name = name.into().into_boxed_str();
            let replaced = self.chan().place.lock().name.replace(name);
            drop(replaced);
        }
    })*};
}

both!(SenderBy, ReceiverBy);
