//! Chains of calls at whose end a task waits: what suspends it holds all of their frames.

use std::hint::black_box;
use std::pin::Pin;
use std::sync::Arc;

use super::parts::{Bell, Countdown};

/// What lies between a task's own function and where it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chain {
    One,
    Five,
    Twenty,
    /// One call, with a buffer among its local variables.
    Buffer,
}

/// All, in the order of the workload's figures.
pub(crate) const CHAINS: [Chain; 4] = [Chain::One, Chain::Five, Chain::Twenty, Chain::Buffer];

/// Bytes of the buffer.
const BUFFER: usize = 4096;

/// What a call keeps until the one below returns: eight words, as a walk through a tree or a parser does.
fn locals(frames: u64) -> [u64; 8] {
    std::array::from_fn(|at| 8 * frames + at as u64)
}

/// Writes into a buffer in its place: returned by a function, it would lie there twice.
fn fill(buffer: &mut [u8; BUFFER]) {
    buffer.iter_mut().enumerate().for_each(|(at, byte)| *byte = at as u8);
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().copied().map(u64::from).sum()
}

impl Chain {
    fn frames(self) -> u64 {
        match self {
            Chain::One | Chain::Buffer => 1,
            Chain::Five => 5,
            Chain::Twenty => 20,
        }
    }

    /// What comes back through all calls.
    fn sum(self) -> u64 {
        match self {
            Chain::Buffer => (0..BUFFER).map(|at| u64::from(at as u8)).sum(),
            _ => (1..=self.frames()).map(|frames| locals(frames).iter().sum::<u64>()).sum(),
        }
    }

    /// Calls down to `wait`, which says whether it went as it should. Returns the same, if all frames are as they were.
    pub(crate) fn wait(self, wait: &impl Fn() -> bool) -> bool {
        let sum = match self {
            Chain::Buffer => below_a_buffer(wait),
            _ => descend(self.frames(), wait),
        };
        sum == Some(self.sum())
    }
}

#[inline(never)]
fn descend(frames: u64, wait: &impl Fn() -> bool) -> Option<u64> {
    // In memory: nobody knows what becomes of them meanwhile.
    let mut locals = locals(frames);
    black_box(&mut locals);
    let below = if frames > 1 { descend(frames - 1, wait)? } else { wait().then_some(0)? };
    Some(below + black_box(&locals).iter().sum::<u64>())
}

#[inline(never)]
fn below_a_buffer(wait: &impl Fn() -> bool) -> Option<u64> {
    let mut buffer = [0; BUFFER];
    fill(black_box(&mut buffer));
    wait().then(|| sum(black_box(&buffer)))
}

/// The future of a task that calls async functions down to where it waits for a bell, and counts down if all variables are as they were. Each but
/// the first lies in a box: so they call each other to any depth.
pub(crate) async fn rings(chain: Chain, bell: Bell, ended: Arc<Countdown>) {
    if descend_async(chain.frames(), bell).await == chain.sum() {
        ended.down();
    }
}

/// The same for [`Chain::Buffer`]: a future of its own, since a future is as large as the largest that it may become.
pub(crate) async fn rings_below_a_buffer(bell: Bell, ended: Arc<Countdown>) {
    let mut buffer = [0; BUFFER];
    fill(black_box(&mut buffer));
    bell.rings().await;
    if sum(black_box(&buffer)) == Chain::Buffer.sum() {
        ended.down();
    }
}

async fn descend_async(frames: u64, bell: Bell) -> u64 {
    let mut locals = locals(frames);
    black_box(&mut locals);
    let mut below = 0;
    if frames > 1 {
        below = boxed(frames - 1, bell).await;
    } else {
        bell.rings().await;
    }
    below + black_box(&locals).iter().sum::<u64>()
}

fn boxed(frames: u64, bell: Bell) -> Pin<Box<dyn Future<Output = u64> + Send>> {
    Box::pin(descend_async(frames, bell))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn every_chain_waits_once_and_comes_back() {
        for chain in CHAINS {
            let waits = Cell::new(0);
            let wait = || {
                waits.set(waits.get() + 1);
                true
            };
            assert!(chain.wait(&wait) && waits.get() == 1, "{chain:?}");
            assert!(!chain.wait(&|| false), "{chain:?}");
        }
        assert_eq!(Chain::Five.sum(), (8..48).sum());
    }

    #[test]
    fn frames_are_as_deep_as_they_say() {
        let depth = |chain: Chain| {
            let here = 0_u8;
            let lowest = Cell::new(0);
            chain.wait(&|| {
                let there = 0_u8;
                lowest.set((&raw const there).addr());
                true
            });
            (&raw const here).addr() - lowest.get()
        };
        let call = (depth(Chain::Twenty) - depth(Chain::Five)) / 15;
        assert!((64..1000).contains(&call), "{call}");
        assert!(depth(Chain::Buffer) > BUFFER);
    }

    #[test]
    fn futures_wait_for_the_bell() {
        let mut context = Context::from_waker(Waker::noop());
        for chain in CHAINS {
            let (bell, ended) = (Bell::for_many(1), Countdown::new(1, || ()));
            let mut rings: Pin<Box<dyn Future<Output = ()>>> = match chain {
                Chain::Buffer => Box::pin(rings_below_a_buffer(bell.clone(), ended.clone())),
                _ => Box::pin(rings(chain, bell.clone(), ended.clone())),
            };
            assert!(rings.as_mut().poll(&mut context).is_pending(), "{chain:?}");
            bell.ring();
            assert!(rings.as_mut().poll(&mut context).is_ready() && ended.left() == 0, "{chain:?}");
        }
    }
}
