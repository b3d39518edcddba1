//! Random programs: tasklets recurse to random depths with frames of random sizes, and wait anywhere in there, in sends, receives, selects,
//! sleeps and yields. Each frame has a pattern, which is looked at after each wait, and references to values of the frames above it. Some are
//! killed. All channels are used by everybody, and messages say what they hold.
//!
//! `TASKLET_RANDOM_SEED`, `TASKLET_RANDOM_ROUND` and `TASKLET_RANDOM_MILLIS` say which, and for how long.

use std::cell::Cell;
use std::hint::black_box;
use std::time::Duration;

use tasklet_channels::{Receiver, Select, Sender, bounded, select, unbounded};
use tasklet_core::backend::Backend;
use tasklet_scheduler::time;

use super::Case;
use super::setup::{Census, give_way, ignore, run_on, spawn, until};
use crate::random::{Dice, rounds};
use crate::stealing::setup::Counted;
use tasklet_scheduler::swapped::Slots;

/// A message, with a number again in its last word.
#[derive(Debug)]
struct Message {
    words: [u64; 6],
    _one: Counted,
}

impl Message {
    fn new(number: u64, census: &Census) -> Message {
        Message { words: [number; 6], _one: census.one() }
    }

    fn check(self) {
        assert!(self.words.iter().all(|word| *word == self.words[0]), "a message was changed: {self:?}");
    }
}

/// What everybody has.
#[derive(Clone)]
struct World {
    senders: Vec<Sender<Message>>,
    receivers: Vec<Receiver<Message>>,
    census: Census,
}

/// One tasklet's program.
struct Actor {
    world: World,
    dice: Dice,
    /// Waits that are left.
    left: u32,
    waited: u64,
}

impl Actor {
    /// A frame with so many bytes, under those before. It waits here, goes deeper, or both, until nothing is left to do.
    fn descend(&mut self, depth: u32, above: &Cell<u64>) {
        match self.dice.below(12) {
            0..5 => self.frame::<24>(depth, above),
            5..8 => self.frame::<300>(depth, above),
            8..10 => self.frame::<2_000>(depth, above),
            10 => self.frame::<9_001>(depth, above),
            _ => self.frame::<30_000>(depth, above),
        }
    }

    #[inline(never)]
    fn frame<const SIZE: usize>(&mut self, depth: u32, above: &Cell<u64>) {
        let byte = self.dice.next() as u8;
        let bytes = black_box([byte; SIZE]);
        let own = Cell::new(u64::from(byte));
        let address = std::ptr::from_ref(&own).addr();
        let outer = above.get();
        let mut children = 0;
        for _ in 0..1 + self.dice.below(3) {
            if self.left == 0 {
                break;
            }
            self.wait();
            assert!(black_box(&bytes).iter().all(|other| *other == byte), "a frame of {SIZE} bytes was changed");
            assert_eq!(std::ptr::from_ref(black_box(&own)).addr(), address);
            assert_eq!(own.get(), u64::from(byte) + children, "those below count here");
            assert_eq!(above.get(), outer, "the frame above was changed");
            if depth < 14 && self.dice.chance(60) {
                self.descend(depth + 1, &own);
                children += 1_000;
            }
        }
        assert!(black_box(&bytes).iter().all(|other| *other == byte), "a frame of {SIZE} bytes was changed");
        above.set(above.get() + 1_000);
    }

    fn message(&mut self) -> Message {
        Message::new(self.dice.next(), &self.world.census)
    }

    fn wait(&mut self) {
        self.left -= 1;
        self.waited += 1;
        let count = self.world.senders.len();
        let (first, second) = (self.dice.below(count), self.dice.below(count));
        let limit = Duration::from_micros(20 + self.dice.below(200) as u64);
        match self.dice.below(10) {
            0 | 1 => give_way(),
            2 => time::sleep(limit),
            3 => {
                let message = self.message();
                let _ = self.world.senders[first].send_timeout(message, limit);
            }
            4 => drop(self.world.receivers[first].recv_timeout(limit).map(Message::check)),
            5 | 6 => {
                let message = self.message();
                let World { senders, receivers, .. } = &self.world;
                select! {
                    send(senders[first], message) -> _ => {},
                    recv(receivers[second]) -> got => drop(got.map(Message::check)),
                    recv(receivers[first]) -> got => drop(got.map(Message::check)),
                    default(limit) => {},
                }
            }
            7 => {
                let mut arms: Vec<_> =
                    self.world.receivers.iter().chain(&self.world.receivers).map(Receiver::recv_arm).collect();
                if let Ok(arm) = Select::new(&mut arms).wait_timeout(limit) {
                    ignore(tasklet_channels::TypedArm::output(&mut arms[arm]).map(Message::check));
                }
            }
            8 => {
                let receiver = self.world.receivers[first].clone();
                let child = spawn(move || ignore(receiver.recv_timeout(limit).map(Message::check)));
                child.join().expect("nobody kills it");
            }
            _ => {
                let receiver = &self.world.receivers[first];
                let received = async { receiver.recv_async().await.map(Message::check) };
                let other = self.world.senders[first].clone();
                let message = Message::new(1, &self.world.census);
                // Somebody serves it, if nobody else does.
                let serves = spawn(move || drop(other.send_timeout(message, Duration::from_secs(30))));
                let _ = tasklet_bridge::futures::block_on(received);
                serves.kill();
            }
        }
    }
}

/// Whoever waits anywhere, with anything on the stack, goes on as if it had not been away.
pub fn random_programs_keep_their_frames<B: Backend>(case: Case) {
    rounds("swapped::programs", 3, |dice| {
        let census = Census::default();
        let counted = census.clone();
        let slots = Slots::new().count(1 + dice.below(4)).poison(dice.chance(80));
        let mut dice = Dice::new(dice.next());
        run_on::<B>(case, slots, move || {
            let channels: Vec<_> =
                (0..3).map(|number| if number == 2 { unbounded() } else { bounded(number) }).collect();
            let (senders, receivers) = channels.into_iter().unzip();
            let world = World { senders, receivers, census };
            let mut actors: Vec<_> = (0..2 + dice.below(8))
                .map(|_| {
                    let left = 5 + dice.below(60) as u32;
                    let mut actor = Actor { world: world.clone(), dice: Dice::new(dice.next()), left, waited: 0 };
                    spawn(move || {
                        let top = Cell::new(0);
                        while actor.left > 0 {
                            actor.descend(0, &top);
                        }
                        actor.waited
                    })
                })
                .collect();
            while !actors.iter().all(tasklet_core::tasklet::JoinHandle::is_finished) {
                match dice.below(200) {
                    0 => actors[dice.below(actors.len())].kill(),
                    1 => drop(world.receivers[dice.below(3)].try_iter().map(Message::check).count()),
                    _ => give_way(),
                }
            }
            let waited: u64 = actors
                .drain(..)
                .map(|actor| match actor.join() {
                    Ok(waited) => waited,
                    Err(error) => {
                        assert!(error.is_killed(), "{error}");
                        1
                    }
                })
                .sum();
            assert!(waited > 0);
            // Those that serve somebody end by themselves, or were killed.
            let World { senders, receivers, census } = world;
            drop(senders);
            drop(receivers);
            until(|| census.made() == census.dropped());
        });
        counted.assert_all_dropped();
    });
}
