//! What sockets, other descriptors, files, processes and signals promise, whoever uses them: tasklets of either scheduler, and plain threads.
//!
//! Each function tests one behaviour on a [`Backend`](tasklet_core::backend::Backend), and does not know which.
//! [`io_suite!`](crate::io_suite) expands to one `#[test]` for each, which runs under the local scheduler and under the work-stealing one
//! with one worker, two and four, and on [swapped](crate::kinds) stacks with up to two.
//!
//! | chapter | what it tests |
//! |---|---|
//! | [`streams`] | What goes through a connection: order, amounts, both directions, ends, limits of buffers. |
//! | [`sockets`] | Listeners that close and share, Unix sockets, std's types and back, readiness in a select. |
//! | [`datagrams`] | Bounds, limits, receivers that are full. |
//! | [`faults`] | Resets, descriptors that run out, peers and schedulers that go. |
//! | [`storms`] | Signals in the middle of calls. |
//! | [`futures`] | Sockets in async code. |
//! | [`leaving`] | Kills, time limits, and the ends of schedulers: nothing is lost, nobody is forgotten. |
//! | [`copying`] | Copies from one descriptor to another. |
//! | [`files`] | Files and directories. |
//! | [`pipes`] | Pipes, and the standard streams. |
//! | [`processes`] | Children: their ends, what they write, what is left of them. |
//! | [`signals`] | Signals are received, and not lost. |

pub mod copying;
pub mod datagrams;
pub mod faults;
pub mod files;
pub mod futures;
pub mod leaving;
pub mod pipes;
pub mod processes;
pub mod signals;
pub mod sockets;
pub mod storms;
pub mod streams;

pub(crate) mod setup;

/// One run of a test. Without workers: under the local scheduler.
pub use crate::stealing::Case;

/// Expands to one `#[test]` per behaviour of sockets and other descriptors, for the given backend.
#[macro_export]
macro_rules! io_suite {
    ($backend:ty) => {
        $crate::__io_tests! { $backend, [0, 1, 2, 4];
            streams: what_is_sent_arrives;
            streams: a_full_buffer_makes_the_writer_wait;
            streams: both_directions_at_once;
            streams: an_end_is_seen_after_what_came_before;
            streams: one_direction_ends_alone;
            streams: a_peek_takes_nothing;
            streams: nothing_is_read_into_nothing;
            streams: parts_are_written_together;
            streams: more_parts_than_the_system_takes;
            streams: an_urgent_byte_is_in_nobodys_way;
            streams: several_read_one_connection;
            streams: a_thread_talks_to_a_tasklet;
            streams: others_run_meanwhile;
            leaving: a_killed_reader_has_taken_nothing;
            leaving: a_killed_acceptor_has_taken_nobody;
            leaving: a_killed_writer_has_written_whole_parts;
            leaving: a_read_takes_no_longer_than_its_limit;
            leaving: nobody_listens;
            copying: all_that_comes_is_copied;
            copying: streams_of_any_kind_are_copied;
            copying: a_part_is_copied;
            copying: a_file_is_copied;
            copying: what_the_system_cannot_copy_is_copied;
            copying: a_killed_copy_loses_nothing;
            copying: a_copy_keeps_time_limits;
            copying: nobody_takes_the_copy;
            copying: an_endless_copy_gives_way;
            copying: a_thread_copies;
            copying: a_copy_goes_past_an_urgent_byte;
            copying: a_copy_needs_no_descriptors_and_leaves_none;
            files: functions_do_what_they_say;
            files: what_is_written_is_read;
            files: handles_are_of_one_file;
            files: directories_are_read;
            files: errors_are_those_of_std;
            files: a_call_that_blocks_keeps_nobody;
            files: a_kill_waits_for_the_call;
            pipes: what_is_written_arrives;
            pipes: a_closed_end_is_seen_at_the_other;
            pipes: a_killed_reader_leaves_the_pipe_as_it_was;
            pipes: the_other_end_is_anybodys;
            pipes: standard_streams_are_those_of_the_process;
            processes: a_command_is_run;
            processes: pipes_lead_to_a_child_and_back;
            processes: both_outputs_are_read_together;
            processes: others_run_while_a_child_does;
            processes: a_killed_waiter_leaves_the_child;
            processes: a_child_is_killed;
            processes: a_killed_command_leaves_no_child;
            processes: nothing_is_left;
            processes: a_child_inherits_nothing;
            signals: everybody_who_listens_is_told;
            signals: a_signal_is_kept;
            signals: several_wait_together;
            signals: a_select_takes_a_signal;
            signals: a_killed_waiter_has_taken_none;
            signals: an_interrupt_is_received;
            signals: some_signals_are_refused;
            sockets: unix_streams_carry_bytes;
            sockets: a_full_backlog_makes_a_unix_connect_wait;
            sockets: a_closed_listener_accepts_nobody;
            sockets: listeners_share_a_port;
            sockets: std_sockets_become_ours_and_back;
            sockets: readiness_is_selectable;
            sockets: a_select_gives_up_readiness;
            sockets: a_wait_that_fails_leaves_nothing_behind;
            sockets: an_address_in_use_is_refused;
            datagrams: datagrams_keep_their_bounds;
            datagrams: a_receive_takes_no_longer_than_its_limit;
            datagrams: a_full_receiver_makes_the_sender_wait;
            futures: what_async_code_sends_arrives;
            futures: a_task_waits_for_both_directions;
            futures: a_dropped_read_takes_nothing;
            futures: a_waker_is_replaced;
            futures: a_waker_that_polls_is_woken_once;
            futures: async_code_connects_and_accepts;
            futures: ends_and_errors_are_told;
            futures: a_busy_task_gives_way;
            futures: no_scheduler_no_wait;
            futures: a_loop_of_reads_gives_way;
            futures: async_code_pauses_when_descriptors_run_out;
            futures: soft_tasklets_use_sockets;
            faults: accept_pauses_when_descriptors_run_out;
            faults: a_reset_is_an_error_of_the_read;
            faults: who_has_gone_cannot_be_written_to;
            faults: a_shutdown_ends_waits;
            faults: a_connect_waits_for_an_answer;
            faults: no_way_and_gone_already;
            faults: the_first_wait_registers;
            faults: slow_clients_do_not_slow_the_fast;
            storms: signals_do_not_end_a_wait;
            storms: no_call_tells_of_a_signal;
            faults: the_end_of_a_watcher_forgets_nobody;
            faults: a_source_moves_to_who_waits_for_it;
            faults: a_source_that_cannot_move_forgets_nobody;
            faults: who_cannot_be_watched_takes_nobodys_place;
            faults: no_descriptor_is_left;
        }
    };
}

/// One `#[test]` per line of the list in [`io_suite!`](crate::io_suite), with these numbers of workers. Those with a
/// reason run on [stacks of their own](crate::kinds) alone.
#[doc(hidden)]
#[macro_export]
macro_rules! __io_tests {
    ($backend:ty, $workers:expr; $($chapter:ident: $test:ident $(, own $reason:literal)?;)*) => {
        $(
            #[test]
            fn $test() {
                let test = concat!(module_path!(), "::", stringify!($test));
                $crate::stealing::run_cases::<$backend>(test, &$workers, &[$($reason)?], $crate::io::$chapter::$test::<$backend>);
            }
        )*
    };
}
