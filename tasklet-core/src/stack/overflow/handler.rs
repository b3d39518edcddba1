//! The signal handler: ours or not, message, chain.

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

use super::message::Message;

/// What the handler needs to know about the tasklet that runs on the faulting thread.
#[derive(Clone, Copy, Debug)]
pub struct RunningTasklet<'a> {
    /// The tasklet's id.
    pub id: u64,
    /// Its name, if it has one.
    pub name: Option<&'a str>,
    /// Lowest usable address of its stack; the guard lies directly below.
    pub stack_limit: usize,
    /// Usable bytes of its stack.
    pub stack_size: usize,
    /// It shares the stack with others, in turns.
    pub is_swapped: bool,
}

/// Calls its argument with the tasklet that runs on the calling thread, if one does.
pub type Query = fn(&mut dyn FnMut(RunningTasklet<'_>));

/// A fault this far below the stack's limit is still an overflow of it.
///
/// Rust code touches each page of a large frame in order, so its first fault is in the guard page. C code compiled without
/// stack probes may skip the guard by a frame larger than a page; what it hits below is the next slot, which may be mapped, so
/// such an overflow need not fault at all. The reach only decides how a fault is named.
const REACH: usize = 64 << 10;

/// The query, as given to the last call of [`install_overflow_handler`]. Null before.
static QUERY: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// The signals a guard page raises (SIGBUS on Apple systems), each with what handled it before us.
static SIGNALS: [Signal; 2] = [Signal::new(libc::SIGSEGV), Signal::new(libc::SIGBUS)];

struct Signal {
    number: libc::c_int,
    /// Leaked, and never changed once the handler is in place. Null before.
    previous: AtomicPtr<libc::sigaction>,
}

impl Signal {
    const fn new(number: libc::c_int) -> Signal {
        Signal { number, previous: AtomicPtr::new(ptr::null_mut()) }
    }
}

/// Installs the handler for stack overflows of tasklets, for the whole process; again does nothing but replace `query`.
///
/// It handles SIGSEGV and SIGBUS, on the thread's alternate signal stack. Threads that Rust made have one; others need
/// [`ensure_signal_stack`](super::ensure_signal_stack), or an overflow on them kills the process without a message. The
/// handler that was there before, such as that of std for the stacks of threads, is called for all other faults.
///
/// # Errors
///
/// `sigaction` failed; the signals before the one it failed for are handled.
///
/// # Safety
///
/// - `query` is called in a signal handler, on the thread that faulted: it must be async-signal-safe. No allocation, no lock, no
///   lazily made thread-local, no borrow that the interrupted code may hold.
/// - `query` must not unwind.
pub unsafe fn install_overflow_handler(query: Query) -> io::Result<()> {
    // Release pairs with the Acquire in `is_overflow`'s caller `handle`: whoever sees the query sees what it refers to.
    QUERY.store(query as *mut (), Ordering::Release);
    // Two calls at once must not each take the other's handler for the previous one: faults would go round in circles.
    static INSTALLED: Mutex<[bool; 2]> = Mutex::new([false; 2]);
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    for (signal, installed) in SIGNALS.iter().zip(installed.iter_mut()) {
        if !*installed {
            install(signal)?;
            *installed = true;
        }
    }
    Ok(())
}

fn install(signal: &Signal) -> io::Result<()> {
    // The handler must find the previous action from its first run on, so it is read before ours is in place. Should another
    // thread change it in between, the one that our call replaced counts.
    let previous = exchange(signal.number, None)?;
    publish(signal, previous);
    // SAFETY: all-zero bytes are a valid sigaction: no flags, an empty mask, SIG_DFL.
    let mut ours: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    ours.sa_sigaction = handle as *const () as usize;
    // ONSTACK: there is no room on the stack that overflowed.
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    let replaced = exchange(signal.number, Some(&ours))?;
    if replaced.sa_sigaction != previous.sa_sigaction {
        publish(signal, replaced);
    }
    Ok(())
}

fn publish(signal: &Signal, action: libc::sigaction) {
    // Leaked: a handler on another thread may be reading it at any time.
    // Release pairs with the Acquire in `chain`: whoever sees the pointer sees the action.
    signal.previous.store(Box::into_raw(Box::new(action)), Ordering::Release);
}

/// Replaces a signal's action, or only reads it.
fn exchange(signal: libc::c_int, action: Option<&libc::sigaction>) -> io::Result<libc::sigaction> {
    let mut old = MaybeUninit::<libc::sigaction>::zeroed();
    let action = action.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: both pointers are valid or null; a new action is ours (a handler with the signature its flags say) or SIG_DFL.
    match unsafe { libc::sigaction(signal, action, old.as_mut_ptr()) } {
        // SAFETY: written by the call, and zeroes would be valid too.
        0 => Ok(unsafe { old.assume_init() }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The handler.
///
/// It changes errno only where the process is about to die, so there is nothing to save for a previous handler that returns.
extern "C" fn handle(number: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo to a SA_SIGINFO handler.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    // A signal sent by kill or raise has a code of zero or less, and no address.
    if code > 0 {
        report_overflow(address);
    }
    chain(number, code, info, context);
}

/// If `address` lies in the guard of the running tasklet's stack, says so and aborts.
fn report_overflow(address: usize) {
    // Acquire pairs with the Release in `install_overflow_handler`.
    let query = QUERY.load(Ordering::Acquire);
    if query.is_null() {
        return;
    }
    // SAFETY: the pointer is not null, so it was stored from a `Query`.
    let query = unsafe { std::mem::transmute::<*mut (), Query>(query) };
    // A query that faults itself must not come back here for ever: the signal is blocked meanwhile, and the kernel kills.
    let ours = Cell::new(false);
    query(&mut |tasklet| {
        if is_overflow(&tasklet, address) {
            ours.set(true);
            let message = Message::overflow(&tasklet);
            let bytes = message.bytes();
            // SAFETY: the buffer is live. A short or failed write loses the message, not the abort.
            unsafe { libc::write(libc::STDERR_FILENO, bytes.as_ptr().cast(), bytes.len()) };
        }
    });
    if ours.get() {
        // SAFETY: abort is async-signal-safe and does not return.
        unsafe { libc::abort() };
    }
}

fn is_overflow(tasklet: &RunningTasklet<'_>, address: usize) -> bool {
    (tasklet.stack_limit.saturating_sub(REACH)..tasklet.stack_limit).contains(&address)
}

/// Does what would have happened without us.
fn chain(number: libc::c_int, code: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let previous = SIGNALS.iter().find(|signal| signal.number == number).map_or(ptr::null_mut(), |signal| {
        // Acquire pairs with the Release in `publish`.
        signal.previous.load(Ordering::Acquire)
    });
    // SAFETY: not null, it points to a leaked action that nobody changes.
    let previous = unsafe { previous.as_ref() };
    let action = previous.map_or(libc::SIG_DFL, |previous| previous.sa_sigaction);
    let sent = code <= 0;
    match action {
        // Ignoring works for signals that were sent; the kernel kills for a fault all the same, by the default action.
        libc::SIG_IGN if sent => {}
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: all-zero bytes are SIG_DFL.
            let default: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
            // A fault happens again on return, and then kills; what was sent has to be sent again. It is delivered on return,
            // as the signal is blocked here.
            // SAFETY: both calls are async-signal-safe, and `default` is a valid action.
            unsafe {
                libc::sigaction(number, &default, ptr::null_mut());
                if sent {
                    libc::raise(number);
                }
            }
        }
        function if previous.is_some_and(|previous| previous.sa_flags & libc::SA_SIGINFO != 0) => {
            type Function = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
            // SAFETY: neither SIG_DFL nor SIG_IGN, so it is a function, and SA_SIGINFO says of which signature.
            let function = unsafe { std::mem::transmute::<usize, Function>(function) };
            function(number, info, context);
        }
        function => {
            // SAFETY: as above; without SA_SIGINFO it takes the number only.
            let function = unsafe { std::mem::transmute::<usize, extern "C" fn(libc::c_int)>(function) };
            function(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_faults_just_below_the_limit_are_overflows() {
        let tasklet = RunningTasklet { id: 1, name: None, stack_limit: 0x10_0000, stack_size: 4096, is_swapped: false };
        assert!(is_overflow(&tasklet, 0x10_0000 - 1));
        assert!(is_overflow(&tasklet, 0x10_0000 - REACH));
        assert!(!is_overflow(&tasklet, 0x10_0000));
        assert!(!is_overflow(&tasklet, 0x10_0000 - REACH - 1));
        assert!(!is_overflow(&tasklet, 0));
    }
}
