//! Stacks: few for many short tasklets, as large as asked for, and waited for under a ceiling.

use std::hint::black_box;
use std::time::Duration;

use tasklet_channels::SharedChannel;
use tasklet_core::backend::Backend;
use tasklet_core::stack::StackSize;
use tasklet_scheduler::stealing::{self, TaskletBuilder};

use super::Case;
use super::setup::{Census, Flag, LIMIT, channel, end, has_our_stacks, yield_until};

/// Tasklets that never wait run one after the other on the stacks of those before them.
pub fn short_tasklets_need_few_stacks<B: Backend>(case: Case) {
    if !has_our_stacks::<B>() {
        return;
    }
    let runtime = case.runtime::<B>();
    let live = runtime.run(|| {
        let handles: Vec<_> = (0..10_000).map(|number: u32| stealing::spawn(move || number)).collect();
        let sum: u32 = handles.into_iter().map(|handle| handle.join().unwrap()).sum();
        assert_eq!(sum, 49_995_000);
        stealing::Handle::try_current().unwrap().metrics().stacks.live
    });
    // The caller's, and on each worker one to run on and one that was left when the caller parked.
    assert!(live <= 2 * case.workers + 2, "{live} stacks");
    end(runtime);
}

/// Uses this many bytes of the stack, and not many more, whatever the compiler makes of a frame.
fn descend(bytes: usize) -> bool {
    fn down(top: usize, bytes: usize) -> bool {
        let frame = black_box([1u8; 256]);
        let here = frame.as_ptr().addr();
        (top - here >= bytes || down(top, bytes)) && black_box(&frame)[7] == 1
    }
    let top = 0u8;
    down(std::ptr::from_ref(black_box(&top)).addr(), bytes)
}

/// A tasklet has the stack that it has asked for, however it is spawned, and others next to it have theirs.
pub fn a_tasklet_has_the_stack_it_asked_for<B: Backend>(case: Case) {
    let size = StackSize::new(4 << 20).unwrap();
    let runtime = case.runtime::<B>();
    runtime.run(|| {
        let builder = || TaskletBuilder::new().stack_size(size);
        let deep = || descend(2 << 20);
        let handles = [
            builder().spawn(deep),
            builder().spawn_local(deep),
            builder().spawn_on(case.workers - 1, deep).unwrap(),
            stealing::spawn(|| descend(16 << 10)),
        ];
        for handle in handles {
            assert!(handle.join().unwrap());
        }
        let scoped = stealing::scope(|scope| scope.spawn_with(builder(), deep).join().unwrap());
        assert!(scoped);
    });
    end(runtime);
    let runtime = case.builder::<B>().stack_size(size).build().unwrap();
    assert!(runtime.run(|| descend(2 << 20)));
    end(runtime);
}

/// A stack that fits under no circumstances is told by the handle, wherever the tasklet comes from and whoever waits for it.
pub fn an_absurd_stack_size_is_an_error_of_the_join<B: Backend>(case: Case) {
    if !has_our_stacks::<B>() {
        return;
    }
    let runtime = case.builder::<B>().stack_ceiling(64 << 20).build().unwrap();
    let builder = || TaskletBuilder::new().stack_size(StackSize::MAX).name("absurd");
    let outside = builder().on(&runtime).spawn(|| ()).join().unwrap_err();
    assert!(outside.stack_error().is_some_and(|error| error.is_ceiling()), "{outside}");
    assert!(outside.to_string().starts_with("the tasklet could not start: a stack that takes "), "{outside}");
    assert!(!outside.is_killed() && !outside.is_panic());
    runtime.run(|| {
        // The caller sits on a stack while it waits.
        for handle in [builder().spawn(|| ()), builder().spawn_local(|| ())] {
            let error = handle.join().unwrap_err();
            assert!(error.stack_error().is_some_and(|error| error.is_ceiling()), "{error}");
        }
        // Others are none the worse for it.
        assert!(stealing::spawn(|| descend(16 << 10)).join().unwrap());
    });
    end(runtime);
}

/// Far more tasklets than there are stacks for: those who find none wait for those who have one.
pub fn a_ceiling_is_waited_for<B: Backend>(case: Case) {
    let (tasklets, ceiling) = (1_000, 16 * (StackSize::DEFAULT.bytes() + (64 << 10)));
    let tasklets = if has_our_stacks::<B>() { tasklets } else { 100 };
    let runtime = case.builder::<B>().stack_ceiling(ceiling).build().unwrap();
    let finished = runtime.run(|| {
        let handles: Vec<_> = (0..tasklets)
            .map(|number: u32| {
                stealing::spawn(move || {
                    stealing::yield_now();
                    if number.is_multiple_of(10) {
                        stealing::sleep(Duration::from_micros(100));
                    }
                    stealing::yield_now();
                })
            })
            .collect();
        handles.into_iter().map(|handle| handle.join()).filter(Result::is_ok).count()
    });
    assert_eq!(finished, tasklets as usize);
    assert!(!has_our_stacks::<B>() || runtime.metrics().stacks.reserved <= ceiling);
    end(runtime);
}

/// The same for tasklets of one worker, and for soft ones.
pub fn a_ceiling_is_waited_for_by_all_kinds<B: Backend>(case: Case) {
    let ceiling = 16 * (StackSize::DEFAULT.bytes() + (64 << 10));
    let runtime = case.builder::<B>().stack_ceiling(ceiling).build().unwrap();
    runtime.run(|| {
        let gate = channel::<u32>();
        let local: Vec<_> = (0..60)
            .map(|_| {
                let gate = gate.clone();
                stealing::spawn_local(move || {
                    stealing::yield_now();
                    gate.recv().unwrap()
                })
            })
            .collect();
        let soft: Vec<_> = (0..60)
            .map(|number| {
                stealing::spawn_async(async move {
                    // Keeps its stack.
                    stealing::yield_now();
                    number
                })
            })
            .collect();
        let mut sum: u32 = 0;
        for number in 0..60 {
            gate.send(number).unwrap();
        }
        for handle in local.into_iter().chain(soft) {
            sum += handle.join().unwrap();
        }
        assert_eq!(sum, 2 * 1_770);
    });
    end(runtime);
}

/// A tasklet that waits for a stack is killed as any that has not started: at once, and without needing one.
pub fn a_tasklet_that_waits_for_a_stack_is_killed<B: Backend>(case: Case) {
    if !has_our_stacks::<B>() {
        return;
    }
    // The workers have one each, the caller of the test another, and then there are no more soon.
    let ceiling = 16 * (StackSize::DEFAULT.bytes() + (64 << 10));
    let runtime = case.builder::<B>().stack_ceiling(ceiling).build().unwrap();
    let census = Census::default();
    runtime.run(|| {
        let gate = channel::<()>();
        let parked: Vec<_> = (0..40)
            .map(|_| {
                let (gate, one, runs) = (gate.clone(), census.one(), Flag::default());
                let told = runs.clone();
                let tasklet = stealing::spawn_local(move || {
                    let _one = one;
                    told.set();
                    gate.recv().unwrap();
                });
                (tasklet, runs)
            })
            .collect();
        // Those that have a stack wait in the channel, the others for a stack.
        let (mut before, mut still) = (-1, 0);
        while still < 1_000 {
            stealing::yield_now();
            still = if gate.balance() == before { still + 1 } else { 0 };
            before = gate.balance();
        }
        // Others may give up stacks meanwhile, so it is not known how many will have one.
        let mut killed = 0;
        for (tasklet, runs) in parked.iter().rev() {
            if !runs.is_set() {
                tasklet.kill();
                tasklet.wait().unwrap();
                assert!(!runs.is_set(), "it was killed before it had a stack");
                killed += 1;
            }
        }
        assert!(0 < killed && killed < 40, "{killed} of 40 had no stack");
        assert_eq!(census.dropped(), killed);
        (killed..40).for_each(|_| gate.send(()).unwrap());
        let ends = parked.into_iter().filter_map(|(tasklet, _)| tasklet.join().err()).filter(|error| error.is_killed());
        assert_eq!(ends.count(), killed);
    });
    census.assert_all_dropped();
    end(runtime);
}

/// A tasklet that needs a larger stack than any that others may leave to it does not wait for them: they might wait for it.
pub fn who_needs_a_larger_stack_than_others_have_is_told<B: Backend>(case: Case) {
    if !has_our_stacks::<B>() {
        return;
    }
    // Room for the large one alone, and for many small ones.
    let ceiling = 32 * (StackSize::DEFAULT.bytes() + (64 << 10));
    let large = StackSize::new(StackSize::DEFAULT.bytes() * 8).unwrap();
    let runtime = case.builder::<B>().stack_ceiling(ceiling).build().unwrap();
    runtime.run(|| {
        let gate = channel::<()>();
        let tasklet = |gate: SharedChannel<()>| move || gate.recv().unwrap();
        let parked: Vec<_> = (0..80).map(|_| stealing::spawn_local(tasklet(gate.clone()))).collect();
        let (mut before, mut still) = (1, 0);
        while still < 1_000 {
            stealing::yield_now();
            still = if gate.balance() == before { still + 1 } else { 0 };
            before = gate.balance();
        }
        assert!((-79..=-10).contains(&before), "{before}: some have a stack, some wait for one");
        let builder = || TaskletBuilder::new().stack_size(large);
        for handle in [builder().spawn_local(|| ()), builder().spawn(|| ())] {
            let Ok(ended) = handle.join_timeout(LIMIT) else { panic!("it waits for stacks that are too small") };
            let error = ended.unwrap_err();
            assert!(error.stack_error().is_some_and(|error| error.is_ceiling()), "{error}");
        }
        (0..80).for_each(|_| gate.send(()).unwrap());
        parked.into_iter().for_each(|tasklet| tasklet.join().unwrap());
        assert!(builder().spawn_local(|| true).join().unwrap());
    });
    end(runtime);
}

/// What was used in a burst is given back when the runtime ends, and used again before that.
pub fn stacks_are_used_again<B: Backend>(case: Case) {
    if !has_our_stacks::<B>() {
        return;
    }
    let runtime = case.runtime::<B>();
    let burst = || {
        let gate = channel::<()>();
        let tasklets: Vec<_> = (0..200)
            .map(|_| {
                let gate = gate.clone();
                stealing::spawn_local(move || gate.recv().unwrap())
            })
            .collect();
        yield_until(|| gate.balance() == -200);
        (0..200).for_each(|_| gate.send(()).unwrap());
        tasklets.into_iter().for_each(|tasklet| tasklet.join().unwrap());
        stealing::Handle::try_current().unwrap().metrics().stacks.live
    };
    // On one worker, so that it is the same pool.
    let lives = runtime.spawn_on(0, move || (burst(), burst(), burst())).unwrap().join().unwrap();
    assert!(lives.0 >= 200 && lives.1 == lives.0 && lives.2 == lives.0, "{lives:?}");
    end(runtime);
}
