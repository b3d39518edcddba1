//! Small histories of channels, looked at for an order: three callers do four things each, and there must be an order of the operations,
//! each between its call and its answer, in which a channel that is used by one after the other gives these answers.
//!
//! | file | what |
//! |---|---|
//! | `search` | the search for an order, for any [`Model`] |
//! | `models` | channels used by one after the other, and histories that are not theirs |
//! | `record` | calls and answers, as they happen |
//! | `callers` | the callers: plain threads, tasklets, both; with kills |
//!
//! `TASKLET_RANDOM_SEED`, `TASKLET_RANDOM_ROUND` and `TASKLET_RANDOM_MILLIS` say which, and for how long.

mod callers;
mod models;
mod record;
mod search;

pub use callers::{oneshots, queues_of_both, queues_of_tasklets, queues_of_threads};
pub use models::{Answer, Oneshot, Op, Queue};
pub use search::{Did, Event, Model, is_linearizable};

/// Expands to one `#[test]` for each kind of caller, for the given backend.
#[macro_export]
macro_rules! history_suite {
    ($backend:ty) => {
        $crate::__history_tests! { $backend, [1]; queues_of_threads; }
        $crate::__history_tests! { $backend, [0, 2, 4]; queues_of_tasklets; }
        $crate::__history_tests! { $backend, [0, 2, 4]; queues_of_both; }
        $crate::__history_tests! { $backend, [0, 2, 4]; oneshots; }
    };
}

/// One `#[test]` per line of a list in [`history_suite!`](crate::history_suite), with these numbers of workers.
#[doc(hidden)]
#[macro_export]
macro_rules! __history_tests {
    ($backend:ty, $workers:expr; $($test:ident;)*) => {
        $(
            #[test]
            fn $test() {
                let test = concat!(module_path!(), "::", stringify!($test));
                $crate::stealing::run_cases::<$backend>(test, &$workers, &[], $crate::histories::$test::<$backend>);
            }
        )*
    };
}
