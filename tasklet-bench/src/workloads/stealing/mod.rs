//! The workloads on the work-stealing scheduler.
//!
//! Each run makes a runtime and does its work in a tasklet of it: what is measured is measured inside, without the threads' start and
//! end. A run whose runtime does not end cleanly has no figure.

mod channels;
mod fork_join;
mod idle;
mod locks;
mod parallel;
mod pipeline;
mod spawning;
mod switching;
mod time;
mod waking;

use std::sync::Arc;
use std::time::Duration;

use tasklet_channels::{ChannelBy, Local, ReceiverBy, SenderBy, Shared, bounded_by};
use tasklet_core::backend::Backend;
use tasklet_core::operation::On;
use tasklet_core::tasklet::JoinHandle;
use tasklet_scheduler::stealing::{self, Builder, Runtime};

use super::parts::Countdown;
use super::{Kind, expect};
use crate::Result;
use crate::subject::{Run, Tasklets};

/// A channel with the switch of `B` compiled in, as the facade's is for its default backend.
type Channel<T, B> = ChannelBy<T, Shared<On<B>>>;

/// After how long without any progress a run is given up.
const STALL: Duration = Duration::from_secs(10);

/// What does one run, if there is one for this kind of tasklets.
pub(crate) fn run<B: Backend>(kind: Kind, tasklets: Tasklets) -> Option<Run> {
    let run: Run = match (kind, tasklets) {
        (Kind::Yield, Tasklets::Stackful) => switching::yields::<B>,
        (Kind::PingPong, Tasklets::Stackful) => switching::ping_pong::<B>,
        (Kind::Ring, Tasklets::Stackful) => switching::ring::<B>,
        (Kind::Sieve, Tasklets::Stackful) => pipeline::sieve::<B>,
        (Kind::Mpmc, Tasklets::Stackful) => channels::mpmc::<B>,
        (Kind::MpscUnbounded, Tasklets::Stackful) => channels::mpsc_unbounded::<B>,
        (Kind::Select, Tasklets::Stackful) => channels::select::<B>,
        (Kind::ThreadsMpmc, Tasklets::Stackful) => channels::threads_mpmc::<B>,
        (Kind::Mutex, Tasklets::Stackful) => locks::mutex::<B>,
        (Kind::SpawnJoin, Tasklets::Stackful) => spawning::spawn_join::<B>,
        (Kind::SpawnJoin, Tasklets::Soft) => spawning::spawn_join_soft::<B>,
        (Kind::Skynet, Tasklets::Stackful) => spawning::skynet::<B>,
        (Kind::Fib, Tasklets::Stackful) => fork_join::fib::<B>,
        (Kind::FibSpawn, Tasklets::Stackful) => fork_join::fib_spawn::<B>,
        (Kind::Skew, Tasklets::Stackful) => parallel::skew::<B>,
        (Kind::Sleep, Tasklets::Stackful) => time::sleep::<B>,
        (Kind::Sleep, Tasklets::Soft) => time::sleep_soft::<B>,
        (Kind::WakeLatency, Tasklets::Stackful) => waking::wake_latency::<B>,
        (Kind::IdleCpu, Tasklets::Stackful) => idle::idle_cpu::<B>,
        (Kind::IdleMem, Tasklets::Stackful) => idle::idle_mem::<B>,
        (Kind::IdleMem, Tasklets::Soft) => idle::idle_mem_soft::<B>,
        (_, Tasklets::Soft) => return None,
    };
    Some(run)
}

fn runtime<B: Backend>(workers: usize) -> Result<Runtime<B>> {
    Ok(Builder::<B>::new().workers(workers).build()?)
}

/// Calls `f` in a tasklet of a new runtime.
fn within<B: Backend, T: Send>(workers: usize, f: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let runtime = runtime::<B>(workers)?;
    let result = runtime.run(f);
    end(runtime)?;
    result
}

/// Ends a runtime; whoever waits is killed.
fn end<B: Backend>(runtime: Runtime<B>) -> Result<()> {
    let left = runtime.shutdown(Duration::from_secs(60));
    if left.is_clean() { Ok(()) } else { Err(format!("the runtime did not end: {left}; no figure").into()) }
}

fn channel<T: Send, B: Backend>() -> Channel<T, B> {
    ChannelBy::<T, Local<On<B>>>::new().share()
}

/// A rendezvous with the switch of `B` compiled in.
fn rendezvous<T, B: Backend>() -> (SenderBy<T, On<B>>, ReceiverBy<T, On<B>>) {
    bounded_by(0)
}

fn join<T>(handle: JoinHandle<T>) -> Result<T> {
    Ok(handle.join()?)
}

/// What wakes the calling tasklet when so many have come to some point.
fn countdown(count: u64) -> Arc<Countdown> {
    let caller = stealing::unparker();
    Countdown::new(count, move || caller.unpark())
}

/// Waits until the countdown is over. If nobody has come any further for a while, nobody will: there is no figure, rather than a hang.
/// A backend that runs out of stacks comes to that, as tasklets wait for those of others then.
fn wait_for(countdown: &Countdown) -> Result<()> {
    let mut left = countdown.left();
    while left != 0 {
        let woken = stealing::park_timeout(STALL)?;
        let before = std::mem::replace(&mut left, countdown.left());
        if !woken && left == before {
            return Err(format!("{left} tasklets have not come any further for {STALL:?}; no figure").into());
        }
    }
    Ok(())
}
