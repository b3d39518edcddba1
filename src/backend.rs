//! The backends of this build: the only list of backend features.
//!
//! Features only add. Several backends in one build are normal: each is a type, and [`Default`](type@Default) is the first of corosensei,
//! context and generator that is there.

pub use tasklet_core::backend::{Backend, Moves, StackProvision, Swaps};

#[cfg(feature = "backend-context")]
pub use tasklet_backend_context::BoostContext as Context;
#[cfg(feature = "backend-corosensei")]
pub use tasklet_backend_corosensei::Corosensei;
#[cfg(feature = "backend-generator")]
pub use tasklet_backend_generator::Generator;

#[cfg(feature = "backend-corosensei")]
pub use tasklet_backend_corosensei::Corosensei as Default;

#[cfg(all(feature = "backend-context", not(feature = "backend-corosensei")))]
pub use tasklet_backend_context::BoostContext as Default;

#[cfg(all(feature = "backend-generator", not(any(feature = "backend-corosensei", feature = "backend-context"))))]
pub use tasklet_backend_generator::Generator as Default;

#[cfg(not(any(feature = "backend-corosensei", feature = "backend-context", feature = "backend-generator")))]
pub use none::NoBackend as Default;

/// How operations of this build's channels switch: with the default backend's switch compiled in.
#[cfg(any(feature = "backend-corosensei", feature = "backend-context", feature = "backend-generator"))]
pub type Switch = tasklet_core::operation::On<Default>;

/// How operations of this build's channels switch.
#[cfg(not(any(feature = "backend-corosensei", feature = "backend-context", feature = "backend-generator")))]
pub type Switch = tasklet_core::operation::AnyBackend;

#[cfg(not(any(feature = "backend-corosensei", feature = "backend-context", feature = "backend-generator")))]
mod none {
    /// Stands in where no backend feature is on: whatever needs a backend does not compile, and says so.
    #[derive(Debug)]
    pub enum NoBackend {}
}

/// Functions that start on the default backend.
#[cfg(any(feature = "backend-corosensei", feature = "backend-context", feature = "backend-generator"))]
#[path = "run.rs"]
pub(crate) mod run;

/// Functions that start on the default backend: there is none, so they do not compile where they are called, and say why.
#[cfg(not(any(feature = "backend-corosensei", feature = "backend-context", feature = "backend-generator")))]
pub(crate) mod run {
    /// Nothing implements it.
    #[diagnostic::on_unimplemented(
        message = "no backend is selected, so nothing can run",
        note = "turn on one of the features `backend-corosensei` (the default), `backend-context`, `backend-generator` of `tasklet`"
    )]
    pub trait SelectABackend {}

    /// Runs `f` as a tasklet, where a backend is selected.
    pub fn run<T: SelectABackend>(_: impl FnOnce() -> T + Send) -> T {
        unreachable!("no type has this bound")
    }
}
