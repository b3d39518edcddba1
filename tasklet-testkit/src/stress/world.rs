//! What those of one world share, and what must hold when it has ended.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tasklet_channels::{Channel, Preference, SharedChannel};
use tasklet_core::backend::Backend;
use tasklet_core::stack::{Depot, StackConfig, StackSize};
use tasklet_core::tasklet::JoinHandle;
use tasklet_scheduler::stealing::{Builder, CancelToken, Handle, Runtime, Unparker};

use super::Size;
use super::dice::Dice;
use super::failure::{self, violated};
use super::ledger::{Ledger, Token};

/// What is asked of a world.
#[derive(Clone, Copy)]
pub(super) struct Scene {
    /// Workers of each runtime, if they are not to be random.
    pub(super) workers: Option<usize>,
    pub(super) size: Size,
}

/// What a world has done.
pub(super) struct Counted {
    pub(super) tokens: u64,
    pub(super) tasklets: u64,
}

pub(super) struct World {
    pub(super) ledger: Arc<Ledger>,
    pub(super) channels: Vec<SharedChannel<Token>>,
    pub(super) places: Vec<Place>,
    pub(super) handles: Mutex<Vec<JoinHandle<Option<Token>>>>,
    pub(super) unparkers: Mutex<Vec<Unparker>>,
    pub(super) tokens: Mutex<Vec<CancelToken>>,
    /// Tasklets that may still be made.
    room: AtomicI64,
    stop: AtomicBool,
    agents: AtomicU64,
}

/// One runtime, as others count what happens in it.
pub(super) struct Place {
    pub(super) runtime: Handle,
    depot: Depot,
    /// Tasklets that others have made, or tried to.
    pub(super) spawned: AtomicU64,
    /// Bodies that have begun, and ended in whatever way.
    pub(super) begun: AtomicU64,
    pub(super) ended: AtomicU64,
}

/// Lives for as long as a body runs.
pub(super) struct Running<'a>(&'a Place);

impl Place {
    /// A runtime of random properties, and what watches it. `stacks`: how many it may have at most, if that is limited.
    pub(super) fn new<B: Backend>(dice: &mut Dice, scene: Scene, stacks: Option<usize>) -> (Runtime<B>, Place) {
        let workers = scene.workers.unwrap_or_else(|| [1, 2, 4][dice.below(3)]);
        let config = StackConfig::new();
        let depot = Depot::new(match stacks {
            // At least one for each worker. With its guard, and what a slab is rounded to, a stack takes more than its size.
            Some(stacks) => config.ceiling((stacks + 2 * workers) * 2 * StackSize::DEFAULT.bytes()),
            None => config,
        });
        let builder = Builder::<B>::new().workers(workers).depot(depot.clone());
        let builder = builder.blocking_keep_alive(Duration::from_millis(dice.below(20) as u64));
        let builder = if dice.chance(50) { builder.max_idle_fibers(dice.below(4)) } else { builder };
        let builder = if dice.chance(30) { builder.max_blocking_threads(1 + dice.below(2)) } else { builder };
        let runtime = builder.build().unwrap_or_else(|error| violated(&format!("no runtime: {error}")));
        failure::subject(&runtime);
        let counter = AtomicU64::default;
        let place = Place { runtime: runtime.handle(), depot, spawned: counter(), begun: counter(), ended: counter() };
        (runtime, place)
    }

    pub(super) fn running(&self) -> Running<'_> {
        self.begun.fetch_add(1, Relaxed);
        Running(self)
    }

    /// After its runtime's end, and the end of all who might spawn into it.
    fn check(&self) {
        let (begun, ended) = (self.begun.load(Relaxed), self.ended.load(Relaxed));
        if begun != ended {
            violated(&format!("{begun} bodies have begun and {ended} ended"));
        }
        let stacks = self.depot.stats();
        if (stacks.live, stacks.leaked) != (0, 0) {
            violated(&format!("stacks after the end: {stacks:?}"));
        }
        let (metrics, made) = (self.runtime.metrics(), self.spawned.load(Relaxed));
        if metrics.spawned != made {
            violated(&format!("{made} tasklets were spawned: {metrics:#?}"));
        }
        let is_odd = metrics.queued != 0 || metrics.leaked != 0 || metrics.blocking.threads != 0;
        // One may be killed between the beginning that the runtime counts and its own first step; what could not begin has ended too.
        if is_odd || metrics.started > metrics.finished || metrics.started < begun {
            violated(&format!("{begun} bodies have begun: {metrics:#?}"));
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Relaxed);
    }
}

impl World {
    pub(super) fn new(places: Vec<Place>, dice: &mut Dice, scene: Scene) -> Arc<World> {
        let channels = (0..2 + dice.below(3)).map(|_| channel(dice)).collect();
        let room = if scene.size == Size::Small { 40 } else { 300 };
        Arc::new(World {
            ledger: Ledger::new(),
            channels,
            places,
            handles: Mutex::default(),
            unparkers: Mutex::default(),
            tokens: Mutex::default(),
            room: AtomicI64::new(room),
            stop: AtomicBool::new(false),
            agents: AtomicU64::new(0),
        })
    }

    pub(super) fn is_over(&self) -> bool {
        self.stop.load(Relaxed)
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    pub(super) fn next_agent(&self) -> u64 {
        self.agents.fetch_add(1, Relaxed)
    }

    /// Whether one more tasklet may be made.
    pub(super) fn has_room(&self) -> bool {
        self.room.fetch_sub(1, Relaxed) > 0
    }

    /// One of the values that are registered, if there is any.
    pub(super) fn pick<T: Clone>(list: &Mutex<Vec<T>>, dice: &mut Dice) -> Option<T> {
        let list = list.lock().unwrap();
        (!list.is_empty()).then(|| list[dice.below(list.len())].clone())
    }

    pub(super) fn take<T>(list: &Mutex<Vec<T>>, dice: &mut Dice) -> Option<T> {
        let mut list = list.lock().unwrap();
        let length = list.len();
        (length != 0).then(|| list.swap_remove(dice.below(length)))
    }

    /// Takes away what anybody may still wait for. Again and again: who had looked before it was over may wait once more.
    pub(super) fn tidy_up(&self) {
        self.channels.iter().for_each(SharedChannel::close);
        drop(std::mem::take(&mut *self.handles.lock().unwrap()));
        std::mem::take(&mut *self.unparkers.lock().unwrap()).iter().for_each(Unparker::unpark);
        std::mem::take(&mut *self.tokens.lock().unwrap()).iter().for_each(CancelToken::cancel);
    }

    /// After the end of all runtimes and threads.
    pub(super) fn check(self: Arc<World>) -> Counted {
        self.tidy_up();
        for channel in &self.channels {
            if channel.balance() != 0 {
                violated(&format!("{} tasklets wait in a channel after the end", channel.balance()));
            }
        }
        self.places.iter().for_each(Place::check);
        let ledger = self.ledger.clone();
        let tasklets = self.places.iter().map(|place| place.spawned.load(Relaxed)).sum();
        drop(self);
        ledger.check();
        Counted { tokens: ledger.made(), tasklets }
    }
}

fn channel(dice: &mut Dice) -> SharedChannel<Token> {
    let channel = Channel::with_preference(preference(dice));
    channel.set_schedule_all(dice.chance(10));
    channel.share()
}

pub(super) fn preference(dice: &mut Dice) -> Preference {
    [Preference::Receiver, Preference::Neither, Preference::Sender][dice.below(3)]
}
