//! Random programs over all that can be waited for: tasklets and threads side by side, with kills, time limits and guards dropped in odd ways.
//!
//! Each program is made from a seed, which is printed if it fails: `TASKLET_SYNC_SEED` runs that one alone. What is looked at while it runs:
//! who is inside together. What is looked at in the end: the numbers are what was added, all permits are back, everything is free, and before
//! that, when all who have not finished wait for stock, that there is none.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LockResult, PoisonError, TryLockResult};
use std::thread;
use std::time::{Duration, Instant};

use tasklet_core::backend::Backend;
use tasklet_core::tasklet::JoinHandle;
use tasklet_core::unwind::message;
use tasklet_sync::{
    Barrier, Condvar, Event, Mutex, MutexGuard, OwnedSemaphorePermit, RwLock, RwLockWriteGuard, Semaphore,
};

use super::Case;
use super::setup::{Dice, LIMIT, give_way, run, spawn, waiting};

const PERMITS: usize = 3;
const PARTIES: u64 = 2;
const STEPS: usize = 40;

/// Programs of a run of the test, without the one that no run repeats.
const PROGRAMS: u64 = 20;

/// Who is in a place where not everybody may be together.
#[derive(Default)]
struct Room(AtomicUsize);

/// Somebody is inside, as long as this lives.
struct Presence<'a>(&'a Room, usize);

impl Room {
    /// Goes in; `fits` says whether it may be with so many.
    #[track_caller]
    fn enter(&self, weight: usize, fits: impl Fn(usize) -> bool) -> Presence<'_> {
        let inside = self.0.fetch_add(weight, Ordering::SeqCst);
        let presence = Presence(self, weight);
        assert!(fits(inside), "{inside} are inside already");
        presence
    }
}

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(self.1, Ordering::SeqCst);
    }
}

/// A writer weighs more than all readers.
const WRITER: usize = 1000;

#[derive(Default)]
struct Stock {
    items: u64,
    is_closed: bool,
}

struct World {
    numbers: [(Mutex<u64>, Room, AtomicU64); 2],
    written: (RwLock<u64>, Room, AtomicU64),
    semaphore: (Arc<Semaphore>, Room),
    /// Permits that anybody drops.
    bag: Mutex<Vec<OwnedSemaphorePermit>>,
    stock: Mutex<Stock>,
    stocked: Condvar,
    put: AtomicU64,
    taken: AtomicU64,
    barrier: Barrier,
    leaders: AtomicU64,
    followers: AtomicU64,
    event: Event,
    finished: AtomicUsize,
}

/// Counts an actor as finished when it is dropped, also if it is killed before it has begun.
struct Finishes(Arc<World>);

impl Drop for Finishes {
    fn drop(&mut self) {
        self.0.finished.fetch_add(1, Ordering::SeqCst);
    }
}

fn whole<G>(result: LockResult<G>) -> G {
    // Kills poison.
    result.unwrap_or_else(PoisonError::into_inner)
}

fn taken<G>(result: TryLockResult<G>) -> Option<G> {
    match result {
        Ok(guard) => Some(guard),
        Err(std::sync::TryLockError::Poisoned(error)) => Some(error.into_inner()),
        Err(std::sync::TryLockError::WouldBlock) => None,
    }
}

fn limit(dice: &mut Dice) -> Duration {
    Duration::from_micros(dice.below(200))
}

fn dawdle(dice: &mut Dice) {
    if dice.below(3) == 0 {
        give_way();
    }
}

impl World {
    fn new() -> World {
        World {
            numbers: [Mutex::new(0), Mutex::new_fair(0)].map(|mutex| (mutex, Room::default(), AtomicU64::new(0))),
            written: Default::default(),
            semaphore: (Arc::new(Semaphore::new(PERMITS)), Room::default()),
            bag: Mutex::default(),
            stock: Mutex::default(),
            stocked: Condvar::new(),
            put: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            barrier: Barrier::new(PARTIES as usize),
            leaders: AtomicU64::new(0),
            followers: AtomicU64::new(0),
            event: Event::new(),
            finished: AtomicUsize::new(0),
        }
    }

    /// What one actor does. It takes locks one at a time, or in the order of `nest`.
    fn act(&self, dice: &mut Dice) {
        for _ in 0..STEPS {
            match dice.below(12) {
                0..3 => self.add(dice.below(2) as usize, dice),
                3 => self.read(dice),
                4 => self.write(dice),
                5 => self.acquire(dice),
                6 => self.pass_permits_on(dice),
                7 | 8 => self.trade(dice),
                9 => self.meet(dice),
                10 => self.signal(dice),
                _ => self.nest(dice),
            }
        }
    }

    fn add(&self, at: usize, dice: &mut Dice) {
        let (mutex, room, added) = &self.numbers[at];
        let guard = match dice.below(4) {
            0 => taken(mutex.try_lock()),
            1 => taken(mutex.try_lock_for(limit(dice))),
            _ => Some(whole(mutex.lock())),
        };
        let Some(mut guard) = guard else { return };
        let presence = room.enter(1, |inside| inside == 0);
        let seen = *guard;
        dawdle(dice);
        // Nothing between the two is a scheduling point.
        *guard = seen + 1;
        added.fetch_add(1, Ordering::SeqCst);
        dawdle(dice);
        drop(presence);
        if dice.below(4) == 0 {
            MutexGuard::unlock_fair(guard);
        }
    }

    fn read(&self, dice: &mut Dice) {
        let (lock, room, _) = &self.written;
        let guard = match dice.below(4) {
            0 => taken(lock.try_read()),
            1 => taken(lock.try_read_for(limit(dice))),
            _ => Some(whole(lock.read())),
        };
        if let Some(guard) = guard {
            let _presence = room.enter(1, |inside| inside < WRITER);
            let seen = *guard;
            dawdle(dice);
            assert_eq!(*guard, seen);
        }
    }

    fn write(&self, dice: &mut Dice) {
        let (lock, room, added) = &self.written;
        let guard = match dice.below(4) {
            0 => taken(lock.try_write()),
            1 => taken(lock.try_write_for(limit(dice))),
            _ => Some(whole(lock.write())),
        };
        let Some(mut guard) = guard else { return };
        let presence = room.enter(WRITER, |inside| inside == 0);
        let seen = *guard;
        dawdle(dice);
        *guard = seen + 1;
        added.fetch_add(1, Ordering::SeqCst);
        drop(presence);
        if dice.below(3) == 0 {
            let guard = RwLockWriteGuard::downgrade(guard);
            let _presence = room.enter(1, |inside| inside < WRITER);
            dawdle(dice);
            assert_eq!(*guard, seen + 1);
        }
    }

    fn acquire(&self, dice: &mut Dice) {
        let (semaphore, room) = &self.semaphore;
        let count = dice.below(PERMITS as u64 + 1) as usize;
        let permits = match dice.below(4) {
            0 => semaphore.try_acquire_many(count).ok(),
            1 => semaphore.acquire_many_timeout(count, limit(dice)).ok(),
            _ => Some(semaphore.acquire_many(count)),
        };
        let Some(mut permits) = permits else { return };
        let _part = permits.split(dice.below(2) as usize);
        let _presence = room.enter(count, |inside| inside + count <= PERMITS);
        dawdle(dice);
    }

    /// Leaves permits for somebody else to drop, or drops those that somebody has left.
    fn pass_permits_on(&self, dice: &mut Dice) {
        let permits = match dice.below(3) {
            0 => self.semaphore.0.try_acquire_many_owned(2).ok(),
            1 => self.semaphore.0.acquire_owned_timeout(limit(dice)).ok(),
            _ => None,
        };
        let dropped = {
            let mut bag = whole(self.bag.lock());
            match permits {
                Some(permits) => bag.push(permits),
                None => drop(bag.pop()),
            }
            // Not all, or those who wait for permits wait for somebody who draws this.
            if bag.len() > 1 { bag.pop() } else { None }
        };
        drop(dropped);
    }

    fn trade(&self, dice: &mut Dice) {
        let what = dice.below(5);
        if what < 2 {
            let mut stock = whole(self.stock.lock());
            stock.items += 1;
            self.put.fetch_add(1, Ordering::SeqCst);
            drop(stock);
            if dice.below(4) == 0 {
                self.stocked.notify_all()
            } else {
                self.stocked.notify_one()
            }
            return;
        }
        let stock = whole(self.stock.lock());
        let is_empty = |stock: &mut Stock| stock.items == 0 && !stock.is_closed;
        let mut stock = if what == 2 {
            whole(self.stocked.wait_while(stock, is_empty))
        } else {
            whole(self.stocked.wait_timeout_while(stock, limit(dice), is_empty)).0
        };
        if stock.items > 0 {
            stock.items -= 1;
            self.taken.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn meet(&self, dice: &mut Dice) {
        if let Ok(result) = self.barrier.wait_timeout(limit(dice)) {
            let count = if result.is_leader() { &self.leaders } else { &self.followers };
            count.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn signal(&self, dice: &mut Dice) {
        match dice.below(4) {
            0 => self.event.set(),
            1 => self.event.reset(),
            2 => drop(self.event.wait_timeout(limit(dice))),
            // Whoever looks after the program sets it again and again.
            _ => self.event.wait(),
        }
    }

    fn nest(&self, dice: &mut Dice) {
        let _permit = self.semaphore.0.acquire();
        let _presence = self.semaphore.1.enter(1, |inside| inside < PERMITS);
        let _reader = whole(self.written.0.read());
        let _inside = self.written.1.enter(1, |inside| inside < WRITER);
        let (mutex, room, _) = &self.numbers[0];
        let _guard = whole(mutex.lock());
        let _alone = room.enter(1, |inside| inside == 0);
        self.add(1, dice);
    }

    /// Does what nobody else may be left to do.
    fn help(&self) {
        whole(self.bag.lock()).clear();
        self.event.set();
    }

    /// Whether all `actors` have finished or wait for stock; then there is none for them.
    fn is_quiet(&self, actors: usize) -> bool {
        let stock = whole(self.stock.lock());
        let finished = self.finished.load(Ordering::SeqCst);
        let waiters = waiting(&self.stocked);
        let is_quiet = finished + waiters == actors;
        assert!(!is_quiet || waiters == 0 || stock.items == 0, "{waiters} wait for {} items", stock.items);
        is_quiet
    }

    fn close(&self) {
        whole(self.stock.lock()).is_closed = true;
        self.stocked.notify_all();
    }

    /// All have finished.
    fn check(&self, was_killed: bool) {
        for (mutex, _, added) in &self.numbers {
            let number = taken(mutex.try_lock()).expect("it is free");
            assert_eq!(*number, added.load(Ordering::SeqCst));
            drop(number);
            assert_eq!((waiting(mutex), mutex.is_locked()), (0, false));
        }
        let (lock, _, added) = &self.written;
        assert_eq!(*taken(lock.try_write()).expect("it is free"), added.load(Ordering::SeqCst));
        whole(self.bag.lock()).clear();
        assert_eq!((self.semaphore.0.available_permits(), waiting(&*self.semaphore.0)), (PERMITS, 0));
        let left = self.put.load(Ordering::SeqCst) - self.taken.load(Ordering::SeqCst);
        assert_eq!((whole(self.stock.lock()).items, waiting(&self.stocked)), (left, 0));
        let (leaders, followers) = (self.leaders.load(Ordering::SeqCst), self.followers.load(Ordering::SeqCst));
        let expected = leaders * (PARTIES - 1);
        // One that was killed after its round has ended was counted by the barrier.
        assert!(followers == expected || was_killed && followers < expected, "{followers} followers of {leaders}");
        assert_eq!(format!("{:?}", self.barrier), format!("Barrier {{ parties: {PARTIES}, came: 0 }}"));
        assert_eq!(waiting(&self.event), 0);
    }

    fn describe(&self) -> String {
        let (numbers, lock) = (self.numbers.each_ref().map(|number| &number.0), &self.written.0);
        let (semaphore, stocked, event) = (&*self.semaphore.0, &self.stocked, &self.event);
        format!("{numbers:?}, {lock:?}, {semaphore:?}, {stocked:?}, {event:?}, {:?}", self.barrier)
    }
}

enum Actor {
    Tasklet(JoinHandle<()>),
    Thread(thread::JoinHandle<()>),
}

/// Says with which seed to run the program again.
struct Seed(u64, Case);

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("run again with TASKLET_SYNC_SEED={} ({} workers)", self.0, self.1.workers);
        }
    }
}

/// One program, from within a tasklet.
fn program(seed: u64) {
    let mut dice = Dice::new(seed);
    let world = Arc::new(World::new());
    let mut actors = Vec::new();
    let count = 1 + dice.below(8);
    for number in 0..count {
        let (finishes, mut own) = (Finishes(world.clone()), Dice::new(seed.wrapping_mul(16).wrapping_add(number)));
        let act = move || finishes.0.act(&mut own);
        actors.push(match dice.below(3) {
            0 => Actor::Thread(thread::spawn(act)),
            _ => Actor::Tasklet(spawn(act)),
        });
    }
    let mut was_killed = false;
    for _ in 0..dice.below(40) {
        give_way();
        if let (0, Actor::Tasklet(victim)) = (dice.below(8), &actors[dice.below(count) as usize]) {
            victim.kill();
            was_killed = true;
        }
    }
    let until = |happened: &dyn Fn() -> bool| {
        let start = Instant::now();
        while !happened() {
            assert!(start.elapsed() < LIMIT, "somebody waits for what nobody has: {}", world.describe());
            world.help();
            give_way();
        }
    };
    until(&|| world.is_quiet(actors.len()));
    world.close();
    until(&|| world.finished.load(Ordering::SeqCst) == actors.len());
    for actor in actors {
        match actor {
            Actor::Thread(thread) => thread.join().unwrap_or_else(|payload| panic!("{}", message(&payload))),
            Actor::Tasklet(tasklet) => match tasklet.join() {
                Err(error) if !error.is_killed() => panic!("{error}"),
                _ => {}
            },
        }
    }
    world.check(was_killed);
}

/// What is promised holds in random programs.
pub fn random_programs_keep_every_promise<B: Backend>(case: Case) {
    let asked = std::env::var("TASKLET_SYNC_SEED").ok().map(|text| text.parse().expect("a number"));
    let seeds = match asked {
        Some(seed) => vec![seed],
        None => (1..=PROGRAMS).chain([RandomState::new().hash_one(0)]).collect(),
    };
    for seed in seeds {
        let _seed = Seed(seed, case);
        run::<B>(case, move || program(seed));
    }
}
