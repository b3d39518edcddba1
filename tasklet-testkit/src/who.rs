//! Who does a part of a test: code that is written once, and done by calls that wait on a stack or awaited as a future.
//!
//! ```text
//! let sink = who.spawn(async move { who.recv(&receiver).await.unwrap() });
//! ```
//!
//! - [`Who::Stackful`]: a tasklet polls the code once. Each wait is the call that waits, and is ready when that returns.
//! - [`Who::Soft`]: a soft tasklet of the work-stealing runtime, where each wait is a future. The local scheduler has no soft tasklets: there
//!   a tasklet [blocks on](block_on) the same future.
//!
//! A test that is not about who waits knows of both no more than this.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tasklet_bridge::futures::block_on;
use tasklet_channels::{
    BroadcastError, BroadcastReceiver, OneshotReceiver, Receiver, RecvError, SendError, Sender, SharedChannel,
    WatchReceiver, unbounded,
};
use tasklet_core::tasklet::{JoinError, JoinHandle};
use tasklet_scheduler::stealing::{Handle, TaskletBuilder};
use tasklet_scheduler::{local, stealing, time};

use crate::channels::setup::{give_way, until};
use crate::stealing::setup::{Flag, LIMIT, park_for_ever};

/// Who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// A tasklet with a stack, which waits in its calls.
    Stackful,
    /// One without, which awaits futures.
    Soft,
}

/// Does on a stack what is written as a future: all that it awaits waits in the call.
pub(crate) fn call<F: Future>(body: F) -> F::Output {
    match pin!(body).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("whoever has a stack waits in calls"),
    }
}

/// Ready at the second poll; wakes itself at the first.
pub(crate) fn come_again() -> impl Future<Output = ()> + Send {
    let mut has_come = false;
    poll_fn(move |context| {
        if std::mem::replace(&mut has_come, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
}

impl Who {
    /// Does it in the calling tasklet.
    pub(crate) fn run<F: Future>(self, body: F) -> F::Output {
        match self {
            Who::Stackful => call(body),
            Who::Soft => block_on(body),
        }
    }

    /// A tasklet of the caller's scheduler.
    pub(crate) fn spawn<T: Send + 'static>(self, body: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        match (self, stealing::worker_index().is_some()) {
            (Who::Stackful, true) => stealing::spawn(move || call(body)),
            (_, false) => local::spawn_joinable(move || self.run(body)),
            (Who::Soft, true) => stealing::spawn_async(body),
        }
    }

    /// A tasklet of this runtime.
    pub(crate) fn spawn_in<T: Send + 'static>(
        self,
        runtime: &Handle,
        body: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.build(TaskletBuilder::new().on(runtime), body)
    }

    /// What this builder makes.
    pub(crate) fn build<T: Send + 'static>(
        self,
        builder: TaskletBuilder,
        body: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        match self {
            Who::Stackful => builder.spawn(move || call(body)),
            Who::Soft => builder.spawn_async(body),
        }
    }

    /// A tasklet of the caller's runtime that has come to where it sets what it is given. If it has a stack, it is of the caller's worker, and
    /// has come to its next wait after that.
    #[track_caller]
    pub(crate) fn spawn_parked<T, F>(self, body: impl FnOnce(Flag) -> F) -> JoinHandle<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let flag = Flag::default();
        let body = body(flag.clone());
        let handle = match self {
            Who::Stackful => stealing::spawn_local(move || call(body)),
            Who::Soft => stealing::spawn_async(body),
        };
        flag.wait();
        handle
    }

    /// Sends, and waits for that if need be.
    pub(crate) async fn send<T: Send, C: Sends<T>>(self, to: &C, message: T) -> Result<(), SendError<T>> {
        match self {
            Who::Stackful => to.send_in_place(message),
            Who::Soft => to.send_later(message).await,
        }
    }

    /// Receives, and waits for that if need be.
    pub(crate) async fn recv<C: Receives>(self, from: &C) -> C::Received {
        match self {
            Who::Stackful => from.recv_in_place(),
            Who::Soft => from.recv_later().await,
        }
    }

    /// Receives until the channel is closed; returns how many there were.
    pub(crate) async fn count<T: Send>(self, from: &Receiver<T>) -> usize {
        let mut count = 0;
        while self.recv(from).await.is_ok() {
            count += 1;
        }
        count
    }

    /// The one message.
    pub(crate) async fn oneshot<T: Send>(self, receiver: OneshotReceiver<T>) -> Result<T, RecvError> {
        match self {
            Who::Stackful => receiver.recv(),
            Who::Soft => receiver.await,
        }
    }

    /// A value that was not seen.
    pub(crate) async fn changed<T: Send + Sync>(self, receiver: &WatchReceiver<T>) -> Result<(), RecvError> {
        match self {
            Who::Stackful => receiver.changed(),
            Who::Soft => receiver.changed_async().await,
        }
    }

    /// Waits for a tasklet, and takes its result.
    pub(crate) async fn join<T: Send>(self, handle: JoinHandle<T>) -> Result<T, JoinError> {
        match self {
            Who::Stackful => handle.join(),
            Who::Soft => handle.await,
        }
    }

    /// Sleeps.
    pub(crate) async fn sleep(self, limit: Duration) {
        if self == Who::Soft && stealing::worker_index().is_some() {
            stealing::sleep_async(limit).await
        } else {
            // Futures that sleep are of the workers.
            time::sleep(limit)
        }
    }

    /// Lets others run.
    pub(crate) async fn give_way(self) {
        if self == Who::Soft && stealing::worker_index().is_some() {
            come_again().await;
            std::thread::yield_now();
        } else {
            // Under the local scheduler a wake of oneself lets nobody run: it is a permit.
            give_way();
        }
    }

    /// Lets others run until something has happened.
    pub(crate) async fn until(self, happened: impl Fn() -> bool + Send) {
        if self == Who::Stackful {
            return until(happened);
        }
        let start = Instant::now();
        while !happened() {
            assert!(start.elapsed() < LIMIT, "what is waited for does not happen");
            self.give_way().await;
        }
    }

    /// What a kill leaves behind is so: at once if whoever was killed had a stack, else when a worker has come to drop the future.
    #[track_caller]
    pub(crate) fn settles(self, is_so: impl Fn() -> bool) {
        if self == Who::Soft {
            until(&is_so);
        }
        assert!(is_so(), "it is not as a kill leaves it");
    }

    /// Waits for ever: parked, or for a channel to which nobody sends.
    pub(crate) async fn stay<T: Send>(self) -> T {
        match self {
            Who::Stackful => park_for_ever(),
            Who::Soft => {
                // Whoever could send is kept in the future: without a waker anywhere it would end.
                let (_kept, nothing) = unbounded();
                nothing.recv_async().await.expect("it is open")
            }
        }
    }
}

/// Where messages are sent to.
pub(crate) trait Sends<T>: Sync {
    fn send_in_place(&self, message: T) -> Result<(), SendError<T>>;

    fn send_later(&self, message: T) -> impl Future<Output = Result<(), SendError<T>>> + Send;
}

/// Where messages come from.
pub(crate) trait Receives: Sync {
    type Received: Send;

    fn recv_in_place(&self) -> Self::Received;

    fn recv_later(&self) -> impl Future<Output = Self::Received> + Send;
}

impl<T: Send> Sends<T> for Sender<T> {
    fn send_in_place(&self, message: T) -> Result<(), SendError<T>> {
        self.send(message)
    }

    fn send_later(&self, message: T) -> impl Future<Output = Result<(), SendError<T>>> + Send {
        self.send_async(message)
    }
}

impl<T: Send> Sends<T> for SharedChannel<T> {
    fn send_in_place(&self, message: T) -> Result<(), SendError<T>> {
        self.send(message)
    }

    fn send_later(&self, message: T) -> impl Future<Output = Result<(), SendError<T>>> + Send {
        self.send_async(message)
    }
}

impl<T: Send> Receives for Receiver<T> {
    type Received = Result<T, RecvError>;

    fn recv_in_place(&self) -> Self::Received {
        self.recv()
    }

    fn recv_later(&self) -> impl Future<Output = Self::Received> + Send {
        self.recv_async()
    }
}

impl<T: Send> Receives for SharedChannel<T> {
    type Received = Result<T, RecvError>;

    fn recv_in_place(&self) -> Self::Received {
        self.recv()
    }

    fn recv_later(&self) -> impl Future<Output = Self::Received> + Send {
        self.recv_async()
    }
}

impl<T: Send + Sync> Receives for BroadcastReceiver<T> {
    type Received = Result<Arc<T>, BroadcastError>;

    fn recv_in_place(&self) -> Self::Received {
        self.recv()
    }

    fn recv_later(&self) -> impl Future<Output = Self::Received> + Send {
        self.recv_async()
    }
}
