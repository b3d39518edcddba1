//! Swapped tasklets: many of them on a few large stacks, in turns.
//!
//! A tasklet with a stack of its own costs a page while it waits, however little lies on it. A swapped one costs what lies on it: a few hundred bytes
//! where it waits in its own function. While it runs it has a large stack, so nobody has to guess a size. When another tasklet needs that stack, its
//! bytes are copied to a block of memory, and back to the same addresses before it goes on. What it says of its own stack, such as a reference from one
//! local variable to another, stays true. What *others* say of it does not, and no type can tell whether they say something:
//!
//! # Safety
//!
//! Whoever makes a tasklet swapped promises: **while it waits, nobody refers to what lies on its stack**, reads it, or writes to it. That is,
//!
//! 1. it lends nothing on its stack to a thread or another tasklet that uses it while this one waits: what `std::thread::scope`, `rayon::scope` and
//!    the like are for, unless the tasklet does not wait, in tasklets' terms, before they have ended;
//! 2. no future that it has pinned to its stack, and has polled, is linked elsewhere while it waits for something else: those of this project's
//!    channels and locks are. ([`block_on`] keeps the future that it is given elsewhere.)
//! 3. what it waits at lies elsewhere: it does not wait at a lock, semaphore or other place that is a local variable of its own; and it waits on its
//!    slot's stack, not inside a coroutine of its own or on a stack that it has grown (`stacker`);
//! 4. no address on its stack is kept in a thread-local across a wait, where another tasklet of the thread finds it (`scoped-tls`), or taken for
//!    something that only this tasklet has: others have local variables at the same addresses;
//! 5. no address on its stack is known to the system: no buffer of an operation in progress, no alternate signal stack.
//!
//! Crates that keep such addresses beyond a call say so, since they are `unsafe` inside or ask for pinning. What goes through this project's channels
//! is moved, and never stays on a waiting stack.
//!
//! What of this project would lend a stack finds out, and does something else: [`scope`], [`blocking`] and [`Runtime::run`] refuse, with a panic that
//! says so; [`join`] calls both closures itself; `block_on` puts the future elsewhere. Most waits that break promise 3 abort when the stack is to be
//! copied, which is when another tasklet needs it. The rest cannot be found out, but be made to show: see [`Slots::poison`].
//!
//! ```
//! # use tasklet_backend_corosensei::Corosensei;
//! use tasklet_scheduler::stealing::{Runtime, TaskletBuilder};
//!
//! # let runtime = Runtime::<Corosensei>::with_defaults()?;
//! # runtime.run(|| {
//! let (channel, numbers) = tasklet_channels::bounded(1);
//! // SAFETY: the tasklet lends nothing, pins nothing, and waits at a channel, whose state is not on its stack.
//! let swapped = unsafe { TaskletBuilder::new().swapped() };
//! let sum = swapped.spawn(move || numbers.iter().sum::<u64>());
//! (1..=4).for_each(|number| channel.send(number).unwrap());
//! drop(channel);
//! assert_eq!(sum.join().unwrap(), 10);
//! # });
//! # Ok::<(), tasklet_scheduler::stealing::BuildError>(())
//! ```
//!
//! # Costs
//!
//! No copy as long as nobody else needs the stack; then one out and one back, some 11 ns for 256 bytes that are in the cache. Each worker, or local
//! scheduler, has its own [slots](Slots). [`StackUsage`](tasklet_core::stack::StackUsage) tells what the copy of one takes, and what is in memory of the slot
//! that it shares. Memory for copies is the allocator's: it counts against no ceiling for stacks, and if there is none the process
//! aborts, as it does for a `Box`; so it does if a message that others are to reach in the copy has an alignment for which there is no room between the
//! tasklet's last frame and the slot's end.
//!
//! [`Runtime::run`]: crate::stealing::Runtime::run
//! [`block_on`]: https://docs.rs/tasklet/latest/tasklet/fn.block_on.html
//! [`scope`]: crate::stealing::scope
//! [`blocking`]: crate::stealing::blocking
//! [`join`]: crate::stealing::join

use std::fmt;

use tasklet_core::backend::{Backend, Swaps};
use tasklet_core::stack::StackSize;

/// Slots of each worker, or local scheduler, by default: enough that tasklets which talk to each other are seldom at the same one.
const COUNT: usize = 8;

/// The slots of each worker, or of a local scheduler: the large stacks on which its swapped tasklets take turns. They are made when they are first
/// needed.
///
/// ```
/// use tasklet_core::stack::StackSize;
/// use tasklet_scheduler::swapped::Slots;
///
/// let slots = Slots::new().count(2).size(StackSize::new(4 << 20)?).poison(true);
/// # let _ = slots;
/// # Ok::<(), tasklet_core::stack::StackError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    pub(crate) count: usize,
    pub(crate) size: StackSize,
    pub(crate) poison: bool,
}

impl Slots {
    /// Eight slots of 1 MiB, without poison.
    #[must_use]
    pub fn new() -> Slots {
        Slots { count: COUNT, size: StackSize::new(1 << 20).expect("1 MiB is a stack size"), poison: false }
    }

    /// How many there may be; at least one. With more, what is on a slot has to be copied away less often, and it takes a nanosecond more each to choose
    /// one. If there is no memory for as many, fewer will do. A slot is a stack like others: a ceiling for stacks has to have room for one beside them.
    pub fn count(self, count: usize) -> Slots {
        Slots { count: count.max(1), ..self }
    }

    /// How large each is: the stack that a swapped tasklet has while it runs. Address space; memory only where it was touched.
    pub fn size(self, size: StackSize) -> Slots {
        Slots { size, ..self }
    }

    /// Whether a slot is filled with the byte `0xd1` where a tasklet was copied away. Whoever wrongly still refers to that stack finds this instead of
    /// what was there, and sooner. For tests: it makes each copy dearer.
    pub fn poison(self, poison: bool) -> Slots {
        Slots { poison, ..self }
    }
}

impl Default for Slots {
    fn default() -> Slots {
        Slots::new()
    }
}

/// What the slots of a scheduler hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlotStats {
    /// Slots that were made.
    pub slots: usize,
    /// Swapped tasklets that have started and have not ended.
    pub tasklets: usize,
    /// Bytes of memory for what was copied off the slots, without the allocator's own.
    pub bytes: usize,
}

/// A swapped tasklet cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwapError {
    pub(crate) backend: &'static str,
    pub(crate) reason: &'static str,
}

impl SwapError {
    /// Why tasklets of a backend cannot be swapped, if they cannot.
    pub(crate) fn of<B: Backend>() -> Option<SwapError> {
        match B::swaps() {
            Swaps::Yes => None,
            Swaps::No(reason) => Some(SwapError { backend: B::NAME, reason }),
        }
    }
}

impl fmt::Display for SwapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "tasklets of the backend {} cannot be swapped: {}; use the backend corosensei or context, or a stack of its own for each",
            self.backend, self.reason
        )
    }
}

impl std::error::Error for SwapError {}
