//! Builds filters, one after another, in memory that is kept between them.

use alloc::vec::Vec;

use crate::error::key_count;
use crate::tower::{self, Fallen, Order, Tower};
use crate::{BandWidth, Bits, BuildError, HashId, Stats, Structure, list};

/// Keys up to which a list of fingerprints is the smaller structure.
const LIST_KEYS: usize = 256;
/// Seeds that are tried before the keys are listed, or a filter heavier than its bound is taken. Of those that may be
/// heavier, nearly every second one is not.
const SEEDS: u64 = 8;

/// Builds filters from 64-bit hashes.
///
/// One builder is meant to build many: it keeps its memory, at most 28 bytes per key of the largest filter, and needs
/// no more of it for filters of that size.
pub struct Builder {
    bits: Bits,
    hash_id: HashId,
    hashes: Vec<u64>,
    towers: Towers,
}

/// The tower of one width of equations.
enum Towers {
    Slots64(Tower<u64, u64>),
    Slots128(Tower<u64, u128>),
}

impl Builder {
    /// A builder of filters of `bits` per key.
    pub fn new(bits: Bits) -> Self {
        Self {
            bits,
            hash_id: HashId::WHOLE_KEY,
            hashes: Vec::new(),
            towers: Towers::Slots64(Tower::default()),
        }
    }

    /// Says what the hashes are hashes of; the number goes into the filter's head.
    pub fn with_hash_id(mut self, hash_id: HashId) -> Self {
        self.hash_id = hash_id;
        self
    }

    /// Chooses how many slots an equation covers: 64, unless this says otherwise. Wide ones need up to 36 bytes of memory
    /// per key.
    pub fn with_band(mut self, band: BandWidth) -> Self {
        self.towers = match band {
            BandWidth::Slots64 => Towers::Slots64(Tower::default()),
            BandWidth::Slots128 => Towers::Slots128(Tower::default()),
        };
        self
    }

    /// Adds a key by its hash. Order does not matter; a repeat costs time and, once there are many, no space.
    #[inline]
    pub fn push(&mut self, hash: u64) {
        if self.hashes.len() == self.hashes.capacity() {
            self.grow();
        }
        self.hashes.push(hash);
    }

    /// Makes room by a little: doubling would break the bound on memory, and this ends with the first filters.
    #[cold]
    fn grow(&mut self) {
        self.hashes.reserve_exact((self.hashes.len() / 32).max(1024));
    }

    /// Hashes added since the last filter.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether none was added.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// The bytes that [`Self::finish`] would append, within half a percent and a block of 64 slots.
    pub fn projected_len(&self) -> usize {
        let keys = self.hashes.len();
        let band = match self.towers {
            Towers::Slots64(_) => BandWidth::Slots64,
            Towers::Slots128(_) => BandWidth::Slots128,
        };
        if keys <= LIST_KEYS {
            list::len(keys, self.bits)
        } else {
            tower::projected_len(keys, self.bits, band)
        }
    }

    /// Bytes of memory held.
    pub fn memory_len(&self) -> usize {
        let towers = match &self.towers {
            Towers::Slots64(tower) => tower.memory_len(),
            Towers::Slots128(tower) => tower.memory_len(),
        };
        self.hashes.capacity() * size_of::<u64>() + towers
    }

    /// Appends the filter of all hashes added since the last one, and starts anew.
    ///
    /// The bytes should lie at a multiple of 64 when they are used. The same hashes give the same bytes, in whatever
    /// order they came.
    ///
    /// # Errors
    /// [`BuildError::TooManyKeys`] for more than 2^32 - 1; the hashes are forgotten.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<Stats, BuildError> {
        let built = key_count(self.hashes.len()).map(|_| self.build(out, SEEDS));
        self.hashes.clear();
        built
    }

    fn build(&mut self, out: &mut Vec<u8>, seeds: u64) -> Stats {
        let begin = out.len();
        let mut distinct = false;
        let mut seed = 0;
        while self.hashes.len() > LIST_KEYS && seed < seeds {
            let (structure, layers) = (Structure::Membership, tower::LAYERS);
            let order = Order { structure, bits: self.bits, hash_id: self.hash_id, seed, layers };
            let built = match &mut self.towers {
                Towers::Slots64(tower) => tower.build(&self.hashes, order, out, write_stash),
                Towers::Slots128(tower) => tower.build(&self.hashes, order, out, write_stash),
            };
            match built {
                Ok(stats) if seed + 1 >= seeds || !tower::is_heavy(&stats, self.bits) => return stats,
                Err(Fallen::Repeats) if !distinct => {
                    self.make_distinct();
                    distinct = true;
                }
                Ok(_) | Err(_) => seed += 1,
            }
            out.truncate(begin);
        }
        self.make_distinct();
        list::encode(&mut self.hashes, self.bits, self.hash_id, out)
    }

    fn make_distinct(&mut self) {
        self.hashes.sort_unstable();
        self.hashes.dedup();
    }
}

/// A filter's stash: the hashes themselves, sorted.
fn write_stash(left: &mut [u64], out: &mut Vec<u8>) -> usize {
    left.sort_unstable();
    for hash in left.iter() {
        out.extend_from_slice(&hash.to_le_bytes());
    }
    left.len()
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::FilterRef;
    use crate::hash::{Mixed, layer_seed};
    use crate::width::Coefficients;

    /// Hashes that the first layer of seed 0 would all put into one bucket, if it has about as many slots as they are.
    fn one_bucket(count: usize) -> Vec<u64> {
        let starts = count as u64;
        let in_first = |hash: &u64| Mixed::new(*hash, layer_seed(0, 0, 0)).start(starts) < u64::BUCKET / 2;
        (0..).map(|i: u64| i.wrapping_mul(0xD129_0F5D_8C5B_2D3B)).filter(in_first).take(count).collect()
    }

    #[track_caller]
    fn check(hashes: &[u64], seeds: u64, structure: Structure, seed: u64) {
        let mut builder = Builder::new(Bits::from_parts(8, 0).expect("in range"));
        for &hash in hashes {
            builder.push(hash);
        }
        let mut bytes = Vec::new();
        let stats = builder.build(&mut bytes, seeds);
        assert_eq!((stats.structure, stats.seed), (structure, seed));
        let filter = FilterRef::open(&bytes[..]).expect("well formed");
        assert!(hashes.iter().all(|&hash| filter.may_contain(hash)), "a member is missing");
        let wrong = (0..100_000_u64).filter(|i| filter.may_contain(!i.wrapping_mul(0xD129_0F5D))).count();
        assert!((290..490).contains(&wrong), "{wrong} of 100,000 wrong");
        // The bound of the list: two bits per key more than the fingerprint, and a count for every 256 keys.
        assert!(bytes.len() <= hashes.len() * 83 / 64 + 128, "{} bytes", bytes.len());
    }

    /// Keys made to fail under one seed get the next one; with no seed left they are listed.
    ///
    /// Proves F-90.
    #[test]
    fn a_bad_seed_is_replaced_and_then_given_up() {
        let bad = one_bucket(5000);
        check(&bad, SEEDS, Structure::Membership, 1);
        check(&bad, 1, Structure::FingerprintList, 0);
        check(&bad, 0, Structure::FingerprintList, 0);
        let good: Vec<u64> = (0..70_000).collect();
        check(&good, SEEDS, Structure::Membership, 0);
        check(&good, 0, Structure::FingerprintList, 0);
    }
}
