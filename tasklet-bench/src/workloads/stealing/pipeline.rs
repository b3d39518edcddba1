//! A chain of tasklets that grows at its end.

use std::time::Instant;

use tasklet_channels::ReceiverBy;
use tasklet_core::backend::Backend;
use tasklet_core::operation::On;
use tasklet_scheduler::stealing;

use super::{expect, rendezvous, within};
use crate::Result;
use crate::subject::Setting;
use crate::workloads::parts::sum_of_primes;

/// Milliseconds until the last prime. Its filters end then, one after the other, as their receivers go, which is not measured.
pub(super) fn sieve<B: Backend>(setting: &Setting) -> Result<Vec<f64>> {
    let primes = setting.n;
    let (time, sum) = within::<B, _>(setting, move || {
        let start = Instant::now();
        let (to, mut from) = rendezvous::<u64, B>();
        stealing::spawn(move || (2..).try_for_each(|number| to.send(number)).is_ok());
        let mut sum = 0;
        for left in (0..primes).rev() {
            let prime = from.recv()?;
            sum += prime;
            if left != 0 {
                from = filter(from, prime);
            }
        }
        Ok((start.elapsed(), sum))
    })?;
    expect("sum of the primes", sum, sum_of_primes(primes))?;
    Ok(vec![time.as_secs_f64() * 1e3])
}

/// What `prime` does not divide.
fn filter<B: Backend>(from: ReceiverBy<u64, On<B>>, prime: u64) -> ReceiverBy<u64, On<B>> {
    let (to, passed) = rendezvous::<u64, B>();
    stealing::spawn(move || {
        while let Ok(number) = from.recv() {
            if number % prime != 0 && to.send(number).is_err() {
                break;
            }
        }
    });
    passed
}
