//! Workloads that switch between soft tasklets and do little else.

use std::time::Instant;

use tasklet_core::backend::Backend;
use tasklet_scheduler::stealing;

use super::{countdown, expect, join, rendezvous, wait_for, within};
use crate::Result;
use crate::subject::Setting;
use crate::workloads::parts::{self, YIELDERS};

/// Nanoseconds per yield.
pub(super) fn yields<B: Backend>(setting: &Setting) -> Result<Vec<f64>> {
    let each = setting.n;
    within::<B, _>(setting, move || {
        let start = Instant::now();
        let yields = || async move {
            for _ in 0..each {
                parts::yields().await;
            }
            each
        };
        let handles: Vec<_> = (0..YIELDERS).map(|_| stealing::spawn_async(yields())).collect();
        let mut done = 0;
        for handle in handles {
            done += join(handle)?;
        }
        let time = start.elapsed();
        expect("yields", done, YIELDERS * each)?;
        Ok(vec![time.as_nanos() as f64 / (YIELDERS * each) as f64])
    })
}

/// Nanoseconds per round trip.
pub(super) fn ping_pong<B: Backend>(setting: &Setting) -> Result<Vec<f64>> {
    let trips = setting.n;
    within::<B, _>(setting, move || {
        let ((there, ball), (bat, back)) = (rendezvous::<u64, B>(), rendezvous::<u64, B>());
        let start = Instant::now();
        let sum = stealing::spawn_async(async move {
            let mut sum = 0;
            for i in 0..trips {
                there.send_async(i).await.expect("the other side receives");
                sum += back.recv_async().await.expect("the other side sends");
            }
            sum
        });
        let other = stealing::spawn_async(async move {
            for _ in 0..trips {
                let i = ball.recv_async().await.expect("the other side sends");
                bat.send_async(i + 1).await.expect("the other side receives");
            }
        });
        let sum = join(sum)?;
        join(other)?;
        let time = start.elapsed();
        expect("sum of what came back", sum, trips * (trips + 1) / 2)?;
        Ok(vec![time.as_nanos() as f64 / trips as f64])
    })
}

/// Nanoseconds per hop.
pub(super) fn ring<B: Backend>(setting: &Setting) -> Result<Vec<f64>> {
    let (hops, members) = (setting.n, setting.members);
    within::<B, _>(setting, move || {
        let channels: Vec<_> = (0..members).map(|_| rendezvous::<u64, B>()).collect();
        let begun = countdown(members);
        let member = |at: usize| {
            let begun = begun.clone();
            let (from, to) = (channels[at].1.clone(), channels[(at + 1) % channels.len()].0.clone());
            stealing::spawn_async(async move {
                begun.down();
                let mut count = 0;
                // As in the ring of tasklets with stacks.
                loop {
                    let hops_made = from.recv_async().await.expect("the one before sends");
                    count += 1;
                    if hops_made < hops + members - 1 {
                        to.send_async(hops_made + 1).await.expect("the one after receives");
                    }
                    if hops_made >= hops {
                        return count;
                    }
                }
            })
        };
        let handles: Vec<_> = (0..channels.len()).map(member).collect();
        wait_for(&begun)?;
        let start = Instant::now();
        channels[0].0.send(1)?;
        let mut received = 0;
        for handle in handles {
            received += join(handle)?;
        }
        let time = start.elapsed();
        expect("hops", received, hops + members - 1)?;
        Ok(vec![time.as_nanos() as f64 / hops as f64])
    })
}
