//! What a user imports works, with whatever backend this build has chosen.

#![forbid(unsafe_code)]

use std::any::TypeId;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tasklet::backend::{self, Backend, StackProvision};
use tasklet::local::{self, Budget, RunOptions, RunOutcome};
use tasklet::stack::{Depot, GuardMode, StackConfig, StackPool, StackSize};
use tasklet::time::{self, Clock, RealClock, ThreadDriver, VirtualClock};
use tasklet::{Channel, ParkError, ParkReason, SharedChannel, unwind};

mod prelude {
    use tasklet::prelude::*;

    #[test]
    fn is_enough_for_tasklets_and_channels() {
        let scheduler = local::Scheduler::new();
        let channel: Channel<u32> = Channel::with_preference(Preference::Neither);
        let shared: SharedChannel<u32> = channel.share();
        let sum: JoinHandle<u32> = scheduler.spawn_joinable(move || channel.iter().sum());
        let sender = std::thread::spawn(move || {
            shared.send_all(1..=4).unwrap();
            shared.close();
        });
        assert_eq!(sum.join().unwrap(), 10);
        sender.join().unwrap();
    }
}

#[test]
fn the_default_backend_is_the_first_of_the_documented_order() {
    let expected = if cfg!(feature = "backend-corosensei") {
        "corosensei"
    } else if cfg!(feature = "backend-context") {
        "context"
    } else {
        "generator"
    };
    assert_eq!(backend::Default::NAME, expected);
    assert_eq!(
        TypeId::of::<local::Scheduler>(),
        TypeId::of::<local::SchedulerOn<backend::Default>>(),
        "the alias is the default"
    );
}

#[test]
fn every_backend_of_the_build_runs_beside_the_others() {
    fn runs_on<B: Backend>() -> u32 {
        let scheduler = local::SchedulerOn::<B>::builder().build();
        let channel = Channel::new();
        let numbers = channel.clone();
        scheduler.spawn(move || {
            numbers.send_all(1..=3).unwrap();
            numbers.close();
        });
        channel.iter().sum()
    }
    #[cfg(feature = "backend-corosensei")]
    assert_eq!(runs_on::<backend::Corosensei>(), 6);
    #[cfg(feature = "backend-context")]
    assert_eq!(runs_on::<backend::Context>(), 6);
    #[cfg(feature = "backend-generator")]
    assert_eq!(runs_on::<backend::Generator>(), 6);
    assert_eq!(runs_on::<backend::Default>(), 6);
}

#[test]
fn names_lead_to_working_types() {
    let clock = Rc::new(VirtualClock::default());
    let scheduler = local::Scheduler::builder()
        .clock(clock.clone())
        .driver(ThreadDriver::default())
        .stacks(StackPool::new(&Depot::new(StackConfig::new().guard_mode(GuardMode::Auto))))
        .max_idle_fibers(2)
        .error_policy(local::ErrorPolicy::Raise)
        .flat(false)
        .build();
    assert!(RealClock::default().now() <= RealClock::default().now());

    let tasklet = scheduler.tasklet().name("napper").stack_size(StackSize::new(64 << 10).unwrap()).spawn({
        let clock = clock.clone();
        move || loop {
            clock.advance(Duration::from_millis(1));
            local::schedule();
        }
    });
    assert!(matches!(scheduler.run_for(Duration::from_millis(3)), Ok(RunOutcome::Budget)));
    // Alone, the napper would switch to nobody.
    let other = scheduler.spawn(|| {
        loop {
            local::schedule();
        }
    });
    let options = RunOptions::new().total(Budget::Switches(5));
    assert!(matches!(scheduler.run_with(options), Ok(RunOutcome::Budget)));
    assert_eq!(tasklet.state(), local::State::Runnable);
    assert_eq!(scheduler.stack_stats().live > 0, backend::Default::STACKS == StackProvision::Ours);

    other.remove().unwrap();
    other.kill().unwrap();
    tasklet.kill().unwrap();
    assert_eq!(tasklet.state(), local::State::Dead);
    assert!(matches!(tasklet.insert(), Err(local::TaskletStateError::Dead)));
    assert_eq!(scheduler.shut_down(), local::Shutdown::default());
}

#[test]
fn a_point_in_time_means_the_same_everywhere() {
    let before = time::now();
    let scheduler = local::Scheduler::new();
    let on_local = scheduler.spawn_joinable(time::now).join().unwrap();
    let until = on_local + Duration::from_millis(2);
    let on_a_runtime = tasklet::run(move || {
        time::sleep_until(until);
        time::now()
    });
    let after = std::thread::spawn(time::now).join().unwrap();
    assert!(before <= on_local && until <= on_a_runtime && on_a_runtime <= after);
    // The function of the root works in a tasklet of either.
    let slept = scheduler.spawn_joinable(|| tasklet::sleep(Duration::from_millis(1)));
    slept.join().unwrap();
    assert!(time::now() >= after + Duration::from_millis(1));
}

#[test]
fn errors_say_what_went_wrong() {
    let scheduler = local::Scheduler::new();
    let channel = Channel::<u8>::new();
    let error: tasklet::RecvError = channel.recv().unwrap_err();
    assert!(error.park_error().is_some(), "{error}");
    assert!(channel.try_recv().unwrap_err().is_would_block());
    channel.close();
    let error: tasklet::SendError<u8> = channel.send(7).unwrap_err();
    assert!(error.is_closed());
    assert_eq!(error.into_inner(), 7);

    let handle = scheduler.spawn_joinable(|| std::panic::resume_unwind(Box::new("on purpose")));
    let error: tasklet::JoinError = tasklet::JoinHandle::<()>::join(handle).unwrap_err();
    assert_eq!(unwind::message(&error.into_panic().unwrap()), "on purpose");

    scheduler.spawn(|| std::panic::resume_unwind(Box::new("again")));
    let Err(local::RunError::Tasklet(error)) = scheduler.run() else { panic!("the tasklet fails") };
    assert_eq!(error.message(), "again");
    assert!(!unwind::is_tasklet_exit(error.payload()));

    let error = StackSize::new(1).unwrap_err();
    assert!(error.is_invalid_size(), "{error}");
    let other = scheduler.spawn(|| {});
    let trap = local::switch_trap();
    assert_eq!(local::try_schedule(), Err(ParkError::SwitchTrapped));
    drop(trap);
    assert!(other.is_alive());
}

#[test]
fn hosts_see_and_steer_what_happens() {
    let scheduler = local::Scheduler::new();
    let (events, switches) = (Rc::new(RefCell::new(Vec::new())), Rc::new(RefCell::new(0)));
    let (log, count) = (events.clone(), switches.clone());
    scheduler.set_channel_hook(Some(Box::new(move |event: &tasklet::channel::ChannelEvent| {
        log.borrow_mut().push((event.direction, event.will_block));
    })));
    scheduler.set_schedule_hook(Some(Box::new(move |_: &local::Switch| *count.borrow_mut() += 1)));

    let channel = Channel::<u8>::new();
    let receiver = channel.clone();
    let waiting = scheduler.spawn(move || assert_eq!(receiver.recv().unwrap(), 1));
    scheduler.run().unwrap();
    let direction = tasklet::channel::Direction::Receive;
    assert_eq!(waiting.park_reason(), Some(ParkReason::Channel { id: channel.id(), direction }));
    channel.send(1).unwrap();
    assert_eq!(*events.borrow(), [(direction, true), (tasklet::channel::Direction::Send, false)]);
    assert_eq!(*switches.borrow() as u64, scheduler.switches());

    let resumers = Rc::new(RefCell::new(Vec::<local::Resumer<u8>>::new()));
    let list = resumers.clone();
    let answer = scheduler.spawn_joinable(move || local::suspend(|resumer| list.borrow_mut().push(resumer)));
    scheduler.run().unwrap();
    resumers.borrow_mut().pop().unwrap().resume(42);
    assert_eq!(answer.join().unwrap(), Ok(42));
}

#[test]
fn other_threads_reach_in_through_remotes_and_shared_channels() {
    let scheduler = local::Scheduler::new();
    let questions: Channel<u32> = Channel::new();
    let answers: Channel<u32> = Channel::new();
    let (asking, answered): (SharedChannel<u32>, SharedChannel<u32>) = (questions.share(), answers.share());
    scheduler.spawn(move || answers.send_all(questions.iter().map(|question| question * 2)).map(drop).unwrap());
    let thread = std::thread::spawn(move || {
        let answers: Vec<u32> = (1..=3)
            .map(|question| {
                asking.send(question).unwrap();
                answered.recv().unwrap()
            })
            .collect();
        asking.close();
        answers
    });
    scheduler.run_with(RunOptions::new().block_thread()).unwrap();
    assert_eq!(thread.join().unwrap(), [2, 4, 6]);
}
