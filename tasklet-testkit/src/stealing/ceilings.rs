//! A ceiling on the memory of stacks: that it holds, who gives back what for whom, and that who waits for memory is quiet.

use std::time::Duration;

use tasklet_channels::SharedChannel;
use tasklet_core::backend::Backend;
use tasklet_core::stack::{Depot, StackConfig, StackSize};
use tasklet_core::tasklet::JoinHandle;
use tasklet_scheduler::stealing::{self, Handle, Runtime};

use super::Case;
use super::setup::{LIMIT, channel, end, has_our_stacks, spin_until};
use super::trims::{DEEP, deep_down, trims};

/// What a stack takes at most whose tasklet has called [`DEEP`].
const EACH: usize = DEEP + (28 << 10);

/// What tasklets may take beyond the ceiling: stacks that are handed out between two measurings, as many as a quarter of some 200, or 64.
const SLACK: usize = 64 * EACH;

/// Tasklets of one worker that wait deep down, where they need what they have.
fn wait_deep_down<B: Backend>(
    runtime: &Runtime<B>,
    worker: usize,
    count: usize,
    gate: &SharedChannel<()>,
) -> Vec<JoinHandle<()>> {
    let tasklet = |gate: SharedChannel<()>| move || deep_down(DEEP, &mut || gate.recv().unwrap());
    (0..count).map(|_| runtime.spawn_on(worker, tasklet(gate.clone())).unwrap()).collect()
}

fn open(gate: &SharedChannel<()>, tasklets: Vec<JoinHandle<()>>) {
    tasklets.iter().for_each(|_| gate.send(()).unwrap());
    tasklets.into_iter().for_each(|tasklet| tasklet.join().unwrap());
}

/// What the tasklets of one worker do not need serves those of another, which has nothing to give back itself.
pub fn a_worker_gets_memory_from_others<B: Backend>(case: Case) {
    if !trims::<B>() {
        return;
    }
    // Only for want of memory.
    let ceiling = 220 * DEEP;
    let runtime = case.builder::<B>().resident_ceiling(ceiling).trim_after(None).build().unwrap();
    let (gate, deep) = (channel::<()>(), channel::<()>());
    let had: Vec<_> = (0..150)
        .map(|_| {
            let gate = gate.clone();
            let tasklet = move || {
                deep_down(DEEP, &mut || {});
                gate.recv().unwrap();
            };
            runtime.spawn_on(0, tasklet).unwrap()
        })
        .collect();
    spin_until(|| gate.balance() == -150);
    assert!(runtime.depot().resident() >= 150 * DEEP, "they have what they have used");
    // For these there is room only without that, also if some of them begin before it is measured.
    let needed = wait_deep_down(&runtime, 1, 170, &deep);
    spin_until(|| deep.balance() == -170);
    open(&deep, needed);
    open(&gate, had);
    end(runtime);
}

/// A crowd that needs three times as much as the ceiling has it one after the other.
pub fn a_ceiling_on_memory_holds<B: Backend>(case: Case) {
    if !has_our_stacks::<B>() {
        return;
    }
    let ceiling = 100 * DEEP;
    case.run_virtual_with::<B, _>(
        |builder| builder.resident_ceiling(ceiling),
        |_| {
            let (gate, depot) = (channel::<()>(), Handle::try_current().unwrap().depot().clone());
            let tasklets: Vec<_> = (0..300)
                .map(|_| {
                    let gate = gate.clone();
                    stealing::spawn_local(move || deep_down(DEEP, &mut || gate.recv().unwrap()))
                })
                .collect();
            let look = |depot: &Depot| {
                // Over when nothing can go on.
                stealing::sleep(Duration::from_secs(3600));
                let (resident, waiting) = (depot.resident(), -gate.balance());
                assert!(resident <= ceiling + SLACK, "{resident} bytes, {waiting} tasklets");
                waiting
            };
            let waiting = look(&depot);
            assert!((50..=100 + 64).contains(&waiting), "{waiting} of 300 have a stack, with room for 100");
            for _ in 0..300 {
                gate.send(()).unwrap();
                if gate.balance() == -20 {
                    // Most of those that had a stack have gone.
                    look(&depot);
                }
            }
            tasklets.into_iter().for_each(|tasklet| tasklet.join().unwrap());
        },
    );
}

/// A runtime whose ceiling is hit by tasklets that wait and need a page each, with more for each worker that wait for memory.
fn hungry<B: Backend>(case: Case) -> (Runtime<B>, SharedChannel<()>, Vec<JoinHandle<()>>) {
    let runtime = case.builder::<B>().resident_ceiling(100 * 4096).trim_after(None).build().unwrap();
    let gate = channel::<()>();
    let tasklet = |gate: SharedChannel<()>| move || gate.recv().unwrap();
    let tasklets: Vec<_> =
        (0..300).map(|number| runtime.spawn_on(number % case.workers, tasklet(gate.clone())).unwrap()).collect();
    (runtime, gate, tasklets)
}

/// Workers whose tasklets wait for memory neither keep each other awake nor look all the time.
pub fn who_waits_for_memory_is_quiet<B: Backend>(case: Case) {
    if !has_our_stacks::<B>() {
        return;
    }
    let (runtime, gate, tasklets) = hungry::<B>(case);
    let handle = runtime.handle();
    // Nothing changes, so the pauses of each worker come to this length.
    let window = Duration::from_millis(500);
    let slept = || {
        let before = handle.metrics().slept;
        std::thread::sleep(window);
        handle.metrics().slept - before
    };
    // Each worker looks twice, and wakes those that it asks. Slower machines sleep less often.
    let most = 3 * (case.workers * case.workers) as u64 + 2;
    let mut counts = Vec::new();
    while counts.last().is_none_or(|count| *count > most) {
        assert!(counts.len() < 20, "with {} workers, slept so often in each window: {counts:?}", case.workers);
        counts.push(slept());
    }
    assert!(-gate.balance() < 300, "nobody waits for memory");
    open(&gate, tasklets);
    end(runtime);
}

/// The pause between two looks doubles up to a third of a second, and ends when something has run.
pub fn pauses_between_looks_for_memory_grow<B: Backend>(case: Case) {
    if !has_our_stacks::<B>() {
        return;
    }
    case.run_virtual_with::<B, _>(
        |builder| builder.resident_ceiling(100 * 4096).trim_after(None),
        |_| {
            let gate = channel::<()>();
            let tasklets: Vec<_> = (0..300)
                .map(|_| {
                    let gate = gate.clone();
                    stealing::spawn_local(move || gate.recv().unwrap())
                })
                .collect();
            let slept = || Handle::try_current().unwrap().metrics().slept;
            for _ in 0..2 {
                let before = slept();
                stealing::sleep(Duration::from_secs(32));
                let looks = slept() - before;
                // Twelve until they are that long, a hundred then.
                assert!((90..=130).contains(&looks), "{looks} looks in 32 seconds");
            }
            tasklets.iter().for_each(|_| gate.send(()).unwrap());
            tasklets.into_iter().for_each(|tasklet| tasklet.join().unwrap());
        },
    );
}

/// Memory that comes back from elsewhere is found: stacks of another runtime at the same depot.
pub fn memory_comes_back_from_elsewhere<B: Backend>(case: Case) {
    if !has_our_stacks::<B>() {
        return;
    }
    let depot = Depot::new(StackConfig::new().resident_ceiling(100 * 4096));
    let (one, other) = (case.builder::<B>().depot(depot.clone()), case.builder::<B>().depot(depot));
    let (one, other) = (one.build().unwrap(), other.build().unwrap());
    let (gate, late) = (channel::<()>(), channel::<()>());
    let wait = |gate: &SharedChannel<()>| {
        let gate = gate.clone();
        move || gate.recv().unwrap()
    };
    let had: Vec<_> = (0..60).map(|_| one.spawn_on(0, wait(&gate)).unwrap()).collect();
    spin_until(|| gate.balance() == -60);
    let needed: Vec<_> = (0..80).map(|_| other.spawn_on(0, wait(&late)).unwrap()).collect();
    // Its worker has looked for memory some times, and pauses.
    let slept = other.metrics().slept;
    spin_until(|| other.metrics().slept >= slept + 5);
    assert!(-late.balance() < 80, "nobody waits for memory");
    open(&gate, had);
    assert!(one.shutdown(LIMIT).is_clean());
    spin_until(|| late.balance() == -80);
    open(&late, needed);
    end(other);
}

/// Stacks on which tasklets of one worker have ended serve those of another, which wait for each other.
pub fn ends_make_room_on_other_workers<B: Backend>(case: Case) {
    if !has_our_stacks::<B>() {
        return;
    }
    let size = StackSize::new(64 << 10).unwrap();
    let builder = || case.builder::<B>().stack_size(size).trim_after(None);
    // Room for some hundred.
    let ceilings = [(builder().resident_ceiling(100 * 4096), true), (builder().stack_ceiling(100 * (68 << 10)), false)];
    for (builder, is_estimated) in ceilings {
        let runtime = builder.build().unwrap();
        let (gate, late) = (channel::<()>(), channel::<()>());
        let wait = |gate: &SharedChannel<()>| {
            let gate = gate.clone();
            move || gate.recv().unwrap()
        };
        let had: Vec<_> = (0..60).map(|_| runtime.spawn_on(0, wait(&gate)).unwrap()).collect();
        spin_until(|| gate.balance() == -60);
        let needed: Vec<_> = (0..70).map(|_| runtime.spawn_on(1, wait(&late)).unwrap()).collect();
        let slept = runtime.metrics().slept;
        // What is in memory is estimated between two measurings, so there may have been room for all: then nobody looks for a stack.
        let has_room = || is_estimated && late.balance() == -70;
        spin_until(|| runtime.metrics().slept >= slept + 5 || has_room());
        assert!(is_estimated || -late.balance() < 70, "nobody waits for a stack");
        open(&gate, had);
        spin_until(|| late.balance() == -70);
        open(&late, needed);
        end(runtime);
    }
}
