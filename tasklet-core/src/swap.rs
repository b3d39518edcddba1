//! Stacks whose bytes are copied away while their tasklet waits, and back before it goes on.
//!
//! The bytes come back to where they were, so what a stack says of itself stays true. What *others* say of it does not: so nobody else may refer
//! to the stack of a tasklet that waits and may be copied. Of our own there is one reference: the [site](crate::park::WaitSite) at which a
//! tasklet waits lies in the operation on its stack, and a list may lead to it. Whoever copies a stack has the site see to that, in
//! [`WaitSite::relocate`](crate::park::WaitSite::relocate): with the place locked, the bytes are copied, and the list leads to the copy.
//!
//! # Invariants
//!
//! - **Z1** Between two switches, what others refer to of a tasklet that was copied away is its copy, at the same distances.
//! - **Z2** A copy is made where the tasklet does not run: on the root.

use std::ptr::NonNull;

/// Bytes that are about to be copied, and where to.
#[derive(Debug)]
pub struct Relocation {
    from: NonNull<u8>,
    to: NonNull<u8>,
    bytes: usize,
}

impl Relocation {
    /// Of `bytes` from one address to another.
    ///
    /// # Safety
    ///
    /// - They may be read at `from`, and written at `to`, which does not overlap, for as long as this lives; nothing that is there is in use.
    /// - All that others refer to in them is known to the site that is told of this.
    pub unsafe fn new(from: NonNull<u8>, to: NonNull<u8>, bytes: usize) -> Relocation {
        Relocation { from, to, bytes }
    }

    /// Copies.
    #[inline]
    pub fn copy(&self) {
        // SAFETY: the promise of `new`.
        unsafe { self.from.copy_to_nonoverlapping(self.to, self.bytes) };
    }

    /// Whether what lies at an address is copied.
    #[inline]
    pub fn contains<T: ?Sized>(&self, at: *const T) -> bool {
        at.addr().wrapping_sub(self.from.as_ptr().addr()) < self.bytes
    }

    /// Where what lies at an address is after the copy: there, if it is not copied.
    #[inline]
    pub fn map<T: ?Sized>(&self, at: *const T) -> *const T {
        if !self.contains(at) {
            return at;
        }
        // The address changes, and the memory it is part of; what the pointer says of a type stays.
        at.wrapping_byte_offset(self.to.as_ptr().addr().wrapping_sub(self.from.as_ptr().addr()) as isize)
    }
}
