//! A process ends when its main function does, whatever tasklets are doing: no crash, no hang, its exit status.

use std::process::exit;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tasklet::Channel;
use tasklet::stealing::{self, Runtime, blocking, checkpoint, park, sleep, yield_now};

use crate::child;
use crate::support::{runtime, yield_until};

/// A runtime with tasklets that wait, compute and block.
fn busy() -> Runtime {
    let runtime = runtime(2);
    let handle = runtime.handle();
    runtime.run(move || {
        for number in 0..50 {
            let _detached = handle.spawn(move || match number % 5 {
                0 => drop(park()),
                1 => sleep(Duration::from_secs(3600)),
                2 => drop(Channel::<()>::new().recv()),
                3 => blocking(|| std::thread::sleep(Duration::from_secs(3600))),
                _ => loop {
                    yield_now();
                },
            });
        }
        let _computes = handle.spawn(|| {
            loop {
                checkpoint();
            }
        });
        // Time enough to get going.
        sleep(Duration::from_millis(5));
    });
    runtime
}

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

fn in_static() -> &'static Runtime {
    RUNTIME.get_or_init(busy)
}

/// What the child of each role does; then it exits with the status.
const ROLES: [(&str, i32, fn()); 6] = [
    ("returns_with_a_forgotten_runtime", 0, || std::mem::forget(busy())),
    ("returns_with_a_runtime_in_a_static", 0, || {
        in_static();
    }),
    ("exits_beside_a_runtime", 7, || {
        let _runtime = busy();
        exit(7);
    }),
    ("exits_in_a_tasklet", 8, || in_static().run(|| exit(8))),
    ("exits_in_a_blocking_call", 9, || in_static().run(|| blocking(|| exit(9)))),
    ("exits_in_a_destructor_of_a_killed_tasklet", 10, || {
        struct Exits;
        impl Drop for Exits {
            fn drop(&mut self) {
                exit(10);
            }
        }
        in_static().run(|| {
            static STARTED: AtomicBool = AtomicBool::new(false);
            let handle = stealing::spawn(|| {
                let _exits = Exits;
                STARTED.store(true, Ordering::Relaxed);
                let _ = park();
            });
            yield_until(|| STARTED.load(Ordering::Relaxed));
            handle.kill();
            let _ = handle.join();
        });
    }),
];

#[test]
fn a_process_ends_whatever_its_tasklets_do() {
    if let Some(role) = child::role() {
        let (_, status, act) = ROLES.iter().find(|(name, ..)| *name == role).unwrap();
        act();
        // What follows the end of `main`, where destructors of statics and of the C library's run.
        assert_eq!(*status, 0, "it should have exited");
        exit(0);
    }
    for (role, status, _) in ROLES {
        // More than once: what goes wrong here does so by chance.
        for _ in 0..3 {
            let (output, text) = child::run("exit::a_process_ends_whatever_its_tasklets_do", role);
            assert_eq!(output.status.code(), Some(status), "{role}: {:?} {text}", output.status);
            assert!(!text.contains("panicked"), "{role}: {text}");
        }
    }
}
