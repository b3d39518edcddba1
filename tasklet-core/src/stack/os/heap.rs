//! Stacks from the global allocator, without guards: for Miri, which knows no mappings and never runs on these stacks.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::io;
use std::ptr::NonNull;

use super::GuardError;

pub(crate) fn page_size() -> usize {
    4096
}

pub(crate) fn mapping_limit() -> Option<usize> {
    None
}

pub(crate) fn address_space_limit() -> Option<u64> {
    None
}

fn layout(len: usize) -> io::Result<Layout> {
    Layout::from_size_align(len, page_size()).map_err(io::Error::other)
}

pub(crate) fn map(len: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: a slab has at least one slot, so the layout is not empty.
    let memory = unsafe { alloc_zeroed(layout(len)?) };
    NonNull::new(memory).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

/// # Safety
///
/// `base` came from [`map`] of `len` bytes and nobody uses the memory any more.
pub(crate) unsafe fn unmap(base: NonNull<u8>, len: usize) {
    if let Ok(layout) = layout(len) {
        // SAFETY: the caller passes on what `map` allocated with this very layout.
        unsafe { dealloc(base.as_ptr(), layout) };
    }
}

/// # Safety
///
/// None needed here; the signature is the one of `unix.rs`.
pub(crate) unsafe fn install_guards(_first: NonNull<u8>, _stride: usize, _count: usize) -> Result<(), GuardError> {
    Ok(())
}

/// # Safety
///
/// None needed here; the signature is the one of `unix.rs`.
pub(crate) unsafe fn protect(_page: NonNull<u8>) -> io::Result<()> {
    Ok(())
}

/// # Safety
///
/// None needed here; the signature is the one of `unix.rs`.
pub(crate) unsafe fn discard(_ranges: &mut dyn Iterator<Item = (NonNull<u8>, usize)>) {}

pub(crate) fn resident(_base: NonNull<u8>, _len: usize) -> (usize, Option<usize>) {
    (0, None)
}
