//! Numbers that nobody can foresee, or that are the same in each run: for fairness, not for secrets.

use std::cell::Cell;
use std::hash::{BuildHasher, Hasher, RandomState};

/// A generator of one thread: Steele, Lea and Flood's SplitMix64.
#[derive(Debug)]
pub struct Random(Cell<u64>);

impl Random {
    /// The same numbers for the same seed.
    pub fn new(seed: u64) -> Random {
        Random(Cell::new(seed))
    }

    /// Other numbers each time.
    pub fn unforeseen() -> Random {
        Random::new(RandomState::new().build_hasher().finish())
    }

    /// The next number.
    #[inline]
    pub fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_from_the_seed_as_published() {
        // The first three for seed 1234567, as in the reference implementation's description.
        let random = Random::new(1_234_567);
        let numbers = [random.next(), random.next(), random.next()];
        assert_eq!(numbers, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }
}
