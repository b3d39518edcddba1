//! The definitions of all workloads.

use super::{Figure, Isolation, Kind, Workload};

const NANOSECONDS: &[Figure] = &[figure("", "ns")];
const MILLISECONDS: &[Figure] = &[figure("", "ms")];

const fn figure(suffix: &'static str, unit: &'static str) -> Figure {
    Figure { suffix, unit, decimals: 1 }
}

/// All workloads.
pub(crate) static WORKLOADS: [Workload; 13] = [
    Workload {
        kind: Kind::Yield,
        name: "yield",
        definition: "1000 tasklets each yield N times; time from the start of the first to the end of the last, per yield",
        size: "yields of each tasklet",
        not_evidence_for: "programs whose tasklets do something between two yields: all stacks stay in the second-level cache",
        n: 10_000,
        quick_n: 10,
        workers: 1,
        isolation: Isolation::Scheduler,
        figures: NANOSECONDS,
    },
    Workload {
        kind: Kind::PingPong,
        name: "pingpong",
        definition: "two tasklets send a number to and fro over two rendezvous channels; time per round trip (two sends, two receives, \
                     two switches). On several workers, one parent spawns both",
        size: "round trips",
        not_evidence_for: "channels with many waiters: one tasklet waits, and all is in the first-level cache. A rival's channels are \
                           bounded by 1",
        n: 1_000_000,
        quick_n: 1000,
        workers: 1,
        isolation: Isolation::Scheduler,
        figures: NANOSECONDS,
    },
    Workload {
        kind: Kind::Ring,
        name: "ring",
        definition: "503 tasklets in a ring pass one number on over rendezvous channels; time per hop (a send, a receive, a switch)",
        size: "hops",
        not_evidence_for: "throughput: there is one message, and every tasklet but one waits for it",
        n: 5_000_000,
        quick_n: 5000,
        workers: 1,
        isolation: Isolation::Scheduler,
        figures: NANOSECONDS,
    },
    Workload {
        kind: Kind::Sieve,
        name: "sieve",
        definition: "a chain of tasklets over rendezvous channels, one for each prime found so far, which passes on what its prime does \
                     not divide; time until the Nth prime comes out",
        size: "primes",
        not_evidence_for: "pipelines that do much for each value: a filter divides once",
        n: 2500,
        quick_n: 50,
        workers: 1,
        isolation: Isolation::Scheduler,
        figures: MILLISECONDS,
    },
    Workload {
        kind: Kind::SpawnJoin,
        name: "spawn_join",
        definition: "tasklets that do nothing are spawned in batches of 10,000, and each batch is joined; time per tasklet",
        size: "tasklets",
        not_evidence_for: "tasklets that wait: one that never gives way needs no stack of its own, and idle_mem shows what a stack costs",
        n: 1_000_000,
        quick_n: 1000,
        workers: 1,
        isolation: Isolation::Scheduler,
        figures: NANOSECONDS,
    },
    Workload {
        kind: Kind::Skynet,
        name: "skynet",
        definition: "a tree in which every tasklet spawns ten, down to N leaves; each leaf sends its number up a rendezvous channel, and \
                     each parent sends on the sum of its ten; time until the root has the sum",
        size: "leaves",
        not_evidence_for: "trees whose leaves compute. A rival's channels hold the ten numbers",
        n: 1_000_000,
        quick_n: 1000,
        workers: 1,
        isolation: Isolation::Scheduler,
        figures: MILLISECONDS,
    },
    Workload {
        kind: Kind::Fib,
        name: "fib",
        definition: "the Nth Fibonacci number by the doubly recursive definition, both halves given to `join`, without a cutoff; time",
        size: "which Fibonacci number",
        not_evidence_for: "a sensible way to compute it: nearly all of the time is the price of a fork",
        n: 27,
        quick_n: 12,
        workers: 1,
        isolation: Isolation::Scheduler,
        figures: MILLISECONDS,
    },
    Workload {
        kind: Kind::FibSpawn,
        name: "fib_spawn",
        definition: "as fib, but each call spawns a tasklet for one half, calls the other itself, and joins the handle; time",
        size: "which Fibonacci number",
        not_evidence_for: "programs that can use `join`",
        n: 27,
        quick_n: 12,
        workers: 1,
        isolation: Isolation::Scheduler,
        figures: MILLISECONDS,
    },
    Workload {
        kind: Kind::Skew,
        name: "skew",
        definition: "one tasklet spawns N children that compute for some 5 to 20 microseconds each, and joins them, on one worker and then \
                     on all; time of each, and how many times faster the second is",
        size: "children",
        not_evidence_for: "producers that cannot keep up: one spawns in a hundredth of the time that its child computes",
        n: 20_000,
        quick_n: 200,
        workers: 2,
        isolation: Isolation::Scheduler,
        figures: &[figure(".one", "ms"), figure(".all", "ms"), Figure { suffix: ".speedup", unit: "x", decimals: 3 }],
    },
    Workload {
        kind: Kind::Sleep,
        name: "sleep",
        definition: "N tasklets sleep once, for 1 to 1000 ms, evenly spread; time and processor time of the process, from before the first \
                     is spawned to after the last has ended",
        size: "tasklets",
        not_evidence_for: "timers that are stopped before they fire",
        n: 100_000,
        quick_n: 20,
        workers: 1,
        isolation: Isolation::Process,
        figures: &[figure(".wall", "ms"), figure(".cpu", "ms")],
    },
    Workload {
        kind: Kind::WakeLatency,
        name: "wake_latency",
        definition: "a plain thread wakes a tasklet whose worker has slept for 2 ms; median time from the call to the tasklet's first \
                     instruction",
        size: "wakes",
        not_evidence_for: "workers that were busy a moment ago; and most of it is the kernel's, as `--rival threads` shows",
        n: 500,
        quick_n: 5,
        workers: 1,
        isolation: Isolation::Scheduler,
        figures: NANOSECONDS,
    },
    Workload {
        kind: Kind::IdleCpu,
        name: "idle_cpu",
        definition: "N tasklets wait in a receive on one channel for two seconds; processor time of the process per time",
        size: "tasklets",
        not_evidence_for: "tasklets that wait with a time limit",
        n: 100_000,
        quick_n: 100,
        workers: 2,
        isolation: Isolation::Process,
        figures: &[Figure { suffix: "", unit: "%", decimals: 4 }],
    },
    Workload {
        kind: Kind::IdleMem,
        name: "idle_mem",
        definition: "N tasklets wait in a receive on one channel, on stacks of the default size (soft ones and a rival's: for one future); \
                     resident bytes of the process, page tables included, per tasklet; time to spawn one and run it until it waits; time \
                     to close the channel and let all end",
        size: "tasklets",
        not_evidence_for: "tasklets that have called deeply once: the pages they touched stay until they end",
        n: 100_000,
        quick_n: 100,
        workers: 1,
        isolation: Isolation::Process,
        figures: &[figure(".bytes", "bytes"), figure(".create", "ns"), figure(".wake_all", "ms")],
    },
];
