//! Where corosensei keeps the stack pointer of a suspended coroutine: what its interface does not tell.
//!
//! A coroutine is five words: the two of our [`Bounds`], the stack pointer it was left at, the one it was made with, and a function that
//! drops what was never run. Which word is which is the compiler's choice, the same for all values of the type. So it is found by looking, once:
//! a coroutine is made and suspended, and exactly one word has changed, from the address it was made with to a lower one on its stack. If that is
//! not what is seen, nothing is claimed, and tasklets cannot be swapped.

use std::ptr::{self, NonNull};
use std::sync::OnceLock;

use crate::{Bounds, Inner};

/// Words of a coroutine.
const WORDS: usize = size_of::<Inner>() / size_of::<usize>();

/// Bytes of the stack that is looked at: plenty for a function that suspends, without optimisation too.
const BYTES: usize = 32 << 10;

/// The number of the word that is the stack pointer of a suspended coroutine.
#[derive(Clone, Copy)]
pub(crate) struct Place(usize);

impl Place {
    /// The lowest address that a coroutine needs, which is suspended.
    #[inline]
    pub(crate) fn read(self, coroutine: &Inner) -> Option<NonNull<u8>> {
        // SAFETY: `probe` has found that this word is an `Option<StackPointer>`, inside the coroutine; it may be read as a number.
        let address = unsafe { ptr::from_ref(coroutine).cast::<usize>().add(self.0).read() };
        NonNull::new(ptr::with_exposed_provenance_mut(address))
    }

    /// # Safety
    ///
    /// The address is one that [`read`](Self::read) has told of the same coroutine, and the stack is what it was then.
    #[inline]
    pub(crate) unsafe fn write(self, coroutine: &mut Inner, to: NonNull<u8>) {
        // SAFETY: as in `read`. No other word changes after the first resume (`probe`), so the coroutine is bit for bit what it was.
        unsafe { ptr::from_mut(coroutine).cast::<usize>().add(self.0).write(to.as_ptr().expose_provenance()) }
    }
}

/// Where it is, or `None` if that cannot be told. Found at the first call; a property of the program that does not change while it runs.
pub(crate) fn place() -> Option<Place> {
    static PLACE: OnceLock<Option<Place>> = OnceLock::new();
    *PLACE.get_or_init(probe)
}

fn words(coroutine: &Inner) -> [usize; WORDS] {
    // SAFETY: `probe` has compared the size: five words and no padding, each an address.
    unsafe { ptr::from_ref(coroutine).cast::<[usize; WORDS]>().read() }
}

fn probe() -> Option<Place> {
    // With a sanitizer's own fields there may be bytes that mean nothing, and copied frames confuse it anyway.
    if size_of::<Inner>() != size_of::<Bounds>() + 3 * size_of::<usize>() {
        return None;
    }
    let mut memory = vec![0_u128; BYTES / size_of::<u128>()];
    let range = memory.as_mut_ptr_range();
    let bounds = Bounds { base: range.end.addr().try_into().ok()?, limit: range.start.addr().try_into().ok()? };
    // SAFETY: the closure borrows nothing, and the memory lives longer than the coroutine, which ends below. It is no guarded stack, and what
    // runs on it is known: a function that suspends twice.
    let mut coroutine = unsafe {
        Inner::with_stack_unchecked(bounds, |yielder, ()| {
            yielder.suspend(());
            yielder.suspend(());
        })
    };
    let made = words(&coroutine);
    let _ = coroutine.resume(());
    let suspended = words(&coroutine);
    let _ = coroutine.resume(());
    let again = words(&coroutine);
    let _ = coroutine.resume(());
    let at = (0..WORDS).find(|&at| made[at] != suspended[at])?;
    let only = (0..WORDS).all(|other| other == at || (made[other] == suspended[other] && made[other] == again[other]));
    let was_initial = made.iter().filter(|word| **word == made[at]).count() == 2;
    let is_inside = range.start.addr() < suspended[at] && suspended[at] < made[at] && made[at] < range.end.addr();
    (coroutine.done() && only && was_initial && is_inside).then_some(Place(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stack_pointer_is_found_and_lies_below_what_is_in_use() {
        let place = place().expect("this version of corosensei can be looked at");
        let mut memory = vec![0_u128; BYTES / size_of::<u128>()];
        let range = memory.as_mut_ptr_range();
        let bounds =
            Bounds { base: range.end.addr().try_into().unwrap(), limit: range.start.addr().try_into().unwrap() };
        // SAFETY: as in `probe`; the local's address is told as a number.
        let mut coroutine = unsafe {
            corosensei::Coroutine::<(), usize, (), Bounds>::with_stack_unchecked(bounds, |yielder, ()| {
                let local = [7_u8; 600];
                yielder.suspend(std::hint::black_box(&local).as_ptr().addr());
            })
        };
        let corosensei::CoroutineResult::Yield(local) = coroutine.resume(()) else { panic!("it suspends") };
        // SAFETY: what a coroutine yields is in none of its words: the two types differ in a marker.
        let inner = unsafe { &*ptr::from_ref(&coroutine).cast::<Inner>() };
        let sp = place.read(inner).unwrap().as_ptr().addr();
        assert!(range.start.addr() < sp && sp < local && local - sp < 4096, "{sp:#x} {local:#x}");
        let _ = coroutine.resume(());
        assert!(coroutine.done());
    }
}
