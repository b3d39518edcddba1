//! An alternate signal stack for threads that have none.

use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use crate::stack::os;

/// Room for the kernel's frame (11 KiB with AMX registers), for ours, and for a handler we chain to. A guess; only what is
/// touched takes memory.
const BYTES: usize = 64 << 10;

/// The calling thread's alternate signal stack, if [`ensure_signal_stack`] had to make one. Dropping it takes it away again.
#[derive(Debug)]
#[must_use = "dropping it takes the signal stack away again"]
pub struct SignalStack {
    /// The mapping, guard page first.
    mapping: Option<NonNull<u8>>,
    /// Neither `Send` nor `Sync`: a signal stack belongs to a thread.
    _this_thread: PhantomData<*mut ()>,
}

/// Makes sure that the calling thread has an alternate signal stack, without which a stack overflow cannot be reported.
///
/// Threads made by Rust have one; others, such as those of a C library or the main thread of a C program, may not.
///
/// # Errors
///
/// The kernel refused memory or the stack.
pub fn ensure_signal_stack() -> io::Result<SignalStack> {
    if exchange(None)?.ss_flags & libc::SS_DISABLE == 0 {
        return Ok(SignalStack { mapping: None, _this_thread: PhantomData });
    }
    let mapping = os::map(os::page_size() + BYTES)?;
    // Owned from here on, so that an error below unmaps it.
    let stack = SignalStack { mapping: Some(mapping), _this_thread: PhantomData };
    // SAFETY: the low page of the mapping made above.
    unsafe { os::protect(mapping)? };
    exchange(Some(&describe(mapping, 0)))?;
    Ok(stack)
}

fn describe(mapping: NonNull<u8>, flags: libc::c_int) -> libc::stack_t {
    // SAFETY: all-zero bytes are a valid stack_t.
    let mut stack: libc::stack_t = unsafe { MaybeUninit::zeroed().assume_init() };
    stack.ss_sp = mapping.as_ptr().wrapping_add(os::page_size()).cast();
    stack.ss_size = BYTES;
    stack.ss_flags = flags;
    stack
}

/// Replaces the thread's signal stack, or only reads it.
fn exchange(stack: Option<&libc::stack_t>) -> io::Result<libc::stack_t> {
    let mut old = MaybeUninit::<libc::stack_t>::zeroed();
    let stack = stack.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: both pointers are valid or null; a new stack is memory that `SignalStack` keeps while the kernel may use it.
    match unsafe { libc::sigaltstack(stack, old.as_mut_ptr()) } {
        // SAFETY: written by the call, and zeroes would be valid too.
        0 => Ok(unsafe { old.assume_init() }),
        _ => Err(io::Error::last_os_error()),
    }
}

impl Drop for SignalStack {
    fn drop(&mut self) {
        let Some(mapping) = self.mapping else { return };
        let ours = describe(mapping, libc::SS_DISABLE);
        let gone = match exchange(None) {
            // Somebody replaced it meanwhile: the new one stays.
            Ok(current) if current.ss_sp != ours.ss_sp => true,
            // Refused while a handler runs on it.
            Ok(_) => exchange(Some(&ours)).is_ok(),
            Err(_) => false,
        };
        if gone {
            // SAFETY: made by `ensure_signal_stack` in this size, and the kernel no longer knows it. If the kernel still did,
            // the memory would have been leaked above.
            unsafe { os::unmap(mapping, os::page_size() + BYTES) };
        }
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_without_a_signal_stack_gets_one_and_loses_it_again() {
        // On a thread of its own, so that the test harness keeps its signal stack.
        std::thread::spawn(|| {
            let had = exchange(None).unwrap();
            let mut none = describe(NonNull::dangling(), libc::SS_DISABLE);
            none.ss_sp = ptr::null_mut();
            exchange(Some(&none)).unwrap();

            let made = ensure_signal_stack().unwrap();
            let current = exchange(None).unwrap();
            assert_eq!((current.ss_flags, current.ss_size), (0, BYTES));
            let second = ensure_signal_stack().unwrap();
            assert!(second.mapping.is_none());
            drop(second);
            drop(made);
            assert_eq!(exchange(None).unwrap().ss_flags, libc::SS_DISABLE);

            exchange(Some(&had)).unwrap();
        })
        .join()
        .unwrap();
    }
}
