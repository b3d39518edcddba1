//! The kernel's limits on mappings and stack size arrive as errors, with the number in them; nothing panics or prints.
//!
//! Each test changes or fills the process, so each runs in a child.

use std::env;
use std::process::{Command, Output};

use tasklet_backend_generator::Generator;
use tasklet_core::backend::{Backend, Resumed, StackSource};
use tasklet_core::stack::{StackError, StackSize};

type Coroutine = <Generator as Backend>::Coroutine;
type Suspender = <Generator as Backend>::Suspender;

unsafe fn suspends_once(_: *mut (), suspender: &Suspender) {
    // SAFETY: this runs on the suspender's coroutine, and nothing panics here.
    unsafe { Generator::suspend(suspender) }
}

fn create(size: usize) -> Result<Coroutine, StackError> {
    let stack = StackSource::Backend(StackSize::new(size)?);
    // SAFETY: `suspends_once` uses no argument and does not unwind.
    unsafe { Generator::create(stack, suspends_once, std::ptr::null_mut()) }
}

/// Runs `body` in a child that runs only this test; in the parent, returns how that went.
fn in_child(test: &str, body: impl FnOnce()) -> Option<Output> {
    if env::var("TASKLET_CEILING_CHILD").is_ok_and(|name| name == test) {
        body();
        std::process::exit(0);
    }
    let mut command = Command::new(env::current_exe().expect("the path of this program"));
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env("TASKLET_CEILING_CHILD", test);
    Some(command.output().expect("a child process"))
}

fn assert_quiet(output: &Output) {
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn more_stacks_than_mappings_is_an_error_that_names_the_limit() {
    let output = in_child("more_stacks_than_mappings_is_an_error_that_names_the_limit", || {
        let limit: usize = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap().trim().parse().unwrap();
        let mut coroutines = Vec::new();
        let error = loop {
            match create(8 << 10) {
                Ok(mut coroutine) => {
                    // SAFETY: fresh, so neither finished nor running.
                    assert_eq!(unsafe { Generator::resume(&mut coroutine) }, Resumed::Suspended);
                    coroutines.push(coroutine);
                }
                Err(error) => break error,
            }
            assert!(coroutines.len() < limit, "the limit was not noticed");
        };
        assert!(coroutines.len() > limit / 2 - 1000, "only {} stacks: {error}", coroutines.len());
        let message = error.to_string();
        assert!(message.contains(&format!("vm.max_map_count is {limit}")), "{message}");
        assert!(message.contains("no room for stack "), "{message}");

        // The rest of the process still has mappings, threads for one.
        std::thread::spawn(|| {}).join().unwrap();
        // Refusals stay refusals, at no great cost.
        for _ in 0..1000 {
            create(8 << 10).unwrap_err();
        }
        // What finishes makes room again.
        for coroutine in &mut coroutines[..100] {
            // SAFETY: suspended once, so neither finished nor running.
            assert_eq!(unsafe { Generator::resume(coroutine) }, Resumed::Finished);
        }
        coroutines.drain(..100);
        coroutines.extend((0..100).map(|_| create(8 << 10).unwrap()));
        println!("{message}");
    });
    assert_quiet(&output.unwrap());
}

#[test]
fn a_stack_above_the_hard_limit_is_an_error_that_names_it() {
    let output = in_child("a_stack_above_the_hard_limit_is_an_error_that_names_it", || {
        let limit = libc::rlimit { rlim_cur: 1 << 20, rlim_max: 1 << 20 };
        // SAFETY: `limit` is readable; the test's thread has its stack already.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_STACK, &raw const limit) }, 0);
        create(256 << 10).unwrap();
        let message = create(2 << 20).unwrap_err().to_string();
        assert!(message.contains("RLIMIT_STACK is 1048576 bytes"), "{message}");
    });
    assert_quiet(&output.unwrap());
}

#[test]
fn the_programs_signal_handlers_stay() {
    fn handler(signal: libc::c_int) -> usize {
        // SAFETY: all zeroes is a valid action, and only reading is asked for.
        unsafe {
            let mut action = std::mem::zeroed::<libc::sigaction>();
            assert_eq!(libc::sigaction(signal, std::ptr::null(), &raw mut action), 0);
            action.sa_sigaction
        }
    }
    let output = in_child("the_programs_signal_handlers_stay", || {
        let before = [handler(libc::SIGSEGV), handler(libc::SIGBUS)];
        let mut coroutine = create(64 << 10).unwrap();
        // SAFETY: fresh, then suspended.
        unsafe {
            assert_eq!(Generator::resume(&mut coroutine), Resumed::Suspended);
            assert_eq!(Generator::resume(&mut coroutine), Resumed::Finished);
        }
        assert_eq!([handler(libc::SIGSEGV), handler(libc::SIGBUS)], before);
    });
    assert_quiet(&output.unwrap());
}

#[test]
fn generators_of_the_program_inside_a_coroutine_are_suspended_with_it() {
    unsafe fn with_generators(argument: *mut (), suspender: &Suspender) {
        // SAFETY: the test passes its counter, which nobody else touches meanwhile.
        let seen = unsafe { &mut *argument.cast::<Vec<u32>>() };
        let outer = (&raw const *suspender).expose_provenance();
        let numbers = generator::Gn::<()>::new_scoped(move |mut scope| {
            for number in 0..3 {
                // SAFETY: this runs on a generator that the suspender's coroutine resumed, and nothing panics here.
                unsafe { Generator::suspend(&*std::ptr::with_exposed_provenance(outer)) };
                scope.yield_(number);
            }
            3
        });
        seen.extend(numbers);
    }
    let mut seen = Vec::<u32>::new();
    let stack = StackSource::Backend(StackSize::new(64 << 10).unwrap());
    // SAFETY: `seen` outlives the coroutine, and `with_generators` does not unwind.
    let mut coroutine = unsafe { Generator::create(stack, with_generators, (&raw mut seen).cast()) }.unwrap();
    for _ in 0..3 {
        // SAFETY: neither finished nor running.
        assert_eq!(unsafe { Generator::resume(&mut coroutine) }, Resumed::Suspended);
    }
    // SAFETY: as above.
    assert_eq!(unsafe { Generator::resume(&mut coroutine) }, Resumed::Finished);
    assert_eq!(seen, [0, 1, 2, 3]);
}
