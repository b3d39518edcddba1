//! Memory of stacks in use: what tasklets are told of it, and what goes back while they wait.

use std::hint::black_box;
use std::time::Duration;

use tasklet_channels::SharedChannel;
use tasklet_core::backend::{Backend, Resumed, StackSource, Swaps};
use tasklet_core::clock::VirtualClock;
use tasklet_core::current;
use tasklet_core::stack::{Depot, Stack, StackConfig, StackPool, StackSize, StackUsage};
use tasklet_core::tasklet::JoinHandle;
use tasklet_scheduler::stealing::{self, Handle, Runtime};

use super::Case;
use super::setup::{Census, LIMIT, channel, end, has_our_stacks, spin_until};

/// How deep the tasklets of these tests call.
pub(crate) const DEEP: usize = 100 << 10;

/// What a tasklet that waits needs of its stack, at most.
pub(crate) const SHALLOW: usize = 24 << 10;

/// Whether a backend tells what its suspended coroutines need, so that the rest can go back.
pub(crate) fn trims<B: Backend>() -> bool {
    has_our_stacks::<B>() && matches!(B::swaps(), Swaps::Yes)
}

/// Calls `f` with so many bytes of the stack in use, and looks afterwards whether they are as they were.
pub(crate) fn deep_down(bytes: usize, f: &mut dyn FnMut()) {
    fn down(top: usize, bytes: usize, level: u8, f: &mut dyn FnMut()) {
        let frame = black_box([level; 512]);
        if top - frame.as_ptr().addr() >= bytes {
            f();
        } else {
            down(top, bytes, level.wrapping_add(1), f);
        }
        assert!(black_box(&frame).iter().all(|byte| *byte == level), "a frame was changed at level {level}");
    }
    let top = 0u8;
    down(std::ptr::from_ref(black_box(&top)).addr(), bytes, 0, f);
}

fn go_deep() {
    deep_down(DEEP, &mut || {});
}

/// A tasklet that has called deep, waits for a number, calls deep again and returns what its locals say.
fn diver(gate: SharedChannel<u64>, census: &Census) -> impl FnOnce() -> u64 + Send + 'static {
    let one = census.one();
    move || {
        let _one = one;
        let locals: Vec<u64> = (0..100).collect();
        let array = black_box([7u64; 32]);
        go_deep();
        let number = gate.recv().unwrap();
        assert_eq!(locals.iter().sum::<u64>(), 4_950);
        go_deep();
        number + array.iter().sum::<u64>()
    }
}

fn divers<B: Backend>(
    runtime: &Runtime<B>,
    count: usize,
    census: &Census,
) -> (Vec<JoinHandle<u64>>, SharedChannel<u64>) {
    let gate = channel::<u64>();
    let workers = runtime.workers();
    let spawn = |number: usize| runtime.spawn_on(number % workers, diver(gate.clone(), census)).unwrap();
    let divers: Vec<_> = (0..count).map(spawn).collect();
    spin_until(|| gate.balance() == -(count as isize));
    (divers, gate)
}

/// The usage of each, once they all have come to their wait: the last one may still be on its way.
fn usages(runtime: &Handle, divers: &[JoinHandle<u64>]) -> Vec<StackUsage> {
    divers.iter().map(|diver| runtime.stack_usage(diver).expect("it waits")).collect()
}

/// A tasklet that has called deep and waits gives its pages back, is told so, and goes on as if nothing had happened.
pub fn a_deep_tasklet_gives_its_pages_back_and_goes_on<B: Backend>(case: Case) {
    let (runtime, census) = (case.runtime::<B>(), Census::default());
    let (divers, gate) = divers(&runtime, 12, &census);
    if has_our_stacks::<B>() {
        let before = usages(&runtime, &divers);
        for usage in &before {
            assert!(usage.reserved >= StackSize::DEFAULT.bytes() && usage.reserved < 2 * StackSize::DEFAULT.bytes());
            assert!(usage.high_water >= DEEP && usage.high_water <= usage.reserved, "{usage:?}");
            assert!(usage.resident >= DEEP && usage.resident <= usage.high_water, "{usage:?}");
        }
        runtime.trim();
        // Asked after the request, so answered after it.
        let after = usages(&runtime, &divers);
        for (before, after) in before.iter().zip(&after) {
            assert_eq!((after.reserved, after.high_water), (before.reserved, before.high_water));
            assert!(after.resident <= if trims::<B>() { SHALLOW } else { before.resident }, "{after:?}");
        }
        let given_back = before.iter().zip(&after).map(|(before, after)| (before.resident - after.resident) as u64);
        assert!(runtime.metrics().trimmed >= given_back.sum(), "{}", runtime.metrics().trimmed);
        assert_eq!(runtime.metrics().trimmed == 0, !trims::<B>());
    } else {
        assert!(divers.iter().all(|diver| runtime.stack_usage(diver).is_none()));
        runtime.trim();
    }
    (0..12).for_each(|number| gate.send(number).unwrap());
    let sum: u64 = divers.into_iter().map(|diver| diver.join().unwrap()).sum();
    assert_eq!(sum, 66 + 12 * 224);
    census.assert_all_dropped();
    end(runtime);
}

/// A tasklet whose pages were given back unwinds when it is killed.
pub fn a_trimmed_tasklet_is_killed<B: Backend>(case: Case) {
    let (runtime, census) = (case.runtime::<B>(), Census::default());
    let (divers, _gate) = divers(&runtime, 6, &census);
    runtime.trim();
    for diver in divers {
        let _ = runtime.stack_usage(&diver);
        assert_eq!(census.made(), 6);
        diver.kill();
        assert!(diver.join().unwrap_err().is_killed());
    }
    census.assert_all_dropped();
    end(runtime);
}

/// What is below the place where a tasklet was suspended last is in use while it runs.
pub fn a_running_tasklet_is_left_alone<B: Backend>(case: Case) {
    let runtime = case.runtime::<B>();
    let resident = runtime.run(|| {
        // The other one lets it be suspended once, high up on its stack. Then it is alone, so its worker does what it is asked on its stack.
        let (pair, handle) = (channel::<()>(), Handle::try_current().unwrap());
        let other = pair.clone();
        let first = stealing::spawn_local(move || other.send(()).unwrap());
        pair.recv().unwrap();
        first.join().unwrap();
        let mut resident = 0;
        deep_down(DEEP, &mut || {
            handle.trim();
            (0..1000).for_each(|_| stealing::checkpoint());
            stealing::yield_now();
            resident = current::stack_usage().map_or(0, |usage| usage.resident);
        });
        resident
    });
    assert!(resident >= if has_our_stacks::<B>() { DEEP } else { 0 }, "{resident}");
    end(runtime);
}

/// Anybody may ask about any tasklet: one that has not begun, or has ended, or is another's has no stack.
pub fn anybody_asks_how_much_of_a_stack_is_used<B: Backend>(case: Case) {
    let (runtime, census) = (case.runtime::<B>(), Census::default());
    assert_eq!(current::stack_usage(), None, "a plain thread has none");
    let (mut divers, gate) = divers(&runtime, 8, &census);
    let other = case.runtime::<B>();
    assert_eq!(other.stack_usage(&divers[0]), None, "it is another runtime's");
    // From a tasklet of each worker, its own worker's and others', and of another runtime.
    let handle = runtime.handle();
    let ask = move |divers: Vec<JoinHandle<u64>>| {
        let told = divers.iter().filter_map(|diver| handle.stack_usage(diver)).filter(|usage| usage.resident >= DEEP);
        (told.count(), divers)
    };
    let all = if has_our_stacks::<B>() { 8 } else { 0 };
    for asker in (0..case.workers).map(|worker| (&runtime, worker)).chain([(&other, 0)]) {
        let ask = ask.clone();
        let (told, back) = asker.0.spawn_on(asker.1, move || ask(divers)).unwrap().join().unwrap();
        divers = back;
        assert_eq!(told, all);
    }
    (0..8).for_each(|number| gate.send(number).unwrap());
    divers.iter().for_each(|diver| diver.wait().unwrap());
    assert!(divers.iter().all(|diver| runtime.stack_usage(diver).is_none()), "they have ended");
    runtime.run(|| {
        let mine = current::stack_usage();
        assert_eq!(mine.is_some(), has_our_stacks::<B>());
        assert!(mine.is_none_or(|usage| 0 < usage.resident && usage.resident <= usage.high_water));
        let new = stealing::spawn_local(|| ());
        assert_eq!(Handle::try_current().unwrap().stack_usage(&new), None, "it has not begun");
        new.join().unwrap();
    });
    end(other);
    end(runtime);
}

/// Asking races with beginnings and ends, and with the end of the runtime: there is always an answer.
pub fn questions_about_stacks_race_with_ends<B: Backend>(case: Case) {
    for _ in 0..20 {
        let runtime = case.runtime::<B>();
        let handle = runtime.handle();
        let tasklets: Vec<_> = (0..20).map(|_| runtime.spawn(|| (0..5).for_each(|_| stealing::yield_now()))).collect();
        let asker = std::thread::spawn(move || {
            for tasklet in &tasklets {
                let usage = handle.stack_usage(tasklet);
                assert!(usage.is_none_or(|usage| usage.resident <= usage.reserved));
            }
            handle.trim();
        });
        std::thread::yield_now();
        let depot = runtime.depot().clone();
        let report = runtime.shutdown(LIMIT);
        // It may be releasing pages still, of stacks that are neither in use nor free meanwhile.
        asker.join().unwrap();
        assert!(report.is_clean() && depot.stats().live == 0, "{report}, {:?}", depot.stats());
    }
}

/// Tasklets that find no memory for a stack get what those that wait do not need.
pub fn a_ceiling_on_memory_takes_from_those_that_wait<B: Backend>(case: Case) {
    if !trims::<B>() {
        return;
    }
    // For half of them, if all kept what they have used; so many that the memory is measured in between.
    let ceiling = 100 * DEEP;
    // None of it by itself, after a while.
    let runtime = case.builder::<B>().resident_ceiling(ceiling).trim_after(None).build().unwrap();
    let gate = channel::<()>();
    let started = Census::default();
    let tasklets: Vec<_> = (0..200)
        .map(|number| {
            let (gate, started) = (gate.clone(), started.clone());
            let tasklet = move || {
                go_deep();
                drop(started.one());
                gate.recv().unwrap();
                go_deep();
            };
            runtime.spawn_on(number % case.workers, tasklet).unwrap()
        })
        .collect();
    // They wait for each other, so none may be left without a stack.
    spin_until(|| started.made() == 200 && gate.balance() == -200);
    // Late by those that were handed out between two looks.
    runtime.trim();
    tasklets.iter().for_each(|tasklet| super::setup::ignore(runtime.stack_usage(tasklet)));
    assert!(runtime.depot().resident() <= ceiling, "{}", runtime.depot().resident());
    (0..200).for_each(|_| gate.send(()).unwrap());
    tasklets.into_iter().for_each(|tasklet| tasklet.join().unwrap());
    end(runtime);
}

/// Where nothing can be taken from anybody, those who find no memory wait until others end.
pub fn a_ceiling_on_memory_is_waited_for<B: Backend>(case: Case) {
    let runtime = case.builder::<B>().resident_ceiling(30 * DEEP).build().unwrap();
    let tasklets: Vec<_> = (0..200)
        .map(|number| {
            runtime.spawn(move || {
                // It needs what it has.
                deep_down(DEEP, &mut stealing::yield_now);
                number
            })
        })
        .collect();
    let sum: u32 = tasklets.into_iter().map(|tasklet| tasklet.join().unwrap()).sum();
    assert_eq!(sum, 19_900);
    end(runtime);
    if has_our_stacks::<B>() {
        let error = case.builder::<B>().resident_ceiling(1000).build().unwrap_err();
        assert!(error.is_stack() && error.to_string().contains("the ceiling of 1000 bytes in memory"), "{error}");
    }
}

/// Who waits for long enough gives back what it does not need, without anybody asking; and then its worker sleeps for good.
pub fn what_waits_for_a_while_is_trimmed<B: Backend>(case: Case) {
    let hour = Duration::from_secs(3600);
    for (after, waits, gives_back) in
        [(Some(hour), 3 * hour, true), (Some(hour), hour / 2, false), (None, 3 * hour, false)]
    {
        let (resident, slept) = case.run_virtual_with::<B, _>(
            |builder| builder.trim_after(after),
            |_| {
                let (gate, census) = (channel::<u64>(), Census::default());
                let one = stealing::spawn_local(diver(gate.clone(), &census));
                stealing::sleep(Duration::from_secs(1));
                assert_eq!(gate.balance(), -1);
                stealing::sleep(waits);
                let handle = Handle::try_current().unwrap();
                let resident = handle.stack_usage(&one).map(|usage| usage.resident);
                let slept = handle.metrics().slept;
                stealing::sleep(hour * 1000);
                let slept = handle.metrics().slept - slept;
                gate.send(1).unwrap();
                assert_eq!(one.join().unwrap(), 225);
                (resident, slept)
            },
        );
        assert_eq!(resident.is_some(), has_our_stacks::<B>());
        let is_small = resident.is_some_and(|resident| resident <= SHALLOW);
        assert_eq!(is_small, gives_back && trims::<B>(), "{after:?}, {waits:?}: {resident:?}");
        // Some rounds until there is nothing to look at any more, not one in each hour.
        assert!(slept <= 10, "{slept}");
    }
}

/// A worker that never sleeps looks now and then.
pub fn a_busy_worker_trims_too<B: Backend>(case: Case) {
    if !trims::<B>() {
        return;
    }
    let runtime = case.builder::<B>().trim_after(Some(Duration::from_millis(1))).build().unwrap();
    runtime.run(|| {
        let (gate, census) = (channel::<u64>(), Census::default());
        let busy = super::setup::Flag::default();
        let seen = busy.clone();
        let pair = stealing::spawn_local(move || seen.wait());
        let one = stealing::spawn_local(diver(gate.clone(), &census));
        let handle = Handle::try_current().unwrap();
        super::setup::yield_until(|| handle.stack_usage(&one).is_some_and(|usage| usage.high_water >= DEEP));
        super::setup::yield_until(|| handle.stack_usage(&one).is_some_and(|usage| usage.resident <= SHALLOW));
        busy.set();
        pair.join().unwrap();
        gate.send(1).unwrap();
        assert_eq!(one.join().unwrap(), 225);
    });
    end(runtime);
}

/// A depot that keeps few free stacks, and the settings of a runtime that keeps none.
fn forgetful<B: Backend>(builder: stealing::Builder<B>) -> (Depot, stealing::Builder<B>) {
    let depot = Depot::new(StackConfig::new().warm_limit(10).cache_limit(4));
    (depot.clone(), builder.depot(depot).max_idle_fibers(1))
}

/// Many tasklets that wait at once, and end. Returns how much memory their stacks have left behind; the worker was not idle meanwhile.
fn burst(depot: &Depot) -> usize {
    let gate = channel::<()>();
    let tasklet = |gate: SharedChannel<()>| move || gate.recv().unwrap();
    let tasklets: Vec<_> = (0..300).map(|_| stealing::spawn_local(tasklet(gate.clone()))).collect();
    super::setup::yield_until(|| gate.balance() == -300);
    (0..300).for_each(|_| gate.send(()).unwrap());
    tasklets.into_iter().for_each(|tasklet| tasklet.join().unwrap());
    let resident = depot.resident();
    assert!(resident >= 300 * 4096, "{resident}: stacks keep their pages");
    resident
}

/// Of the stacks that are left of a burst, a worker that has nothing else to do gives back what is too much.
pub fn an_idle_worker_gives_free_stacks_back<B: Backend>(case: Case) {
    if !has_our_stacks::<B>() {
        return;
    }
    let body = |_: &VirtualClock| {
        let depot = Handle::try_current().unwrap().depot().clone();
        let before = burst(&depot);
        stealing::sleep(Duration::from_secs(1));
        (before, depot.resident())
    };
    let (before, after) = case.run_virtual_with::<B, _>(|builder| forgetful(builder).1, body);
    assert!(after <= before / 10, "{after} of {before} bytes are left");
}

/// And a worker that always has something else to do does it now and then.
pub fn a_busy_worker_gives_free_stacks_back<B: Backend>(case: Case) {
    if !has_our_stacks::<B>() {
        return;
    }
    let (depot, builder) = forgetful::<B>(case.builder());
    let runtime = builder.build().unwrap();
    runtime.run(|| {
        let done = super::setup::Flag::default();
        let seen = done.clone();
        let before = burst(&depot);
        // There is always somebody who can go on.
        let pair = stealing::spawn_local(move || seen.wait());
        super::setup::yield_until(|| {
            (0..4096).for_each(|_| stealing::yield_now());
            depot.resident() <= before / 10
        });
        done.set();
        pair.join().unwrap();
    });
    end(runtime);
}

/// Calls `f` on another stack than the caller's, as code does that grows its stack.
fn on_another_stack<B: Backend>(stack: Stack, f: &mut dyn FnMut()) {
    unsafe fn entry<B: Backend>(argument: *mut (), _: &B::Suspender) {
        // SAFETY: `create` was given its address, and whoever did so waits below.
        unsafe { (*argument.cast::<&mut dyn FnMut()>())() };
    }
    let mut f = f;
    // SAFETY: what is called unwinds only if a test fails, which then aborts; `f` is there until it has returned.
    let made = unsafe { B::create(StackSource::Ours(stack), entry::<B>, (&raw mut f).cast()) };
    let mut coroutine = made.unwrap_or_else(|error| panic!("{error}"));
    // SAFETY: it is new.
    assert!(unsafe { B::resume(&mut coroutine) } == Resumed::Finished, "it is nobody else who is suspended");
}

/// Of a tasklet that waits on top of another stack nobody knows what it needs of its own; nor while it runs there.
pub fn who_waits_on_another_stack_is_left_alone<B: Backend>(case: Case) {
    if !has_our_stacks::<B>() {
        return;
    }
    // Some lie above the stacks of the runtime, some below.
    let before = StackPool::default();
    let stacks = || -> Vec<_> { (0..4).map(|_| before.acquire(StackSize::DEFAULT).unwrap()).collect() };
    let above = stacks();
    let runtime = case.runtime::<B>();
    let below = StackPool::default().acquire(StackSize::new(1 << 20).unwrap()).unwrap();
    let (gate, handle) = (channel::<()>(), runtime.handle());
    let tasklets: Vec<_> = above
        .into_iter()
        .chain([below])
        .map(|stack| {
            let (gate, handle, mut stack) = (gate.clone(), handle.clone(), Some(stack));
            runtime.spawn(move || {
                // Suspended once, high up on its own stack.
                stealing::yield_now();
                deep_down(DEEP, &mut || {
                    on_another_stack::<B>(stack.take().unwrap(), &mut || {
                        handle.trim();
                        (0..1000).for_each(|_| stealing::checkpoint());
                        stealing::yield_now();
                        gate.recv().unwrap();
                    });
                });
            })
        })
        .collect();
    spin_until(|| gate.balance() == -5);
    runtime.trim();
    for tasklet in &tasklets {
        let usage = runtime.stack_usage(tasklet).expect("it waits");
        assert!(usage.resident >= DEEP, "{usage:?}");
    }
    (0..5).for_each(|_| gate.send(()).unwrap());
    // They look at their frames.
    tasklets.into_iter().for_each(|tasklet| tasklet.join().unwrap());
    end(runtime);
}
