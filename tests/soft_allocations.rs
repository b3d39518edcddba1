//! A soft tasklet is one allocation, and nothing that happens to it makes another: counted at the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::task::Waker;

use tasklet::stealing::{self, Builder};
use tasklet::{Channel, JoinHandle, channel};

/// Counts what a thread allocates.
struct Counting;

thread_local! {
    /// By this thread: the test's tasklets have one worker.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Few enough that the worker's deque need not grow.
const TASKLETS: u64 = 50;

fn counted<R>(what: &str, expected: u64, f: impl FnOnce() -> R) -> R {
    let before = ALLOCATIONS.get();
    let result = f();
    assert_eq!(ALLOCATIONS.get() - before, expected, "allocations of: {what}");
    result
}

/// Lets all others run until they wait.
fn settle() {
    (0..20 * TASKLETS).for_each(|_| tasklet::yield_now());
}

/// What happens to some soft tasklets from their making to their end.
fn round(handles: &mut Vec<JoinHandle<u64>>) {
    let (requests, wanted) = channel::bounded::<u64>(TASKLETS as usize);
    let (answers, given) = channel::bounded::<u64>(TASKLETS as usize);
    let serve = || {
        let (wanted, answers) = (wanted.clone(), answers.clone());
        stealing::spawn_async(async move {
            let mut sum = 0;
            while let Ok(number) = wanted.recv_async().await {
                sum += number;
                answers.send_async(number).await.unwrap();
            }
            sum
        })
    };
    counted("spawns", TASKLETS, || handles.extend((0..TASKLETS).map(|_| serve())));
    counted("first polls", 0, settle);
    counted("messages, wakes and polls", 0, || {
        for number in 0..10 * TASKLETS {
            requests.send(number).unwrap();
            assert_eq!(given.recv(), Ok(number));
        }
    });
    let (killed, joined) = handles.split_at(handles.len() / 2);
    counted("kills", 0, || {
        killed.iter().for_each(JoinHandle::kill);
        settle();
    });
    counted("wakers for the end", 0, || {
        joined.iter().for_each(|handle| handle.on_finish(Waker::noop().clone()).unwrap());
    });
    let joined = counted("ends and joins", 0, || {
        requests.close();
        settle();
        handles.drain(..).filter_map(|handle| handle.join().ok()).count()
    });
    assert_eq!(joined, TASKLETS as usize / 2, "half of them were killed");
}

/// The place, the node in its list, the waker, the message and how it ends, with nothing twice.
#[test]
fn a_future_that_waits_is_eight_words() {
    const LIMIT: usize = size_of::<[usize; 8]>();
    let channel = Channel::<u64>::new();
    let (sender, receiver) = channel::unbounded::<u64>();
    let sizes = [
        size_of_val(&channel.recv_async()),
        size_of_val(&channel.send_async(1)),
        size_of_val(&receiver.recv_async()),
        size_of_val(&sender.send_async(1)),
    ];
    assert!(sizes.iter().all(|&size| size <= LIMIT), "{sizes:?} bytes");
    assert_eq!(size_of_val(&channel), size_of::<usize>());
}

#[test]
fn a_soft_tasklet_is_one_allocation() {
    let runtime = Builder::new().workers(1).build().unwrap();
    runtime.run(|| {
        let mut handles = Vec::with_capacity(TASKLETS as usize);
        // What the worker makes once: helpers, queues, what the deques keep for each thread that steals, be it from itself.
        let warm: Vec<_> = (0..TASKLETS).map(|number| stealing::spawn_async(async move { number })).collect();
        settle();
        warm.into_iter().for_each(|handle| drop(handle.join()));
        round(&mut handles);
        round(&mut handles);
    });
}
