//! Safe code that uses core's pieces in ways they are not meant for: an error, a panic, a leak or a wait for ever at worst, and no memory
//! error.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use tasklet::stealing::{self, Runtime, park, unparker, yield_now};
use tasklet::{Channel, ParkError};
use tasklet_core::current;
use tasklet_core::home::{Home, Remote};
use tasklet_core::operation::{self, AnyBackend, Operation, Step};
use tasklet_core::park::{Parked, Wake};
use tasklet_core::scheduler::{Observed, Scheduler};
use tasklet_core::tasklet::Record;

use crate::support::{Dropped, OnDrop, Watchdog, runtime, yield_until};

/// The worker that the caller runs on, as others see it.
fn home() -> Arc<Home> {
    current::record().home().expect("a tasklet that runs has a home")
}

/// The runtime does what it should.
fn is_well(runtime: Runtime) {
    let sum = runtime.run(|| {
        let handles: Vec<_> = (0..100)
            .map(|n| {
                stealing::spawn(move || {
                    yield_now();
                    n
                })
            })
            .collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).sum::<u64>()
    });
    assert_eq!(sum, 4950);
    drop(runtime);
}

#[test]
fn a_tasklet_that_waits_cannot_be_inserted() {
    let runtime = runtime(1);
    let _watchdog = Watchdog::of_runtime(&runtime);
    let received = runtime.run(|| {
        let channel = Channel::new();
        let shared = channel.share();
        let receives = stealing::spawn(move || shared.recv());
        yield_until(|| channel.balance() == -1);
        assert!(home().submit(Remote::Insert(receives.record().unwrap())).is_ok());
        (0..20).for_each(|_| yield_now());
        assert!(!receives.is_finished(), "it goes on although nobody has sent");
        channel.send(5).unwrap();
        receives.join().unwrap()
    });
    assert_eq!(received, Ok(5));
    is_well(runtime);
}

#[test]
fn a_tasklet_that_has_not_started_starts_once() {
    let runtime = runtime(1);
    let _watchdog = Watchdog::of_runtime(&runtime);
    let runs = Arc::new(AtomicU64::new(0));
    let counter = runs.clone();
    runtime.run(move || {
        let make = |counter: &Arc<AtomicU64>| {
            let counter = counter.clone();
            move || {
                counter.fetch_add(1, Ordering::Relaxed);
                (0..3).for_each(|_| yield_now());
                let _ = stealing::park_timeout(Duration::from_millis(1));
            }
        };
        let (free, local) = (stealing::spawn(make(&counter)), stealing::spawn_local(make(&counter)));
        let placed = stealing::spawn_on(0, make(&counter)).unwrap();
        for handle in [&free, &local, &placed] {
            for _ in 0..3 {
                let _ = home().submit(Remote::Insert(handle.record().unwrap()));
            }
        }
        for _ in 0..30 {
            yield_now();
            for handle in [&free, &local, &placed] {
                let _ = home().submit(Remote::Insert(handle.record().unwrap()));
            }
        }
        let _ = home().submit(Remote::Insert(current::record()));
        [free, local, placed].into_iter().for_each(|handle| handle.join().unwrap());
    });
    assert_eq!(runs.load(Ordering::Relaxed), 3);
    is_well(runtime);
}

#[test]
fn a_cancellation_reaches_those_under_the_token_only() {
    let runtime = runtime(1);
    let _watchdog = Watchdog::of_runtime(&runtime);
    let received = runtime.run(|| {
        let channel = Channel::new();
        let shared = channel.share();
        let receives = stealing::spawn(move || {
            let token = tasklet::CancelToken::new();
            token.run(|| token.cancel());
            shared.recv()
        });
        yield_until(|| channel.balance() == -1);
        // As one that was on its way when the tasklet left the token.
        assert!(home().submit(Remote::Cancel(receives.record().unwrap())).is_ok());
        (0..20).for_each(|_| yield_now());
        channel.send(5).unwrap();
        receives.join().unwrap()
    });
    assert_eq!(received, Ok(5));
    is_well(runtime);
}

/// Takes the caller out of its queue, and lets it go on all the same.
struct GoesAstray<'p>(&'p Mutex<Option<Parked>>);

impl<'s> Operation<'s> for GoesAstray<'_> {
    type Output = ();

    fn begin(&mut self, scheduler: &dyn Scheduler, _: Observed) -> Step<'s> {
        *self.0.lock().unwrap() = Some(scheduler.begin_park());
        Step::Done
    }

    fn finish(&mut self, _: Result<Wake, ParkError>) {}
}

#[test]
fn the_right_to_wake_one_that_went_on_knows_its_home_for_ever() {
    let runtime = runtime(1);
    let _watchdog = Watchdog::of_runtime(&runtime);
    let parked = Arc::new(Mutex::new(None));
    let slots: Vec<_> = (0..3).map(|_| Arc::new(Mutex::new(None))).collect();
    // It ends, and counts as finished for nobody: whoever has the right to wake it could still use it.
    let goes_astray = |slot: Arc<Mutex<Option<Parked>>>| {
        let ended = Arc::new(AtomicU64::new(0));
        let dropped = Dropped(ended.clone());
        stealing::spawn(move || {
            let _dropped = &dropped;
            operation::perform::<AnyBackend, _>(GoesAstray(&slot));
        })
        .detach();
        yield_until(|| ended.load(Ordering::Relaxed) == 1);
    };
    let home = runtime.run({
        let (parked, slots) = (parked.clone(), slots.clone());
        move || {
            for slot in slots {
                goes_astray(slot);
            }
            goes_astray(parked);
            home().id()
        }
    });
    let parked: Parked = parked.lock().unwrap().take().unwrap();
    assert_eq!(parked.home().id(), home);
    assert_eq!(parked.share_home().id(), home);
    // Waking it does nothing: from here, from a tasklet of its worker, and after the end of that.
    current::unpark(parked);
    let take = |at: usize| -> Parked { slots[at].lock().unwrap().take().unwrap() };
    let second = take(0);
    runtime.run(move || current::unpark(second));
    let third = take(1);
    is_well(runtime);
    assert_eq!(third.home().id(), home);
    current::unpark(third);
}

#[test]
fn one_that_was_woken_while_it_ran_may_end() {
    let runtime = runtime(1);
    let _watchdog = Watchdog::of_runtime(&runtime);
    for yields in [0, 1] {
        runtime.run(move || {
            let ended = Arc::new(AtomicU64::new(0));
            let (dropped, counted) = (Dropped(ended.clone()), ended);
            let handle = stealing::spawn(move || {
                let _dropped = &dropped;
                let slot = Mutex::new(None);
                operation::perform::<AnyBackend, _>(GoesAstray(&slot));
                current::unpark(slot.into_inner().unwrap().unwrap());
                (0..yields).for_each(|_| yield_now());
            });
            yield_until(|| counted.load(Ordering::Relaxed) == 1);
            drop(handle);
            (0..3).for_each(|_| yield_now());
        });
    }
    is_well(runtime);
}

/// Starts a timer that nobody stops.
struct LeavesTimer(Duration);

impl<'s> Operation<'s> for LeavesTimer {
    type Output = ();

    fn begin(&mut self, scheduler: &dyn Scheduler, _: Observed) -> Step<'s> {
        let _ = scheduler.start_timer(scheduler.now() + self.0);
        Step::Done
    }

    fn finish(&mut self, _: Result<Wake, ParkError>) {}
}

#[test]
fn a_timer_that_nobody_stops_disturbs_nobody() {
    let runtime = runtime(1);
    let _watchdog = Watchdog::of_runtime(&runtime);
    runtime.run(|| {
        for micros in [0, 100, 2000] {
            let leaves = LeavesTimer(Duration::from_micros(micros));
            stealing::spawn(move || operation::perform::<AnyBackend, _>(leaves)).join().unwrap();
        }
        stealing::sleep(Duration::from_millis(5));
    });
    is_well(runtime);
}

#[test]
fn who_runs_is_known_when_a_tasklet_has_just_ended() {
    let runtime = runtime(1);
    let _watchdog = Watchdog::of_runtime(&runtime);
    let (tell, told) = mpsc::channel();
    runtime.run(move || {
        let ended = stealing::spawn(|| ());
        ended.wait().unwrap();
        for _ in 0..100 {
            // The last thing that each does is to leave a request whose destructor asks who runs: it is dropped before the next goes on.
            let (tell, about) = (tell.clone(), ended.record().unwrap());
            drop(stealing::spawn_local(move || {
                let asks = OnDrop(move || {
                    let record: Arc<Record> = current::record();
                    unparker().unpark();
                    tell.send(record.name().map(str::to_owned)).unwrap();
                });
                let _ = home().submit(Remote::Throw(about, Box::new(asks)));
            }));
        }
        (0..200).for_each(|_| yield_now());
    });
    let names: Vec<_> = told.iter().collect();
    assert_eq!(names.len(), 100);
    // The worker itself, in its own name.
    assert!(names.iter().all(|name| name.as_deref() == Some("worker 0")), "{names:?}");
    is_well(runtime);
}

#[test]
fn a_permit_for_one_that_has_ended_is_nobodys() {
    let runtime = runtime(2);
    let _watchdog = Watchdog::of_runtime(&runtime);
    let unparkers: Vec<_> = (0..100).map(|_| runtime.spawn(unparker).join().unwrap()).collect();
    let parks: Vec<_> = (0..100)
        .map(|_| {
            runtime.spawn(|| {
                let _ = park();
            })
        })
        .collect();
    unparkers.iter().for_each(stealing::Unparker::unpark);
    let unfinished = parks.iter().filter(|handle| !handle.is_finished()).count();
    assert_eq!(unfinished, 100, "a permit went to a tasklet that has the record of another");
    parks.iter().for_each(|handle| handle.kill());
    assert!(parks.into_iter().all(|handle| handle.join().unwrap_err().is_killed()));
    is_well(runtime);
}

#[test]
fn a_runtime_that_is_dropped_inside_its_own_blocking_call_panics() {
    let runtime = runtime(1);
    let handle = runtime.handle();
    let message = handle.spawn(move || {
        let dropped = tasklet::blocking(|| std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(runtime))));
        tasklet::unwind::message(&dropped.unwrap_err()).to_owned()
    });
    // The runtime ends, so the tasklet may be told to before it has the message.
    match message.join() {
        Ok(message) => assert!(message.contains("wait for itself"), "{message}"),
        Err(error) => assert!(error.is_killed(), "{error}"),
    }
}

#[test]
fn a_scoped_child_that_catches_one_kill_does_not_outlive_its_runtime() {
    let runtime = runtime(1);
    let (tell, told) = mpsc::channel();
    let parent = runtime.spawn(move || {
        tasklet::scope(|scope| {
            scope.spawn(|| {
                tell.send(()).unwrap();
                let _ = std::panic::catch_unwind(park);
                let _ = park();
            });
        });
    });
    told.recv().unwrap();
    let report = runtime.shutdown(Duration::from_secs(20));
    assert!(report.is_clean(), "{report}");
    assert!(parent.join().unwrap_err().is_killed());
}

#[test]
fn a_kill_reaches_a_scope_whose_caller_was_cancelled() {
    let runtime = runtime(1);
    let token = tasklet::CancelToken::new();
    let (tell, told) = mpsc::channel();
    let under = token.clone();
    let parent = runtime.spawn(move || {
        under.run(|| {
            tasklet::scope(|scope| {
                scope.spawn(|| {
                    tell.send(()).unwrap();
                    let _ = park();
                });
            });
        });
    });
    told.recv().unwrap();
    token.cancel();
    // The caller learns of the one before the other.
    runtime.run(|| (0..3).for_each(|_| yield_now()));
    parent.kill();
    let joined = parent.join_timeout(Duration::from_secs(20)).expect("it ends");
    assert!(joined.unwrap_err().is_killed());
}
