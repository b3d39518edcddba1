//! Waiting that comes to an end: limits, cancelled work, killed sleepers.
//!
//! The time is made up: on a virtual clock nothing takes any time but sleeping, so that the same is printed on every run.
//!
//! ```text
//! cargo run --example timeouts_and_cancel
//! cargo run --no-default-features --features backend-context --example timeouts_and_cancel
//! ```

#![forbid(unsafe_code)]

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tasklet::channel::{after, tick};
use tasklet::stealing::{BuildError, now};
use tasklet::time::{VirtualClock, VirtualDriver};
use tasklet::{
    Builder, CancelToken, JoinHandle, Runtime, bounded, rendezvous, select, select_biased, sleep, spawn, timeout,
};

fn main() -> ExitCode {
    let runtime = match in_virtual_time() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("timeouts_and_cancel: {error}");
            return ExitCode::FAILURE;
        }
    };
    let log = Log::default();
    runtime.run(|| {
        for (title, part) in [
            ("limits", limits as fn(&Log)),
            ("a deadline over several waits", deadline),
            ("cancelled work", cancelled),
            ("a sleeper that is killed", killed),
        ] {
            log.part(title);
            part(&log);
        }
    });
    // Whoever does not want to read it has ended before us.
    let _ = io::stdout().write_all(log.text().as_bytes());
    ExitCode::SUCCESS
}

/// One worker: whoever sleeps last moves the clock, and with others at work, that would be too early.
fn in_virtual_time() -> Result<Runtime, BuildError> {
    let clock = Arc::new(VirtualClock::default());
    let sleeps = clock.clone();
    Builder::new().workers(1).clock(clock).driver(move |_| Box::new(VirtualDriver::new(sleeps.clone()))).build()
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// What happened, and when. Clones write into one.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<(String, Duration)>>);

impl Log {
    /// Times count from here.
    fn part(&self, title: &str) {
        let mut log = self.0.lock().unwrap();
        log.0 += &format!("{title}\n");
        log.1 = now();
    }

    fn say(&self, what: impl Display) {
        let mut log = self.0.lock().unwrap();
        let time = now() - log.1;
        log.0 += &format!("{:>5} ms  {what}\n", time.as_millis());
    }

    fn text(&self) -> String {
        self.0.lock().unwrap().0.clone()
    }
}

/// One operation that does not take for ever.
fn limits(log: &Log) {
    let (sender, receiver) = rendezvous::<&str>();
    let late = spawn({
        let sender = sender.clone();
        move || {
            sleep(ms(30));
            sender.send("late, but there").expect("somebody receives")
        }
    });
    match receiver.recv_timeout(ms(20)) {
        Err(error) if error.is_timeout() => log.say("nothing was received for 20 ms"),
        other => log.say(format!("unexpected: {other:?}")),
    }
    select! {
        recv(receiver) -> message => log.say(message.expect("it sends")),
        default(ms(20)) => log.say("unexpected: nothing was selected"),
    }
    late.join().expect("it has sent");
    // The message comes back to whoever could not send it.
    let back = sender.send_timeout("unwanted", ms(20)).expect_err("nobody receives");
    log.say(format!("nobody wanted what was \"{}\"", back.into_inner()));
}

/// A limit for all that a function does, and one for all rounds of a loop.
fn deadline(log: &Log) {
    let result = timeout(ms(100), || {
        let mut step = 0;
        loop {
            sleep(ms(40));
            step += 1;
            log.say(format!("step {step}"));
        }
    });
    log.say(if result.is_err() { "the time was up" } else { "unexpected: it ended" });

    let (end, ticks) = (after(ms(50)), tick(ms(20)));
    loop {
        select_biased! {
            recv(end) -> _ => break log.say("no more ticks"),
            recv(ticks) -> _ => log.say("tick"),
        }
    }
}

/// Work that is called off, and says where it was.
fn cancelled(log: &Log) {
    let token = CancelToken::new();
    let (jobs, queue) = bounded::<u32>(8);
    let worker = spawn({
        let (log, token) = (log.clone(), token.clone());
        move || {
            let mut done = 0;
            loop {
                select_biased! {
                    cancelled(token) -> () => break log.say(format!("called off after {done} jobs, {} left", queue.len())),
                    recv(queue) -> _ => {
                        sleep(ms(10));
                        done += 1;
                    }
                }
            }
        }
    });
    (0..8).for_each(|job| jobs.send(job).expect("the worker receives"));
    sleep(ms(35));
    token.cancel();
    worker.join().expect("it ends by itself");
}

/// Two sleep until the same moment, others for longer. Before that, one more kills one of the two, and in the same tick starts a new one: it
/// gets the memory, and the place among the sleepers, that the dead one had. Nobody else is disturbed, and the new one sleeps for as long as it
/// asked for.
fn killed(log: &Log) {
    let victim: Arc<Mutex<Option<JoinHandle<()>>>> = Arc::default();
    let place = Arc::new(AtomicUsize::new(0));
    let first = spawn({
        let (log, victim, place) = (log.clone(), victim.clone(), place.clone());
        move || {
            sleep(ms(100));
            let victim = victim.lock().unwrap().take().expect("it was put there");
            victim.kill();
            let how = victim.join().map_err(|error| error.is_killed());
            assert_eq!(how, Err(true), "it was killed before it woke");
            log.say("the first has killed the third, and starts a new one");
            let old = place.load(Ordering::Relaxed);
            let new = sleeper(&log, "the new one", ms(200), &place);
            sleep(ms(1));
            log.say(if place.load(Ordering::Relaxed) == old {
                "it lies where the third lay"
            } else {
                "it lies elsewhere"
            });
            new
        }
    });
    let anywhere = Arc::default();
    let second = sleeper(log, "the second", ms(200), &anywhere);
    *victim.lock().unwrap() = Some(sleeper(log, "the third", ms(200), &place));
    let fourth = sleeper(log, "the fourth", ms(210), &anywhere);
    let fifth = sleeper(log, "the fifth", ms(250), &anywhere);
    let new = first.join().expect("it is not killed");
    for sleeper in [second, fourth, fifth, new] {
        sleeper.join().expect("it is not disturbed");
    }
}

/// Sleeps, and says so. Where its stack is goes into `place`.
fn sleeper(log: &Log, name: &'static str, limit: Duration, place: &Arc<AtomicUsize>) -> JoinHandle<()> {
    let (log, place) = (log.clone(), place.clone());
    spawn(move || {
        let _tells = OnDrop(|| log.say(format!("{name} ends")));
        place.store((&raw const limit).addr(), Ordering::Relaxed);
        sleep(limit);
        log.say(format!("{name} wakes"));
    })
}

/// Calls a function when it goes, however that comes.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
