//! Builds filters, one after another, in memory that is kept between them.

use alloc::vec::Vec;

use crate::tower::{self, Fallen, Order, Tower};
use crate::{Bits, BuildError, HashId, Stats, Structure, list};

/// Keys up to which a list of fingerprints is the smaller structure.
const LIST_KEYS: usize = 256;
/// Seeds that are tried before the keys are listed.
const SEEDS: u64 = 8;

/// Builds filters from 64-bit hashes.
///
/// One builder is meant to build many: it keeps its memory, at most 28 bytes per key of the largest filter, and needs
/// no more of it for filters of that size.
pub struct Builder {
    bits: Bits,
    hash_id: HashId,
    hashes: Vec<u64>,
    tower: Tower<u64>,
}

impl Builder {
    /// A builder of filters of `bits` per key.
    pub fn new(bits: Bits) -> Self {
        Self { bits, hash_id: HashId::WHOLE_KEY, hashes: Vec::new(), tower: Tower::default() }
    }

    /// Says what the hashes are hashes of; the number goes into the filter's head.
    pub fn with_hash_id(mut self, hash_id: HashId) -> Self {
        self.hash_id = hash_id;
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

    /// Makes room by an eighth: doubling would break the bound on memory.
    #[cold]
    fn grow(&mut self) {
        self.hashes.reserve_exact((self.hashes.len() / 8).max(1024));
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
        if keys <= LIST_KEYS { list::len(keys, self.bits) } else { tower::projected_len(keys, self.bits) }
    }

    /// Bytes of memory held.
    pub fn memory_len(&self) -> usize {
        self.hashes.capacity() * size_of::<u64>() + self.tower.memory_len()
    }

    /// Appends the filter of all hashes added since the last one, and starts anew.
    ///
    /// The bytes should lie at a multiple of 64 when they are used. The same hashes give the same bytes, in whatever
    /// order they came.
    ///
    /// # Errors
    /// [`BuildError::TooManyKeys`] for more than 2^32 - 1; the hashes are forgotten.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<Stats, BuildError> {
        let keys = self.hashes.len();
        let built = if u32::try_from(keys).is_ok() {
            Ok(self.build(out))
        } else {
            Err(BuildError::TooManyKeys { keys: keys as u64 })
        };
        self.hashes.clear();
        built
    }

    fn build(&mut self, out: &mut Vec<u8>) -> Stats {
        let begin = out.len();
        let mut distinct = false;
        let mut seed = 0;
        while self.hashes.len() > LIST_KEYS && seed < SEEDS {
            let order =
                Order { structure: Structure::Membership, bits: self.bits, hash_id: self.hash_id, seed };
            match self.tower.build(&self.hashes, order, out, write_stash) {
                Ok(stats) => return stats,
                Err(Fallen::Repeats) if !distinct => {
                    self.make_distinct();
                    distinct = true;
                }
                Err(_) => seed += 1,
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
fn write_stash(left: &mut [u64], out: &mut Vec<u8>) {
    left.sort_unstable();
    for hash in left {
        out.extend_from_slice(&hash.to_le_bytes());
    }
}
