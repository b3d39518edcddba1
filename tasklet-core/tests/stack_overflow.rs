//! The overflow handler names the tasklet and aborts; other faults and signals go to whoever handled them before.

#![cfg(unix)]

mod child;

use std::os::unix::process::ExitStatusExt;
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};

use tasklet_core::stack::overflow::{RunningTasklet, ensure_signal_stack, install_overflow_handler};
use tasklet_core::stack::{Stack, StackPool, StackSize};

static LIMIT: AtomicUsize = AtomicUsize::new(0);
static SIZE: AtomicUsize = AtomicUsize::new(0);

/// Stands for a scheduler: a tasklet runs on the stack given to `pretend_to_run_on`.
fn query(found: &mut dyn FnMut(RunningTasklet<'_>)) {
    let (stack_limit, stack_size) = (LIMIT.load(Ordering::Relaxed), SIZE.load(Ordering::Relaxed));
    if stack_limit != 0 {
        found(RunningTasklet { id: 7, name: Some("digger"), stack_limit, stack_size, is_swapped: false });
    }
}

fn install() {
    // SAFETY: `query` only loads atomics.
    unsafe { install_overflow_handler(query) }.unwrap();
}

fn pretend_to_run_on(stack: &Stack) {
    LIMIT.store(stack.limit() as usize, Ordering::Relaxed);
    SIZE.store(stack.size(), Ordering::Relaxed);
}

fn write(address: *mut u8) {
    // SAFETY: not mapped, or a guard: the write only raises the signal that the child process is there for.
    unsafe { address.write_volatile(1) };
}

fn set_action(signal: libc::c_int, function: usize, flags: libc::c_int) {
    // SAFETY: all-zero bytes are a valid sigaction, and `function` has the signature that `flags` say.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = function;
        action.sa_flags = flags;
        assert_eq!(libc::sigaction(signal, &action, std::ptr::null_mut()), 0);
    }
}

fn say(text: &str) {
    // SAFETY: the text is live for the call.
    unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
}

extern "C" fn plain(_signal: libc::c_int) {
    say("plain handler\n");
    // SAFETY: ends the process; async-signal-safe.
    unsafe { libc::_exit(3) };
}

extern "C" fn with_info(signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: our handler passes on what the kernel gave it.
    let address = unsafe { (*info).si_addr() } as usize;
    say(if address == 64 && signal == libc::SIGSEGV { "address 64\n" } else { "other address\n" });
    // SAFETY: ends the process; async-signal-safe.
    unsafe { libc::_exit(4) };
}

extern "C" fn returning(_signal: libc::c_int) {
    say("returning handler\n");
}

fn raise(signal: libc::c_int) {
    // SAFETY: raises a signal whose handler does not unwind.
    unsafe { libc::raise(signal) };
}

/// A thread of C's making on a stack of ours, without a signal stack.
fn run_on(stack: &Stack, entry: extern "C" fn(*mut libc::c_void) -> *mut libc::c_void) {
    // SAFETY: the attributes are initialised before use, and the stack outlives the thread, which is joined.
    unsafe {
        let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
        assert_eq!(libc::pthread_attr_init(&mut attributes), 0);
        let size = stack.size() / 64 * 64;
        assert_eq!(libc::pthread_attr_setstack(&mut attributes, stack.limit().cast(), size), 0);
        let mut thread: libc::pthread_t = std::mem::zeroed();
        assert_eq!(libc::pthread_create(&mut thread, &attributes, entry, std::ptr::null_mut()), 0);
        libc::pthread_join(thread, std::ptr::null_mut());
    }
}

extern "C" fn recurse_for_ever(_argument: *mut libc::c_void) -> *mut libc::c_void {
    #[expect(unconditional_recursion, reason = "the point of the test")]
    #[inline(never)]
    fn dig(depth: u64) -> u64 {
        let frame = std::hint::black_box([depth; 1000]);
        dig(depth + 1) + frame[depth as usize % 1000]
    }
    let _signal_stack = ensure_signal_stack().unwrap();
    std::hint::black_box(dig(0));
    std::ptr::null_mut()
}

fn child_of(test: &str, role: &str) -> (Output, String) {
    let output = child::run(test, role);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, text)
}

#[test]
fn an_overflow_names_tasklet_and_size_and_aborts() {
    const TEST: &str = "an_overflow_names_tasklet_and_size_and_aborts";
    match child::role() {
        None => {
            let (output, text) = child_of(TEST, "child");
            assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{text}");
            let size = text.lines().find_map(|line| line.strip_prefix("size ")).unwrap();
            let expected = format!(
                "tasklet 'digger' (id 7) overflowed its stack of {size} bytes; raise it with TaskletBuilder::stack_size\n"
            );
            assert!(text.contains(&expected), "{text}");
        }
        Some(_) => {
            install();
            install();
            let pool = StackPool::default();
            let _other = pool.acquire(StackSize::DEFAULT).unwrap();
            let stack = pool.acquire(StackSize::DEFAULT).unwrap();
            eprintln!("size {}", stack.size());
            pretend_to_run_on(&stack);
            write(stack.limit().wrapping_sub(8));
        }
    }
}

#[test]
fn recursion_to_the_end_of_a_stack_is_reported_from_a_foreign_thread() {
    const TEST: &str = "recursion_to_the_end_of_a_stack_is_reported_from_a_foreign_thread";
    match child::role() {
        None => {
            let (output, text) = child_of(TEST, "child");
            assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{text}");
            assert!(text.contains("tasklet 'digger' (id 7) overflowed its stack of "), "{text}");
        }
        Some(_) => {
            install();
            let stack = StackPool::default().acquire(StackSize::DEFAULT).unwrap();
            pretend_to_run_on(&stack);
            run_on(&stack, recurse_for_ever);
        }
    }
}

#[test]
fn foreign_faults_go_to_the_previous_handler() {
    const TEST: &str = "foreign_faults_go_to_the_previous_handler";
    match child::role().as_deref() {
        None => {
            let (output, text) = child_of(TEST, "plain");
            assert_eq!(output.status.code(), Some(3), "{text}");
            assert!(text.contains("plain handler") && !text.contains("overflowed"), "{text}");
            let (output, text) = child_of(TEST, "info");
            assert_eq!(output.status.code(), Some(4), "{text}");
            assert!(text.contains("address 64"), "{text}");
            // SIGBUS has its own previous handler.
            let (output, text) = child_of(TEST, "bus");
            assert_eq!(output.status.code(), Some(3), "{text}");
            for role in ["std", "default", "ignored"] {
                let (output, text) = child_of(TEST, role);
                assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{role}: {text}");
                assert!(!text.contains("overflowed"), "{role}: {text}");
            }
        }
        Some(role) => {
            match role {
                "plain" => set_action(libc::SIGSEGV, plain as *const () as usize, 0),
                "info" => set_action(libc::SIGSEGV, with_info as *const () as usize, libc::SA_SIGINFO),
                "bus" => {
                    set_action(libc::SIGSEGV, with_info as *const () as usize, libc::SA_SIGINFO);
                    set_action(libc::SIGBUS, plain as *const () as usize, 0);
                }
                "default" => set_action(libc::SIGSEGV, libc::SIG_DFL, 0),
                "ignored" => set_action(libc::SIGSEGV, libc::SIG_IGN, 0),
                _ => {}
            }
            install();
            install();
            let stack = StackPool::default().acquire(StackSize::DEFAULT).unwrap();
            pretend_to_run_on(&stack);
            if role == "bus" {
                raise(libc::SIGBUS);
            }
            write(std::ptr::without_provenance_mut(64));
        }
    }
}

#[test]
fn signals_that_were_sent_have_their_usual_effect() {
    const TEST: &str = "signals_that_were_sent_have_their_usual_effect";
    match child::role().as_deref() {
        None => {
            let (output, text) = child_of(TEST, "default");
            assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{text}");
            assert!(!text.contains("survived"), "{text}");
            for role in ["ignored", "returning"] {
                let (output, text) = child_of(TEST, role);
                assert!(output.status.success() && text.contains("survived"), "{role}: {text}");
                assert_eq!(text.contains("returning handler"), role == "returning", "{text}");
            }
        }
        Some(role) => {
            let function = match role {
                "ignored" => libc::SIG_IGN,
                "returning" => returning as *const () as usize,
                _ => libc::SIG_DFL,
            };
            set_action(libc::SIGSEGV, function, 0);
            install();
            raise(libc::SIGSEGV);
            eprintln!("survived");
        }
    }
}
