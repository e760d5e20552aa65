//! Keys and values: a pure function of their number and a seed, so that every engine gets the same bytes.

use clap::ValueEnum;

/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 16;

/// Bytes that values are cut from: fits a second-level cache, so that making values does not measure memory.
const POOL_BYTES: usize = 128 << 10;

/// Pieces of the pool: the first half of each is random, the other half repeats one byte.
const PIECE_BYTES: usize = 32;

/// How the number of a key becomes its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum KeyShape {
    /// Eight bytes that count and eight bytes of noise.
    Binary,
    /// Sixteen decimal digits with leading zeros.
    Text,
}

impl KeyShape {
    /// The key with this number; keys ascend with their numbers.
    pub(crate) fn key(self, number: u64) -> [u8; KEY_BYTES] {
        let mut key = [b'0'; KEY_BYTES];
        match self {
            Self::Binary => {
                let (count, noise) = key.split_at_mut(8);
                count.copy_from_slice(&number.to_be_bytes());
                noise.copy_from_slice(&mix(number).to_be_bytes());
            }
            Self::Text => {
                let mut rest = number;
                for digit in key.iter_mut().rev() {
                    *digit = b'0' + (rest % 10) as u8;
                    rest /= 10;
                }
            }
        }
        key
    }
}

/// A well-spread number for `x`: the finisher of `SplitMix64`.
pub(crate) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Dice that fall the same way for the same seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`, which is not zero.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// The numbers below `count`, each once, in any order.
    pub(crate) fn permutation(&mut self, count: u32) -> Vec<u32> {
        let mut numbers: Vec<u32> = (0..count).collect();
        for end in (1..numbers.len()).rev() {
            let other = self.below(end as u64 + 1) as usize;
            numbers.swap(end, other);
        }
        numbers
    }
}

/// Makes values that shrink to about half.
pub(crate) struct Values {
    pool: Vec<u8>,
    value: Vec<u8>,
}

impl Values {
    /// Values of `len` bytes.
    pub(crate) fn new(len: usize, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut pool = Vec::with_capacity(POOL_BYTES + len);
        while pool.len() < POOL_BYTES + len {
            let filler = dice.next() as u8;
            let noise = std::iter::repeat_with(|| dice.next() as u8).take(PIECE_BYTES / 2);
            pool.extend(noise.chain(std::iter::repeat_n(filler, PIECE_BYTES / 2)));
        }
        Self { pool, value: vec![0; len] }
    }

    /// What the value of write number `version` of key `number` begins with, as far as it is long enough.
    pub(crate) fn name(number: u64, version: u64) -> [u8; 8] {
        mix(number ^ (version << 40)).to_be_bytes()
    }

    /// The value that write number `version` of key `number` stores; it begins with bytes no other value begins with.
    pub(crate) fn value(&mut self, number: u64, version: u64) -> &[u8] {
        let name = Self::name(number, version);
        let at = (u64::from_be_bytes(name) % POOL_BYTES as u64) as usize;
        let len = self.value.len();
        self.value.copy_from_slice(&self.pool[at..at + len]);
        let head = len.min(8);
        self.value[..head].copy_from_slice(&name[..head]);
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_ascend_with_their_numbers() {
        for shape in [KeyShape::Binary, KeyShape::Text] {
            let keys: Vec<_> = (0..100_000).step_by(97).map(|number| shape.key(number)).collect();
            assert!(keys.is_sorted(), "{shape:?}");
        }
    }

    #[test]
    fn a_permutation_holds_each_number_once() {
        let mut numbers = Dice::new(7).permutation(1000);
        assert!(!numbers.is_sorted());
        numbers.sort_unstable();
        assert!(numbers.iter().copied().eq(0..1000));
    }

    #[test]
    fn values_depend_on_number_and_version_alone() {
        let (mut one, mut other) = (Values::new(100, 3), Values::new(100, 3));
        let first = one.value(5, 0).to_vec();
        assert_ne!(first, one.value(5, 1));
        assert_eq!(first, other.value(5, 0));
    }
}
