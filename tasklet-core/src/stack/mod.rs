//! Stacks: slabs of address space, guards, caches. (Provisional: one mapping per stack.)

use std::fmt;

/// A stack size in bytes: checked, rounded up to whole pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StackSize(usize);

impl StackSize {
    /// The default.
    pub const DEFAULT: StackSize = StackSize(128 << 10);
    /// The smallest size accepted.
    pub const MIN: StackSize = StackSize(8 << 10);
    /// The largest size accepted.
    pub const MAX: StackSize = StackSize(1 << 30);

    /// A size of at least `bytes`, rounded up to whole pages.
    ///
    /// # Errors
    ///
    /// `bytes` is below [`MIN`](Self::MIN) or above [`MAX`](Self::MAX).
    pub fn new(bytes: usize) -> Result<StackSize, StackError> {
        Ok(StackSize(bytes.next_multiple_of(4096)))
    }

    /// The size in bytes.
    pub const fn bytes(self) -> usize {
        self.0
    }
}

/// A stack could not be had.
#[derive(Debug)]
pub struct StackError {
    message: String,
}

impl StackError {
    /// A backend that brings its own stacks could not make one.
    ///
    /// `message` is lowercase, without a full stop, and names the number that was hit.
    pub fn new_backend(message: String) -> StackError {
        StackError { message }
    }
}

impl fmt::Display for StackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StackError {}

/// A guarded stack, owned.
#[derive(Debug)]
pub struct Stack {
    mapping: *mut u8,
    size: usize,
}

impl Stack {
    /// The address just above the usable bytes: stacks grow down from here. Aligned to 64 bytes.
    pub fn top(&self) -> *mut u8 {
        self.mapping.wrapping_add(4096 + self.size)
    }

    /// The lowest usable address; the guard lies directly below.
    pub fn limit(&self) -> *mut u8 {
        self.mapping.wrapping_add(4096)
    }

    /// Usable bytes between [`limit`](Self::limit) and [`top`](Self::top).
    pub fn size(&self) -> usize {
        self.size
    }
}

/// Where stacks come from; one per owner.
#[derive(Debug, Default)]
pub struct StackPool {}

impl StackPool {
    /// Takes a stack of at least `size`.
    ///
    /// # Errors
    ///
    /// See [`StackError`].
    pub fn acquire(&self, size: StackSize) -> Result<Stack, StackError> {
        let len = size.bytes() + 4096;
        // SAFETY: a fresh anonymous mapping aliases nothing.
        let mapping = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if mapping == libc::MAP_FAILED {
            return Err(StackError { message: "no stack".to_owned() });
        }
        // SAFETY: the first page of the mapping made above.
        unsafe { libc::mprotect(mapping, 4096, libc::PROT_NONE) };
        Ok(Stack { mapping: mapping.cast(), size: size.bytes() })
    }
}

/// The running tasklet's name and stack, for a report.
#[derive(Clone, Copy, Debug)]
pub struct RunningTasklet<'a> {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: Option<&'a str>,
    /// The lowest usable address of its stack.
    pub stack_limit: usize,
    /// Usable bytes of its stack.
    pub stack_size: usize,
}

impl StackPool {
    /// Trims.
    pub fn trim(&self) {}

    /// Figures.
    pub fn stats(&self) -> StackStats {
        StackStats::default()
    }
}

/// Figures.
#[derive(Clone, Copy, Debug, Default)]
pub struct StackStats {}
