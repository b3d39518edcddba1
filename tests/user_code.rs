//! The user's code that a scheduler calls in the middle of its own work, hooks, clocks, destructors, cannot pull the ground from under
//! it: whatever would change what the scheduler holds is refused.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake};
use std::time::Duration;

use tasklet::local::{self, Budget, RunOptions, RunOutcome, Scheduler, Tasklet, TaskletStateError};
use tasklet::{Channel, ParkError};

/// Does something when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn a_hook_cannot_remove_the_tasklet_that_is_about_to_run() {
    let s = Rc::new(Scheduler::new());
    let (handle, seen) = (s.clone(), Rc::new(Cell::new(None)));
    let result = seen.clone();
    let target = s.spawn(local::schedule);
    s.set_schedule_hook(Some(Box::new(move |switch| {
        if let Some(next) = handle.runnable().into_iter().find(|tasklet| tasklet.id() == switch.to) {
            result.set(result.take().or(Some(next.remove())));
        }
    })));
    s.run().unwrap();
    assert_eq!(seen.get(), Some(Err(TaskletStateError::Park(ParkError::InHook))));
    assert!(!target.is_alive());
    s.set_schedule_hook(None);
}

#[test]
fn a_hook_whose_destructor_panics_disturbs_nothing() {
    let s = Rc::new(Scheduler::new());
    let (handle, served) = (s.clone(), Rc::new(Cell::new(false)));
    let (channel, flag) = (Channel::new(), served.clone());
    let receiver = channel.clone();
    s.spawn(move || {
        let bomb = OnDrop(|| resume_unwind(Box::new("dropped")));
        let inner = handle.clone();
        handle.set_schedule_hook(Some(Box::new(move |_| {
            let _ = &bomb;
            inner.set_schedule_hook(None);
        })));
        flag.set(receiver.recv() == Ok(7));
    });
    s.spawn(move || channel.send(7).unwrap());
    s.run().unwrap();
    assert!(served.get());
}

#[test]
fn a_result_that_nobody_awaits_cannot_run_tasklets_when_it_is_dropped() {
    let s = Scheduler::new();
    let refused = Rc::new(Cell::new(false));
    let flag = refused.clone();
    drop(s.spawn_joinable(move || OnDrop(move || flag.set(local::run().is_err()))));
    let after: Vec<Tasklet> = (0..2).map(|_| s.spawn(local::schedule)).collect();
    assert!(matches!(s.run(), Ok(RunOutcome::Idle)));
    assert!(refused.get() && after.iter().all(|tasklet| !tasklet.is_alive()));
    assert_eq!(s.run_depth(), 0);
}

#[test]
fn a_name_is_made_before_the_scheduler_is_looked_at() {
    struct Evil(Rc<RefCell<Option<Scheduler>>>);
    impl From<Evil> for String {
        fn from(evil: Evil) -> String {
            evil.0.borrow_mut().take();
            "evil".to_owned()
        }
    }
    let s = Rc::new(RefCell::new(Some(Scheduler::new())));
    let evil = Evil(s);
    // There is no scheduler any more when the tasklet is to be made.
    assert!(catch_unwind(AssertUnwindSafe(|| local::spawn_named(evil, || {}))).is_err());
}

#[test]
fn what_other_threads_leave_cannot_drop_the_scheduler() {
    thread_local!(static OWNER: RefCell<Option<Scheduler>> = const { RefCell::new(None) });
    let s = Scheduler::new();
    let bomb = OnDrop(|| drop(OWNER.with(|owner| owner.borrow_mut().take())));
    let handle = s.spawn_joinable(move || {
        let _bomb = &bomb;
    });
    let tasklet = s.runnable().into_iter().find(|tasklet| tasklet.id() == handle.id()).unwrap();
    tasklet.remove().unwrap();
    drop(tasklet);
    // The last handle goes on another thread, so the closure comes back to be dropped here.
    std::thread::spawn(move || drop(handle)).join().unwrap();
    let id = s.id();
    OWNER.with(|owner| *owner.borrow_mut() = Some(s));
    local::checkpoint();
    // It was leaked, as the documentation says, and is in use.
    assert_eq!(local::current().scheduler_id(), Some(id));
    local::schedule();
}

#[test]
fn a_clock_cannot_run_tasklets() {
    #[derive(Default)]
    struct Clock(Cell<u32>, Rc<Cell<u32>>);
    impl tasklet::time::Clock for Clock {
        fn now(&self) -> Duration {
            self.0.set(self.0.get() + 1);
            if self.0.get() > 1 && local::run().is_err() {
                self.1.set(self.1.get() + 1);
            }
            Duration::ZERO
        }
    }
    let clock = Clock::default();
    let refused = clock.1.clone();
    let s = Scheduler::builder().clock(clock).build();
    let channel = Channel::<i32>::new();
    for _ in 0..2 {
        let channel = channel.clone();
        s.spawn(move || {
            let _ = channel.recv();
        });
    }
    s.spawn(|| {});
    let options = RunOptions::new().slice(Budget::Time(Duration::from_secs(1)));
    assert!(matches!(s.run_with(options), Ok(RunOutcome::Idle)));
    assert!(refused.get() > 2);
    assert_eq!((s.run_depth(), channel.balance()), (0, -2));
}

#[test]
fn a_closure_that_never_ran_may_try_to_yield_when_its_scheduler_ends() {
    let s = Scheduler::new();
    let refused = Rc::new(Cell::new(None));
    let flag = refused.clone();
    let last = OnDrop(move || flag.set(local::try_schedule().err()));
    s.spawn(move || {
        let _last = &last;
    });
    s.spawn(|| {});
    s.spawn(|| {});
    assert_eq!(s.shut_down().discarded, 3);
    assert_eq!(refused.get(), Some(ParkError::InHook));
}

#[test]
fn a_payload_that_a_kill_replaces_cannot_let_its_tasklet_end() {
    thread_local!(static TARGET: RefCell<Option<Tasklet>> = const { RefCell::new(None) });
    struct Payload;
    impl Drop for Payload {
        fn drop(&mut self) {
            if let Some(target) = TARGET.with(|target| target.borrow_mut().take()) {
                let _ = target.insert();
                drop(target);
                assert_eq!(local::try_schedule(), Err(ParkError::InHook));
            }
        }
    }
    let s = Scheduler::new();
    let target = s.spawn(|| {
        let _ = local::schedule_remove();
    });
    s.run().unwrap();
    target.throw_later(Payload).unwrap();
    TARGET.with(|slot| *slot.borrow_mut() = Some(target));
    assert_eq!(s.shut_down().killed, 1);
}

#[test]
fn the_largest_budget_of_ticks_is_a_budget() {
    let s = Scheduler::new();
    s.spawn(|| local::tick(5));
    let options = RunOptions::new().slice(Budget::Ticks(u64::MAX)).hard();
    assert!(matches!(s.run_with(options), Ok(RunOutcome::Idle)));
}

/// Whoever polls last is woken, and a future that was ready says so when it is polled again.
#[test]
fn a_future_wakes_who_polled_it_last() {
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let (sender, receiver) = tasklet::channel::unbounded::<u32>();
    let counts = [(); 2].map(|()| Arc::new(Count(AtomicUsize::new(0))));
    let mut future = Box::pin(receiver.recv_async());
    let mut poll = |count: &Arc<Count>| future.as_mut().poll(&mut Context::from_waker(&count.clone().into()));
    assert!(counts.iter().all(|count| poll(count).is_pending()));
    sender.send(7).unwrap();
    assert_eq!(counts.each_ref().map(|count| count.0.load(Ordering::Relaxed)), [0, 1]);
    assert_eq!(poll(&counts[0]), Poll::Ready(Ok(7)));
    let again = catch_unwind(AssertUnwindSafe(|| poll(&counts[0]))).unwrap_err();
    assert!(text_of(&*again).contains("polled again"));
}

fn text_of(payload: &(dyn std::any::Any + Send)) -> &str {
    payload.downcast_ref::<String>().map_or("", |text| text)
}
