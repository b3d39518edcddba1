//! Primes from a chain of tasklets: each has a prime and passes on the numbers that it does not divide.
//!
//! ```text
//!  2, 3, 4, ... -> by 2? -> by 3? -> by 5? -> ... -> the next prime
//! ```
//!
//! The chain grows by a tasklet and a rendezvous channel for each prime. When the last prime is there, its receiver goes: the filter before
//! it can send no more and ends, then the one before that, up to the tasklet that counts.
//!
//! ```text
//! cargo run --release --example sieve -- 1000
//! cargo run --release --no-default-features --features backend-context --example sieve -- 1000
//! ```

#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::process::ExitCode;

use tasklet::{Receiver, rendezvous, spawn};

const USAGE: &str = "usage: sieve [N]

Prints the first N primes, N from 1 to 10000; 25 if it is not given.";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let count = match arguments.as_slice() {
        [] => Some(25),
        [count] => count.to_str().and_then(|count| count.parse().ok()).filter(|count| (1..=10_000).contains(count)),
        _ => None,
    };
    let Some(count) = count else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let primes = tasklet::run(move || primes(count));
    let text: String = primes.iter().map(|prime| format!("{prime}\n")).collect();
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("sieve: could not print: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn primes(count: usize) -> Vec<u64> {
    let (to, mut numbers) = rendezvous();
    spawn(move || (2..).try_for_each(|number| to.send(number)));
    let mut primes = Vec::new();
    while primes.len() < count {
        let prime = numbers.recv().expect("there is always another prime");
        primes.push(prime);
        numbers = indivisible_by(prime, numbers);
    }
    primes
}

/// Starts a filter; returns what comes out of it.
fn indivisible_by(prime: u64, numbers: Receiver<u64>) -> Receiver<u64> {
    let (to, passed) = rendezvous();
    // Ends when nobody wants what it would pass on.
    spawn(move || numbers.iter().filter(|number| number % prime != 0).try_for_each(|number| to.send(number)));
    passed
}
