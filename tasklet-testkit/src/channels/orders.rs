//! What one side may rely on when the other has done something: the orders that Go promises of its channels, and what is built of them.

use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tasklet_channels::{Receiver, bounded, never, rendezvous, select, unbounded};
use tasklet_core::backend::Backend;

use super::Case;
use super::setup::{run, until};

/// A plain value that several share, one after the other: whoever uses it relies on a channel for the order.
struct Plain(UnsafeCell<u64>);

// SAFETY: the tests let one side write it before it sends or receives, and the other read it after.
unsafe impl Sync for Plain {}

impl Plain {
    fn new() -> Arc<Plain> {
        Arc::new(Plain(UnsafeCell::new(0)))
    }

    fn set(&self, value: u64) {
        // SAFETY: nobody else uses it meanwhile, see above.
        unsafe { *self.0.get() = value }
    }

    fn get(&self) -> u64 {
        // SAFETY: as in `set`.
        unsafe { *self.0.get() }
    }
}

/// What happened before a send is seen after its receive, and before a close after its end was told.
pub fn a_send_happens_before_its_receive<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let who = case.who;
        for capacity in [Some(0), Some(1), None] {
            let (there, at_other) = capacity.map_or_else(unbounded, bounded);
            let (back, at_this) = capacity.map_or_else(unbounded, bounded);
            let shared = Plain::new();
            let other = who.spawn({
                let shared = shared.clone();
                async move {
                    while let Ok(number) = who.recv(&at_other).await {
                        assert_eq!(shared.get(), number);
                        shared.set(number + 1);
                        who.send(&back, ()).await.unwrap();
                    }
                    assert_eq!(shared.get(), 1_000_000);
                    shared.set(7);
                    drop(back);
                }
            });
            for number in 0..100 {
                shared.set(number);
                there.send(number).unwrap();
                at_this.recv().unwrap();
                assert_eq!(shared.get(), number + 1);
            }
            shared.set(1_000_000);
            there.close();
            assert!(at_this.recv().unwrap_err().is_closed());
            assert_eq!(shared.get(), 7);
            other.join().unwrap();
        }
    });
}

/// Without a buffer, what happened before a receive is seen after the send that it met; with room for so many, after the send that many
/// later.
pub fn a_receive_happens_before_the_send_that_needs_its_room<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let who = case.who;
        for capacity in [0, 1, 3] {
            let (sender, receiver) = bounded(capacity);
            let shared: Vec<_> = (0..60).map(|_| Plain::new()).collect();
            let sink = who.spawn({
                let shared = shared.clone();
                async move {
                    for value in &shared {
                        value.set(5);
                        who.recv(&receiver).await.unwrap();
                    }
                }
            });
            for number in 0..shared.len() {
                sender.send(()).unwrap();
                if number >= capacity {
                    assert_eq!(shared[number - capacity].get(), 5);
                }
            }
            sink.join().unwrap();
        }
    });
}

/// A channel with room for so many lets so many in at once, and no more.
pub fn a_buffer_limits_how_many_work<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let who = case.who;
        const LIMIT: usize = 3;
        let (enter, leave) = bounded(LIMIT);
        let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let workers: Vec<_> = (0..12)
            .map(|_| {
                let (enter, leave) = (enter.clone(), leave.clone());
                let (inside, most) = (inside.clone(), most.clone());
                who.spawn(async move {
                    who.send(&enter, ()).await.unwrap();
                    most.fetch_max(inside.fetch_add(1, Relaxed) + 1, Relaxed);
                    // The first stay until there are as many as may be.
                    who.until(|| most.load(Relaxed) >= LIMIT).await;
                    for _ in 0..3 {
                        who.give_way().await;
                    }
                    inside.fetch_sub(1, Relaxed);
                    who.recv(&leave).await.unwrap();
                })
            })
            .collect();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        assert_eq!(most.load(Relaxed), LIMIT);
        assert!(leave.is_empty());
    });
}

/// A close is told to everybody at once, also in selects: the way to stop any number of workers.
pub fn a_close_stops_everybody<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let who = case.who;
        let (done, is_done) = rendezvous::<()>();
        let (sender, work) = unbounded();
        let workers: Vec<_> = (0..8)
            .map(|_| {
                let (is_done, work) = (is_done.clone(), work.clone());
                who.spawn(async move {
                    let mut sum = 0;
                    loop {
                        select! {
                            recv(work) -> number => sum += number.unwrap(),
                            recv(is_done) -> end => {
                                assert!(end.unwrap_err().is_closed());
                                return sum;
                            }
                        }
                    }
                })
            })
            .collect();
        (1..=100).for_each(|number| sender.send(number).unwrap());
        until(|| work.is_empty());
        drop(done);
        assert_eq!(workers.into_iter().map(|worker| worker.join().unwrap()).sum::<u64>(), 5050);
    });
}

/// An arm is switched off by `never` when its source has ended, as by a nil channel in Go: two sources become one, and nothing is lost.
pub fn an_ended_source_is_switched_off<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let who = case.who;
        let source = |numbers: std::ops::Range<u64>| {
            let (sender, receiver) = bounded(2);
            let tasklet = who.spawn(async move {
                for number in numbers {
                    who.send(&sender, number).await.unwrap();
                }
            });
            (tasklet, receiver)
        };
        let ((first, mut a), (second, mut b)) = (source(0..50), source(50..70));
        let (mut sum, mut open) = (0, 2);
        while open > 0 {
            let ended: &mut Receiver<u64> = select! {
                recv(a) -> number => match number {
                    Ok(number) => { sum += number; continue; }
                    Err(_) => &mut a,
                },
                recv(b) -> number => match number {
                    Ok(number) => { sum += number; continue; }
                    Err(_) => &mut b,
                },
            };
            *ended = never();
            open -= 1;
        }
        assert_eq!(sum, (0..70).sum());
        first.join().unwrap();
        second.join().unwrap();
    });
}

/// A chain of tasklets, each of which adds one, as long as there is memory for it.
pub fn a_chain_passes_everything_on<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let who = case.who;
        let (first, mut last) = rendezvous();
        let chain: Vec<_> = (0..200)
            .map(|_| {
                let (next, receiver) = rendezvous();
                let from = std::mem::replace(&mut last, receiver);
                who.spawn(async move {
                    while let Ok(number) = who.recv::<Receiver<u64>>(&from).await {
                        who.send(&next, number + 1).await.unwrap();
                    }
                })
            })
            .collect();
        for number in 0..5 {
            first.send(number).unwrap();
            assert_eq!(last.recv(), Ok(number + 200));
        }
        drop(first);
        assert!(last.recv().unwrap_err().is_closed());
        chain.into_iter().for_each(|link| link.join().unwrap());
    });
}

/// Iterators end with the channel; one that takes what is there does not wait.
pub fn iterators_end_with_the_channel<B: Backend>(case: Case) {
    run::<B>(case, move || {
        let who = case.who;
        let (sender, receiver) = bounded(8);
        assert_eq!(receiver.try_iter().count(), 0);
        (0..4).for_each(|number| sender.send(number).unwrap());
        assert_eq!(receiver.try_iter().take(2).collect::<Vec<_>>(), [0, 1]);
        let drained = receiver.drain();
        assert_eq!((drained.len(), drained.collect::<Vec<_>>()), (2, vec![2, 3]));
        let source = who.spawn(async move {
            for number in 4..10 {
                who.send(&sender, number).await.unwrap();
            }
        });
        let mut borrowed = Vec::new();
        for number in &receiver {
            borrowed.push(number);
            if number == 6 {
                break;
            }
        }
        assert_eq!(borrowed, [4, 5, 6]);
        assert_eq!(receiver.into_iter().collect::<Vec<_>>(), [7, 8, 9]);
        source.join().unwrap();
    });
}
