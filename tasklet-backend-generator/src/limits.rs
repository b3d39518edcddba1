//! What the generator crate would panic on, found out beforehand: the kernel's limits on mappings, address space and stack size.
//!
//! The number of mappings is counted, not tried: at the very ceiling the rest of the process (its allocator, its threads) would
//! find none left, and fail in worse ways. So a reserve is kept for it.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tasklet_core::stack::{StackError, StackSize};

/// Mappings per stack: its pages, and its guard.
const MAPPINGS: usize = 2;

/// Mappings left to the rest of the process: threads take two or three, allocator arenas and files one each. A guess.
const RESERVE: usize = 512;

/// How long a refusal holds before the mappings are counted anew: a count reads some 60,000 lines, 30 ms.
const REFUSAL_HOLDS: Duration = Duration::from_millis(100);

// Process-wide because the limit is: all runtimes and threads draw on the same mappings.
static STACKS: Stacks = Stacks { live: AtomicUsize::new(0), granted: AtomicUsize::new(0), refused: Mutex::new(None) };

/// How many stacks of this backend exist, and how many may.
struct Stacks {
    /// Stacks that are mapped, leaked ones included.
    live: AtomicUsize,
    /// Up to here no count of the mappings is needed. Grows by half of what a count finds free, because others map too.
    granted: AtomicUsize,
    /// The last refusal. The lock also serialises counts.
    refused: Mutex<Option<Instant>>,
}

/// Room for one stack; given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    bytes: usize,
}

impl Reservation {
    /// Makes sure that a stack of `size` can be mapped now.
    pub(crate) fn new(size: StackSize) -> Result<Reservation, StackError> {
        let page = page_size();
        // What the crate keeps at the top of a stack (control block, closure, first frame) is less than a page.
        let bytes = size.bytes().next_multiple_of(page) + page;
        check_stack_limit(bytes, 2 * page)?;
        let number = STACKS.live.fetch_add(1, Relaxed) + 1;
        // From here on an early return gives the place back.
        let reservation = Reservation { bytes };
        if number > STACKS.granted.load(Relaxed) {
            STACKS.count_mappings(number)?;
        }
        try_mapping(bytes + page, number)?;
        Ok(reservation)
    }

    /// The stack's size as the crate wants it: in words, and even, because an odd number makes it touch the whole stack.
    pub(crate) fn words(&self) -> usize {
        (self.bytes / size_of::<usize>()).next_multiple_of(2)
    }

    /// The crate could not map the stack although it was tried a moment ago.
    pub(crate) fn lost_race(&self) -> StackError {
        StackError::from_backend(format!(
            "no room for a stack of {} bytes: the memory found free a moment ago has been taken by somebody else",
            self.bytes
        ))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        STACKS.live.fetch_sub(1, Relaxed);
    }
}

impl Stacks {
    /// Finds out whether stack `number` has room under `vm.max_map_count`.
    #[cold]
    fn count_mappings(&self, number: usize) -> Result<(), StackError> {
        let Some(limit) = max_map_count() else { return Ok(()) };
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if number <= self.granted.load(Relaxed) {
            return Ok(());
        }
        let recently = refused.is_some_and(|when| when.elapsed() < REFUSAL_HOLDS);
        let free = if recently { 0 } else { limit.saturating_sub(mappings().unwrap_or(0) + RESERVE) };
        if free < MAPPINGS {
            *refused = Some(Instant::now());
            return Err(StackError::from_backend(format!(
                "no room for stack {}: vm.max_map_count is {limit} and each stack of the generator backend takes two mappings; \
                 raise it with sysctl, or choose the corosensei or context backend",
                Grouped(number)
            )));
        }
        self.granted.store(number - 1 + (free / MAPPINGS).div_ceil(2), Relaxed);
        Ok(())
    }
}

/// The kernel's limit on mappings, where there is one.
fn max_map_count() -> Option<usize> {
    fs::read_to_string("/proc/sys/vm/max_map_count").ok()?.trim().parse().ok()
}

/// How many mappings this process has.
fn mappings() -> io::Result<usize> {
    let mut reader = BufReader::with_capacity(64 << 10, fs::File::open("/proc/self/maps")?);
    let mut lines = 0;
    loop {
        let chunk = reader.fill_buf()?;
        if chunk.is_empty() {
            return Ok(lines);
        }
        lines += chunk.iter().filter(|&&byte| byte == b'\n').count();
        let read = chunk.len();
        reader.consume(read);
    }
}

/// The crate refuses stacks above the hard limit of RLIMIT_STACK, as it was when it first looked.
fn check_stack_limit(bytes: usize, overhead: usize) -> Result<(), StackError> {
    // Process-wide because the crate's own copy is, and read before it looks.
    static HARD: OnceLock<libc::rlim_t> = OnceLock::new();
    let hard = *HARD.get_or_init(|| {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: libc::RLIM_INFINITY };
        // SAFETY: `limit` is writable.
        unsafe { libc::getrlimit(libc::RLIMIT_STACK, &raw mut limit) };
        limit.rlim_max
    });
    if (bytes + overhead) as libc::rlim_t <= hard {
        return Ok(());
    }
    Err(StackError::from_backend(format!(
        "no stack of {bytes} bytes: the hard limit of RLIMIT_STACK is {hard} bytes, and the generator backend keeps to it; \
         raise it with ulimit -Hs, or choose the corosensei or context backend"
    )))
}

/// Maps and unmaps what the crate is about to map, because it panics where this fails.
fn try_mapping(length: usize, number: usize) -> Result<(), StackError> {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANON);
    // SAFETY: a fresh anonymous mapping aliases nothing.
    let mapping = unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, -1, 0) };
    if mapping == libc::MAP_FAILED {
        let cause = io::Error::last_os_error();
        return Err(StackError::from_backend(format!(
            "no room for stack {}, {length} bytes with its guard: {cause} (address space: ulimit -v, memory: vm.overcommit_memory)",
            Grouped(number)
        )));
    }
    // SAFETY: the mapping made above, which nobody else knows of.
    unsafe { libc::munmap(mapping, length) };
    Ok(())
}

fn page_size() -> usize {
    // SAFETY: sysconf has no preconditions.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

/// A number with its thousands grouped: 32,001.
struct Grouped(usize);

impl std::fmt::Display for Grouped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 < 1000 {
            return write!(f, "{}", self.0);
        }
        write!(f, "{},{:03}", Grouped(self.0 / 1000), self.0 % 1000)
    }
}
