//! Why a stack could not be had, with the number that was hit and what to do about it.

use std::error::Error;
use std::{fmt, io};

use super::os;
use super::size::StackSize;

/// A stack could not be had.
#[derive(Debug)]
pub struct StackError {
    // Boxed so that `Result<Stack, StackError>` stays as small as a `Stack`.
    kind: Box<Kind>,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// Below [`StackSize::MIN`].
    TooSmall { asked: usize },
    /// Above [`StackSize::MAX`].
    TooLarge { asked: usize },
    /// The depot would reserve more address space than it may.
    Ceiling { needed: usize, reserved: usize, ceiling: usize },
    /// The depot would have more memory than it may.
    Resident { resident: usize, ceiling: usize },
    /// The depot would hold more kernel mappings than it may.
    Mappings { held: usize, budget: usize, guards: GuardCost },
    /// The kernel refused.
    Os { call: &'static str, bytes: usize, reserved: usize, source: io::Error },
    /// A backend that brings its own stacks could not allocate one.
    Backend { message: String },
}

/// What one more guard would cost, for the advice in the message.
#[derive(Clone, Copy, Debug)]
pub(super) enum GuardCost {
    /// Guards cost no mappings; only slabs do.
    Free,
    /// Two mappings each.
    TwoMappings,
}

impl StackError {
    /// The error of a backend that cannot run on what it was given, or brings its own stacks and could not make one. The message
    /// names the number that matters and what to do.
    pub fn from_backend(message: impl Into<String>) -> StackError {
        Kind::Backend { message: message.into() }.into()
    }

    /// The size asked for lies outside [`StackSize::MIN`] and [`StackSize::MAX`].
    pub fn is_invalid_size(&self) -> bool {
        matches!(*self.kind, Kind::TooSmall { .. } | Kind::TooLarge { .. })
    }

    /// The depot's own ceiling on address space was hit.
    pub fn is_ceiling(&self) -> bool {
        matches!(*self.kind, Kind::Ceiling { .. })
    }

    /// The depot's own ceiling on resident bytes was hit.
    pub fn is_resident_ceiling(&self) -> bool {
        matches!(*self.kind, Kind::Resident { .. })
    }

    /// The stack would not fit under one of the depot's ceilings even if it was the only one: it is of no use to wait for others to end.
    pub fn is_beyond_ceiling(&self) -> bool {
        match *self.kind {
            Kind::Ceiling { needed, ceiling, .. } => needed > ceiling,
            Kind::Resident { ceiling, .. } => os::page_size() > ceiling,
            _ => false,
        }
    }

    /// The depot's own budget of kernel mappings was hit.
    pub fn is_mapping_budget(&self) -> bool {
        matches!(*self.kind, Kind::Mappings { .. })
    }

    /// The kernel, or the allocator of a backend that brings its own stacks, refused. [`source`](Error::source) has its error.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(*self.kind, Kind::Os { .. } | Kind::Backend { .. })
    }
}

impl From<Kind> for StackError {
    fn from(kind: Kind) -> StackError {
        StackError { kind: Box::new(kind) }
    }
}

impl fmt::Display for StackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.kind {
            Kind::TooSmall { asked } => {
                write!(f, "a stack of {asked} bytes is too small; ask for at least {} bytes", StackSize::MIN.bytes())
            }
            Kind::TooLarge { asked } => {
                write!(f, "a stack of {asked} bytes is too large; ask for at most {} bytes", StackSize::MAX.bytes())
            }
            Kind::Ceiling { needed, reserved, ceiling } => write!(
                f,
                "a stack that takes {needed} bytes of address space does not fit under the ceiling of {ceiling} bytes, of \
                 which {reserved} are reserved; raise StackConfig::ceiling or use fewer or smaller stacks"
            ),
            Kind::Resident { resident, ceiling } => write!(
                f,
                "one more stack does not fit under the ceiling of {ceiling} bytes in memory, of which {resident} are in use; raise \
                 StackConfig::resident_ceiling, let tasklets end, or use less of their stacks"
            ),
            Kind::Mappings { held, budget, guards } => {
                write!(
                    f,
                    "one more stack would exceed the budget of {budget} kernel mappings, of which {held} are held; "
                )?;
                if let GuardCost::TwoMappings = guards {
                    f.write_str("each guard page costs two on this kernel (none from Linux 6.13 on); ")?;
                }
                match os::mapping_limit() {
                    Some(limit) => write!(f, "raise vm.max_map_count (it is {limit}) and StackConfig::mapping_budget"),
                    None => f.write_str("raise StackConfig::mapping_budget"),
                }
            }
            Kind::Os { call, bytes, reserved, source } => {
                write!(f, "{call} of {bytes} bytes for a stack failed, with {reserved} bytes reserved: {source}; ")?;
                if let Some(limit) = os::address_space_limit() {
                    write!(f, "the limit on address space (RLIMIT_AS) is {limit} bytes, ")?;
                }
                if let Some(limit) = os::mapping_limit() {
                    write!(f, "vm.max_map_count is {limit}, ")?;
                }
                f.write_str("raise the limit that was hit or use fewer or smaller stacks")
            }
            Kind::Backend { message } => f.write_str(message),
        }
    }
}

impl Error for StackError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &*self.kind {
            Kind::Os { source, .. } => Some(source),
            _ => None,
        }
    }
}
