//! Tasklets in a program that is tokio's: a local scheduler on the thread of a `current_thread` runtime.
//!
//! To tokio, the scheduler is one task: it waits for the scheduler's descriptor (`AsyncFd`), or until a timer goes off, and runs what is runnable, for a
//! millisecond at a time. Async tasks and tasklets talk
//!
//! - over channels: one end is awaited (`send_async`, `recv_async`), the other waits in its calls;
//! - over join handles, which are futures too: a task awaits a tasklet;
//! - the other way round, a tasklet awaits what is tokio's with `block_on`, here the handle of a task.
//!
//! All of this is on one thread, and none of it needs another. What the tasks do wakes the scheduler's task by itself.
//!
//! ```text
//! cargo run --example inside_tokio
//! ```

#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use tasklet::event_loop::{Pump, reactor};
use tasklet::local::{self, Budget, Scheduler};
use tasklet::{JoinHandle, bounded, unbounded};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::{LocalSet, yield_now};

/// How long tasklets run before other tasks have their turn, about.
const SLICE: Budget = Budget::Time(Duration::from_millis(1));

fn main() -> ExitCode {
    let result =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Into::into).and_then(|runtime| {
            // The scheduler and its pump stay on this thread, so its task does too.
            LocalSet::new().block_on(&runtime, async {
                let scheduler = Scheduler::new();
                talk(&scheduler).await
            })
        });
    match result {
        Ok(text) => {
            // Whoever does not want to read it has ended before us.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("inside_tokio: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Drives the scheduler until this tasklet has ended.
async fn drive<T>(scheduler: &Scheduler, until: JoinHandle<T>) -> Result<T, Box<dyn Error>> {
    let pump = register(Pump::new(scheduler, reactor)?)?;
    loop {
        let next = pump.get_ref().run_once(Some(SLICE))?;
        if until.is_finished() {
            return Ok(until.await?);
        }
        let Some(limit) = next.timeout() else {
            // Cleared before the scheduler looks, so that what comes later is not cleared with it.
            pump.readable().await?.clear_ready();
            continue;
        };
        if limit.is_zero() {
            yield_now().await;
        } else if let Ok(ready) = tokio::time::timeout(limit, pump.readable()).await {
            ready?.clear_ready();
        }
    }
}

/// Has tokio watch the descriptor.
#[allow(
    deprecated,
    reason = "what replaces it is unsafe, for descriptors that change; a pump has one, for as long as it lives"
)]
fn register(pump: Pump<'_>) -> io::Result<AsyncFd<Pump<'_>>> {
    AsyncFd::try_with_interest(pump, Interest::READABLE).map_err(|error| error.into_parts().1)
}

/// What the program is about: numbers that go through tasks and tasklets.
async fn talk(scheduler: &Scheduler) -> Result<String, Box<dyn Error>> {
    let (lines, log) = unbounded();

    // A tasklet squares what an async task sends. There is room for one: the task waits for the tasklet.
    let (numbers, to_square) = bounded(1);
    let (squared, squares) = bounded(1);
    let squares_all = scheduler.spawn_joinable(move || {
        let mut count = 0;
        for number in &to_square {
            local::sleep(Duration::from_millis(1));
            if squared.send(number * number).is_err() {
                break;
            }
            count += 1;
        }
        count
    });
    let told = lines.clone();
    let feeds = tokio::task::spawn_local(async move {
        for number in 1..=5_u32 {
            if numbers.send_async(number).await.is_err() {
                break;
            }
        }
        let _ = told.send("task: all numbers are sent".to_owned());
    });

    // Another task sums the squares up, between waits of tokio's own.
    let sums = tokio::task::spawn_local(async move {
        let mut sum = 0;
        while let Ok(square) = squares.recv_async().await {
            sum += square;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        sum
    });

    // A task awaits a tasklet by its handle.
    let told = lines.clone();
    let awaits = tokio::task::spawn_local(async move {
        let count = squares_all.await;
        let _ = told.send(format!("task: the tasklet has squared {} numbers", count.unwrap_or_default()));
    });

    // And a tasklet awaits tasks.
    let last = scheduler.spawn_joinable(move || {
        let sum = tasklet::block_on(sums);
        let others = tasklet::block_on(async { feeds.await.and(awaits.await) });
        let _ = lines.send(format!("tasklet: the tasks have summed up {}", sum.unwrap_or_default()));
        others.is_ok()
    });
    let all_well = drive(scheduler, last).await?;
    let mut text: String = log.iter().map(|line| line + "\n").collect();
    text += if all_well { "all have ended\n" } else { "a task has panicked\n" };
    Ok(text)
}
