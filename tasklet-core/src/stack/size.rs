//! Stack sizes, checked once, and the size classes that slabs are made of.

use super::error::{Kind, StackError};
use super::os;

/// A stack size in bytes: checked, rounded up to whole pages.
///
/// It is a lower bound: the [`Stack`](super::Stack) handed out for it may be larger, see [`Stack::size`](super::Stack::size).
/// Bytes of a stack are address space; physical memory is used only for the pages that were touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StackSize(u32);

impl StackSize {
    /// The default, 128 KiB: room for a panic with a backtrace, and page tables of less than 300 bytes per stack.
    pub const DEFAULT: StackSize = StackSize(128 << 10);
    /// The smallest size accepted, 8 KiB: a signal frame with wide vector registers takes half of that.
    pub const MIN: StackSize = StackSize(8 << 10);
    /// The largest size accepted, 1 GiB: a guess at what can only be a mistake.
    pub const MAX: StackSize = StackSize(1 << 30);

    /// A size of at least `bytes`, rounded up to whole pages.
    ///
    /// # Errors
    ///
    /// `bytes` is below [`MIN`](Self::MIN) or above [`MAX`](Self::MAX).
    pub fn new(bytes: usize) -> Result<StackSize, StackError> {
        if bytes < Self::MIN.bytes() {
            return Err(Kind::TooSmall { asked: bytes }.into());
        }
        if bytes > Self::MAX.bytes() {
            return Err(Kind::TooLarge { asked: bytes }.into());
        }
        // At most `MAX`, which is a multiple of every page size.
        Ok(StackSize(bytes.next_multiple_of(os::page_size()) as u32))
    }

    /// The size in bytes.
    pub const fn bytes(self) -> usize {
        self.0 as usize
    }
}

impl Default for StackSize {
    fn default() -> StackSize {
        StackSize::DEFAULT
    }
}

/// A size class: four to an octave, so that rounding a size up to its class costs at most a quarter of its address space, and
/// so that programs with many sizes still share slabs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Class(u8);

/// Classes to an octave, as a power of two.
const STEPS_LOG2: u32 = 2;
const STEP_MASK: usize = (1 << STEPS_LOG2) - 1;

impl Class {
    /// The smallest class that holds `size`.
    pub(super) fn of(size: StackSize) -> Class {
        if size <= StackSize::MIN {
            return Class(0);
        }
        // Within an octave of 4 steps, `size - 1` shares its step with everything that rounds up to the same class: the two
        // bits below its highest one are the step, and the next step's start is the class.
        let below = size.bytes() - 1;
        let octave = below.ilog2() - StackSize::MIN.bytes().ilog2();
        let step = (below >> (below.ilog2() - STEPS_LOG2)) & STEP_MASK;
        Class(((octave as u8) << STEPS_LOG2) + step as u8 + 1)
    }

    /// The bytes a stack of this class offers at least.
    pub(super) fn bytes(self) -> usize {
        let octave = StackSize::MIN.bytes() << (self.0 >> STEPS_LOG2);
        octave + (octave >> STEPS_LOG2) * (usize::from(self.0) & STEP_MASK)
    }

    /// Index into a table of classes.
    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_holds_its_size_and_wastes_at_most_a_quarter() {
        let mut bytes = StackSize::MIN.bytes();
        while bytes <= StackSize::MAX.bytes() {
            for asked in [bytes, bytes + 1, bytes + bytes / 3] {
                let Ok(size) = StackSize::new(asked) else { continue };
                let class = Class::of(size);
                assert!(class.bytes() >= size.bytes(), "{size:?} {class:?}");
                assert!(class.bytes() <= size.bytes() + size.bytes() / 4, "{size:?} {class:?}");
            }
            bytes += bytes / 7;
        }
    }

    #[test]
    fn classes_are_dense_and_rising() {
        for index in 0..=Class::of(StackSize::MAX).0 {
            let class = Class(index);
            assert_eq!(Class::of(StackSize(class.bytes() as u32)), class);
            assert!(index == 0 || Class(index - 1).bytes() < class.bytes());
        }
        assert_eq!(Class::of(StackSize::MAX).bytes(), StackSize::MAX.bytes());
    }
}
