//! Worlds in which anybody does anything at any time, and that are ended from outside.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tasklet_channels::SharedChannel;
use tasklet_core::backend::Backend;
use tasklet_core::tasklet::JoinHandle;
use tasklet_scheduler::stealing::{self, CancelToken, Runtime, TaskletBuilder};

use super::agent::{Agent, Wait, check_payload, ignore};
use super::dice::Dice;
use super::failure::{self, violated};
use super::ledger::{Bang, Boom, Token, What};
use super::outsider;
use super::world::{self, Counted, Place, Scene, World};

/// Kills that one tasklet catches at most: fewer than a runtime's end has patience for.
const STUBBORN: usize = 3;

/// Runs one world to its end and checks what is left.
pub(super) fn run<B: Backend>(dice: &mut Dice, scene: Scene) -> Counted {
    failure::at("wild");
    let (runtimes, places): (Vec<Runtime<B>>, Vec<Place>) = (0..1 + usize::from(dice.chance(30)))
        .map(|_| {
            // With few stacks, tasklets wait for others to end before they begin.
            let stacks = if dice.chance(20) { Some(dice.below(6)) } else { None };
            Place::new(dice, scene, stacks)
        })
        .unzip();
    let world = World::new(places, dice, scene);
    for place in 0..runtimes.len() {
        (0..1 + dice.below(8)).for_each(|_| ignore(spawn(&world, place, dice, 0, How::Outside)));
    }
    let threads: Vec<_> = (0..dice.below(3))
        .map(|_| {
            let (world, mut dice) = (world.clone(), dice.fork());
            std::thread::spawn(move || outsider::run::<B>(&world, &mut dice, scene))
        })
        .collect();
    let end = Instant::now() + Duration::from_micros(dice.below(15_000) as u64);
    // Some runtimes go before the rest of the world.
    let early = Duration::from_micros(dice.below(15_000) as u64);
    let (goes_early, limit) = (dice.chance(40), dice.chance(30));
    let closer = std::thread::spawn(move || {
        if goes_early {
            std::thread::sleep(early);
        } else {
            std::thread::sleep(end.saturating_duration_since(Instant::now()));
        }
        for runtime in runtimes {
            if limit {
                // Longer than any world takes: it must be enough.
                let report = runtime.shutdown(Duration::from_secs(20));
                if !report.is_clean() {
                    violated(&format!("a runtime's end: {report}"));
                }
            } else {
                drop(runtime);
            }
        }
    });
    std::thread::sleep(end.saturating_duration_since(Instant::now()));
    world.stop();
    while !closer.is_finished() || !threads.iter().all(std::thread::JoinHandle::is_finished) {
        world.tidy_up();
        std::thread::sleep(Duration::from_micros(100));
    }
    for thread in threads.into_iter().chain([closer]) {
        if thread.join().is_err() {
            violated("a thread ended with a panic");
        }
    }
    world.check()
}

/// How a tasklet is made.
#[derive(Clone, Copy, PartialEq)]
enum How {
    /// By a thread that is no worker of the runtime, or by a worker, for any.
    Outside,
    Local,
    On,
    Named,
}

fn spawn(world: &Arc<World>, place: usize, dice: &mut Dice, depth: u32, how: How) -> Option<JoinHandle<Option<Token>>> {
    if !world.has_room() {
        return None;
    }
    let what = match how {
        How::Local => What::LocalBody,
        How::On => What::BodyOnWorker,
        How::Outside | How::Named => What::Body,
    };
    let token = world.ledger.token(what)?;
    let bang = if dice.chance(3) { world.ledger.token(What::Panic) } else { None };
    let (inner, mut inside) = (world.clone(), dice.fork());
    let bang = Bang(bang);
    let body = move || {
        let bang = bang;
        let result = body(&inner, place, &mut inside, depth, token);
        drop(bang);
        result
    };
    let (runtime, spawned) = (&world.places[place].runtime, &world.places[place].spawned);
    spawned.fetch_add(1, Relaxed);
    match how {
        How::Outside => Some(runtime.spawn(body)),
        How::Local => {
            let not_send = Rc::new(());
            Some(stealing::spawn_local(move || {
                let _not_send = not_send;
                body()
            }))
        }
        How::On => runtime.spawn_on(dice.below(runtime.workers()), body).ok(),
        How::Named => Some(TaskletBuilder::new().on(runtime).name("named").spawn(body)),
    }
}

fn body(world: &Arc<World>, place: usize, dice: &mut Dice, depth: u32, token: Token) -> Option<Token> {
    token.begun();
    let _running = world.places[place].running();
    let agent = Agent::tasklet(world, place);
    let mut stubborn = 0;
    for _ in 0..dice.below(12) {
        if world.is_over() {
            break;
        }
        if stubborn < STUBBORN && dice.chance(10) {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| agent.act(dice, depth))) {
                check_payload(&payload);
                stubborn += 1;
                // A time limit that is kept from its `timeout` would be lost, which is its owner's loss.
            }
        } else {
            agent.act(dice, depth);
        }
        agent.check();
    }
    if dice.chance(5)
        && let Some(token) = agent.token(What::Panic)
    {
        resume_unwind(Box::new(Boom(token)));
    }
    Some(token)
}

impl Agent {
    pub(super) fn channel(&self, dice: &mut Dice) -> &SharedChannel<Token> {
        &self.world.channels[dice.below(self.world.channels.len())]
    }

    /// Something that both tasklets and threads do.
    pub(super) fn act_anywhere(&self, dice: &mut Dice, depth: u32) {
        let world = &self.world;
        let wait = if dice.chance(60) { Wait::Yes } else { Wait::No };
        match dice.below(12) {
            0..3 => ignore(self.send(self.channel(dice), wait)),
            3..6 => ignore(self.recv(self.channel(dice), wait)),
            6 => self.spawn(dice, depth),
            7 => {
                if let Some(handle) = World::take(&world.handles, dice) {
                    self.finish(handle, dice);
                }
            }
            8 => tamper(self.channel(dice), dice, world),
            9 => ignore(World::pick(&world.unparkers, dice).map(|unparker| unparker.unpark())),
            10 => ignore(World::pick(&world.tokens, dice).filter(|_| dice.chance(30)).map(|token| token.cancel())),
            _ => self.spawn_async(dice),
        }
    }

    /// Something that a tasklet does.
    fn act(&self, dice: &mut Dice, depth: u32) {
        let world = &self.world;
        let short = Duration::from_micros(dice.below(300) as u64);
        match dice.below(30) {
            0 => stealing::sleep(short),
            1 => {
                let channel = self.channel(dice);
                ignore(stealing::timeout(short, || ignore(self.recv(channel, Wait::Yes))));
            }
            2 => {
                let channel = self.channel(dice);
                ignore(stealing::timeout(short, || ignore(self.send(channel, Wait::Yes))));
            }
            3 => self.scope(dice, depth),
            4 | 5 => ignore(fork(world, dice, 3)),
            6 => self.block(dice),
            7 => {
                let token = match World::pick(&world.tokens, dice) {
                    Some(token) if dice.chance(50) => token.child(),
                    _ => CancelToken::new(),
                };
                world.tokens.lock().unwrap().push(token.clone());
                let channel = self.channel(dice);
                token.run(|| ignore(self.recv(channel, Wait::Yes)));
            }
            8 => {
                let mask = stealing::mask();
                self.send(self.channel(dice), Wait::No);
                stealing::sleep(short);
                self.recv(self.channel(dice), Wait::No);
                drop(mask);
            }
            9 => {
                world.unparkers.lock().unwrap().push(stealing::unparker());
                ignore(stealing::park_timeout(short));
            }
            10 | 11 => stealing::yield_now(),
            12 => (0..200).for_each(|_| stealing::checkpoint()),
            13 => {
                let mut ticks = stealing::interval(Duration::from_micros(50));
                let first = ticks.tick();
                if ticks.tick() <= first {
                    violated("an interval's ticks do not grow");
                }
            }
            14 => {
                if let Some(token) = self.token(What::Panic) {
                    let _bang = Bang(Some(token));
                    stealing::yield_now();
                }
            }
            15 if depth < 3 => {
                // Kill of oneself, which comes at the next scheduling point.
                self.kill_me();
            }
            _ => self.act_anywhere(dice, depth),
        }
    }

    fn kill_me(&self) {
        tasklet_core::current::record().kill();
        stealing::yield_now();
    }

    fn spawn(&self, dice: &mut Dice, depth: u32) {
        let (world, place) = (&self.world, dice.below(self.world.places.len()));
        let how = if self.place == Some(place) {
            [How::Outside, How::Outside, How::Local, How::On, How::Named][dice.below(5)]
        } else {
            [How::Outside, How::On, How::Named][dice.below(3)]
        };
        let Some(handle) = spawn(world, place, dice, depth + 1, how) else { return };
        match dice.below(5) {
            0 => handle.kill(),
            1 => return self.finish(handle, dice),
            // A handle of a local tasklet goes to other threads too: its result may.
            _ => {}
        }
        world.handles.lock().unwrap().push(handle);
    }

    fn finish(&self, handle: JoinHandle<Option<Token>>, dice: &mut Dice) {
        match dice.below(6) {
            0 => handle.detach(),
            1 | 2 => {
                handle.kill();
                self.world.handles.lock().unwrap().push(handle);
            }
            3 => match handle.join_timeout(Duration::from_micros(dice.below(500) as u64)) {
                Ok(result) => self.joined(result),
                Err(handle) => self.world.handles.lock().unwrap().push(handle),
            },
            4 => {
                handle.kill();
                self.join(handle);
            }
            _ => self.join(handle),
        }
    }

    fn spawn_async(&self, dice: &mut Dice) {
        let world = self.world.clone();
        let place = dice.below(world.places.len());
        if !world.has_room() {
            return;
        }
        let Some(token) = self.token(What::Future) else { return };
        let (inner, mut inside) = (world.clone(), dice.fork());
        world.places[place].spawned.fetch_add(1, Relaxed);
        let handle = world.places[place].runtime.spawn_async(async move {
            token.begun();
            for _ in 0..inside.below(5) {
                match inside.below(4) {
                    0 => stealing::sleep_async(Duration::from_micros(inside.below(300) as u64)).await,
                    1 => {
                        if let Some(handle) = World::take(&inner.handles, &mut inside) {
                            match handle.await {
                                Ok(token) => token.iter().for_each(Token::joined),
                                Err(error) => error.into_panic().iter().for_each(check_payload),
                            }
                        }
                    }
                    2 => {
                        // It blocks the helper that polls it.
                        let agent = Agent::thread(&inner);
                        let channel = agent.channel(&mut inside);
                        agent.send(channel, if inside.chance(50) { Wait::Yes } else { Wait::No });
                    }
                    _ => yield_async().await,
                }
            }
            Some(token)
        });
        if dice.chance(80) {
            world.handles.lock().unwrap().push(handle);
        }
    }

    fn scope(&self, dice: &mut Dice, depth: u32) {
        let Some(place) = self.place else { return };
        let alive = Alive(AtomicU64::new(0));
        let children = if depth < 3 { dice.below(4) } else { 0 };
        // Whatever happens, `alive` is looked at after the scope.
        stealing::scope(|scope| {
            for _ in 0..children {
                if !self.world.has_room() {
                    break;
                }
                let Some(token) = self.token(What::ScopedBody) else { break };
                let (world, alive, mut inside) = (&self.world, &alive, dice.fork());
                self.world.places[place].spawned.fetch_add(1, Relaxed);
                let handle = scope.spawn(move || {
                    alive.0.fetch_add(1, Relaxed);
                    let _less = Less(&alive.0);
                    body(world, place, &mut inside, depth + 1, token)
                });
                if dice.chance(20) {
                    handle.kill();
                }
                if dice.chance(50) {
                    self.joined(handle.join());
                }
            }
        });
    }

    fn block(&self, dice: &mut Dice) {
        let time = Duration::from_micros(dice.below(200) as u64);
        let bang = if dice.chance(10) { self.token(What::Panic) } else { None };
        let alive = Alive(AtomicU64::new(0));
        let got = stealing::blocking(|| {
            alive.0.fetch_add(1, Relaxed);
            let _less = Less(&alive.0);
            std::thread::sleep(time);
            drop(Bang(bang));
            7
        });
        if got != 7 {
            violated("a blocking call returns what it did not");
        }
    }
}

/// Fork and join, with halves that wait, panic and are killed.
fn fork(world: &Arc<World>, dice: &mut Dice, levels: u32) -> u64 {
    if levels == 0 {
        return 1;
    }
    let (mut left, mut right) = (dice.fork(), dice.fork());
    let alive = Alive(AtomicU64::new(0));
    let half = |dice: &mut Dice| {
        alive.0.fetch_add(1, Relaxed);
        let _less = Less(&alive.0);
        match dice.below(30) {
            0 => stealing::yield_now(),
            1 => stealing::sleep(Duration::from_micros(dice.below(100) as u64)),
            2 => drop(Bang(world.ledger.token(What::Panic))),
            _ => {}
        }
        fork(world, dice, levels - 1)
    };
    let (left, right) = stealing::join(|| half(&mut left), || half(&mut right));
    if left + right != 1 << levels {
        violated(&format!("{left} and {right} leaves of {}", 1 << levels));
    }
    left + right
}

/// Borrowed by what must have ended before it goes.
struct Alive(AtomicU64);

struct Less<'a>(&'a AtomicU64);

impl Drop for Less<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        if self.0.load(Relaxed) != 0 {
            violated("what borrows was left alive");
        }
    }
}

async fn yield_async() {
    let mut first = true;
    std::future::poll_fn(|context| {
        if std::mem::take(&mut first) {
            context.waker().wake_by_ref();
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(())
    })
    .await;
}

/// Changes what an operation may find.
fn tamper(channel: &SharedChannel<Token>, dice: &mut Dice, world: &World) {
    match dice.below(8) {
        0 => channel.close(),
        1 => channel.close_soft(),
        2 => ignore((channel.balance(), channel.waiters(), channel.is_closed())),
        3 => channel.set_schedule_all(dice.chance(20)),
        4 => channel.set_preference(world::preference(dice)),
        _ if !world.is_over() => channel.reopen(),
        _ => {}
    }
}
