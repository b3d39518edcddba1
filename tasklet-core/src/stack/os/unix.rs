//! Stacks from `mmap`: Linux first, the other unix systems by what POSIX and BSD have in common.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::GuardError;

#[cfg(any(target_os = "linux", target_os = "android"))]
#[path = "batch.rs"]
mod batch;

/// The size of a page, and of a guard.
pub(crate) fn page_size() -> usize {
    static SIZE: AtomicUsize = AtomicUsize::new(0);
    match SIZE.load(Ordering::Relaxed) {
        0 => {
            // SAFETY: sysconf reads no memory of ours.
            let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
            // POSIX requires the value; 4096 is only there so that nothing below divides by zero.
            let size = usize::try_from(size).unwrap_or(4096);
            SIZE.store(size, Ordering::Relaxed);
            size
        }
        size => size,
    }
}

/// The most mappings a process may have (`vm.max_map_count`), where there is such a limit.
pub(crate) fn mapping_limit() -> Option<usize> {
    if cfg!(any(target_os = "linux", target_os = "android")) {
        std::fs::read_to_string("/proc/sys/vm/max_map_count").ok()?.trim().parse().ok()
    } else {
        None
    }
}

/// The most address space this process may have in bytes (`RLIMIT_AS`), if it is limited.
pub(crate) fn address_space_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a live rlimit to write to.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut limit) };
    #[allow(clippy::unnecessary_cast, reason = "rlim_t is signed on some systems")]
    (result == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur as u64)
}

/// Reserves `len` bytes, readable and writable, without backing them: memory is used from the first touch on, page by page.
pub(crate) fn map(len: usize) -> io::Result<NonNull<u8>> {
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple", target_os = "netbsd"))]
    const UNBACKED: libc::c_int = libc::MAP_NORESERVE;
    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple", target_os = "netbsd")))]
    const UNBACKED: libc::c_int = 0;
    // OpenBSD kills a process whose stack pointer is outside such a mapping; Linux keeps huge pages out of it from 6.7 on.
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "openbsd", target_os = "netbsd"))]
    const STACK: libc::c_int = libc::MAP_STACK;
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "openbsd", target_os = "netbsd")))]
    const STACK: libc::c_int = 0;

    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | UNBACKED | STACK;
    // SAFETY: without MAP_FIXED the kernel picks addresses that nothing else uses.
    let base = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // Under transparent_hugepage=always the first touch of a stack would take 2 MiB. A kernel built without huge pages refuses
    // the advice, and is right to.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    // SAFETY: the mapping made above, all of it; the advice changes no contents.
    unsafe {
        libc::madvise(base, len, libc::MADV_NOHUGEPAGE);
    }
    NonNull::new(base.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

/// Gives a mapping back.
///
/// # Safety
///
/// `base` came from [`map`] of `len` bytes, is unmapped once, and nobody uses the memory any more.
pub(crate) unsafe fn unmap(base: NonNull<u8>, len: usize) {
    // SAFETY: the caller owns the whole mapping and gives it up.
    let result = unsafe { libc::munmap(base.as_ptr().cast(), len) };
    // It can fail only for lack of memory to split a mapping; the range is then leaked, which is safe.
    debug_assert_eq!(result, 0, "munmap of {len} bytes: {}", io::Error::last_os_error());
}

/// Makes `count` pages inaccessible, at `first` and each `stride` bytes above it, without splitting the mapping.
///
/// When it fails, any of the pages may have become a guard. Doing it again is harmless.
///
/// # Safety
///
/// The pages lie in one mapping from [`map`] and nobody uses them.
pub(crate) unsafe fn install_guards(first: NonNull<u8>, stride: usize, count: usize) -> Result<(), GuardError> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let page = page_size();
        // SAFETY: the caller keeps every one of these addresses inside its mapping.
        let mut pages = (0..count).map(|index| (unsafe { first.add(index * stride) }, page));
        // SAFETY: the caller owns the pages.
        unsafe { batch::advise(&mut pages, batch::MADV_GUARD_INSTALL) }.map_err(|error| match error.raw_os_error() {
            // A kernel before 6.13, or locked memory (mlockall) on the first ones after it.
            Some(libc::EINVAL) => GuardError::Unsupported,
            _ => GuardError::Os(error),
        })
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = (first, stride, count);
        Err(GuardError::Unsupported)
    }
}

/// Makes one page inaccessible by splitting its mapping in three.
///
/// # Safety
///
/// The page lies in a mapping from [`map`] and nobody uses it.
pub(crate) unsafe fn protect(page: NonNull<u8>) -> io::Result<()> {
    // SAFETY: the caller owns the page.
    match unsafe { libc::mprotect(page.as_ptr().cast(), page_size(), libc::PROT_NONE) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Releases the physical pages of the ranges; guards stay. The contents read as zero or as before, page by page.
///
/// # Safety
///
/// The ranges lie in mappings from [`map`], consist of whole pages, and nobody uses them.
pub(crate) unsafe fn discard(ranges: &mut dyn Iterator<Item = (NonNull<u8>, usize)>) {
    // A refusal (locked memory) leaves the pages where they are: a cost, not a fault.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    // SAFETY: the caller owns the ranges.
    let _ = unsafe { batch::advise(ranges, libc::MADV_DONTNEED) };
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    for (base, len) in ranges {
        // SAFETY: the caller owns the ranges.
        unsafe { libc::madvise(base.as_ptr().cast(), len, libc::MADV_FREE) };
    }
}

/// Bytes of the range that are in memory, and the offset of the lowest page of them.
///
/// The range may have been unmapped meanwhile: what is gone counts as nothing, and what another mapping put there is counted.
pub(crate) fn resident(base: NonNull<u8>, len: usize) -> (usize, Option<usize>) {
    const PAGES: usize = 4096;
    let page = page_size();
    // On the heap: the caller may be a tasklet, whose stack would be the larger for it.
    let mut present = vec![0u8; PAGES.min(len.div_ceil(page))];
    let (mut pages, mut lowest) = (0, None);
    for offset in (0..len).step_by(PAGES * page) {
        let part = (PAGES * page).min(len - offset);
        let start = base.as_ptr().wrapping_add(offset);
        // SAFETY: mincore only looks at the addresses, mapped or not, and writes a byte per page: `part` is at most the pages
        // that `present` has room for.
        let result = unsafe { libc::mincore(start.cast(), part, present.as_mut_ptr().cast()) };
        if result == 0 {
            let is_present = |byte: &u8| byte & 1 != 0;
            let part = &present[..part.div_ceil(page)];
            pages += part.iter().filter(|byte| is_present(byte)).count();
            lowest = lowest.or_else(|| part.iter().position(is_present).map(|at| offset + at * page));
        }
    }
    (pages * page, lowest)
}
