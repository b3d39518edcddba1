//! Safe code that once led to memory errors, aborts or hangs: in odd places and at odd times.

use std::cell::{Cell, RefCell};
use std::panic::catch_unwind;
use std::rc::Rc;
use std::sync::{Arc, Mutex, Once};
use std::thread;
use std::time::Duration;

use tasklet::local::{self, RunOptions, Scheduler};
use tasklet::time::{Clock, Driver, Notify, VirtualClock};
use tasklet_core::home::Remote;
use tasklet_core::operation::{self, AnyBackend, Operation, Step};
use tasklet_core::park::{ParkError, Wake};
use tasklet_core::scheduler::{Observed, Scheduler as AnyScheduler};

/// Uses the thread's scheduler, if it has one, when it is dropped.
struct AsksWhenDropped;

impl Drop for AsksWhenDropped {
    fn drop(&mut self) {
        assert!(catch_unwind(local::run_count).is_err(), "the scheduler is gone");
    }
}

thread_local! {
    static HOST: RefCell<Option<(Scheduler, AsksWhenDropped)>> = const { RefCell::new(None) };
}

/// Keeps the messages of the panics that these tests expect out of the output.
fn expect_panics() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !info
                .payload_as_str()
                .is_some_and(|text| text.starts_with("no local scheduler") || text.starts_with("a tasklet that parks"))
            {
                print(info);
            }
        }));
    });
}

#[test]
fn scheduler_in_a_thread_local_is_not_current_after_it() {
    expect_panics();
    let thread = thread::spawn(|| HOST.with(|host| *host.borrow_mut() = Some((Scheduler::new(), AsksWhenDropped))));
    thread.join().unwrap();
}

#[test]
fn scheduler_in_a_thread_local_ends_its_fibers_at_thread_exit() {
    expect_panics();
    let thread = thread::spawn(|| {
        HOST.with(|host| {
            let scheduler = Scheduler::new();
            scheduler.spawn(|| local::schedule_remove().unwrap());
            scheduler.run().unwrap();
            *host.borrow_mut() = Some((scheduler, AsksWhenDropped));
        });
    });
    thread.join().unwrap();
}

#[test]
fn virtual_clock_stops_at_the_end_of_time() {
    let clock = VirtualClock::default();
    clock.advance(Duration::MAX);
    clock.advance(Duration::from_secs(1));
    assert_eq!(clock.now(), Duration::MAX);
}

/// Tells the thread it is dropped on.
struct TellsThread(Arc<Mutex<Option<thread::ThreadId>>>);

impl Drop for TellsThread {
    fn drop(&mut self) {
        *self.0.lock().unwrap() = Some(thread::current().id());
    }
}

#[test]
fn closure_is_dropped_on_its_own_thread() {
    let where_dropped = Arc::default();
    let scheduler = Scheduler::new();
    let tells = TellsThread(Arc::clone(&where_dropped));
    let unsendable = Rc::new(());
    let tasklet = scheduler.tasklet().paused(move || drop((tells, unsendable)));
    let remote = tasklet.remote();
    drop(tasklet);
    thread::spawn(move || drop(remote)).join().unwrap();
    scheduler.run().unwrap();
    drop(scheduler);
    assert_eq!(*where_dropped.lock().unwrap(), Some(thread::current().id()));
}

struct Witness(Arc<()>);

impl Notify for Witness {
    fn notify(&self) {}
}

impl Driver for Witness {
    fn wait(&self, _: Option<Duration>) {}
    fn notifier(&self) -> Arc<dyn Notify> {
        Arc::new(Witness(self.0.clone()))
    }
}

#[test]
fn ended_scheduler_leaves_nothing_behind() {
    let witness = Arc::new(());
    let scheduler = Scheduler::builder().driver(Witness(witness.clone())).build();
    scheduler.spawn(|| ());
    scheduler.run().unwrap();
    scheduler.spawn(|| local::schedule_remove().unwrap());
    scheduler.spawn(|| ());
    drop(scheduler);
    assert_eq!(Arc::strong_count(&witness), 1);
}

#[test]
fn joining_a_paused_tasklet_is_idle_although_it_blocks_the_thread() {
    let scheduler = Scheduler::new();
    let paused = scheduler.spawn_joinable(|| local::schedule_remove().unwrap());
    let joined = Rc::new(Cell::new(false));
    let flag = joined.clone();
    scheduler.spawn(move || flag.set(paused.wait().is_ok()));
    scheduler.run().unwrap();
    // Another scheduler that is made current meanwhile does not count as somebody who could end the wait.
    let _other = Scheduler::new();
    scheduler.run_with(RunOptions::new().block_thread()).unwrap();
    assert!(!joined.get());
}

#[test]
fn inbox_takes_no_request_about_another_schedulers_tasklet() {
    let (ours, other) = (Scheduler::new(), Scheduler::new());
    let (own, foreign) = (ours.spawn_joinable(|| ()), other.spawn_joinable(|| ()));
    let home = own.record().unwrap().home().expect("it belongs to a scheduler");
    assert!(home.submit(Remote::Insert(own.record().unwrap())).is_ok());
    assert!(home.submit(Remote::Insert(foreign.record().unwrap())).is_err());
    assert!(home.submit(Remote::Run(foreign.record().unwrap())).is_err());
    assert!(home.submit(Remote::Throw(foreign.record().unwrap(), Box::new(()))).is_err());
}

/// Says that it parks, and has not begun to.
struct ParksWithoutBeginning<'a>(&'a tasklet_core::tasklet::spot::Spot);

impl<'a> Operation<'a> for ParksWithoutBeginning<'a> {
    type Output = ();

    fn begin(&mut self, _: &dyn AnyScheduler, _: Observed) -> Step<'a> {
        Step::Park { site: self.0, key: 0 }
    }

    fn finish(&mut self, _: Result<Wake, ParkError>) {}
}

#[test]
fn parking_without_having_begun_to_is_refused() {
    expect_panics();
    let scheduler = Scheduler::new();
    let other = scheduler.spawn_joinable(|| ()).record().unwrap();
    let parks =
        scheduler.spawn_joinable(move || operation::perform::<AnyBackend, _>(ParksWithoutBeginning(other.spot())));
    scheduler.run().unwrap();
    assert!(parks.join().unwrap_err().is_panic());
}
