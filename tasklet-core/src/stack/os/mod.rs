//! The system calls behind stacks, in one list of platforms. Everything above this folder is portable.

// Miri has no guards and no resident pages; it gets memory from the allocator and checks the bookkeeping.
#[cfg(miri)]
#[path = "heap.rs"]
mod imp;

#[cfg(all(unix, not(miri)))]
#[path = "unix.rs"]
mod imp;

#[cfg(not(any(unix, miri)))]
compile_error!(
    "tasklet-core has no stacks for this platform: implement src/stack/os for it, after the example of unix.rs"
);

pub(super) use imp::{
    address_space_limit, discard, install_guards, map, mapping_limit, page_size, protect, resident, unmap,
};

/// How the kernel was asked for a guard and did not give one.
#[derive(Debug)]
#[cfg_attr(
    any(miri, not(any(target_os = "linux", target_os = "android"))),
    expect(dead_code, reason = "only Linux has guards of the kind that can be refused")
)]
pub(super) enum GuardError {
    /// This kernel, or this mapping, cannot have guards of that kind.
    Unsupported,
    /// Refused.
    Os(std::io::Error),
}
