//! Workloads that switch between tasklets and do little else.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use tasklet_core::backend::Backend;
use tasklet_core::operation::On;
use tasklet_scheduler::local;

use super::{Channel, scheduler};
use crate::Result;
use crate::subject::Setting;
use crate::workloads::expect;
use crate::workloads::parts::YIELDERS;

/// Nanoseconds per yield.
pub(super) fn yields<B: Backend>(setting: &Setting) -> Result<f64> {
    let each = setting.n;
    let scheduler = scheduler::<B>(setting.tasklets)?;
    let done = Rc::new(Cell::new(0));
    for _ in 0..YIELDERS {
        let done = done.clone();
        scheduler.spawn(move || {
            for _ in 0..each {
                local::schedule_by::<On<B>>();
            }
            done.set(done.get() + each);
        });
    }
    let (start, before) = (Instant::now(), scheduler.switches());
    scheduler.run()?;
    let time = start.elapsed();
    expect("yields", done.get(), YIELDERS * each)?;
    // Each yield is a switch, since others are runnable; so are the start and the end of `run`, and each tasklet's end.
    let switches = scheduler.switches() - before;
    if switches < YIELDERS * each {
        return Err(format!("{switches} switches for {} yields; no figure", YIELDERS * each).into());
    }
    Ok(time.as_nanos() as f64 / (YIELDERS * each) as f64)
}

/// Nanoseconds per round trip.
pub(super) fn ping_pong<B: Backend>(setting: &Setting) -> Result<f64> {
    let trips = setting.n;
    let scheduler = scheduler::<B>(setting.tasklets)?;
    let (there, back) = (Channel::<u64, B>::new(), Channel::<u64, B>::new());
    let (ball, bat) = (there.clone(), back.clone());
    let sum = scheduler.spawn_joinable(move || {
        let mut sum = 0;
        for i in 0..trips {
            there.send(i).expect("the other side receives");
            sum += back.recv().expect("the other side sends");
        }
        sum
    });
    scheduler.spawn(move || {
        for _ in 0..trips {
            let i = ball.recv().expect("the other side sends");
            bat.send(i + 1).expect("the other side receives");
        }
    });
    let start = Instant::now();
    scheduler.run()?;
    let time = start.elapsed();
    expect("sum of what came back", sum.join()?, trips * (trips + 1) / 2)?;
    Ok(time.as_nanos() as f64 / trips as f64)
}

/// Nanoseconds per hop.
pub(super) fn ring<B: Backend>(setting: &Setting) -> Result<f64> {
    let (hops, members) = (setting.n, setting.members);
    let scheduler = scheduler::<B>(setting.tasklets)?;
    let channels: Vec<_> = (0..members).map(|_| Channel::<u64, B>::new()).collect();
    let received = Rc::new(Cell::new(0));
    for (at, from) in channels.iter().enumerate() {
        let (from, to) = (from.clone(), channels[(at + 1) % channels.len()].clone());
        let received = received.clone();
        scheduler.spawn(move || {
            let mut count = 0;
            // The number is the hops made so far; each tasklet passes on its last one, past the end, to let the next one end.
            loop {
                let hops_made = from.recv().expect("the one before sends");
                count += 1;
                if hops_made < hops + members - 1 {
                    to.send(hops_made + 1).expect("the one after receives");
                }
                if hops_made >= hops {
                    break;
                }
            }
            received.set(received.get() + count);
        });
    }
    // All wait before the clock starts: a large ring takes as long to make as to go round.
    scheduler.run()?;
    let first = channels[0].clone();
    scheduler.spawn(move || first.send(1).expect("the first one receives"));
    let start = Instant::now();
    scheduler.run()?;
    let time = start.elapsed();
    expect("hops", received.get(), hops + members - 1)?;
    Ok(time.as_nanos() as f64 / hops as f64)
}
