//! What becomes of a panic that nobody in the tasklet caught.

/// What a scheduler does with a panic or interrupt that reaches the root of a tasklet without a join handle.
///
/// Kill is not an error: a tasklet that ends by it ends silently under every policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorPolicy {
    /// It goes to the innermost caller of `run`, at once; all other tasklets stay queued. Stackless's way.
    #[default]
    Raise,
    /// It is dropped; the panic hook has reported it.
    Discard,
    /// The process ends.
    Abort,
}

impl ErrorPolicy {
    /// How a tasklet's own choice is kept in its record; zero is none.
    pub(super) fn encode(policy: Option<ErrorPolicy>) -> u8 {
        match policy {
            None => 0,
            Some(ErrorPolicy::Raise) => 1,
            Some(ErrorPolicy::Discard) => 2,
            Some(ErrorPolicy::Abort) => 3,
        }
    }

    /// A tasklet's own choice, else `default`.
    pub(super) fn decode(code: u8, default: ErrorPolicy) -> ErrorPolicy {
        match code {
            1 => ErrorPolicy::Raise,
            2 => ErrorPolicy::Discard,
            3 => ErrorPolicy::Abort,
            _ => default,
        }
    }
}
