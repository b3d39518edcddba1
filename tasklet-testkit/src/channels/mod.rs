//! What channels and select promise, whoever uses them: tasklets of either scheduler, plain threads, async code.
//!
//! Each function tests one behaviour on a [`Backend`](tasklet_core::backend::Backend), and does not know which.
//! [`channel_suite!`](crate::channel_suite) expands to one `#[test]` for each, which runs under the local scheduler and under the
//! work-stealing one with one worker, two and four, and with [swapped and soft](crate::kinds) tasklets with up to two.
//!
//! | chapter | what it tests |
//! |---|---|
//! | [`buffers`] | Order, room, those who wait for room, counts, absurd capacities, messages of every kind, many at once. |
//! | [`meeting`] | The rendezvous: a send returns when it was received; tries; threads beside tasklets. |
//! | [`closing`] | Last handles, `close`, permits after it, weak handles, names. |
//! | [`once`] | Oneshot: the message, lost ends, futures, several who wait. |
//! | [`everybody`] | Broadcast and watch: who has what, what is missed, who is woken. |
//! | [`timing`] | Points in time, ticks, `never`, limits of selects, in virtual time. |
//! | [`orders`] | What Go promises: what happens before what; semaphores, stops, chains made of channels; iterators. |
//! | [`racing`] | Selects against each other, kills, limits, closes; nested, with Stackless's channel; fairness of both kinds of arms. |
//! | [`selecting`] | Operands, readiness, fairness, bias, thousands of arms, a channel in several arms, what losing arms keep. |
//! | [`again`] | Arms selected more than once, several who wait for one thing, wakers that use their channel. |
//! | [`leaving`] | Kills, time limits, timers, futures and those that are dropped. |
//! | [`unwinding`] | Selects that unwind when they were served already, chosen arms that are dropped. |

pub mod again;
pub mod buffers;
pub mod closing;
pub mod everybody;
pub mod leaving;
pub mod meeting;
pub mod once;
pub mod orders;
pub mod racing;
pub mod selecting;
pub mod timing;
pub mod unwinding;

mod executor;
pub(crate) mod setup;

/// One run of a test. Without workers: under the local scheduler.
pub use crate::stealing::Case;

/// Expands to one `#[test]` per behaviour of channels, for the given backend.
#[macro_export]
macro_rules! channel_suite {
    ($backend:ty) => {
        $crate::__channel_tests! { $backend, [0, 1, 2, 4];
            buffers: messages_come_in_the_order_they_were_sent, soft;
            buffers: a_full_buffer_gives_the_message_back;
            buffers: waiting_senders_are_let_in_oldest_first, soft;
            buffers: waiting_receivers_are_served_oldest_first, soft;
            buffers: absurd_capacities_are_an_error;
            buffers: messages_of_every_kind_arrive, soft;
            buffers: many_are_received_at_once, soft;
            buffers: many_are_received_from_waiting_senders, soft;
            buffers: a_drain_lets_waiting_senders_in, soft;
            buffers: what_is_left_in_a_buffer_is_dropped_once;
            meeting: a_send_returns_when_it_was_received, soft;
            meeting: a_try_meets_only_who_waits, soft;
            meeting: threads_and_tasklets_meet;
            closing: the_last_sender_wakes_all_receivers, soft;
            closing: the_last_receiver_wakes_all_senders, soft;
            closing: a_closed_channel_is_drained;
            closing: closing_wakes_everybody, soft;
            closing: a_permit_puts_the_end_off, soft;
            closing: permits_keep_room, soft;
            closing: weak_handles_keep_nothing_open;
            closing: nothing_is_sent_while_a_close_wakes;
            once: the_one_message_arrives, soft;
            once: a_lost_sender_ends_the_wait, soft;
            once: a_lost_receiver_is_told_to_the_sender;
            once: a_receiver_is_a_future;
            once: a_message_outlives_those_who_waited;
            once: questions_have_their_answers;
            everybody: everybody_has_every_message;
            everybody: a_message_wakes_all_listeners, soft;
            everybody: a_slow_listener_is_told_what_it_missed;
            everybody: messages_for_nobody_come_back;
            everybody: a_watcher_sees_the_latest_value;
            everybody: a_change_wakes_all_watchers, soft;
            everybody: a_watch_shows_all_that_was_sent;
            everybody: watched_values_are_dropped_once;
            orders: a_send_happens_before_its_receive, soft;
            orders: a_receive_happens_before_the_send_that_needs_its_room, soft;
            orders: a_buffer_limits_how_many_work, soft;
            orders: a_close_stops_everybody, soft;
            orders: an_ended_source_is_switched_off, soft;
            orders: a_chain_passes_everything_on, soft;
            orders: iterators_end_with_the_channel, soft;
            racing: what_ends_a_select_loses_nothing;
            racing: what_ends_a_sending_select_doubles_nothing;
            racing: selects_meet_selects, soft;
            racing: a_stackless_channel_is_an_arm, soft;
            racing: selects_nest_in_the_code_of_arms, soft;
            racing: arms_of_both_kinds_are_chosen_alike;
            racing: a_select_waits_in_turn, soft;
            selecting: operands_are_evaluated_once_and_in_order;
            selecting: closed_channels_are_ready;
            selecting: a_default_is_for_when_nothing_is_ready;
            selecting: a_channel_may_be_in_several_arms, soft;
            selecting: a_select_never_meets_itself, soft;
            selecting: ready_arms_are_chosen_alike;
            selecting: a_biased_select_takes_the_first;
            selecting: thousands_of_arms_wait;
            selecting: losing_arms_keep_their_messages, soft;
            selecting: an_arm_may_be_selected_again;
            selecting: joins_and_ends_are_arms, soft;
            selecting: a_cancellation_is_an_arm;
            selecting: names_of_the_caller_are_left_alone;
            selecting: selects_in_a_circle_go_on;
            leaving: a_kill_takes_a_waiter_out, soft;
            leaving: a_message_of_a_killed_receiver_comes_back, soft;
            leaving: a_message_of_a_killed_select_comes_back;
            leaving: what_comes_back_is_next;
            leaving: async_code_sends_and_receives;
            leaving: a_dropped_future_gives_back;
            unwinding: a_chosen_arm_that_is_dropped_gives_back;
            again: a_chosen_arm_is_ready_until_it_is_taken;
            again: a_refusal_does_not_stick, soft;
            again: a_oneshot_wakes_all_who_wait;
            again: a_oneshot_that_was_polled_can_be_asked;
            again: a_permit_that_is_given_up_ends_all_waits, soft;
            again: a_broadcast_keeps_what_it_has_promised, soft;
            again: closing_for_many_wakes_them_all, soft;
            again: a_future_keeps_its_channel_open;
            again: a_waker_may_use_its_channel;
            again: an_arm_goes_before_the_limit;
            again: a_stackless_channel_does_what_others_do, soft;
        }
        $crate::__channel_tests! { $backend, [0];
            again: a_select_is_a_partner_like_any;
            again: names_are_shown;
            unwinding: a_served_arm_has_its_message;
            unwinding: a_served_arm_has_sent;
            unwinding: a_dropped_arm_serves_who_waits;
        }
        $crate::__channel_tests! { $backend, [1, 2, 4];
            leaving: soft_tasklets_send_and_receive;
            once: a_soft_tasklet_awaits_the_message;
            selecting: the_callers_own_cancellation_is_an_arm;
            unwinding: a_worker_serves_its_own_tasklet_that_unwinds;
        }
        $crate::__channel_tests! { $backend, [1];
            buffers: huge_messages_arrive;
            leaving: limits_end_waits_of_threads;
            leaving: limits_end_waits_of_threads_that_exit;
        }
        $crate::__channel_tests! { $backend, [0, 1];
            timing: a_point_in_time_comes_once;
            timing: ticks_that_were_missed_are_left_out;
            timing: a_tick_needs_a_period;
            timing: nothing_comes_from_never;
            timing: the_earliest_limit_ends_a_select, soft;
            timing: a_limit_comes_though_nobody_will;
            timing: a_heartbeat_beside_work, soft;
            leaving: limits_end_waits;
        }
    };
}

/// One `#[test]` per line of a list in [`channel_suite!`](crate::channel_suite), with these numbers of workers. What stands
/// behind a name says with which [kinds](crate::kinds) of tasklets.
#[doc(hidden)]
#[macro_export]
macro_rules! __channel_tests {
    ($backend:ty, $workers:expr; $($chapter:ident: $test:ident $(, $mark:ident $($reason:literal)?)*;)*) => {
        $(
            #[test]
            fn $test() {
                let test = concat!(module_path!(), "::", stringify!($test));
                $crate::stealing::run_cases::<$backend>(test, &$workers, &[$($crate::__mark!($mark $($reason)?)),*], $crate::channels::$chapter::$test::<$backend>);
            }
        )*
    };
}
