//! Channels as the streams and sinks of async code.
//!
//! The traits are of the `futures-core` and `futures-sink` crates. They are implemented here and not in the bridge because a trait can be
//! implemented only where it, or the type, is defined.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_sink::Sink;

use super::receiver::ReceiverBy;
use super::sender::SenderBy;
use crate::error::{Cause, RecvError, SendError};

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What a receiver receives, as a stream. It ends when the channel has. Made by [`ReceiverBy::into_stream`].
///
/// A stream that waits has one allocation, which it keeps.
pub struct RecvStream<T, S> {
    receiver: ReceiverBy<T, S>,
    waiting: Option<Boxed<Result<T, RecvError>>>,
}

impl<T, S> ReceiverBy<T, S> {
    /// What it receives, as a stream.
    pub fn into_stream(self) -> RecvStream<T, S> {
        RecvStream { receiver: self, waiting: None }
    }
}

impl<T, S> RecvStream<T, S> {
    /// The receiver. A message that a wait of the stream was given is the next to be received.
    pub fn into_receiver(self) -> ReceiverBy<T, S> {
        self.receiver
    }
}

impl<T: Send + 'static, S: 'static> Stream for RecvStream<T, S> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let this = &mut *self;
        let waiting = this.waiting.get_or_insert_with(|| Box::pin(this.receiver.recv_async()));
        let received = std::task::ready!(waiting.as_mut().poll(context));
        this.waiting = None;
        Poll::Ready(received.ok())
    }
}

impl<T, S> fmt::Debug for RecvStream<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RecvStream").field(&self.receiver).finish()
    }
}

/// A sender as a sink. Made by [`SenderBy::into_sink`].
///
/// It holds one message at most, which waits for room in the channel. Closing it drops the sender, so that the channel ends if that was the
/// last one.
pub struct SendSink<T, S> {
    /// `None` when it was closed.
    sender: Option<SenderBy<T, S>>,
    sending: Option<Boxed<Result<(), SendError<T>>>>,
}

impl<T, S> SenderBy<T, S> {
    /// What is put into the sink is sent.
    pub fn into_sink(self) -> SendSink<T, S> {
        SendSink { sender: Some(self), sending: None }
    }
}

impl<T: Send + 'static, S: 'static> Sink<T> for SendSink<T, S> {
    type Error = SendError<T>;

    fn poll_ready(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), SendError<T>>> {
        self.poll_flush(context)
    }

    fn start_send(mut self: Pin<&mut Self>, message: T) -> Result<(), SendError<T>> {
        assert!(self.sending.is_none(), "a sink was given a message before it was ready for one");
        let Some(sender) = &self.sender else { return Err(SendError::new(message, Cause::Closed)) };
        self.sending = Some(Box::pin(sender.send_async(message)));
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), SendError<T>>> {
        let Some(sending) = &mut self.sending else { return Poll::Ready(Ok(())) };
        let sent = std::task::ready!(sending.as_mut().poll(context));
        self.sending = None;
        Poll::Ready(sent)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), SendError<T>>> {
        let flushed = std::task::ready!(self.as_mut().poll_flush(context));
        self.sender = None;
        Poll::Ready(flushed)
    }
}

impl<T, S> fmt::Debug for SendSink<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SendSink").field(&self.sender).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Waker;

    use super::*;
    use crate::bounded;

    #[test]
    fn sink_holds_one_message_and_the_stream_gets_them_in_order() {
        let (sender, receiver) = bounded::<u32>(1);
        let (mut sink, mut stream) = (pin!(sender.into_sink()), pin!(receiver.into_stream()));
        let context = &mut Context::from_waker(Waker::noop());
        assert!(stream.as_mut().poll_next(context).is_pending());
        for number in [1, 2] {
            assert!(sink.as_mut().poll_ready(context).is_ready());
            sink.as_mut().start_send(number).unwrap();
        }
        assert!(
            sink.as_mut().poll_flush(context).is_ready(),
            "the first went to the stream, the second into the buffer"
        );
        sink.as_mut().start_send(3).unwrap();
        assert!(sink.as_mut().poll_flush(context).is_pending());
        for number in [1, 2] {
            assert_eq!(stream.as_mut().poll_next(context), Poll::Ready(Some(number)));
        }
        assert!(sink.as_mut().poll_close(context).is_ready());
        assert_eq!(stream.as_mut().poll_next(context), Poll::Ready(Some(3)));
        assert_eq!(
            stream.as_mut().poll_next(context),
            Poll::Ready(None),
            "the sink was closed, and was the last sender"
        );
        assert!(sink.as_mut().start_send(4).is_err_and(|error| error.into_inner() == 4));
    }

    #[test]
    fn stream_ends_with_the_channel() {
        let (sender, receiver) = bounded::<u32>(1);
        let mut stream = pin!(receiver.into_stream());
        let context = &mut Context::from_waker(Waker::noop());
        assert!(stream.as_mut().poll_next(context).is_pending());
        drop(sender);
        assert_eq!(stream.as_mut().poll_next(context), Poll::Ready(None));
    }

    #[test]
    fn message_that_a_stream_was_given_is_the_next_of_its_receiver() {
        let (sender, receiver) = bounded::<u32>(4);
        let mut stream = receiver.into_stream();
        let context = &mut Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut stream).poll_next(context).is_pending());
        (1..=2).for_each(|number| sender.send(number).unwrap());
        let receiver = stream.into_receiver();
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [1, 2]);
    }
}
