//! A host with an event loop of its own drives a local scheduler.

use std::cell::Cell;
use std::io::{Read, Write};
use std::os::fd::AsFd as _;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tasklet_channels::{bounded_by, unbounded_by};
use tasklet_core::backend::Backend;
use tasklet_core::clock::VirtualClock;
use tasklet_core::driver::{Driver, Notify, VirtualDriver};
use tasklet_core::operation::AnyBackend;
use tasklet_io::pipe::pipe;
use tasklet_scheduler::local::{self, Budget, Next, Pump, Scheduler};

use super::Case;
use crate::io::setup::{bytes, pair};
use crate::kinds;
use crate::random::Dice;

fn scheduler<B: Backend>(case: Case) -> Scheduler<B> {
    kinds::local(case.kind).trim_after(None).build()
}

fn pump<B: Backend>(scheduler: &Scheduler<B>) -> Pump<'_> {
    Pump::new(scheduler, tasklet_io::reactor).unwrap()
}

/// Whether the descriptor is readable within this time.
fn is_readable(pump: &Pump<'_>, limit: Option<Duration>) -> bool {
    let limit = limit.map(|limit| Timespec::try_from(limit).unwrap());
    poll(&mut [PollFd::new(pump, PollFlags::IN)], limit.as_ref()).unwrap() == 1
}

/// The host's loop, until something has happened. Returns how often the scheduler was called.
fn host(pump: &Pump<'_>, happened: impl Fn() -> bool) -> u32 {
    let mut calls = 0;
    while !happened() {
        let next = pump.run_once(None).unwrap();
        calls += 1;
        if !happened() {
            is_readable(pump, next.timeout());
        }
    }
    calls
}

/// The scheduler has nothing to do, and says so.
#[track_caller]
fn settle(pump: &Pump<'_>) -> Next {
    loop {
        match pump.run_once(None).unwrap() {
            Next::Now => {}
            next => {
                if !is_readable(pump, Some(Duration::ZERO)) {
                    return next;
                }
            }
        }
    }
}

/// And it is called about as often as they go off.
pub fn timers_tell_how_long_to_wait<B: Backend>(case: Case) {
    let scheduler = scheduler::<B>(case);
    let pump = pump(&scheduler);
    let slept = scheduler.spawn_joinable(|| {
        let start = local::now();
        (0..3).for_each(|_| local::sleep(Duration::from_millis(20)));
        local::now() - start
    });
    let Next::Within(limit) = pump.run_once(None).unwrap() else { panic!("a timer runs") };
    assert!(limit > Duration::ZERO && limit <= Duration::from_millis(20), "{limit:?}");
    let calls = host(&pump, || slept.is_finished());
    assert!(slept.join().unwrap() >= Duration::from_millis(60));
    assert!(calls <= 10, "{calls} calls for 3 timers");
}

/// Whatever it is, and whenever it comes.
pub fn what_other_threads_do_ends_the_wait<B: Backend>(case: Case) {
    const MESSAGES: u64 = 1000;
    let scheduler = scheduler::<B>(case);
    let pump = pump(&scheduler);
    let remote = scheduler.remote();
    let (send, receive) = unbounded_by::<u64, AnyBackend>();
    let (meet, met) = bounded_by::<u64, AnyBackend>(0);
    let sum = scheduler.spawn_joinable(move || receive.iter().sum::<u64>());
    let sum_met = scheduler.spawn_joinable(move || met.iter().sum::<u64>());
    let job = thread::spawn(|| 1);
    let threads: Vec<_> = (0..3)
        .map(|number| {
            let (send, meet, remote) = (send.clone(), meet.clone(), remote.clone());
            thread::spawn(move || {
                let mut dice = Dice::new(number);
                for n in 0..MESSAGES {
                    (0..dice.below(200)).for_each(|_| std::hint::spin_loop());
                    match dice.below(4) {
                        0 => meet.send(n).unwrap(),
                        1 => {
                            let send = send.clone();
                            remote.spawn(move || send.send(n).unwrap()).unwrap();
                        }
                        2 => {
                            thread::yield_now();
                            send.send(n).unwrap();
                        }
                        _ => send.send(n).unwrap(),
                    }
                }
            })
        })
        .collect();
    drop((send, meet, remote));
    let calls = host(&pump, || sum.is_finished() && sum_met.is_finished());
    assert_eq!(sum.join().unwrap() + sum_met.join().unwrap(), 3 * MESSAGES * (MESSAGES - 1) / 2);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(job.join().unwrap(), 1);
    assert!(calls <= 20 * 3 * MESSAGES as u32, "{calls} calls");
}

/// In either direction; also those that were watched before there was a pump.
pub fn sockets_end_the_wait<B: Backend>(case: Case) {
    let scheduler = scheduler::<B>(case);
    let (client, mut server) = pair();
    let (mut reader, writer) = pipe().unwrap();
    let first = scheduler.spawn_joinable(move || {
        let mut one = [0];
        reader.read_exact(&mut one).unwrap();
        one[0]
    });
    assert!(matches!(scheduler.run(), Ok(local::RunOutcome::Idle)));
    let pump = pump(&scheduler);
    let writes = thread::spawn(move || (&writer).write_all(&[7]).unwrap());
    host(&pump, || first.is_finished());
    assert_eq!(first.join().unwrap(), 7);
    writes.join().unwrap();

    let sent = bytes(1 << 20);
    let expected = sent.clone();
    let echoes = thread::spawn(move || {
        let mut received = vec![0; 1 << 20];
        server.read_exact(&mut received).unwrap();
        server.write_all(&received).unwrap();
    });
    let mut both = client.try_clone().unwrap();
    scheduler.spawn(move || (&client).write_all(&sent).unwrap());
    let received = scheduler.spawn_joinable(move || {
        let mut received = vec![0; 1 << 20];
        both.read_exact(&mut received).unwrap();
        received
    });
    host(&pump, || received.is_finished());
    assert!(received.join().unwrap() == expected);
    echoes.join().unwrap();
}

/// A spawn, a send, the end of what async code waits for, on the scheduler's own thread.
pub fn what_the_host_does_ends_the_wait<B: Backend>(case: Case) {
    let scheduler = scheduler::<B>(case);
    let pump = pump(&scheduler);
    let (send, receive) = unbounded_by::<u32, AnyBackend>();
    let sum = scheduler.spawn_joinable(move || receive.iter().sum::<u32>());
    for n in 0..3 {
        assert_eq!(settle(&pump), Next::Event);
        if n == 1 {
            let send = send.clone();
            scheduler.spawn(move || send.send(10).unwrap());
        } else {
            send.send(n).unwrap();
        }
        assert!(is_readable(&pump, Some(Duration::ZERO)), "of what was done in round {n}");
    }
    assert_eq!(settle(&pump), Next::Event);
    drop(send);
    assert!(is_readable(&pump, Some(Duration::ZERO)));
    settle(&pump);
    assert_eq!(sum.join().unwrap(), 12);
}

/// A join runs tasklets, and waits for other threads, as it does without a pump. After a call, the host waits as before.
pub fn a_host_that_waits_in_the_scheduler_goes_on<B: Backend>(case: Case) {
    let scheduler = scheduler::<B>(case);
    let pump = pump(&scheduler);
    for round in 0..20 {
        let (send, receive) = bounded_by::<u32, AnyBackend>(0);
        let (mut reader, writer) = pipe().unwrap();
        let waits = scheduler.spawn_joinable(move || {
            reader.read_exact(&mut [0]).unwrap();
            receive.recv().unwrap()
        });
        settle(&pump);
        let sends = thread::spawn(move || {
            (&writer).write_all(b"a").unwrap();
            send.send(round).unwrap();
        });
        assert_eq!(waits.join().unwrap(), round);
        sends.join().unwrap();
        settle(&pump);
        let (send, receive) = bounded_by::<u32, AnyBackend>(0);
        let waits = scheduler.spawn_joinable(move || receive.recv().unwrap());
        settle(&pump);
        let sends = thread::spawn(move || send.send(round).unwrap());
        host(&pump, || waits.is_finished());
        sends.join().unwrap();
    }
}

/// Now and then, as long as there is something to look for.
pub fn the_host_has_stacks_looked_at<B: Backend>(case: Case) {
    let scheduler = kinds::local::<B>(case.kind).trim_after(Some(Duration::from_millis(1))).build();
    let pump = pump(&scheduler);
    for _ in 0..10 {
        scheduler.spawn(|| {
            let _ = local::schedule_remove();
        });
    }
    let mut calls = 0;
    loop {
        let next = pump.run_once(None).unwrap();
        calls += 1;
        assert!(calls < 500, "it turns round and round");
        if next == Next::Event {
            break;
        }
        is_readable(&pump, next.timeout());
    }
    assert!(!is_readable(&pump, Some(Duration::ZERO)));
}

/// The scheduler looks at events in between, and takes none from the host.
pub fn many_calls_of_the_host_hide_nothing<B: Backend>(case: Case) {
    let scheduler = scheduler::<B>(case);
    let pump = pump(&scheduler);
    let (send, receive) = unbounded_by::<u32, AnyBackend>();
    let sum = scheduler.spawn_joinable(move || receive.iter().sum::<u32>());
    let (mut client, mut server) = pair();
    let read = scheduler.spawn_joinable(move || server.read(&mut [0; 8]).unwrap());
    settle(&pump);
    client.write_all(b"a").unwrap();
    (0..200).for_each(|n| send.send(n).unwrap());
    assert!(is_readable(&pump, Some(Duration::ZERO)));
    drop(send);
    host(&pump, || sum.is_finished() && read.is_finished());
    assert_eq!((sum.join().unwrap(), read.join().unwrap()), (19_900, 1));
}

/// What is ready and what nobody wants makes no host turn round and round.
pub fn events_are_fetched<B: Backend>(case: Case) {
    let scheduler = scheduler::<B>(case);
    let pump = pump(&scheduler);
    let (mut client, mut server) = pair();
    let taken = scheduler.spawn_joinable(move || {
        server.read_exact(&mut [0; 1]).unwrap();
        server
    });
    settle(&pump);
    client.write_all(b"more than is read").unwrap();
    host(&pump, || taken.is_finished());
    let woken = Rc::new(Cell::new(0));
    let counts = woken.clone();
    scheduler.spawn(move || {
        loop {
            local::sleep(Duration::from_secs(3600));
            counts.set(counts.get() + 1);
        }
    });
    drop(client);
    // The rest and the end are there, and stay.
    assert!(matches!(settle(&pump), Next::Within(_)));
    assert!(!is_readable(&pump, Some(Duration::from_millis(20))), "there is nothing to be told of");
    assert_eq!(woken.get(), 0);
    drop(taken.join().unwrap());
}

/// A host that is told of new events only, as tokio is, would not hear of those that are left.
pub fn no_event_is_left_when_the_host_waits<B: Backend>(case: Case) {
    const MANY: usize = 300;
    let scheduler = scheduler::<B>(case);
    let pump = pump(&scheduler);
    let (mut writers, mut readers) = (Vec::new(), Vec::new());
    for _ in 0..MANY {
        let (mut reader, writer) = pipe().unwrap();
        writers.push(writer);
        readers.push(scheduler.spawn_joinable(move || {
            assert_eq!(reader.read(&mut [0; 8]).unwrap(), 1);
            reader
        }));
    }
    // The second time, they are watched and nobody waits for them.
    let mut read = Vec::new();
    for _ in 0..2 {
        settle(&pump);
        // On another thread: here, the scheduler would look at events meanwhile.
        thread::scope(|scope| {
            scope.spawn(|| writers.iter_mut().for_each(|writer| writer.write_all(b"a").unwrap()));
        });
        while pump.run_once(None).unwrap() == Next::Now {}
        assert!(!is_readable(&pump, Some(Duration::ZERO)), "more than are fetched at a time");
        read.extend(readers.drain(..).map(|reader| reader.join().unwrap()));
    }
    assert_eq!(read.len(), MANY);
}

/// The rest is for the next call.
pub fn a_budget_ends_a_run<B: Backend>(case: Case) {
    let scheduler = scheduler::<B>(case);
    let pump = pump(&scheduler);
    let count = Rc::new(Cell::new(0));
    for _ in 0..2 {
        let count = count.clone();
        scheduler.spawn(move || {
            (0..10).for_each(|_| {
                count.set(count.get() + 1);
                local::schedule();
            });
        });
    }
    assert_eq!(pump.run_once(Some(Budget::Switches(5))).unwrap(), Next::Now);
    assert!(count.get() > 0 && count.get() < 20, "{}", count.get());
    assert!(pump.run_once(Some(Budget::Switches(0))).is_err());
    while pump.run_once(Some(Budget::Switches(5))).unwrap() == Next::Now {}
    assert_eq!(count.get(), 20);
}

/// And the others go on.
pub fn a_failed_tasklet_is_told<B: Backend>(case: Case) {
    let scheduler = scheduler::<B>(case);
    let pump = pump(&scheduler);
    scheduler.tasklet().name("fails").spawn(|| std::panic::resume_unwind(Box::new("E")));
    let other = scheduler.spawn_joinable(|| 5);
    let text = pump.run_once(None).unwrap_err().to_string();
    assert!(text.contains("'fails'") && text.ends_with("failed: E"), "{text}");
    host(&pump, || other.is_finished());
    assert_eq!(other.join().unwrap(), 5);
}

/// It says so before anything runs.
pub fn a_driver_without_a_descriptor_is_refused<B: Backend>(case: Case) {
    struct Own;
    impl Notify for Own {
        fn notify(&self) {}
    }
    impl Driver for Own {
        fn wait(&self, _: Option<Duration>) {}

        fn notifier(&self) -> Arc<dyn Notify> {
            Arc::new(Own)
        }
    }
    let scheduler = kinds::local::<B>(case.kind).driver(Own).build();
    let error = Pump::new(&scheduler, tasklet_io::reactor).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
    assert!(error.to_string().contains("no descriptor to wait for"), "{error}");
}

/// Two hosts would each take what the other is to be told of. When the first has gone, the next one may come.
pub fn a_scheduler_has_one_pump<B: Backend>(case: Case) {
    let scheduler = scheduler::<B>(case);
    let first = pump(&scheduler);
    let (send, receive) = bounded_by::<u32, AnyBackend>(0);
    let received = scheduler.spawn_joinable(move || receive.recv().unwrap());
    assert_eq!(settle(&first), Next::Event);
    let error = Pump::new(&scheduler, tasklet_io::reactor).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ResourceBusy);
    assert!(error.to_string().contains("has a pump already"), "{error}");
    // The first one is told as before.
    let sends = thread::spawn(move || send.send(1).unwrap());
    host(&first, || received.is_finished());
    sends.join().unwrap();
    drop(first);
    let second = pump(&scheduler);
    let last = scheduler.spawn_joinable(|| local::sleep(Duration::from_millis(1)));
    host(&second, || last.is_finished());
}

/// Nobody waits for what it would tell.
pub fn a_dropped_pump_tells_nobody<B: Backend>(case: Case) {
    let scheduler = scheduler::<B>(case);
    let pump = pump(&scheduler);
    let descriptor = pump.as_fd().try_clone_to_owned().unwrap();
    let is_readable = || poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&Timespec::default())).unwrap() == 1;
    assert_eq!(settle(&pump), Next::Event);
    scheduler.spawn(|| ());
    assert!(is_readable());
    assert_eq!(settle(&pump), Next::Event);
    assert!(!is_readable());
    drop(pump);
    scheduler.spawn(|| ());
    assert!(!is_readable(), "the scheduler is run by who has spawned, as ever");
    scheduler.run().unwrap();
}

/// As far as the host moves it.
pub fn a_host_moves_a_clock_of_its_own<B: Backend>(case: Case) {
    const HOUR: Duration = Duration::from_secs(3600);
    let clock = Arc::new(VirtualClock::default());
    let builder = kinds::local::<B>(case.kind).trim_after(None).clock(clock.clone());
    let scheduler = builder.driver(VirtualDriver::new(clock.clone())).build();
    let pump = pump(&scheduler);
    let slept = scheduler.spawn_joinable(|| {
        local::sleep(HOUR);
        local::now()
    });
    assert_eq!(settle(&pump), Next::Within(HOUR));
    clock.advance(HOUR / 2);
    assert_eq!(settle(&pump), Next::Within(HOUR / 2));
    assert!(!slept.is_finished());
    clock.advance(HOUR / 2);
    assert_eq!(settle(&pump), Next::Event);
    assert_eq!(slept.join().unwrap(), HOUR);
}

/// The host does; the end of a tasklet wakes async code of the host.
pub fn tasklets_do_not_pump<B: Backend>(case: Case) {
    struct Told(thread::ThreadId);
    impl Wake for Told {
        fn wake(self: Arc<Self>) {
            assert_eq!(thread::current().id(), self.0);
        }
    }
    let to_scheduler = Box::into_raw(Box::new(scheduler::<B>(case)));
    // SAFETY: it is there until the end of the test.
    let scheduler: &'static Scheduler<B> = unsafe { &*to_scheduler };
    let to_pump = Box::into_raw(Box::new(pump(scheduler)));
    // SAFETY: as above.
    let pump: &'static Pump<'static> = unsafe { &*to_pump };
    let mut refused = scheduler.spawn_joinable(|| pump.run_once(None).unwrap_err().to_string());
    let waker = Waker::from(Arc::new(Told(thread::current().id())));
    assert!(std::pin::Pin::new(&mut refused).poll(&mut Context::from_waker(&waker)).is_pending());
    host(pump, || refused.is_finished());
    let text = refused.join().unwrap();
    assert!(text.contains("could not run tasklets"), "{text}");
    // SAFETY: both come from `Box::into_raw`, and nothing refers to them any more.
    unsafe {
        drop(Box::from_raw(to_pump));
        drop(Box::from_raw(to_scheduler));
    }
}
