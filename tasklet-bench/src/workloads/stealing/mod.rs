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
mod relaying;
mod serving;
mod soft;
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
use crate::subject::{Run, Setting, Tasklets};

/// A channel with the switch of `B` compiled in, as the facade's is for its default backend.
type Channel<T, B> = ChannelBy<T, Shared<On<B>>>;

/// After how long without any progress a run is given up.
const STALL: Duration = Duration::from_secs(10);

/// What does one run, if there is one for this kind of tasklets.
pub(crate) fn run<B: Backend>(kind: Kind, tasklets: Tasklets) -> Option<Run> {
    let run: Run = match (kind, tasklets) {
        (Kind::Yield, Tasklets::Stackful | Tasklets::Swapped) => switching::yields::<B>,
        (Kind::Yield, Tasklets::Soft) => soft::yields::<B>,
        (Kind::PingPong, Tasklets::Stackful | Tasklets::Swapped) => switching::ping_pong::<B>,
        (Kind::PingPong, Tasklets::Soft) => soft::ping_pong::<B>,
        (Kind::Ring, Tasklets::Stackful | Tasklets::Swapped) => switching::ring::<B>,
        (Kind::Ring, Tasklets::Soft) => soft::ring::<B>,
        (Kind::Sieve, Tasklets::Stackful | Tasklets::Swapped) => pipeline::sieve::<B>,
        (Kind::Mpmc, Tasklets::Stackful | Tasklets::Swapped) => channels::mpmc::<B>,
        (Kind::MpscUnbounded, Tasklets::Stackful | Tasklets::Swapped) => channels::mpsc_unbounded::<B>,
        (Kind::Select, Tasklets::Stackful | Tasklets::Swapped) => channels::select::<B>,
        (Kind::ThreadsMpmc, Tasklets::Stackful) => channels::threads_mpmc::<B>,
        (Kind::Mutex, Tasklets::Stackful | Tasklets::Swapped) => locks::mutex::<B>,
        (Kind::SpawnJoin, Tasklets::Stackful | Tasklets::Swapped) => spawning::spawn_join::<B>,
        (Kind::SpawnJoin, Tasklets::Soft) => spawning::spawn_join_soft::<B>,
        (Kind::Skynet, Tasklets::Stackful | Tasklets::Swapped) => spawning::skynet::<B>,
        (Kind::Fib, Tasklets::Stackful) => fork_join::fib::<B>,
        (Kind::FibSpawn, Tasklets::Stackful | Tasklets::Swapped) => fork_join::fib_spawn::<B>,
        (Kind::Skew, Tasklets::Stackful) => parallel::skew::<B>,
        (Kind::Sleep, Tasklets::Stackful | Tasklets::Swapped) => time::sleep::<B>,
        (Kind::Sleep, Tasklets::Soft) => time::sleep_soft::<B>,
        (Kind::WakeLatency, Tasklets::Stackful) => waking::wake_latency::<B>,
        (Kind::IdleCpu, Tasklets::Stackful | Tasklets::Swapped) => idle::idle_cpu::<B>,
        (Kind::IdleMem, Tasklets::Stackful | Tasklets::Swapped) => idle::idle_mem::<B>,
        (Kind::IdleMem, Tasklets::Soft) => idle::idle_mem_soft::<B>,
        (Kind::Depth, Tasklets::Stackful | Tasklets::Swapped) => idle::depth::<B>,
        (Kind::Depth, Tasklets::Soft) => idle::depth_soft::<B>,
        (Kind::Echo, Tasklets::Stackful | Tasklets::Swapped) => serving::echo::<B>,
        (Kind::Http, Tasklets::Stackful | Tasklets::Swapped) => serving::http::<B>,
        (Kind::IdleSockets, Tasklets::Stackful | Tasklets::Swapped) => serving::idle_sockets::<B>,
        (Kind::Relay, Tasklets::Stackful) => relaying::relay::<B>,
        (Kind::AcceptStorm, Tasklets::Stackful) => serving::accept_storm::<B>,
        (_, Tasklets::Soft | Tasklets::Swapped) => return None,
    };
    Some(run)
}

fn runtime<B: Backend>(setting: &Setting) -> Result<Runtime<B>> {
    let mut builder = Builder::<B>::new().workers(setting.workers);
    if setting.tasklets == Tasklets::Swapped {
        #[expect(unsafe_code, reason = "the workloads are made for it")]
        // SAFETY: no tasklet of a workload that swapped ones can run lends what lies on its stack: they share what is counted, or move it.
        let swapped = unsafe { builder.swapped() };
        builder = swapped?;
    }
    Ok(builder.build()?)
}

/// Calls `f` in a tasklet of a new runtime.
fn within<B: Backend, T: Send>(setting: &Setting, f: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let runtime = runtime::<B>(setting)?;
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
