//! Async code of another runtime and tasklets, side by side: tokio's tasks await handles and channels, tasklets wait for tokio's futures.

#![cfg(feature = "futures")]
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tasklet::block_on;
use tasklet::{Runtime, bounded, stealing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LIMIT: Duration = Duration::from_secs(60);

/// A runtime of each.
fn both(test: impl AsyncFn(&Runtime, &tokio::runtime::Handle)) {
    let ours = Runtime::with_defaults().unwrap();
    for threads in [1, 2] {
        let theirs = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap();
        // A limit on all of it: what is lost is an error, not a hang.
        theirs.block_on(async { tokio::time::timeout(LIMIT, test(&ours, theirs.handle())).await.expect("it hangs") });
    }
    assert!(ours.shutdown(LIMIT).is_clean());
}

#[test]
fn tasks_await_tasklets() {
    both(async |ours, theirs| {
        assert_eq!(ours.spawn(|| 1).await.unwrap(), 1);
        let panicked = ours.spawn(|| -> u8 { std::panic::resume_unwind(Box::new("why")) }).await.unwrap_err();
        assert_eq!(panicked.into_panic().unwrap().downcast_ref::<&str>(), Some(&"why"));
        let killed = ours.spawn(|| tasklet::sleep(Duration::MAX));
        killed.kill();
        assert!(killed.await.unwrap_err().is_killed());
        // From many tasks at a time, which wait before the tasklets end.
        let tasks: Vec<_> = (0..200u64)
            .map(|n| {
                let handle = ours.spawn(move || {
                    (0..n % 5).for_each(|_| stealing::yield_now());
                    n
                });
                theirs.spawn(async move { handle.await.unwrap() })
            })
            .collect();
        let mut sum = 0;
        for task in tasks {
            sum += task.await.unwrap();
        }
        assert_eq!(sum, 19_900);
    });
}

#[test]
fn values_go_both_ways() {
    both(async |ours, theirs| {
        let (requests, asked) = bounded::<(u32, tasklet::channel::OneshotSender<u32>)>(2);
        let server = ours.spawn(move || {
            let mut served = 0;
            for (number, answer) in asked.iter() {
                served += 1;
                answer.send(number * number).unwrap();
            }
            served
        });
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let requests = requests.clone();
                theirs.spawn(async move {
                    let mut sum = 0;
                    for number in 0..100 {
                        let (answer, answered) = tasklet::channel::oneshot();
                        requests.send_async((number, answer)).await.unwrap();
                        sum += answered.await.unwrap();
                    }
                    sum
                })
            })
            .collect();
        drop(requests);
        for client in clients {
            assert_eq!(client.await.unwrap(), 328_350);
        }
        assert_eq!(server.await.unwrap(), 400);
    });
}

#[test]
fn a_dropped_wait_takes_nothing() {
    both(async |ours, _| {
        let (sender, receiver) = bounded::<u32>(0);
        for number in 0..50 {
            // It waits, and is dropped.
            let waited = tokio::time::timeout(Duration::from_millis(1), receiver.recv_async()).await;
            assert!(waited.is_err());
            let other = sender.clone();
            let sent = ours.spawn(move || other.send(number));
            assert_eq!(receiver.recv_async().await.unwrap(), number);
            sent.await.unwrap().unwrap();
            // A send that nobody wants, too: whoever comes later gets another.
            let sent = tokio::time::timeout(Duration::from_millis(1), sender.send_async(number + 1000)).await;
            assert!(sent.is_err());
        }
    });
}

#[test]
fn tasklets_wait_for_tasks() {
    both(async |ours, theirs| {
        let dropped = Arc::new(AtomicUsize::new(0));
        let (handle, counted) = (theirs.clone(), dropped.clone());
        let tasklets = ours.spawn(move || {
            // What only works in tokio works there.
            let sum = block_on(handle.spawn(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let addr = listener.local_addr().unwrap();
                let client = tokio::spawn(async move {
                    let mut client = tokio::net::TcpStream::connect(addr).await.unwrap();
                    client.write_all(b"1234").await.unwrap();
                });
                let (mut server, _) = listener.accept().await.unwrap();
                let mut text = String::new();
                server.read_to_string(&mut text).await.unwrap();
                client.await.unwrap();
                text.parse::<u32>().unwrap()
            }));
            assert_eq!(sum.unwrap(), 1234);
            let panicked = block_on(handle.spawn(async { std::panic::resume_unwind(Box::new(7)) }));
            assert_eq!(panicked.unwrap_err().into_panic().downcast_ref::<i32>(), Some(&7));
            // A killed tasklet drops what it waits for.
            let counted = counted.clone();
            let waiter = stealing::spawn(move || {
                let guard = Counted(counted);
                block_on(async move {
                    let _guard = guard;
                    tokio::sync::Notify::new().notified().await;
                });
            });
            (0..10).for_each(|_| stealing::yield_now());
            waiter.kill();
            assert!(waiter.join().unwrap_err().is_killed());
            // A time limit of ours, around a future of theirs that would need their reactor: it is entered for as long.
            let entered = handle.enter();
            let late = tokio::time::sleep(Duration::MAX);
            drop(entered);
            assert!(tasklet::timeout(Duration::from_millis(1), || block_on(late)).is_err());
        });
        tasklets.await.unwrap();
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
    });
}

struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
