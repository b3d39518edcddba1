//! Work is put into the injector while workers look for it, fall asleep, are called, and leave by themselves.

use std::sync::Arc;

use loom::sync::Condvar;
use loom::thread;
use tasklet_core::driver::{Driver, Notify, ThreadDriver};

use super::*;

/// A runtime of which nothing is left but its sleep protocol.
struct Runtime {
    sleep: Sleep,
    /// The injector: how much there is to take. Relaxed, so that it orders nothing which the protocol does not.
    injected: AtomicUsize,
    /// How much nobody has taken yet, of all that will ever come.
    wanted: AtomicUsize,
    drivers: Vec<Arc<dyn Notify>>,
    /// How many pieces of work there have to be in progress at once before one of them ends.
    party: usize,
    met: Mutex<usize>,
    all_met: Condvar,
}

/// One worker, as `idle.rs` has it.
struct Worker {
    index: usize,
    runtime: Arc<Runtime>,
    driver: ThreadDriver,
    is_searching: bool,
}

impl Runtime {
    fn new(workers: usize, wanted: usize, party: usize) -> (Arc<Runtime>, Vec<Worker>) {
        let drivers: Vec<_> = (0..workers).map(|_| ThreadDriver::default()).collect();
        let runtime = Arc::new(Runtime {
            sleep: Sleep::new(workers),
            injected: AtomicUsize::new(0),
            wanted: AtomicUsize::new(wanted),
            drivers: drivers.iter().map(ThreadDriver::notifier).collect(),
            party,
            met: Mutex::new(0),
            all_met: Condvar::new(),
        });
        let worker = |(index, driver)| Worker { index, runtime: runtime.clone(), driver, is_searching: false };
        let workers = drivers.into_iter().enumerate().map(worker).collect();
        (runtime, workers)
    }

    fn notify(&self, worker: Option<usize>) {
        if let Some(worker) = worker {
            self.drivers[worker].notify();
        }
    }

    fn inject(&self) {
        self.injected.fetch_add(1, Ordering::Relaxed);
        self.notify(self.sleep.call_for_injected());
    }

    /// Takes a piece of work.
    fn take(&self) -> bool {
        let fewer = |there: usize| there.checked_sub(1);
        self.injected.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer).is_ok()
    }

    fn is_empty(&self) -> bool {
        self.injected.load(Ordering::Relaxed) == 0
    }

    /// Does a piece of work: it lasts until enough others are in progress too.
    fn perform(&self) {
        let mut met = self.met.lock().unwrap();
        *met += 1;
        self.all_met.notify_all();
        while *met < self.party {
            met = self.all_met.wait(met).unwrap();
        }
    }

    fn is_over(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) == 0
    }

    /// After the end: everybody has left the list, and nobody counts as searching.
    fn check_counts(&self) {
        let counts = Counts(self.sleep.counts.load(Ordering::Relaxed));
        assert_eq!((counts.sleeping(), counts.searching()), (0, 0));
        assert!(self.sleep.lock().is_empty());
    }
}

impl Worker {
    /// Works until there is nothing more to come. Nobody calls but who has submitted, and no wait is limited: work that is left while all
    /// sleep is a deadlock, which loom reports.
    fn run(&mut self, searches: bool) {
        let runtime = self.runtime.clone();
        while !runtime.is_over() {
            if runtime.take() {
                self.stop_searching();
                runtime.perform();
                if runtime.wanted.fetch_sub(1, Ordering::Relaxed) == 1 {
                    runtime.drivers.iter().for_each(|driver| driver.notify());
                }
            } else if searches && !self.is_searching && runtime.sleep.start_searching() {
                self.is_searching = true;
            } else {
                self.sleep();
            }
        }
        self.stop_searching();
    }

    fn stop_searching(&mut self) {
        let runtime = &self.runtime;
        if std::mem::take(&mut self.is_searching)
            && runtime.sleep.stop_searching() == Searchers::None
            && !runtime.is_empty()
        {
            runtime.notify(runtime.sleep.call());
        }
    }

    fn sleep(&mut self) {
        let runtime = &self.runtime;
        runtime.sleep.enter(self.index, std::mem::take(&mut self.is_searching));
        // The end of the model is looked at as a worker looks at its inbox, whose notification it relies on.
        let as_what = if runtime.is_empty() { Leaves::Busy } else { Leaves::Searching };
        if as_what == Leaves::Busy && !runtime.is_over() {
            self.driver.wait(None);
        }
        let roused = runtime.sleep.leave(self.index, as_what);
        self.is_searching = roused == Roused::Called || as_what == Leaves::Searching;
    }
}

/// Workers on threads of their own against what `submit` does; `searches`: whether they search before they sleep.
fn work(workers: usize, wanted: usize, searches: bool, submit: impl FnOnce(&Arc<Runtime>)) {
    // With several workers, nobody does the work of another.
    let (runtime, workers) = Runtime::new(workers, wanted, workers);
    let start = |mut worker: Worker| thread::spawn(move || worker.run(searches));
    let workers: Vec<_> = workers.into_iter().map(start).collect();
    submit(&runtime);
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    assert!(runtime.is_empty());
    runtime.check_counts();
}

#[test]
fn work_is_not_left_while_its_worker_falls_asleep() {
    loom::model(|| work(1, 1, false, |runtime| runtime.inject()));
}

#[test]
fn work_that_follows_finds_a_searcher_or_calls() {
    loom::model(|| {
        work(1, 2, true, |runtime| {
            runtime.inject();
            runtime.inject();
        });
    });
}

#[test]
fn work_of_two_threads_is_taken_by_one_worker() {
    loom::model(|| {
        work(1, 2, false, |runtime| {
            let other = thread::spawn({
                let runtime = runtime.clone();
                move || runtime.inject()
            });
            runtime.inject();
            other.join().unwrap();
        });
    });
}

/// Who submits the second piece may call nobody, since one searches. That one finds the first piece, and has to call another.
#[test]
fn searcher_that_finds_work_calls_another_for_the_rest() {
    let mut model = loom::model::Builder::new();
    // One interruption fewer than elsewhere: three threads take minutes otherwise.
    model.preemption_bound = Some(2);
    model.check(|| {
        work(2, 2, true, |runtime| {
            runtime.inject();
            runtime.inject();
        });
    });
}

/// Two that sleep, and two that submit: the second does not call if the first's worker has not come to its end as a searcher.
#[test]
fn one_searcher_is_called_at_a_time() {
    loom::model(|| {
        let sleep = Arc::new(Sleep::new(4));
        sleep.enter(0, false);
        sleep.enter(1, false);
        let other = thread::spawn({
            let sleep = sleep.clone();
            move || sleep.call_for_injected()
        });
        let mine = sleep.call_for_injected();
        let others = other.join().unwrap();
        assert!(mine.is_some() != others.is_some(), "{mine:?} {others:?}");
        let called = mine.or(others).unwrap();
        assert_eq!(sleep.leave(called, Leaves::Busy), Roused::Called);
        assert_eq!(sleep.leave(1 - called, Leaves::Busy), Roused::ByItself);
        assert_eq!(sleep.stop_searching(), Searchers::None);
    });
}

/// A worker leaves by itself while it is called: it knows which of the two it is, and counts as that.
#[test]
fn who_leaves_while_being_called_is_called_or_left_alone() {
    loom::model(|| {
        let (runtime, _) = Runtime::new(2, 0, 0);
        runtime.sleep.enter(0, false);
        let other = thread::spawn({
            let runtime = runtime.clone();
            move || runtime.sleep.call_for_injected()
        });
        let roused = runtime.sleep.leave(0, Leaves::Busy);
        assert_eq!(other.join().unwrap(), (roused == Roused::Called).then_some(0));
        if roused == Roused::Called {
            assert_eq!(runtime.sleep.stop_searching(), Searchers::None);
        }
        runtime.check_counts();
    });
}
