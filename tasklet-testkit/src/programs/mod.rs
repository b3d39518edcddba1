//! Random programs of one to eight actors over every flavour of channel, and what must hold of them. Actors are tasklets with a stack, soft ones,
//! and plain threads, mixed in one program; under the local scheduler, tasklets that block on a future stand for soft ones.
//!
//! Messages count how often they were dropped and who had them: nothing is lost, nothing doubled, each is dropped once, those of one
//! sender come to a receiver in the order in which they were sent, and nobody waits and no handle is left in the end.
//!
//! | file | what |
//! |---|---|
//! | `ledger` | what has happened to each message |
//! | `actor` | everything that can be done at a channel of senders and receivers, and by select |
//! | `running` | actors that run, whatever they are |
//! | `queues` | programs of such actors |
//! | `news` | programs over the other flavours: oneshot, broadcast, watch |
//! | `exact` | under the local scheduler: the order of everything, compared with a model's |
//!
//! The seed and the time are told by
//! `TASKLET_RANDOM_SEED`, `TASKLET_RANDOM_ROUND` and `TASKLET_RANDOM_MILLIS`.

mod actor;
mod ledger;
mod running;

pub mod exact;
pub mod news;
pub mod queues;

/// Expands to one `#[test]` for each kind of program, for the given backend.
#[macro_export]
macro_rules! program_suite {
    ($backend:ty) => {
        $crate::__program_tests! { $backend, [0, 1, 2, 4];
            queues: orderly_programs_lose_nothing;
            queues: wild_programs_lose_nothing;
            news: oneshots_lose_nothing;
            news: broadcasts_reach_everybody;
            news: the_last_value_is_seen;
        }
        $crate::__program_tests! { $backend, [0];
            exact: the_order_is_the_models, soft;
        }
    };
}

/// One `#[test]` per line of a list in [`program_suite!`](crate::program_suite), with these numbers of workers. What stands
/// behind a name says with which [kinds](crate::kinds) of tasklets.
#[doc(hidden)]
#[macro_export]
macro_rules! __program_tests {
    ($backend:ty, $workers:expr; $($chapter:ident: $test:ident $(, $mark:ident $($reason:literal)?)*;)*) => {
        $(
            #[test]
            fn $test() {
                let test = concat!(module_path!(), "::", stringify!($test));
                $crate::stealing::run_cases::<$backend>(test, &$workers, &[$($crate::__mark!($mark $($reason)?)),*], $crate::programs::$chapter::$test::<$backend>);
            }
        )*
    };
}
