//! What the threads of one run share, and how the run ends although any of them may be waiting for another.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tasklet::local::{RemoteScheduler, RemoteTasklet};
use tasklet::{Channel, JoinHandle, Preference, SharedChannel};

use crate::dice::Dice;
use crate::failure;
use crate::ledger::{Ledger, Token};
use crate::{host, outsider};

pub(crate) struct World {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) channels: Vec<SharedChannel<Token>>,
    pub(crate) tasklets: Mutex<Vec<RemoteTasklet>>,
    pub(crate) schedulers: Mutex<Vec<RemoteScheduler>>,
    pub(crate) joins: Mutex<Vec<JoinHandle<Option<Token>>>>,
    /// Tasklets that wait for the end of another thread's, which may never come.
    pub(crate) waiting: Mutex<Vec<RemoteTasklet>>,
    /// Destructors use channels, and tasklets catch their kills.
    pub(crate) is_wild: bool,
    stop: AtomicBool,
    agents: AtomicU64,
}

impl World {
    pub(crate) fn is_over(&self) -> bool {
        self.stop.load(Relaxed)
    }

    pub(crate) fn next_agent(&self) -> u64 {
        self.agents.fetch_add(1, Relaxed)
    }

    /// A clone of one of the values that are registered.
    pub(crate) fn pick<T: Clone>(list: &Mutex<Vec<T>>, dice: &mut Dice) -> Option<T> {
        let list = list.lock().unwrap();
        (!list.is_empty()).then(|| list[dice.below(list.len())].clone())
    }

    pub(crate) fn take<T>(list: &Mutex<Vec<T>>, dice: &mut Dice) -> Option<T> {
        let mut list = list.lock().unwrap();
        let length = list.len();
        (length != 0).then(|| list.swap_remove(dice.below(length)))
    }

    /// Registers a value, unless the world is over: then nobody would take it out again.
    pub(crate) fn register<T>(&self, list: &Mutex<Vec<T>>, value: T) {
        let mut list = list.lock().unwrap();
        if !self.is_over() {
            list.push(value);
        }
    }

    /// Takes away what anybody may still wait for. Again and again: who had looked at `stop` before it was set may open, register and
    /// wait once more.
    fn tidy_up(&self) {
        self.channels.iter().for_each(SharedChannel::close);
        drop(std::mem::take(&mut *self.tasklets.lock().unwrap()));
        drop(std::mem::take(&mut *self.schedulers.lock().unwrap()));
        drop(std::mem::take(&mut *self.joins.lock().unwrap()));
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap());
        waiting.iter().for_each(RemoteTasklet::kill);
    }
}

/// Runs one world to its end and checks what is left.
pub(crate) fn run(seed: u64) -> u64 {
    let mut dice = Dice::new(seed);
    let channels = (0..1 + dice.below(4)).map(|_| channel(&mut dice).share()).collect();
    let world = Arc::new(World {
        ledger: Ledger::new(),
        channels,
        tasklets: Mutex::default(),
        schedulers: Mutex::default(),
        joins: Mutex::default(),
        waiting: Mutex::default(),
        is_wild: dice.chance(70),
        stop: AtomicBool::new(false),
        agents: AtomicU64::new(0),
    });
    let mut threads = Vec::new();
    for _ in 0..1 + dice.below(4) {
        let (world, dice) = (world.clone(), dice.fork());
        threads.push(std::thread::spawn(move || host::run(&world, dice)));
    }
    // The first of them is the only receiver of the first channel.
    for index in 0..1 + dice.below(2) {
        let (world, dice) = (world.clone(), dice.fork());
        threads.push(std::thread::spawn(move || outsider::run(&world, dice, index == 0)));
    }
    let end = Instant::now() + Duration::from_millis(2 + dice.below(20) as u64);
    let hosts_are_busy = |threads: &[std::thread::JoinHandle<()>]| threads.iter().any(|thread| !thread.is_finished());
    while Instant::now() < end && hosts_are_busy(&threads) {
        std::thread::sleep(Duration::from_micros(200));
    }
    world.stop.store(true, Relaxed);
    while hosts_are_busy(&threads) {
        world.tidy_up();
        std::thread::sleep(Duration::from_micros(200));
    }
    for thread in threads {
        if thread.join().is_err() {
            failure::violated("a thread ended with a panic");
        }
    }
    world.tidy_up();
    for channel in &world.channels {
        if channel.balance() != 0 {
            failure::violated(&format!("{} tasklets wait in a channel after the end", channel.balance()));
        }
    }
    let ledger = world.ledger.clone();
    drop(world);
    ledger.check();
    ledger.messages()
}

pub(crate) fn channel(dice: &mut Dice) -> Channel<Token> {
    let channel = Channel::with_preference(preference(dice));
    channel.set_schedule_all(dice.chance(10));
    channel
}

pub(crate) fn preference(dice: &mut Dice) -> Preference {
    [Preference::Receiver, Preference::Neither, Preference::Sender][dice.below(3)]
}
