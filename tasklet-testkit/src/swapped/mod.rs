//! What [swapped tasklets](tasklet_scheduler::swapped) promise, under both schedulers: tasklets that take turns on few stacks behave as on stacks of
//! their own.
//!
//! The other suites run with swapped tasklets too, see [`kinds`](crate::kinds); here is what is about the stacks. Nearly everything runs on one slot,
//! with poison where a tasklet was, so that whoever waits is surely copied away.
//!
//! | chapter | what it tests |
//! |---|---|
//! | [`stacks`] | Deep, large and aligned frames, references into the own stack, registers; ten thousand on one slot; when is copied, and when memory goes. |
//! | [`waits`] | Every place where one can wait: served, killed, late, closed while copied away. Values in waiting cells, aligned ones, are dropped once. |
//! | [`selects`] | Selects that are copied away: arms on the stack, in a list, in their boxes, several at one place; nested; what ends them. |
//! | [`ends`] | Panics, catching, kills, destructors that fail, backtraces, shutdown, those that refuse to end. |
//! | [`mixing`] | Kinds side by side, every way of spawning, nested runs, schedulers in swapped tasklets, refusals. |
//! | [`misuse`] | In child processes: what breaks the promises of swapped tasklets and is found out, overflows. |
//! | [`programs`] | Random programs of tasklets that recurse, wait anywhere and are killed, with patterns and references in every frame. |

pub mod ends;
pub mod misuse;
pub mod mixing;
pub mod programs;
pub mod selects;
pub mod stacks;
pub mod waits;

mod places;
mod setup;

use tasklet_core::backend::{Backend, Swaps};
use tasklet_core::tasklet::StackKind;

/// One run of a test. Without workers: under the local scheduler.
pub use crate::stealing::Case;
use crate::who::Who;

/// Expands to one `#[test]` per behaviour of swapped tasklets, for the given backend. Where it cannot swap, it has to say so.
#[macro_export]
macro_rules! swapped_suite {
    ($backend:ty) => {
        $crate::__swapped_tests! { $backend, [0, 1, 2];
            stacks: deep_frames_come_back;
            stacks: locals_keep_their_addresses;
            stacks: registers_come_back;
            stacks: ten_thousand_take_turns;
            stacks: eviction_comes_anywhere;
            stacks: what_a_swapped_tasklet_takes_is_told;
            waits: every_wait_is_served;
            waits: every_wait_is_killed;
            waits: messages_that_wait_are_dropped_once;
            waits: aligned_messages_come_through;
            waits: threads_serve_who_is_away;
            waits: futures_are_waited_for;
            selects: every_arm_is_chosen;
            selects: arms_lie_anywhere;
            selects: neighbours_at_one_place_stay_in_order;
            selects: selects_nest;
            selects: a_select_is_killed_and_closed;
            selects: threads_choose_an_arm;
            ends: panics_are_caught;
            ends: a_destructor_fails_after_the_copy;
            ends: backtraces_come_to_the_root;
            ends: a_kill_unwinds_who_is_away;
            mixing: kinds_live_together;
            mixing: a_scheduler_lives_on_a_swapped_stack;
            programs: random_programs_keep_their_frames;
        }
        $crate::__swapped_tests! { $backend, [0, 1];
            waits: limits_end_every_wait;
            waits: sleepers_wake;
        }
        $crate::__swapped_tests! { $backend, [0];
            stacks: pairs_at_different_slots_are_not_copied;
            stacks: unused_slots_go;
            stacks: fewer_slots_will_do;
            stacks: slots_give_their_pages_back;
            waits: dumps_show_who_is_away;
            waits: deadlocks_are_found;
            ends: the_end_of_a_scheduler_unwinds_all;
            ends: who_refuses_to_end_is_leaked;
            mixing: runs_nest;
            mixing: a_local_builder_says_what_it_makes;
            misuse: poison_shows_a_stack_that_was_lent;
            misuse: a_wait_at_ones_own_semaphore_aborts;
            misuse: an_overflow_names_tasklet_and_slot;
        }
        $crate::__swapped_tests! { $backend, [1, 2];
            stacks: stacks_of_slots_come_back;
            waits: permits_come_from_anywhere;
            ends: the_end_of_a_runtime_unwinds_all;
            ends: who_refuses_to_end_is_counted;
            mixing: every_way_of_spawning;
            mixing: scopes_have_swapped_children;
            mixing: what_lends_a_stack_is_refused;
            mixing: a_destructor_may_block_while_it_unwinds;
            mixing: who_needs_no_stack_is_not_held_up;
        }
        $crate::__swapped_tests! { $backend, [1];
            mixing: who_needs_no_stack_is_found_by_who_waits_for_memory;
        }
        #[test]
        fn a_backend_that_cannot_swap_says_so() {
            $crate::swapped::mixing::a_backend_that_cannot_swap_says_so::<$backend>();
        }
    };
}

/// One `#[test]` per line of a list in [`swapped_suite!`](crate::swapped_suite), with these numbers of workers.
#[doc(hidden)]
#[macro_export]
macro_rules! __swapped_tests {
    ($backend:ty, $workers:expr; $($chapter:ident: $test:ident;)*) => {
        $(
            #[test]
            fn $test() {
                let test = concat!(module_path!(), "::", stringify!($test));
                $crate::swapped::run_swapped::<$backend>(test, &$workers, $crate::swapped::$chapter::$test::<$backend>);
            }
        )*
    };
}

/// Runs a test with each of these numbers of workers, if the backend swaps.
#[doc(hidden)]
pub fn run_swapped<B: Backend>(test: &'static str, workers: &[usize], body: fn(Case)) {
    if matches!(B::swaps(), Swaps::Yes) {
        let case = |&workers| Case { workers, kind: StackKind::Swapped, who: Who::Stackful, test };
        workers.iter().map(case).for_each(|case| crate::stealing::setup::run_case(case, body));
    }
}
