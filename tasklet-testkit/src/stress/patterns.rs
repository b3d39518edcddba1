//! What calm worlds are made of. Each pattern ends by itself and knows what it should have come to.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use tasklet_channels::{Channel, SharedChannel};
use tasklet_core::park::ParkError;
use tasklet_core::tasklet::JoinHandle;
use tasklet_scheduler::stealing::{self, CancelToken};

use super::agent::{Agent, Wait, ignore};
use super::calm::Calm;
use super::dice::Dice;
use super::ledger::{Bang, Boom, Token, What};
use super::world;

fn channel(dice: &mut Dice) -> SharedChannel<Token> {
    Channel::with_preference(world::preference(dice)).share()
}

/// Some send, on tasklets and threads, some receive until there is nothing more; each sender's messages come in order.
pub(super) fn pipeline(calm: &Calm, dice: &mut Dice) {
    let (channel, senders, each) = (channel(dice), 1 + dice.below(3), 1 + dice.below(30));
    let receivers = 1 + dice.below(2);
    let received = Arc::new(AtomicUsize::new(0));
    let send = |channel: SharedChannel<Token>| {
        move |agent: &Agent| {
            for _ in 0..each {
                assert!(agent.send(&channel, Wait::Yes), "the channel is open");
            }
        }
    };
    let mut tasklets = Vec::new();
    let mut threads = Vec::new();
    for _ in 0..receivers {
        let (channel, received) = (channel.clone(), received.clone());
        tasklets.push(calm.spawn(dice, move |agent| {
            let mut last = HashMap::new();
            while let Some((sender, sequence)) = agent.recv(&channel, Wait::Yes) {
                received.fetch_add(1, Relaxed);
                assert!(last.insert(sender, sequence).is_none_or(|before| before < sequence), "in order");
            }
        }));
    }
    let mut sending = Vec::new();
    for _ in 0..senders {
        let send = send(channel.clone());
        if dice.chance(70) {
            sending.push(calm.spawn(dice, send));
        } else {
            let world = calm.world.clone();
            threads.push(std::thread::spawn(move || send(&Agent::thread(&world))));
        }
    }
    sending.into_iter().for_each(|sender| calm.done(sender));
    // A thread is waited for where waiting is allowed.
    stealing::blocking(|| threads.into_iter().for_each(|thread| thread.join().unwrap()));
    channel.close();
    tasklets.into_iter().for_each(|receiver| calm.done(receiver));
    assert_eq!(received.load(Relaxed), senders * each, "messages");
}

/// A tree of tasklets, joined in one of several ways.
pub(super) fn tree(calm: &Calm, dice: &mut Dice) {
    let leaves = Arc::new(AtomicUsize::new(0));
    grow(calm, dice, 3, &leaves);
    assert_eq!(leaves.load(Relaxed), 8, "leaves");
}

fn grow(calm: &Calm, dice: &mut Dice, levels: u32, leaves: &Arc<AtomicUsize>) {
    if levels == 0 {
        leaves.fetch_add(1, Relaxed);
        return;
    }
    let child = |dice: &mut Dice| {
        let (calm, mut dice, leaves) = (calm.clone(), dice.fork(), leaves.clone());
        move |_: &Agent| grow(&calm, &mut dice, levels - 1, &leaves)
    };
    match dice.below(3) {
        0 => {
            let children = [child(dice), child(dice)].map(|child| calm.spawn(dice, child));
            if dice.chance(50) {
                stealing::yield_now();
            }
            children.into_iter().for_each(|child| calm.done(child));
        }
        1 => {
            let (mut left, mut right) = (dice.fork(), dice.fork());
            stealing::join(|| grow(calm, &mut left, levels - 1, leaves), || grow(calm, &mut right, levels - 1, leaves));
        }
        _ => {
            let (mut left, mut right) = (dice.fork(), dice.fork());
            stealing::scope(|scope| {
                calm.count();
                scope.spawn(|| grow(calm, &mut left, levels - 1, leaves));
                calm.count();
                scope.spawn(|| grow(calm, &mut right, levels - 1, leaves));
            });
        }
    }
}

/// Two that unpark each other in turn: a permit that is lost stops both.
pub(super) fn ping(calm: &Calm, dice: &mut Dice) {
    let rounds = 1 + dice.below(200);
    let turn = Arc::new(AtomicUsize::new(0));
    let me = stealing::unparker();
    let (others, mine) = (turn.clone(), turn);
    let (tell, told) = std::sync::mpsc::channel();
    let partner = calm.spawn(dice, move |_| {
        tell.send(stealing::unparker()).unwrap();
        alternate(&others, 1, rounds, || me.unpark());
    });
    let partner_is = loop {
        match told.try_recv() {
            Ok(unparker) => break unparker,
            Err(_) => stealing::yield_now(),
        }
    };
    alternate(&mine, 0, rounds, || partner_is.unpark());
    calm.done(partner);
}

fn alternate(turn: &AtomicUsize, mine: usize, rounds: usize, tell: impl Fn()) {
    for _ in 0..rounds {
        // Relaxed: the permit carries it.
        while turn.load(Relaxed) % 2 != mine {
            stealing::park().expect("a tasklet may park");
        }
        turn.fetch_add(1, Relaxed);
        tell();
    }
}

/// A foreign thread and a tasklet unpark each other in turn.
pub(super) fn ping_of_threads(_: &Calm, dice: &mut Dice) {
    let rounds = 1 + dice.below(60);
    let turn = Arc::new(AtomicUsize::new(0));
    let me = stealing::unparker();
    let (tell, told) = std::sync::mpsc::channel();
    let thread = std::thread::spawn({
        let turn = turn.clone();
        move || {
            tell.send(stealing::unparker()).unwrap();
            alternate(&turn, 1, rounds, || me.unpark());
        }
    });
    let partner = stealing::blocking(move || told.recv().unwrap());
    alternate(&turn, 0, rounds, || partner.unpark());
    stealing::blocking(|| thread.join().unwrap());
}

/// Who waits for what never comes is ended by a kill, and what it holds is dropped.
pub(super) fn killed_waiter(calm: &Calm, dice: &mut Dice) {
    let never = channel(dice);
    let (waits, how) = (Arc::new(AtomicBool::new(false)), dice.below(4));
    let victim = calm.spawn(dice, {
        let (never, waits) = (never.clone(), waits.clone());
        move |agent| {
            let _kept = agent.token(What::Local);
            waits.store(true, Relaxed);
            loop {
                match how {
                    0 => ignore(agent.recv(&never, Wait::Yes)),
                    1 => ignore(agent.send(&never, Wait::Yes)),
                    2 => stealing::sleep(Duration::from_secs(1000)),
                    _ => ignore(stealing::park()),
                }
            }
        }
    });
    if dice.chance(50) {
        while !waits.load(Relaxed) {
            stealing::yield_now();
        }
    }
    if dice.chance(50) {
        victim.kill();
        assert!(victim.join().is_err_and(|error| error.is_killed()), "it was killed");
    } else {
        std::thread::scope(|scope| scope.spawn(|| victim.kill()).join().unwrap());
        assert!(victim.join().is_err_and(|error| error.is_killed()), "it was killed");
    }
}

/// Kills meet tasklets that are about to start, run, and end.
pub(super) fn kill_race(calm: &Calm, dice: &mut Dice) {
    for _ in 0..1 + dice.below(30) {
        let yields = dice.below(3);
        let victim = calm.spawn(dice, move |_| (0..yields).for_each(|_| stealing::yield_now()));
        (0..dice.below(3)).for_each(|_| stealing::yield_now());
        victim.kill();
        match victim.join() {
            Ok(token) => token.iter().for_each(Token::joined),
            Err(error) => assert!(error.is_killed(), "{error}"),
        }
    }
}

/// Sleeps are long enough, time limits end what they should and nothing else.
pub(super) fn timers(calm: &Calm, dice: &mut Dice) {
    let short = Duration::from_micros(1 + dice.below(800) as u64);
    let start = stealing::now();
    stealing::sleep(short);
    assert!(stealing::now() >= start + short, "slept");
    let never = channel(dice);
    let limited = stealing::timeout(short, || never.recv().map(drop));
    assert!(limited.is_err(), "nothing comes");
    assert!(stealing::timeout(Duration::from_secs(1000), stealing::yield_now).is_ok());
    let mut ticks = stealing::interval(short);
    let due: Vec<_> = (0..3).map(|_| ticks.tick()).collect();
    assert!(due.windows(2).all(|pair| pair[0] < pair[1]), "ticks grow");
    let (go, gone) = (channel(dice), channel(dice));
    let child = calm.spawn(dice, {
        let (go, gone) = (go.clone(), gone.clone());
        move |agent| {
            agent.recv(&go, Wait::Yes);
            gone.close();
        }
    });
    let child = child.join_timeout(short).expect_err("it waits for a message");
    go.close();
    assert!(gone.recv().is_err_and(|error| error.is_closed()), "closed by the child");
    calm.done(child);
}

/// Blocking calls borrow, and their results come back.
pub(super) fn blocking(calm: &Calm, dice: &mut Dice) {
    let callers: Vec<_> = (0..1 + dice.below(4))
        .map(|number| {
            let time = Duration::from_micros(dice.below(300) as u64);
            calm.spawn(dice, move |_| {
                let mut borrowed = number;
                let got = stealing::blocking(|| {
                    std::thread::sleep(time);
                    borrowed += 1;
                    borrowed
                });
                assert_eq!((got, borrowed), (number + 1, number + 1));
            })
        })
        .collect();
    callers.into_iter().for_each(|caller| calm.done(caller));
}

/// Fork and join, with halves that wait.
pub(super) fn forks(_: &Calm, dice: &mut Dice) {
    assert_eq!(fork(&mut dice.fork(), 6), 64);
}

fn fork(dice: &mut Dice, levels: u32) -> u64 {
    if levels == 0 {
        if dice.chance(5) {
            stealing::sleep(Duration::from_micros(dice.below(50) as u64));
        } else if dice.chance(20) {
            stealing::yield_now();
        }
        return 1;
    }
    let (mut left, mut right) = (dice.fork(), dice.fork());
    let (left, right) = stealing::join(|| fork(&mut left, levels - 1), || fork(&mut right, levels - 1));
    left + right
}

/// Others wake a future again and again through the one waker that it has left: each wake counts.
pub(super) fn wakes(calm: &Calm, dice: &mut Dice) {
    let wanted = 1 + dice.below(300);
    let events = Arc::new(AtomicUsize::new(0));
    let place: Arc<Mutex<Option<Waker>>> = Arc::default();
    calm.count();
    let future = stealing::spawn_async({
        let (events, place) = (events.clone(), place.clone());
        let mut is_there = false;
        std::future::poll_fn(move |context| {
            if !std::mem::replace(&mut is_there, true) {
                *place.lock().unwrap() = Some(context.waker().clone());
            }
            // Relaxed: the wake carries it.
            if events.load(Relaxed) == wanted { Poll::Ready(7) } else { Poll::Pending }
        })
    });
    let waker = loop {
        if let Some(waker) = place.lock().unwrap().take() {
            break waker;
        }
        stealing::yield_now();
    };
    let wake = move || {
        for _ in 0..wanted {
            events.fetch_add(1, Relaxed);
            waker.wake_by_ref();
        }
    };
    if dice.chance(50) {
        std::thread::scope(|scope| scope.spawn(wake).join().unwrap());
    } else {
        wake();
    }
    assert_eq!(future.join().unwrap(), 7);
}

/// Futures wait for tasklets, tasklets for futures, and both sleep.
pub(super) fn futures(calm: &Calm, dice: &mut Dice) {
    let (inner, mut inside) = (calm.clone(), dice.fork());
    calm.count();
    let future: JoinHandle<u32> = stealing::spawn_async(async move {
        let mut sum = 0;
        for _ in 0..3 {
            let child = inner.clone().spawn_outside(|_| stealing::yield_now());
            child.await.expect("it returns").iter().for_each(Token::joined);
            stealing::sleep_async(Duration::from_micros(inside.below(100) as u64)).await;
            inner.count();
            sum += inner.place().runtime.spawn_async(async { 1 }).await.expect("it returns");
        }
        sum
    });
    assert_eq!(future.join().unwrap(), 3);
    calm.count();
    let never = stealing::spawn_async(std::future::pending::<()>());
    if dice.chance(50) {
        stealing::yield_now();
    }
    never.kill();
    assert!(never.join().is_err_and(|error| error.is_killed()), "it was killed");
}

/// Those who run under a token learn that it was cancelled, wherever they are on their way to wait.
pub(super) fn cancelled(calm: &Calm, dice: &mut Dice) {
    let (token, never) = (CancelToken::new(), channel(dice));
    let children: Vec<_> = (0..1 + dice.below(4))
        .map(|_| {
            let (token, never) = (token.child(), never.clone());
            calm.spawn(dice, move |_| {
                let got = token.run(|| never.recv().map(drop));
                assert!(got.is_err_and(|error| error.park_error() == Some(ParkError::Cancelled)), "cancelled");
            })
        })
        .collect();
    (0..dice.below(4)).for_each(|_| stealing::yield_now());
    token.cancel();
    children.into_iter().for_each(|child| calm.done(child));
}

/// Panics come to the handle, with what was raised; those of destructors too.
pub(super) fn panics(calm: &Calm, dice: &mut Dice) {
    let (payload, bang) = (calm.token(What::Panic), calm.token(What::Panic));
    let number = payload.number();
    let child = calm.spawn(dice, move |_| {
        stealing::yield_now();
        resume_unwind(Box::new(Boom(payload)));
    });
    let raised = child.join().expect_err("it panics").into_panic().expect("it panics");
    assert_eq!(raised.downcast::<Boom>().map(|boom| boom.0.number()).ok(), Some(number));
    let number = bang.number();
    let child = calm.spawn(dice, move |_| drop(Bang(Some(bang))));
    let raised = child.join().expect_err("it panics").into_panic().expect("it panics");
    assert_eq!(raised.downcast::<Boom>().map(|boom| boom.0.number()).ok(), Some(number));
}

/// What is masked is done as a whole, and the kill comes afterwards.
pub(super) fn masked(calm: &Calm, dice: &mut Dice) {
    let both = channel(dice);
    let done = Arc::new(AtomicBool::new(false));
    let (begun, ready) = (channel(dice), dice.chance(50));
    let child = calm.spawn(dice, {
        let (both, done, begun) = (both.clone(), done.clone(), begun.clone());
        move |agent| {
            let mask = stealing::mask();
            begun.close();
            assert!(agent.send(&both, Wait::Yes) && agent.send(&both, Wait::Yes), "both are sent");
            done.store(true, Relaxed);
            drop(mask);
            loop {
                stealing::yield_now();
            }
        }
    });
    let _ = begun.recv();
    if ready {
        stealing::yield_now();
    }
    child.kill();
    for _ in 0..2 {
        both.recv().expect("both are sent").received();
    }
    assert!(child.join().is_err_and(|error| error.is_killed()), "it was killed");
    assert!(done.load(Relaxed), "it was done as a whole");
}
