//! What must happen once per process before the first coroutine: the generator crate installs its signal handlers and wraps the
//! panic hook at the first use of any generator. Here that first use is provoked, and the handlers are put back.

use std::mem::MaybeUninit;
use std::sync::OnceLock;

use tasklet_core::stack::{StackError, StackSize};

use crate::limits::Reservation;

/// Runs one throw-away generator, the first time this is called, and keeps the process's signal handlers as they were.
///
/// Between the two steps, some microseconds, a handler that another thread installs for these signals is lost.
///
/// # Errors
///
/// The first call came from a thread that is panicking: the crate could not wrap the panic hook there.
pub(crate) fn once() -> Result<(), StackError> {
    // One per process because what it guards against is: handlers and hook are process-wide, and the crate's own Once is too.
    static DONE: OnceLock<()> = OnceLock::new();
    if DONE.get().is_some() {
        return Ok(());
    }
    if std::thread::panicking() {
        let message = "the first coroutine of the generator backend cannot be created while a panic unwinds";
        return Err(StackError::from_backend(message));
    }
    let room = Reservation::new(StackSize::MIN)?;
    DONE.get_or_init(|| {
        let handlers = [libc::SIGSEGV, libc::SIGBUS].map(|signal| (signal, handler(signal)));
        let mut generator = generator::Gn::<()>::new_opt(room.words(), || ());
        generator.resume();
        drop(generator);
        for (signal, handler) in handlers {
            // SAFETY: `handler` is what the kernel reported for this signal a moment ago.
            unsafe { libc::sigaction(signal, &raw const handler, std::ptr::null_mut()) };
        }
    });
    Ok(())
}

/// The action installed for `signal`.
fn handler(signal: libc::c_int) -> libc::sigaction {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: no new action is given, so this only reads; both signals are valid ones to ask for.
    unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: all zeroes is a valid action (the default one), and the kernel filled it in.
    unsafe { action.assume_init() }
}
