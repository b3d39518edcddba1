//! tokio: the current-thread runtime with one worker, the multi-thread one with several.
//!
//! Where tasklets have rendezvous channels, tasks have channels bounded by 1, which is the closest that there is.

mod serving;

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc as std_mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime, RuntimeMetrics};
use tokio::sync::{Notify, mpsc};
use tokio::task::yield_now;

use crate::Result;
use crate::measure::median;
use crate::process::{cpu_time, resident};
use crate::subject::{Run, Setting};
use crate::workloads::parts::{
    BATCH, BUFFER, Bell, CONSUMERS, Countdown, FAN, LOCKERS, PRODUCERS, YIELDERS, branches, fibonacci, longest_nap,
    nap, share, sum_below, sum_of_primes,
};
use crate::workloads::{Kind, expect};

/// For how long the workers must have slept before a wake.
const ASLEEP: Duration = Duration::from_millis(2);

/// What does one run, if tokio can.
pub(crate) fn run(kind: Kind) -> Option<Run> {
    let run: Run = match kind {
        Kind::Yield => |setting| within(setting, yields(setting.n)),
        Kind::PingPong => |setting| within(setting, ping_pong(setting.n)),
        Kind::Ring => |setting| within(setting, ring(setting.n, setting.members)),
        Kind::Sieve => |setting| within(setting, sieve(setting.n)),
        Kind::Mpmc => |setting| within(setting, mpmc(setting.n)),
        Kind::MpscUnbounded => |setting| within(setting, mpsc_unbounded(setting.n)),
        Kind::Select => |setting| within(setting, select(setting.n)),
        Kind::Mutex => |setting| within(setting, mutex(setting.n)),
        Kind::SpawnJoin => |setting| within(setting, spawn_join(setting.n)),
        Kind::Skynet => |setting| within(setting, skynet(setting.n)),
        Kind::FibSpawn => |setting| within(setting, fib_spawn(setting.n)),
        Kind::Sleep => |setting| within(setting, sleep(setting.n)),
        Kind::IdleMem => |setting| within(setting, idle_mem(setting.n)),
        Kind::WakeLatency => wake_latency,
        Kind::Echo => serving::echo,
        Kind::Http => serving::http,
        Kind::IdleSockets => serving::idle_sockets,
        Kind::Fib | Kind::Skew | Kind::IdleCpu | Kind::ThreadsMpmc | Kind::Depth | Kind::AcceptStorm | Kind::Relay => {
            return None;
        }
    };
    Some(run)
}

fn runtime(workers: usize) -> Result<Runtime> {
    let mut builder = if workers == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    Ok(builder.worker_threads(workers).enable_all().build()?)
}

/// Runs a task, on a worker, and what it spawns.
fn within(setting: &Setting, task: impl Future<Output = Result<Vec<f64>>> + Send + 'static) -> Result<Vec<f64>> {
    let runtime = runtime(setting.workers)?;
    runtime.block_on(runtime.spawn(task))?
}

async fn yields(each: u64) -> Result<Vec<f64>> {
    let start = Instant::now();
    let yields = || async move {
        for _ in 0..each {
            yield_now().await;
        }
        each
    };
    let handles: Vec<_> = (0..YIELDERS).map(|_| tokio::spawn(yields())).collect();
    let mut done = 0;
    for handle in handles {
        done += handle.await?;
    }
    let time = start.elapsed();
    expect("yields", done, YIELDERS * each)?;
    Ok(vec![time.as_nanos() as f64 / (YIELDERS * each) as f64])
}

async fn mutex(each: u64) -> Result<Vec<f64>> {
    let total = Arc::new(tokio::sync::Mutex::new(0));
    let start = Instant::now();
    let adds = || {
        let total = total.clone();
        async move {
            for _ in 0..each {
                *total.lock().await += 1;
            }
        }
    };
    let handles: Vec<_> = (0..LOCKERS).map(|_| tokio::spawn(adds())).collect();
    for handle in handles {
        handle.await?;
    }
    let time = start.elapsed();
    expect("increments", *total.lock().await, LOCKERS * each)?;
    Ok(vec![time.as_nanos() as f64 / (LOCKERS * each) as f64])
}

async fn ping_pong(trips: u64) -> Result<Vec<f64>> {
    let ((there, mut ball), (bat, mut back)) = (mpsc::channel(1), mpsc::channel(1));
    let start = Instant::now();
    let sum = tokio::spawn(async move {
        let mut sum = 0;
        for i in 0..trips {
            there.send(i).await.expect("the other side receives");
            sum += back.recv().await.expect("the other side sends");
        }
        sum
    });
    let other = tokio::spawn(async move {
        for _ in 0..trips {
            let i: u64 = ball.recv().await.expect("the other side sends");
            bat.send(i + 1).await.expect("the other side receives");
        }
    });
    let sum: u64 = sum.await?;
    other.await?;
    let time = start.elapsed();
    expect("sum of what came back", sum, trips * (trips + 1) / 2)?;
    Ok(vec![time.as_nanos() as f64 / trips as f64])
}

async fn ring(hops: u64, members: u64) -> Result<Vec<f64>> {
    let (mut senders, receivers): (Vec<_>, Vec<_>) = (0..members).map(|_| mpsc::channel::<u64>(1)).unzip();
    let first = senders[0].clone();
    senders.rotate_left(1);
    let (begun, all) = countdown(members);
    let member = |(to, mut from): (mpsc::Sender<u64>, mpsc::Receiver<u64>)| {
        let begun = begun.clone();
        tokio::spawn(async move {
            begun.down();
            let mut count = 0;
            loop {
                let hops_made = from.recv().await.expect("the one before sends");
                count += 1;
                if hops_made < hops + members - 1 {
                    to.send(hops_made + 1).await.expect("the one after receives");
                }
                if hops_made >= hops {
                    return count;
                }
            }
        })
    };
    let handles: Vec<_> = senders.into_iter().zip(receivers).map(member).collect();
    all.notified().await;
    let start = Instant::now();
    first.send(1).await?;
    let mut received = 0;
    for handle in handles {
        received += handle.await?;
    }
    let time = start.elapsed();
    expect("hops", received, hops + members - 1)?;
    Ok(vec![time.as_nanos() as f64 / hops as f64])
}

async fn sieve(primes: u64) -> Result<Vec<f64>> {
    let start = Instant::now();
    let (to, mut from) = mpsc::channel::<u64>(1);
    tokio::spawn(async move {
        for number in 2.. {
            if to.send(number).await.is_err() {
                break;
            }
        }
    });
    let mut sum = 0;
    for left in (0..primes).rev() {
        let prime = from.recv().await.ok_or("a filter has ended")?;
        sum += prime;
        if left != 0 {
            let (to, passed) = mpsc::channel(1);
            let mut before = std::mem::replace(&mut from, passed);
            tokio::spawn(async move {
                while let Some(number) = before.recv().await {
                    if number % prime != 0 && to.send(number).await.is_err() {
                        break;
                    }
                }
            });
        }
    }
    let time = start.elapsed();
    expect("sum of the primes", sum, sum_of_primes(primes))?;
    Ok(vec![time.as_secs_f64() * 1e3])
}

/// Over flume's channel: tokio's own have one receiver.
async fn mpmc(messages: u64) -> Result<Vec<f64>> {
    let (sender, receiver) = flume::bounded::<u64>(BUFFER);
    let start = Instant::now();
    let producer = |at| {
        let sender = sender.clone();
        tokio::spawn(async move {
            for number in share(messages, PRODUCERS, at) {
                sender.send_async(number).await.expect("somebody receives");
            }
        })
    };
    let producers: Vec<_> = (0..PRODUCERS).map(producer).collect();
    drop(sender);
    let consumer = |receiver: flume::Receiver<u64>| {
        tokio::spawn(async move {
            let mut sum = 0;
            while let Ok(number) = receiver.recv_async().await {
                sum += number;
            }
            sum
        })
    };
    let consumers: Vec<_> = (0..CONSUMERS).map(|_| consumer(receiver.clone())).collect();
    for producer in producers {
        producer.await?;
    }
    let mut sum = 0;
    for consumer in consumers {
        sum += consumer.await?;
    }
    let time = start.elapsed();
    expect("sum of the messages", sum, sum_below(messages))?;
    Ok(vec![time.as_nanos() as f64 / messages as f64])
}

async fn mpsc_unbounded(messages: u64) -> Result<Vec<f64>> {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let start = Instant::now();
    let producer = |at| {
        let sender = sender.clone();
        tokio::spawn(async move {
            share(messages, PRODUCERS, at).for_each(|number| sender.send(number).expect("somebody receives"));
        })
    };
    let producers: Vec<_> = (0..PRODUCERS).map(producer).collect();
    drop(sender);
    let consumer = tokio::spawn(async move {
        let mut sum = 0;
        while let Some(number) = receiver.recv().await {
            sum += number;
        }
        sum
    });
    for producer in producers {
        producer.await?;
    }
    let sum = consumer.await?;
    let time = start.elapsed();
    expect("sum of the messages", sum, sum_below(messages))?;
    Ok(vec![time.as_nanos() as f64 / messages as f64])
}

async fn select(messages: u64) -> Result<Vec<f64>> {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..4).map(|_| mpsc::channel::<u64>(1)).unzip();
    let [mut a, mut b, mut c, mut d] = <[_; 4]>::try_from(receivers).expect("as many as were made");
    let start = Instant::now();
    let producer = |(at, sender): (usize, &mpsc::Sender<u64>)| {
        let sender = sender.clone();
        tokio::spawn(async move {
            for number in share(messages, 4, at as u64) {
                sender.send(number).await.expect("the one who selects");
            }
        })
    };
    let producers: Vec<_> = senders.iter().enumerate().map(producer).collect();
    let mut sum = 0;
    for _ in 0..messages {
        let number = tokio::select! {
            number = a.recv() => number,
            number = b.recv() => number,
            number = c.recv() => number,
            number = d.recv() => number,
        };
        sum += number.ok_or("a producer has ended")?;
    }
    for producer in producers {
        producer.await?;
    }
    // Until here: a closed channel would be chosen too.
    drop(senders);
    let time = start.elapsed();
    expect("sum of the messages", sum, sum_below(messages))?;
    Ok(vec![time.as_nanos() as f64 / messages as f64])
}

async fn spawn_join(tasks: u64) -> Result<Vec<f64>> {
    let start = Instant::now();
    let (mut left, mut joined) = (tasks, 0);
    while left != 0 {
        let batch = left.min(BATCH);
        let handles: Vec<_> = (0..batch).map(|_| tokio::spawn(async {})).collect();
        for handle in handles {
            handle.await?;
            joined += 1;
        }
        left -= batch;
    }
    let time = start.elapsed();
    expect("tasks joined", joined, tasks)?;
    Ok(vec![time.as_nanos() as f64 / tasks as f64])
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

async fn skynet(leaves: u64) -> Result<Vec<f64>> {
    let start = Instant::now();
    let (root, mut up) = mpsc::channel(1);
    tokio::spawn(node(0, leaves, root));
    let sum = up.recv().await.ok_or("the root has ended")?;
    let time = start.elapsed();
    expect("sum of the leaves", sum, sum_below(leaves))?;
    Ok(vec![time.as_secs_f64() * 1e3])
}

fn node(from: u64, to: u64, up: mpsc::Sender<u64>) -> Boxed<()> {
    Box::pin(async move {
        let mut sum = from;
        if to - from > 1 {
            let (child, mut sums) = mpsc::channel(FAN as usize);
            for (from, to) in branches(from, to) {
                tokio::spawn(node(from, to, child.clone()));
            }
            drop(child);
            sum = 0;
            while let Some(more) = sums.recv().await {
                sum += more;
            }
        }
        up.send(sum).await.expect("the parent receives");
    })
}

async fn fib_spawn(n: u64) -> Result<Vec<f64>> {
    let start = Instant::now();
    let found = fib(n).await;
    let time = start.elapsed();
    expect("the Fibonacci number", found, fibonacci(n))?;
    Ok(vec![time.as_secs_f64() * 1e3])
}

fn fib(n: u64) -> Boxed<u64> {
    Box::pin(async move {
        if n < 2 {
            return n;
        }
        let child = tokio::spawn(fib(n - 2));
        let mine = fib(n - 1).await;
        mine + child.await.expect("the child returns")
    })
}

/// Wakes whoever waits on the notification when so many have come to some point.
fn countdown(tasks: u64) -> (Arc<Countdown>, Arc<Notify>) {
    let over = Arc::new(Notify::new());
    let notify = over.clone();
    (Countdown::new(tasks, move || notify.notify_one()), over)
}

async fn sleep(tasks: u64) -> Result<Vec<f64>> {
    let (start, cpu) = (Instant::now(), cpu_time()?);
    let (ended, over) = countdown(tasks);
    for number in 0..tasks {
        let ended = ended.clone();
        tokio::spawn(async move {
            tokio::time::sleep(nap(number)).await;
            ended.down();
        });
    }
    over.notified().await;
    let (time, cpu) = (start.elapsed(), cpu_time()? - cpu);
    if time < longest_nap(tasks) {
        return Err(format!("all have slept in {time:?}, the longest for longer; no figure").into());
    }
    Ok(vec![time.as_secs_f64() * 1e3, cpu.as_secs_f64() * 1e3])
}

async fn idle_mem(tasks: u64) -> Result<Vec<f64>> {
    let before = resident()?;
    let start = Instant::now();
    let bell = Bell::for_many(tasks);
    let (ended, over) = countdown(tasks);
    for _ in 0..tasks {
        let (rings, ended) = (bell.clone().rings(), ended.clone());
        tokio::spawn(async move {
            rings.await;
            ended.down();
        });
    }
    while bell.waiting() != tasks {
        yield_now().await;
    }
    let created = start.elapsed();
    let after = resident()?;

    let start = Instant::now();
    bell.ring();
    over.notified().await;
    let woken = start.elapsed();
    let each = |total: f64| total / tasks as f64;
    Ok(vec![each((after - before) as f64), each(created.as_nanos() as f64), woken.as_secs_f64() * 1e3])
}

fn wake_latency(setting: &Setting) -> Result<Vec<f64>> {
    let wakes = setting.n;
    let runtime = runtime(setting.workers)?;
    let bell = Arc::new(Notify::new());
    let calls = Arc::new(AtomicU64::new(0));
    let (told, awake) = std_mpsc::channel();
    let (called, rung) = (calls.clone(), bell.clone());
    let metrics = runtime.metrics();
    let caller = thread::spawn(move || -> Result<Vec<f64>> {
        let mut times = Vec::new();
        for call in 1..=wakes {
            wait_until_asleep(&metrics);
            let start = Instant::now();
            calls.store(call, Ordering::Release);
            bell.notify_one();
            let awake: Instant = awake.recv()?;
            times.push(awake.duration_since(start).as_nanos() as f64);
        }
        Ok(vec![median(times)])
    });
    runtime.block_on(runtime.spawn(async move {
        for call in 1..=wakes {
            while called.load(Ordering::Acquire) < call {
                rung.notified().await;
            }
            told.send(Instant::now()).expect("the thread waits for it");
        }
    }))?;
    caller.join().map_err(|_| "the thread that wakes panicked")?
}

/// Returns when no worker has stirred for a while: the counts are odd while a worker is parked.
fn wait_until_asleep(metrics: &RuntimeMetrics) {
    let parked =
        || (0..metrics.num_workers()).map(|worker| metrics.worker_park_unpark_count(worker)).collect::<Vec<_>>();
    loop {
        let before = parked();
        thread::sleep(ASLEEP);
        if before.iter().all(|count| count % 2 == 1) && parked() == before {
            return;
        }
    }
}
