//! The workloads on the local scheduler.

mod memory;
mod spawning;
mod switching;

use tasklet_channels::{ChannelBy, Local};
use tasklet_core::backend::Backend;
use tasklet_core::operation::On;

use super::Kind;
use crate::subject::Run;

/// A channel with the switch of `B` compiled in, as the facade's is for its default backend.
type Channel<T, B> = ChannelBy<T, Local<On<B>>>;

/// What does one run, if there is one on this scheduler.
pub(crate) fn run<B: Backend>(kind: Kind) -> Option<Run> {
    let run: Run = match kind {
        Kind::Yield => |setting| switching::yields::<B>(setting.n).map(|value| vec![value]),
        Kind::PingPong => |setting| switching::ping_pong::<B>(setting.n).map(|value| vec![value]),
        Kind::Ring => |setting| switching::ring::<B>(setting.n).map(|value| vec![value]),
        Kind::SpawnJoin => |setting| spawning::spawn_join::<B>(setting.n).map(|value| vec![value]),
        Kind::IdleMem => |setting| memory::idle_mem::<B>(setting.n).map(Vec::from),
        Kind::Sieve
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
