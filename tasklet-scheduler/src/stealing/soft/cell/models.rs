//! A soft tasklet, the real one in a runtime without workers, is woken, polled, killed, discarded and left by all who count, in every order.
//!
//! The threads of a model do what workers, holders of wakers and the holder of the join handle do. Its queue is the runtime's injector, which
//! loom does not see: nothing but the counts, the word and the registry's lock orders one thread after another.

use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::task::Waker;
use std::time::Duration;

use loom::cell::UnsafeCell;
use loom::sync::atomic::AtomicBool;
use loom::thread::{self, JoinHandle as Thread};
use tasklet_core::backend::Moves;
use tasklet_core::clock::RealClock;
use tasklet_core::stack::{Depot, StackConfig, StackSize};
use tasklet_core::tasklet::StackKind;

use super::super::super::blocking::Pool;
use super::super::super::builder::PanicPolicy;
use super::super::super::crew::Phase;
use super::super::super::shared::Config;
use super::super::super::task::Task;
use super::*;

/// What has happened to the future and to the result. But for the event these are not loom's; nothing of it orders anybody.
#[derive(Default)]
struct Ledger {
    /// What a future may wait for. Relaxed: the word carries it to the poll, as it does for a future that reads a flag.
    event: AtomicBool,
    polls: AtomicUsize,
    /// Accesses that were begun, and those that loom has found in order: what it says against one is a panic, which the code that is
    /// modelled catches.
    begun: AtomicUsize,
    in_order: AtomicUsize,
    futures: AtomicUsize,
    made: AtomicUsize,
    results: AtomicUsize,
    /// Of the first poll, if that was pending. Others leave none.
    waker: Mutex<Option<Waker>>,
}

fn count(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn get(counter: &AtomicUsize) -> usize {
    counter.load(Ordering::Relaxed)
}

/// A part of a future or of a result, which loom watches.
struct Part {
    uses: UnsafeCell<usize>,
    ledger: Arc<Ledger>,
}

// SAFETY: what the models are about; loom checks the accesses.
unsafe impl Send for Part {}

impl Part {
    fn new(ledger: &Arc<Ledger>) -> Part {
        Part { uses: UnsafeCell::new(0), ledger: ledger.clone() }
    }

    fn touch(&self) {
        count(&self.ledger.begun);
        // SAFETY: loom checks it.
        self.uses.with_mut(|uses| unsafe { *uses += 1 });
        count(&self.ledger.in_order);
    }
}

struct Output(Part);

impl Drop for Output {
    fn drop(&mut self) {
        self.0.touch();
        count(&self.0.ledger.results);
    }
}

/// When a future is ready.
#[derive(Clone, Copy)]
enum Ready {
    /// At this poll, counted from one.
    At(usize),
    /// When the event has happened.
    WhenItHappens,
    Never,
}

struct Polls {
    part: Part,
    ready: Ready,
}

impl Future for Polls {
    type Output = Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Output> {
        let ledger = &self.part.ledger;
        self.part.touch();
        count(&ledger.polls);
        let is_ready = match self.ready {
            Ready::At(last) => get(&ledger.polls) == last,
            Ready::WhenItHappens => ledger.event.load(Ordering::Relaxed),
            Ready::Never => false,
        };
        if is_ready {
            count(&ledger.made);
            return Poll::Ready(Output(Part::new(ledger)));
        }
        if get(&ledger.polls) == 1 {
            let waker = context.waker().clone();
            *ledger.waker.lock().unwrap() = Some(waker);
        }
        Poll::Pending
    }
}

impl Drop for Polls {
    fn drop(&mut self) {
        self.part.touch();
        count(&self.part.ledger.futures);
    }
}

fn runtime() -> Arc<Shared> {
    let config = Config {
        clock: Arc::new(RealClock::default()),
        timer_slack: Duration::ZERO,
        trim_after: None,
        depot: Depot::new(StackConfig::default()),
        stack_size: StackSize::default(),
        panic_policy: PanicPolicy::default(),
        pool: Pool::new(1, Duration::ZERO),
        moves: Moves::No,
        kind: StackKind::default(),
        swap_error: None,
    };
    Arc::new(Shared::new(std::iter::empty(), config))
}

/// Polls whatever is in the queue.
fn run_queued(shared: &Shared) {
    assert!(shared.injector.len() <= 1, "a model wakes one soft tasklet, and it is in the queue once");
    while let Some(task) = shared.injector.steal().success() {
        match task.unpack() {
            Task::Poll(soft) => soft.run(),
            _ => unreachable!("there are no others"),
        }
    }
}

/// What a model sees of a soft tasklet from outside, and what is to hold in the end. It is no count.
struct Scene {
    shared: Arc<Shared>,
    ledger: Arc<Ledger>,
    header: NonNull<Header>,
}

impl Scene {
    /// One that is about to be polled.
    fn new(shared: &Arc<Shared>, ready: Ready) -> (Scene, Soft, JoinHandle<Output>) {
        let ledger = Arc::<Ledger>::default();
        let future = Polls { part: Part::new(&ledger), ready };
        let (soft, handle) = super::super::make(shared, shared.next_id(), Location::caller(), None, future);
        (Scene { shared: shared.clone(), ledger, header: soft.header() }, soft, handle)
    }

    /// One that was polled, and waits: its waker is the last count.
    fn waiting(shared: &Arc<Shared>, ready: Ready) -> (Scene, Waker, JoinHandle<Output>) {
        let (scene, soft, handle) = Scene::new(shared, ready);
        soft.run();
        let waker = scene.ledger.waker.lock().unwrap().take().expect("it is pending");
        (scene, waker, handle)
    }

    /// On another thread: does it, and polls what is in the queue, as a worker does.
    fn beside(&self, f: impl FnOnce(&Shared) + 'static) -> Thread<()> {
        let shared = self.shared.clone();
        thread::spawn(move || {
            f(&shared);
            run_queued(&shared);
        })
    }

    /// Everybody is done.
    fn end(self) {
        run_queued(&self.shared);
        let Ledger { begun, in_order, futures, made, results, .. } = &*self.ledger;
        assert_eq!(get(begun), get(in_order), "loom has found one that is not");
        assert_eq!(get(futures), 1, "the future is dropped once");
        assert_eq!(get(results), get(made), "the result is dropped once");
        // SAFETY: a model keeps the memory until here.
        let cell = unsafe { Box::from_raw(self.header.cast::<Cell<Polls>>().as_ptr()) };
        assert!(cell.header.memory.has_ended(), "the memory is freed");
        assert!(cell.header.promised.is_finished(), "whoever joins it is told");
    }
}

/// What every model begins with, and how it ends: nothing is left of the runtime.
fn model(f: impl Fn(&Arc<Shared>) + Send + Sync + 'static) {
    loom::model(move || {
        let shared = runtime();
        f(&shared);
        assert_eq!(Arc::strong_count(&shared), 1, "nobody keeps the runtime");
        assert!(shared.softs.is_empty(), "none is left in the registry");
    });
}

/// Takes the result, if it is there; drops the handle.
fn take(mut handle: JoinHandle<Output>) {
    if handle.is_finished()
        && let Poll::Ready(Ok(output)) = Pin::new(&mut handle).poll(&mut Context::from_waker(Waker::noop()))
    {
        output.0.touch();
    }
}

#[test]
fn last_waker_and_handle_go() {
    model(|shared| {
        let (scene, waker, handle) = Scene::waiting(shared, Ready::At(2));
        let other = scene.beside(|_| drop(waker));
        drop(handle);
        other.join().unwrap();
        scene.end();
    });
}

#[test]
fn poll_and_two_wakers_let_go() {
    model(|shared| {
        let (scene, waker, handle) = Scene::waiting(shared, Ready::Never);
        waker.wake_by_ref();
        drop(handle);
        let polls = scene.beside(|_| {});
        let another = waker.clone();
        let other = scene.beside(move |_| drop(another));
        drop(waker);
        polls.join().unwrap();
        other.join().unwrap();
        scene.end();
    });
}

#[test]
fn last_poll_and_handle_meet() {
    model(|shared| {
        let (scene, soft, handle) = Scene::new(shared, Ready::At(1));
        let other = scene.beside(|_| soft.run());
        take(handle);
        other.join().unwrap();
        scene.end();
    });
}

#[test]
fn last_poll_and_handle_and_waker_meet() {
    model(|shared| {
        let (scene, waker, handle) = Scene::waiting(shared, Ready::At(2));
        waker.wake_by_ref();
        let other = scene.beside(|_| drop(waker));
        let polls = scene.beside(|_| {});
        take(handle);
        other.join().unwrap();
        polls.join().unwrap();
        scene.end();
    });
}

#[test]
fn kill_meets_the_last_count() {
    model(|shared| {
        let (scene, waker, handle) = Scene::waiting(shared, Ready::At(2));
        let other = scene.beside(|_| drop(waker));
        handle.kill();
        take(handle);
        other.join().unwrap();
        scene.end();
    });
}

#[test]
fn kill_meets_the_last_poll() {
    model(|shared| {
        let (scene, soft, handle) = Scene::new(shared, Ready::At(1));
        let other = scene.beside(|_| soft.run());
        handle.kill();
        take(handle);
        other.join().unwrap();
        scene.end();
    });
}

#[test]
fn kill_meets_a_wake() {
    model(|shared| {
        let (scene, waker, handle) = Scene::waiting(shared, Ready::At(2));
        let other = scene.beside(|_| waker.wake());
        handle.kill();
        take(handle);
        run_queued(shared);
        other.join().unwrap();
        scene.end();
    });
}

#[test]
fn kill_meets_a_poll() {
    model(|shared| {
        let (scene, waker, handle) = Scene::waiting(shared, Ready::Never);
        waker.wake_by_ref();
        let polls = scene.beside(|_| {});
        handle.kill();
        drop(handle);
        polls.join().unwrap();
        run_queued(shared);
        assert_eq!(get(&scene.ledger.futures), 1, "it does not wait for the last waker");
        drop(waker);
        scene.end();
    });
}

#[test]
fn killed_one_is_not_polled() {
    model(|shared| {
        let (scene, waker, handle) = Scene::waiting(shared, Ready::At(2));
        handle.kill();
        let other = scene.beside(|_| waker.wake());
        run_queued(shared);
        other.join().unwrap();
        assert_eq!(get(&scene.ledger.polls), 1);
        take(handle);
        scene.end();
    });
}

#[test]
fn wake_in_a_poll_brings_another() {
    model(|shared| {
        let (scene, waker, handle) = Scene::waiting(shared, Ready::WhenItHappens);
        waker.wake_by_ref();
        let polls = scene.beside(|_| {});
        scene.ledger.event.store(true, Ordering::Relaxed);
        waker.wake();
        polls.join().unwrap();
        run_queued(shared);
        assert_eq!(get(&scene.ledger.made), 1, "a poll has seen what was done before the wake");
        take(handle);
        scene.end();
    });
}

#[test]
fn wakes_meet_the_last_poll() {
    model(|shared| {
        let (scene, waker, handle) = Scene::waiting(shared, Ready::At(2));
        waker.wake_by_ref();
        let polls = scene.beside(|_| {});
        let another = waker.clone();
        let other = scene.beside(move |_| another.wake());
        waker.wake_by_ref();
        drop(waker);
        polls.join().unwrap();
        other.join().unwrap();
        run_queued(shared);
        assert!(handle.is_finished(), "the first wake was for its last poll");
        assert_eq!(get(&scene.ledger.polls), 2, "it is not polled when it has ended");
        take(handle);
        scene.end();
    });
}

#[test]
fn discard_meets_a_poll() {
    model(|shared| {
        let (scene, waker, handle) = Scene::waiting(shared, Ready::Never);
        waker.wake_by_ref();
        let polls = scene.beside(|_| {});
        shared.softs.discard_all();
        polls.join().unwrap();
        assert_eq!(get(&scene.ledger.futures), 1, "it does not wait for the last waker");
        assert!(handle.is_finished());
        drop(handle);
        drop(waker);
        scene.end();
    });
}

#[test]
fn end_of_the_runtime_meets_a_poll_and_a_wake() {
    model(|shared| {
        let (scene, waker, handle) = Scene::waiting(shared, Ready::At(3));
        waker.wake_by_ref();
        let polls = scene.beside(|_| {});
        let ends = scene.beside(|shared| {
            shared.advance(Phase::Closing);
            shared.discard_injected();
            shared.softs.discard_all();
        });
        waker.wake_by_ref();
        polls.join().unwrap();
        ends.join().unwrap();
        run_queued(shared);
        assert_eq!(get(&scene.ledger.futures), 1, "it does not wait for the last waker");
        assert!(handle.is_finished());
        take(handle);
        drop(waker);
        scene.end();
    });
}

#[test]
fn discard_meets_the_last_poll() {
    model(|shared| {
        let (scene, soft, handle) = Scene::new(shared, Ready::At(1));
        let other = scene.beside(|_| soft.run());
        shared.softs.discard_all();
        other.join().unwrap();
        assert!(handle.is_finished(), "it was polled or discarded");
        take(handle);
        scene.end();
    });
}

#[test]
fn discard_meets_the_last_poll_and_the_handle() {
    model(|shared| {
        let (scene, waker, handle) = Scene::waiting(shared, Ready::At(2));
        let polls = scene.beside(|_| waker.wake());
        let ends = scene.beside(|shared| shared.softs.discard_all());
        take(handle);
        polls.join().unwrap();
        ends.join().unwrap();
        scene.end();
    });
}

#[test]
fn discard_meets_the_last_count_and_the_handle() {
    model(|shared| {
        let (scene, waker, handle) = Scene::waiting(shared, Ready::At(2));
        let other = scene.beside(|_| drop(waker));
        let ends = scene.beside(|shared| shared.softs.discard_all());
        drop(handle);
        other.join().unwrap();
        ends.join().unwrap();
        scene.end();
    });
}

#[test]
fn neighbours_leave_the_registry() {
    model(|shared| {
        let (first, waker, one) = Scene::waiting(shared, Ready::At(2));
        let (second, soft, another) = Scene::new(shared, Ready::At(1));
        let (third, kept, third_handle) = Scene::waiting(shared, Ready::At(2));
        drop((one, another, third_handle));
        let abandons = first.beside(|_| drop(waker));
        let polls = second.beside(|_| soft.run());
        shared.softs.discard_all();
        drop(kept);
        abandons.join().unwrap();
        polls.join().unwrap();
        first.end();
        second.end();
        third.end();
    });
}
