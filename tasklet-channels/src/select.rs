//! Waiting for whichever of several things happens first: the macros, and the dynamic form.
//!
//! How it works, and why no message is lost, is in [`tasklet_core::wait`].

use std::fmt;
use std::time::Duration;

use tasklet_core::operation::AnyBackend;
use tasklet_core::park::ParkError;
use tasklet_core::wait::{self, Ended, Patience, deadline};

pub use tasklet_core::wait::{Arm, Order, TypedArm};

/// No arm was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelectError {
    ended: Ended,
}

impl SelectError {
    /// No arm was ready, and the select does not wait.
    pub fn is_would_block(&self) -> bool {
        self.ended == Ended::WouldBlock
    }

    /// The time was up.
    pub fn is_timeout(&self) -> bool {
        self.ended == Ended::TimedOut
    }

    /// The caller could not park, and not because it was cancelled.
    #[doc(hidden)]
    pub fn is_refused(&self) -> bool {
        self.park_error().is_some_and(|error| error != ParkError::Cancelled)
    }

    /// Why the caller could not park, if that is the cause.
    pub fn park_error(&self) -> Option<ParkError> {
        match self.ended {
            Ended::Refused(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for SelectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ended {
            Ended::WouldBlock => f.write_str("could not select: no arm is ready"),
            Ended::TimedOut => f.write_str("could not select: the time was up"),
            Ended::Refused(error) => write!(f, "could not select: {error}"),
            Ended::Done | Ended::Closed => f.write_str("could not select: the wait was interrupted"),
        }
    }
}

impl std::error::Error for SelectError {}

/// Several arms, of which one is chosen: what [`select!`](crate::select) is for arms whose number is not known beforehand.
///
/// An arm is made by what it waits for: `recv_arm`, `send_arm`, `closed_arm`, `changed_arm` of the channels' handles, `join_arm` of a join
/// handle, `cancelled_arm` of a token. The arm that was chosen has its [output](TypedArm::output); while nobody has taken that, it is ready.
/// All may be selected again, but for one that has sent its message. One that is dropped with its output gives what it has received back to the
/// channel. Without an arm, a select waits for ever; a plain thread, which nobody could wake, is told so.
///
/// # Fairness
///
/// If several arms are ready, each of them is chosen with the same probability, unless the select is [biased](Self::new_biased): then it is
/// the first of them.
///
/// # Differences from `crossbeam_channel::Select`
///
/// - An arm is a value with a type, so its output needs no second call that has to match.
/// - What is sent is given to the arm when it is made. An arm that was not chosen has it still.
///
/// # Examples
///
/// ```
/// use tasklet_channels::{Select, TypedArm, unbounded};
///
/// let channels: Vec<_> = (0..10).map(|_| unbounded()).collect();
/// channels[7].0.send("seven").unwrap();
/// let mut arms: Vec<_> = channels.iter().map(|(_, receiver)| receiver.recv_arm()).collect();
/// let chosen = Select::new(&mut arms).wait().unwrap();
/// assert_eq!((chosen, arms[chosen].output().unwrap()), (7, "seven"));
/// ```
pub struct Select<'a> {
    arms: Vec<&'a mut dyn Arm>,
    order: Order,
}

impl<'a> Select<'a> {
    /// A fair select over arms of one type.
    pub fn new<A: Arm + 'a>(arms: impl IntoIterator<Item = &'a mut A>) -> Select<'a> {
        let arms = arms.into_iter().map(|arm| arm as &mut dyn Arm).collect();
        Select { arms, order: Order::Fair }
    }

    /// A select over arms of one type, that chooses the first which is ready.
    pub fn new_biased<A: Arm + 'a>(arms: impl IntoIterator<Item = &'a mut A>) -> Select<'a> {
        Select { order: Order::Biased, ..Select::new(arms) }
    }

    /// A fair select without arms, to [add](Self::arm) some of several types.
    pub fn empty() -> Select<'a> {
        Select { arms: Vec::new(), order: Order::Fair }
    }

    /// A select without arms that chooses the first which is ready, to [add](Self::arm) some of several types.
    pub fn empty_biased() -> Select<'a> {
        Select { arms: Vec::new(), order: Order::Biased }
    }

    /// Adds an arm. Returns its number.
    pub fn arm(&mut self, arm: &'a mut dyn Arm) -> usize {
        self.arms.push(arm);
        self.arms.len() - 1
    }

    /// Waits until an arm is ready, and returns its number.
    ///
    /// # Scheduling
    ///
    /// If an arm is ready, as that arm's own operation. Else the caller parks.
    ///
    /// # Errors
    ///
    /// The caller may not park.
    ///
    /// # Panics
    ///
    /// An arm has sent its message already. Unwinds with what is thrown at the caller: then nothing was taken or given, or it was before, and the
    /// arm that was chosen has its output.
    pub fn wait(mut self) -> Result<usize, SelectError> {
        select_in(&mut self.arms, self.order, Limit::Never)
    }

    /// As [`wait`](Self::wait), but an error instead of waiting.
    ///
    /// # Errors
    ///
    /// No arm is ready.
    pub fn try_now(mut self) -> Result<usize, SelectError> {
        select_in(&mut self.arms, self.order, Limit::Now)
    }

    /// As [`wait`](Self::wait), for `limit` at most.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait), and [`SelectError::is_timeout`].
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(mut self, limit: Duration) -> Result<usize, SelectError> {
        select_in(&mut self.arms, self.order, Limit::In(limit))
    }

    /// As [`wait`](Self::wait), until the clock of the caller's scheduler shows `at`, at most.
    ///
    /// # Errors
    ///
    /// As [`wait_timeout`](Self::wait_timeout).
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_deadline(mut self, at: Duration) -> Result<usize, SelectError> {
        select_in(&mut self.arms, self.order, Limit::At(at))
    }
}

impl fmt::Debug for Select<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Select").field("arms", &self.arms.len()).field("order", &self.order).finish()
    }
}

/// How long a select waits.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    Never,
    Now,
    In(Duration),
    At(Duration),
}

/// What the macros and the dynamic form come to.
#[doc(hidden)]
pub fn select_in(arms: &mut [&mut dyn Arm], order: Order, limit: Limit) -> Result<usize, SelectError> {
    let (patience, limit) = match limit {
        Limit::Never => (Patience::Wait, None),
        Limit::Now => (Patience::Now, None),
        Limit::In(limit) => (Patience::Wait, Some(deadline(limit))),
        Limit::At(at) => (Patience::Wait, Some(at)),
    };
    wait::select::<AnyBackend>(arms, order, patience, limit).map_err(|ended| SelectError { ended })
}

/// Of a select without `default`: whoever may not park cannot go on.
#[doc(hidden)]
#[track_caller]
pub fn chosen(result: Result<usize, SelectError>) -> usize {
    match result {
        Ok(arm) => arm,
        Err(error) => panic!("{error}"),
    }
}

/// Waits for one of several things, and runs the code of that arm: the one that is ready, any of them with the same probability if several
/// are, or the first that becomes so.
///
/// ```text
/// select! {
///     recv(receiver) -> result => ..,        // any handle that receives: Result<T, RecvError>
///     send(sender, message) -> result => .., // Result<(), SendError<T>>
///     join(handle) -> () => ..,              // the tasklet has finished; `handle.join()` does not wait then
///     cancelled(token) -> () => ..,          // the token was cancelled
///     closed(handle) -> result => ..,        // the channel was closed
///     changed(watcher) -> result => ..,      // a watched value has changed
///     arm(value) -> result => ..,            // any `TypedArm`
///     default => ..,                         // nothing is ready
///     default(limit) => ..,                  // nothing was for so long
/// }
/// ```
///
/// The operands are evaluated once, in the order they are written, that of `default` last, before any of it is looked at; also messages of
/// arms that are not chosen, which are dropped. An arm whose channel is closed is ready, with an error. The code of an arm may do anything, also select, return, or
/// `break`.
///
/// # Scheduling
///
/// If an arm is ready, as that arm's own operation. Else the caller parks, unless there is a `default` without a limit.
///
/// # Panics
///
/// The caller would have to wait and may not park: [`Select`](crate::Select) gives an error instead. A tasklet whose cancel token was cancelled
/// may not; with `default(limit)` its time is up at once, and an arm `cancelled(token)` is ready. Unwinds with what is thrown at the caller;
/// what an arm was given by then goes back to its channel.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tasklet_channels::{bounded, select};
///
/// let (requests, inbox) = bounded(1);
/// let (stop, stopped) = bounded::<()>(1);
/// requests.send(5).unwrap();
/// let mut sum = 0;
/// loop {
///     select! {
///         recv(inbox) -> request => sum += request.unwrap(),
///         recv(stopped) -> _ => break,
///         default(Duration::from_millis(1)) => stop.send(()).unwrap(),
///     }
/// }
/// assert_eq!(sum, 5);
/// ```
#[macro_export]
macro_rules! select {
    ($($arms:tt)*) => { $crate::__select!(@parse (Fair) (Never) () () $($arms)*) };
}

/// As [`select!`](crate::select), but of several arms that are ready the first is chosen. An arm that is always ready starves those after it.
#[macro_export]
macro_rules! select_biased {
    ($($arms:tt)*) => { $crate::__select!(@parse (Biased) (Never) () () $($arms)*) };
}

/// The parts of [`select!`](crate::select): reads arm after arm into a list `(name, value, pattern, code)`, then makes the code.
#[doc(hidden)]
#[macro_export]
macro_rules! __select {
    // `default`, with or without a limit; once.
    (@parse $order:tt $limit:tt ($($default:tt)+) $list:tt default $($rest:tt)*) => {
        ::core::compile_error!("a select has one `default` at most")
    };
    (@parse ($order:ident) ($($limit:tt)*) ($($default:tt)*) ($($list:tt)*) default => $body:block $(, $($rest:tt)*)?) => {
        $crate::__select!(@parse ($order) (Now) ($body) ($($list)*) $($($rest)*)?)
    };
    (@parse ($order:ident) ($($limit:tt)*) ($($default:tt)*) ($($list:tt)*) default => $body:block $($rest:tt)*) => {
        $crate::__select!(@parse ($order) (Now) ($body) ($($list)*) $($rest)*)
    };
    (@parse ($order:ident) ($($limit:tt)*) ($($default:tt)*) ($($list:tt)*) default => $body:expr $(, $($rest:tt)*)?) => {
        $crate::__select!(@parse ($order) (Now) ($body) ($($list)*) $($($rest)*)?)
    };
    (@parse ($order:ident) ($($limit:tt)*) ($($default:tt)*) ($($list:tt)*) default($time:expr) => $body:block $(, $($rest:tt)*)?) => {
        $crate::__select!(@parse ($order) (In($time)) ($body) ($($list)*) $($($rest)*)?)
    };
    (@parse ($order:ident) ($($limit:tt)*) ($($default:tt)*) ($($list:tt)*) default($time:expr) => $body:block $($rest:tt)*) => {
        $crate::__select!(@parse ($order) (In($time)) ($body) ($($list)*) $($rest)*)
    };
    (@parse ($order:ident) ($($limit:tt)*) ($($default:tt)*) ($($list:tt)*) default($time:expr) => $body:expr $(, $($rest:tt)*)?) => {
        $crate::__select!(@parse ($order) (In($time)) ($body) ($($list)*) $($($rest)*)?)
    };
    // An arm. Its code is a block, or an expression with a comma behind it unless it is the last. The name `arm` is another in each
    // expansion.
    (@parse $order:tt $limit:tt $default:tt ($($list:tt)*) $kind:ident($($of:tt)*) -> $result:pat => $body:block $(, $($rest:tt)*)?) => {
        $crate::__select!(@parse $order $limit $default ($($list)* (arm, ($kind $($of)*), $result, $body)) $($($rest)*)?)
    };
    (@parse $order:tt $limit:tt $default:tt ($($list:tt)*) $kind:ident($($of:tt)*) -> $result:pat => $body:block $($rest:tt)*) => {
        $crate::__select!(@parse $order $limit $default ($($list)* (arm, ($kind $($of)*), $result, $body)) $($rest)*)
    };
    (@parse $order:tt $limit:tt $default:tt ($($list:tt)*) $kind:ident($($of:tt)*) -> $result:pat => $body:expr $(, $($rest:tt)*)?) => {
        $crate::__select!(@parse $order $limit $default ($($list)* (arm, ($kind $($of)*), $result, $body)) $($($rest)*)?)
    };

    // Everything was read.
    (@parse ($order:ident) ($($limit:tt)*) ($($default:tt)*) ($(($arm:ident, ($($of:tt)*), $result:pat, $body:expr))*)) => {{
        // What was chosen, and what came of it; the arms are gone when its code runs.
        let (chosen, ($($arm,)*)) = {
            $($crate::__select!(@arm $arm $($of)*);)*
            let result = $crate::select_in(
                &mut [$(&mut $arm as &mut dyn $crate::Arm),*],
                $crate::Order::$order,
                $crate::Limit::$($limit)*,
            );
            let chosen = $crate::__select!(@unless_default (result) $($default)*);
            let mut number = 0usize;
            (chosen, ($({
                number += 1;
                (chosen == number - 1).then(|| $crate::TypedArm::output(&mut $arm))
            },)*))
        };
        let _ = chosen;
        $crate::__select!(@code ($($default)*) $(($arm, $result, $body))*)
    }};

    // Borrowed by a `let`, so that an operand which is made right there lives as long as its arm.
    (@arm $arm:ident recv $of:expr) => { let operand = &$of; let mut $arm = operand.recv_arm(); };
    (@arm $arm:ident send $of:expr, $message:expr) => { let operand = &$of; let mut $arm = operand.send_arm($message); };
    (@arm $arm:ident send $of:expr, $message:expr,) => { let operand = &$of; let mut $arm = operand.send_arm($message); };
    (@arm $arm:ident join $of:expr) => { let operand = &$of; let mut $arm = operand.join_arm(); };
    (@arm $arm:ident cancelled $of:expr) => { let operand = &$of; let mut $arm = operand.cancelled_arm(); };
    (@arm $arm:ident closed $of:expr) => { let operand = &$of; let mut $arm = operand.closed_arm(); };
    (@arm $arm:ident changed $of:expr) => { let operand = &$of; let mut $arm = operand.changed_arm(); };
    (@arm $arm:ident arm $of:expr) => { let mut $arm = $of; };

    (@unless_default ($chosen:ident)) => { $crate::chosen($chosen) };
    (@unless_default ($chosen:ident) $default:expr) => {
        match $chosen {
            ::core::result::Result::Err(error) if error.is_refused() => {
                $crate::chosen(::core::result::Result::Err(error))
            }
            chosen => chosen.unwrap_or(::core::primitive::usize::MAX),
        }
    };

    (@code ($($default:tt)*) ($arm:ident, $result:pat, $body:expr) $($rest:tt)*) => {
        match $arm {
            ::core::option::Option::Some(output) => match output { $result => $body },
            ::core::option::Option::None => $crate::__select!(@code ($($default)*) $($rest)*),
        }
    };
    (@code ($default:expr)) => { $default };
    (@code ()) => { ::core::unreachable!("one of the arms was chosen") };
}
