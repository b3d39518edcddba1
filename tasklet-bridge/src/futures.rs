//! Waiting for a future where straight-line code runs.
//!
//! The waker is a count of the waiting tasklet's record: no wake allocates, and a wake from whatever thread is a permit for that tasklet.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tasklet_core::current;
use tasklet_core::park::ParkError;
use tasklet_core::tasklet::{Record, spot};
use tasklet_core::unwind::{self, TaskletExit};

/// Polls `future` until it is ready, and parks the calling tasklet in between; a plain thread is parked.
///
/// # Scheduling
///
/// If the future is not ready, the caller parks; a wake appends it to its scheduler's queue. A future that was woken before it was found not to be
/// ready, by itself or by others, lets others run: that is how a future that always finds something gives way.
///
/// # Panics
///
/// Where the future does; and if the caller may not park, which [`try_block_on`] tells as an error. A tasklet whose cancel token is
/// cancelled unwinds as if it was killed. Unwinds with what is thrown at the caller, and the future is dropped.
///
/// # Examples
///
/// ```
/// use tasklet_bridge::futures::block_on;
/// use tasklet_scheduler::stealing::{self, Runtime};
/// # use tasklet_backend_corosensei::Corosensei;
///
/// let runtime = Runtime::<Corosensei>::with_defaults()?;
/// let sum = runtime.run(|| {
///     let soft = stealing::spawn_async(async { 40 });
///     block_on(async { soft.await.unwrap() + 2 })
/// });
/// assert_eq!(sum, 42);
/// # Ok::<(), stealing::BuildError>(())
/// ```
#[track_caller]
pub fn block_on<F: Future>(future: F) -> F::Output {
    match try_block_on(future) {
        Ok(output) => output,
        Err(ParkError::Cancelled) => unwind::raise(Box::new(TaskletExit)),
        Err(error) => panic!("could not wait for a future: {error}"),
    }
}

/// As [`block_on`], but says why the caller could not wait. The future is dropped then.
///
/// # Scheduling
///
/// As [`block_on`].
///
/// # Errors
///
/// See [`ParkError`].
///
/// # Panics
///
/// As [`block_on`], but for those that are errors here.
pub fn try_block_on<F: Future>(future: F) -> Result<F::Output, ParkError> {
    if current::is_swapped() {
        // What the future waits for may refer to it meanwhile, where the stack is not.
        return wait_for(Box::pin(future).as_mut());
    }
    wait_for(pin!(future))
}

fn wait_for<F: Future>(mut future: Pin<&mut F>) -> Result<F::Output, ParkError> {
    let record = current::record();
    let waker = Waker::from(record.clone());
    let mut context = Context::from_waker(&waker);
    let mut taken = Taken { record: &record, is_any: false };
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Ok(output);
        }
        if record.spot().take() {
            taken.is_any = true;
            current::yield_now();
        } else {
            spot::park()?;
            taken.is_any = true;
        }
    }
}

/// Leaves a permit again where one was taken, however the wait ends: it may have been meant for another wait of the caller's, and those look again.
struct Taken<'r> {
    record: &'r Record,
    is_any: bool,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if self.is_any {
            self.record.spot().unpark();
        }
    }
}
