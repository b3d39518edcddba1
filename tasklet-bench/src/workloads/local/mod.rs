//! The workloads on the local scheduler.

mod memory;
mod spawning;
mod switching;

use tasklet_channels::{ChannelBy, Local};
use tasklet_core::backend::Backend;
use tasklet_core::operation::On;
use tasklet_scheduler::local::Scheduler;

use super::Kind;
use crate::Result;
use crate::subject::{Run, Tasklets};

/// A channel with the switch of `B` compiled in, as the facade's is for its default backend.
type Channel<T, B> = ChannelBy<T, Local<On<B>>>;

/// The scheduler of one run.
fn scheduler<B: Backend>(tasklets: Tasklets) -> Result<Scheduler<B>> {
    let mut builder = Scheduler::<B>::builder();
    if tasklets == Tasklets::Swapped {
        #[expect(unsafe_code, reason = "the workloads are made for it")]
        // SAFETY: no tasklet of these workloads lends what lies on its stack: they share what is counted, or move it.
        let swapped = unsafe { builder.swapped() };
        builder = swapped?;
    }
    Ok(builder.build())
}

/// What does one run, if there is one on this scheduler.
pub(crate) fn run<B: Backend>(kind: Kind) -> Option<Run> {
    let run: Run = match kind {
        Kind::Yield => |setting| switching::yields::<B>(setting).map(|value| vec![value]),
        Kind::PingPong => |setting| switching::ping_pong::<B>(setting).map(|value| vec![value]),
        Kind::Ring => |setting| switching::ring::<B>(setting).map(|value| vec![value]),
        Kind::SpawnJoin => |setting| spawning::spawn_join::<B>(setting).map(|value| vec![value]),
        Kind::IdleMem => |setting| memory::idle_mem::<B>(setting).map(Vec::from),
        Kind::Depth => memory::depth::<B>,
        Kind::Echo
        | Kind::Http
        | Kind::IdleSockets
        | Kind::AcceptStorm
        | Kind::Relay
        | Kind::Sieve
        | Kind::Mpmc
        | Kind::MpscUnbounded
        | Kind::Select
        | Kind::ThreadsMpmc
        | Kind::Mutex
        | Kind::Skynet
        | Kind::Fib
        | Kind::FibSpawn
        | Kind::Skew
        | Kind::Sleep
        | Kind::WakeLatency
        | Kind::IdleCpu => return None,
    };
    Some(run)
}
