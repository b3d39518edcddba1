//! The lock itself.

#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, Ordering};

/// How long a thread waits before it looks again at a lock that was taken, in pauses of the processor: long enough for the holder to take
/// the lock some times more. That looks unfair, and is what makes it fast: if two processors took it in turns, its cache line and those of
/// what it guards would move for each operation, which costs several times what an operation does. Measured with two threads that send and
/// two that receive: 95 ns per message with 1, 55 with 8, 47 with 32.
pub(crate) const FIRST: u32 = 32;

/// How often it looks, waiting twice as long each time, before it lets others run: the holder is out of it within some hundred instructions
/// unless the system has taken its processor away.
#[cfg(not(loom))]
const SPINS: u32 = 6;

/// How often it lets others run before it sleeps in between.
#[cfg(not(loom))]
const YIELDS: u32 = 64;

/// A lock for a few instructions, in which nothing of users runs. Whoever waits for it spins, then lets other threads run.
///
/// A lock that puts its waiters to sleep has to ask, when it is released, whether somebody sleeps: a second atomic read-modify-write,
/// which would be a third of a channel operation's.
#[cfg(not(loom))]
pub(crate) struct RawLock(AtomicBool);

#[cfg(not(loom))]
impl RawLock {
    pub(crate) const fn new() -> RawLock {
        RawLock(AtomicBool::new(false))
    }

    #[inline(always)]
    pub(crate) fn lock(&self) {
        // Acquire: pairs with the release in `unlock`.
        if self.0.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            self.lock_slow();
        }
    }

    #[cold]
    #[inline(never)]
    fn lock_slow(&self) {
        let mut round = 0;
        loop {
            // Acquire: as in `lock`.
            if !self.0.load(Ordering::Relaxed)
                && self.0.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                return;
            }
            pause(round);
            round += 1;
        }
    }

    #[inline(always)]
    pub(crate) fn unlock(&self) {
        // Release: pairs with the acquire in `lock`.
        self.0.store(false, Ordering::Release);
    }
}

#[cfg(not(loom))]
fn pause(round: u32) {
    if round < SPINS {
        for _ in 0..FIRST << round {
            std::hint::spin_loop();
        }
    } else if round < YIELDS {
        std::thread::yield_now();
    } else {
        std::thread::sleep(std::time::Duration::from_micros(50));
    }
}

/// The same for models: whoever waits is blocked, since a thread that spins has endless many orders.
#[cfg(loom)]
pub(crate) struct RawLock {
    taken: loom::sync::Mutex<bool>,
    released: loom::sync::Condvar,
}

#[cfg(loom)]
impl RawLock {
    pub(crate) fn new() -> RawLock {
        RawLock { taken: loom::sync::Mutex::new(false), released: loom::sync::Condvar::new() }
    }

    pub(crate) fn lock(&self) {
        let mut taken = self.taken.lock().unwrap();
        while *taken {
            taken = self.released.wait(taken).unwrap();
        }
        *taken = true;
    }

    pub(crate) fn unlock(&self) {
        *self.taken.lock().unwrap() = false;
        self.released.notify_one();
    }
}
