//! Memory for what is copied off the slots, by size class.
//!
//! Blocks of one class are cut from chunks, which go back to the allocator when they are empty. An allocator for everybody would keep a size before
//! each block; and a common one asks the system for memory page by page when another thread than the main one does: that was a quarter of
//! the time in which a million tasklets were made.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ptr::NonNull;

/// Classes are this far apart, and blocks aligned to it unless more is asked for.
const STEP: usize = 16;

/// Larger blocks are rare, and of many sizes: each is the allocator's.
const LARGEST: usize = 4096;

/// Bytes of a chunk, and its alignment: so a block's address tells its chunk.
const CHUNK: usize = 256 << 10;

/// A piece of memory, owned.
pub(super) struct Block {
    data: NonNull<u8>,
    /// Bytes in use.
    used: u32,
    /// Bytes there are, in steps; and the alignment, as a power of two, above them.
    room: u32,
}

/// Where the alignment begins in `room`: a stack is of 1 GiB at most, so there are fewer steps.
const ALIGN: u32 = 27;

/// What a chunk begins with.
struct Chunk {
    /// Blocks in use.
    used: Cell<u32>,
    /// How far blocks have been cut off it.
    cut: Cell<u32>,
    /// A block that was given back; it holds the address of the next.
    free: Cell<Option<NonNull<u8>>>,
    /// The next and the one before of its class with room for a block.
    next: Cell<Option<NonNull<Chunk>>>,
    prev: Cell<Option<NonNull<Chunk>>>,
}

/// The blocks of one engine.
pub(super) struct Blocks {
    /// The first chunk of each class with room for a block.
    classes: [Cell<Option<NonNull<Chunk>>>; LARGEST / STEP],
    /// Empty, kept for whichever class needs one next.
    spare: Cell<Option<NonNull<Chunk>>>,
    /// Bytes of blocks in use.
    in_use: Cell<usize>,
}

impl Block {
    pub(super) fn data(&self) -> NonNull<u8> {
        self.data
    }

    pub(super) fn used(&self) -> usize {
        self.used as usize
    }

    /// Bytes there are.
    pub(super) fn room(&self) -> usize {
        (self.room & ((1 << ALIGN) - 1)) as usize * STEP
    }

    fn layout(&self) -> Layout {
        // SAFETY: it is the layout that the block was made with.
        unsafe { Layout::from_size_align_unchecked(self.room(), 1 << (self.room >> ALIGN)) }
    }
}

impl Blocks {
    pub(super) fn new() -> Blocks {
        Blocks { classes: [const { Cell::new(None) }; _], spare: Cell::new(None), in_use: Cell::new(0) }
    }

    /// Bytes of blocks in use.
    pub(super) fn in_use(&self) -> usize {
        self.in_use.get()
    }

    /// A block for `bytes`, aligned to `align`: `had`, if that is of the right class.
    pub(super) fn fit(&self, had: Option<Block>, bytes: usize, align: usize) -> Block {
        let layout = Layout::from_size_align(bytes.next_multiple_of(STEP), align.max(STEP)).expect("less than 1 GiB");
        // A stack is of 1 GiB at most.
        let (used, room) = (bytes as u32, (layout.size() / STEP) as u32 | layout.align().trailing_zeros() << ALIGN);
        match had {
            Some(block) if block.room == room => return Block { used, ..block },
            Some(block) => self.give(block),
            None => {}
        }
        self.in_use.set(self.in_use.get() + layout.size());
        let data = match class(layout) {
            Some(class) => self.cut(class, layout.size()),
            // SAFETY: there is at least one frame on a suspended stack, so it is not empty.
            None => NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout)),
        };
        Block { data, used, room }
    }

    /// Takes back a block that nobody uses.
    pub(super) fn give(&self, block: Block) {
        let layout = block.layout();
        self.in_use.set(self.in_use.get() - layout.size());
        match class(layout) {
            Some(class) => self.put(class, layout.size(), block.data),
            // SAFETY: made by `fit` with this layout, and nobody uses it.
            None => unsafe { dealloc(block.data.as_ptr(), layout) },
        }
    }

    /// A place for a value, which is moved there.
    pub(super) fn keep<T>(&self, value: T) -> NonNull<T> {
        let place = self.cut(const { value_class::<T>() }, value_bytes::<T>()).cast::<T>();
        // SAFETY: it is of the class for a `T`, and nobody uses it.
        unsafe { place.write(value) };
        place
    }

    /// Moves a value out of its place.
    ///
    /// # Safety
    ///
    /// The place is from [`keep`](Self::keep), of the same blocks, and nobody uses it any more.
    pub(super) unsafe fn take<T>(&self, place: NonNull<T>) -> T {
        // SAFETY: the caller's promise.
        let value = unsafe { place.read() };
        self.put(const { value_class::<T>() }, value_bytes::<T>(), place.cast());
        value
    }

    fn cut(&self, class: usize, bytes: usize) -> NonNull<u8> {
        let chunk = self.classes[class].get().unwrap_or_else(|| self.begin_chunk(class));
        // SAFETY: a chunk that is listed is there.
        let this = unsafe { chunk.as_ref() };
        this.used.set(this.used.get() + 1);
        let data = match this.free.get() {
            Some(data) => {
                // SAFETY: a free block holds the address of the next.
                this.free.set(unsafe { data.cast::<Option<NonNull<u8>>>().read() });
                data
            }
            None => {
                let at = this.cut.get();
                this.cut.set(at + bytes as u32);
                // SAFETY: there is room for a block in a chunk that is listed.
                unsafe { chunk.cast::<u8>().add(at as usize) }
            }
        };
        if !this.has_room(bytes) {
            self.unlist(class, this);
        }
        data
    }

    fn put(&self, class: usize, bytes: usize, data: NonNull<u8>) {
        let base = data.as_ptr().map_addr(|at| at & !(CHUNK - 1));
        let chunk = NonNull::new(base.cast::<Chunk>()).expect("a chunk is not at address zero");
        // SAFETY: a chunk is aligned to its size and there as long as a block of it is.
        let this = unsafe { chunk.as_ref() };
        let was_full = !this.has_room(bytes);
        // SAFETY: a block is large enough and aligned for it, and nobody uses this one.
        unsafe { data.cast::<Option<NonNull<u8>>>().write(this.free.get()) };
        this.free.set(Some(data));
        this.used.set(this.used.get() - 1);
        if was_full {
            self.list(class, chunk);
        }
        if this.used.get() == 0 {
            self.unlist(class, this);
            match self.spare.get() {
                None => self.spare.set(Some(chunk)),
                Some(_) => Self::end_chunk(chunk),
            }
        }
    }

    #[cold]
    fn begin_chunk(&self, class: usize) -> NonNull<Chunk> {
        let chunk = self.spare.take().unwrap_or_else(|| {
            // SAFETY: a chunk is not empty.
            NonNull::new(unsafe { alloc(Self::CHUNK) }).unwrap_or_else(|| handle_alloc_error(Self::CHUNK)).cast()
        });
        let first = size_of::<Chunk>().next_multiple_of(STEP) as u32;
        // SAFETY: the memory is this chunk's, and nobody uses it.
        unsafe {
            chunk.write(Chunk {
                used: Cell::new(0),
                cut: Cell::new(first),
                free: Cell::new(None),
                next: Cell::new(None),
                prev: Cell::new(None),
            });
        }
        self.list(class, chunk);
        chunk
    }

    const CHUNK: Layout = match Layout::from_size_align(CHUNK, CHUNK) {
        Ok(layout) => layout,
        Err(_) => unreachable!(),
    };

    fn end_chunk(chunk: NonNull<Chunk>) {
        // SAFETY: made by `begin_chunk` with this layout; callers pass one that is empty and in no list.
        unsafe { dealloc(chunk.as_ptr().cast(), Self::CHUNK) };
    }

    fn list(&self, class: usize, chunk: NonNull<Chunk>) {
        let next = self.classes[class].replace(Some(chunk));
        // SAFETY: chunks that are listed, and the caller's, are there.
        unsafe {
            chunk.as_ref().next.set(next);
            chunk.as_ref().prev.set(None);
            if let Some(next) = next {
                next.as_ref().prev.set(Some(chunk));
            }
        }
    }

    fn unlist(&self, class: usize, chunk: &Chunk) {
        match chunk.prev.get() {
            None => self.classes[class].set(chunk.next.get()),
            // SAFETY: a chunk that is listed is there.
            Some(prev) => unsafe { prev.as_ref() }.next.set(chunk.next.get()),
        }
        if let Some(next) = chunk.next.get() {
            // SAFETY: as above.
            unsafe { next.as_ref() }.prev.set(chunk.prev.get());
        }
    }

    /// Lets the allocator have what nobody uses.
    pub(super) fn trim(&self) {
        if let Some(spare) = self.spare.take() {
            Self::end_chunk(spare);
        }
    }
}

impl Chunk {
    /// For a block of its class.
    fn has_room(&self, bytes: usize) -> bool {
        self.free.get().is_some() || self.cut.get() as usize + bytes <= CHUNK
    }
}

/// Bytes of a block for a value.
const fn value_bytes<T>() -> usize {
    size_of::<T>().next_multiple_of(STEP)
}

/// The class of blocks for a value.
const fn value_class<T>() -> usize {
    assert!(size_of::<T>() != 0 && value_bytes::<T>() <= LARGEST && align_of::<T>() <= STEP, "no class for this type");
    value_bytes::<T>() / STEP - 1
}

/// The class of blocks that are cut from chunks.
fn class(layout: Layout) -> Option<usize> {
    (layout.size() <= LARGEST && layout.align() == STEP).then(|| layout.size() / STEP - 1)
}

/// Chunks with blocks in use are leaked: they are copies of tasklets that were.
impl Drop for Blocks {
    fn drop(&mut self) {
        self.trim();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_block_serves_again_what_is_of_its_class() {
        let blocks = Blocks::new();
        let first = blocks.fit(None, 100, 16);
        let address = first.data();
        let again = blocks.fit(Some(first), 112, 16);
        assert_eq!((again.data(), again.used()), (address, 112));
        let keeps = blocks.fit(None, 112, 16);
        blocks.give(again);
        let other = blocks.fit(None, 113, 16);
        assert_ne!(other.data(), address, "another class");
        let same = blocks.fit(None, 98, 16);
        assert_eq!(same.data(), address);
        let aligned = blocks.fit(Some(same), 98, 256);
        assert!(aligned.data().as_ptr().addr().is_multiple_of(256));
        let large = blocks.fit(None, 100_000, 16);
        assert_eq!(blocks.in_use(), 112 + 112 + 128 + 100_000);
        for block in [keeps, other, aligned, large] {
            blocks.give(block);
        }
        assert_eq!(blocks.in_use(), 0);
    }

    #[test]
    fn values_are_kept_and_taken() {
        let blocks = Blocks::new();
        let places: Vec<_> = (0..9000).map(|number| blocks.keep([number; 11])).collect();
        for (number, place) in places.into_iter().enumerate() {
            // SAFETY: from `keep`, and taken once.
            assert_eq!(unsafe { blocks.take(place) }, [number; 11]);
        }
        assert!(blocks.classes.iter().all(|class| class.get().is_none()));
    }

    #[test]
    fn blocks_do_not_overlap_and_chunks_come_and_go() {
        let blocks = Blocks::new();
        for round in 0..3_usize {
            let mut held: Vec<Block> =
                (0..10_000).map(|at| blocks.fit(None, 16 + (at + round) % 7 * 300, 16)).collect();
            for (at, block) in held.iter().enumerate() {
                // SAFETY: the block is of that size.
                unsafe { block.data().write_bytes(at as u8, block.used()) };
            }
            // Given back in another order than they were made, some kept for a while.
            let (mut odd, mut even) = (Vec::new(), Vec::new());
            for (at, block) in held.drain(..).enumerate() {
                // SAFETY: as above.
                let bytes = unsafe { std::slice::from_raw_parts(block.data().as_ptr(), block.used()) };
                assert!(bytes.iter().all(|byte| *byte == at as u8), "block {at} was written to by another");
                if at % 2 == 0 { even.push(block) } else { odd.push(block) }
            }
            even.into_iter().rev().for_each(|block| blocks.give(block));
            odd.into_iter().for_each(|block| blocks.give(block));
            assert_eq!(blocks.in_use(), 0);
            assert!(blocks.classes.iter().all(|class| class.get().is_none()), "a chunk without blocks is kept");
            assert!(blocks.spare.get().is_some());
        }
    }
}
