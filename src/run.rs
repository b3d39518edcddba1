//! What starts on the default backend without naming it; only in builds that have one.

use tasklet_scheduler::stealing::run_on;

/// Runs `f` as a tasklet of a new runtime with the default settings, and returns what it returns. Tasklets that are left then are
/// killed.
///
/// # Panics
///
/// With what `f` panics with; if the workers could not be started; and if called by a tasklet whose worker would wait for it.
///
/// # Examples
///
/// ```
/// let sum = tasklet::run(|| {
///     let parts: Vec<_> = (1..=4).map(|n| tasklet::spawn(move || n * n)).collect();
///     parts.into_iter().map(|part| part.join().unwrap()).sum::<i32>()
/// });
/// assert_eq!(sum, 30);
/// ```
#[track_caller]
pub fn run<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    run_on::<crate::backend::Default, T>(f)
}
