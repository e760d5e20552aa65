//! One partition of a filter: where the filter's own crate is met.

use alloc::vec::Vec;
use core::fmt;

use lsm_burr::{Builder, Filter, FilterError, HashId};
use lsm_types::{KeyHash, Slice};

use super::{FilterAnswer, FilterBits, FilterId};
use crate::payload::PayloadError;

/// Collects the hashes of a partition. Reused from one to the next, it keeps its memory.
pub(crate) struct PartitionBuilder {
    builder: Builder,
    /// Bits per key, rounded up.
    bits: usize,
    /// Hashes that are known to fit without another look.
    room: usize,
}

impl PartitionBuilder {
    pub(crate) fn new(id: FilterId, bits: FilterBits) -> Self {
        let builder = Builder::new(bits).with_hash_id(hash_id(id));
        Self { builder, bits: usize::from(bits.whole()) + 1, room: 0 }
    }

    /// Hashes so far.
    pub(crate) fn len(&self) -> usize {
        self.builder.len()
    }

    /// Whether the partition stays within `max` bytes when it takes in `more` hashes.
    #[inline]
    pub(crate) fn fits(&mut self, more: usize, max: usize) -> bool {
        if more > self.room {
            self.measure(more, max);
        }
        let fits = more <= self.room;
        if fits {
            self.room -= more;
        }
        fits
    }

    /// Finds out how many more hashes certainly fit.
    #[cold]
    fn measure(&mut self, more: usize, max: usize) {
        let now = self.builder.projected_len();
        // The projection is right within half a percent and a block of slots, and no key takes more than this.
        let per_key = self.bits + 8;
        let margin = now / 200 + self.bits * 8 + 1;
        let left = max.saturating_sub(now + margin);
        self.room = left * 8 / per_key;
        if self.room > 2 * more.max(32) {
            self.room /= 2; // the projection is not a straight line
        }
    }

    pub(crate) fn memory_len(&self) -> usize {
        self.builder.memory_len()
    }

    #[inline]
    pub(crate) fn push(&mut self, hash: KeyHash) {
        self.builder.push(hash.get());
    }

    /// Appends the partition to `out` and starts an empty one; `false` when it could not be built.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> bool {
        self.room = 0;
        self.builder.finish(out).is_ok()
    }
}

impl fmt::Debug for PartitionBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionBuilder").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// A partition of a filter whose every field was checked. It is used from the bytes it was read into.
#[derive(Debug)]
pub struct FilterPartition {
    filter: Filter<Slice>,
}

impl FilterPartition {
    /// Checks `payload`. Whatever bytes come in, the result is an error or a partition that can be asked.
    pub fn decode(id: FilterId, payload: Slice) -> Result<Self, PayloadError> {
        let filter = Filter::open(payload).map_err(|error| match error {
            FilterError::Unsupported { field, value } => {
                PayloadError::Unsupported { part: field, found: value }
            }
            FilterError::Malformed { field, .. } => PayloadError::field(field),
            _ => PayloadError::field("length"),
        })?;
        if filter.hash_id() != hash_id(id) {
            return Err(PayloadError::field("hash id"));
        }
        Ok(Self { filter })
    }

    /// What the partition says about `hash`: never [`FilterAnswer::Unusable`], and never [`FilterAnswer::Absent`] for
    /// one that was put in.
    #[inline]
    pub fn ask(&self, hash: KeyHash) -> FilterAnswer {
        if self.filter.may_contain(hash.get()) { FilterAnswer::Maybe } else { FilterAnswer::Absent }
    }

    /// Asks about many hashes at once, whose cache misses overlap: `false` in `maybe` says [`FilterAnswer::Absent`] of
    /// the hash at the same place. The shorter of the two ends it.
    pub fn ask_many(&self, hashes: &[u64], maybe: &mut [bool]) {
        self.filter.may_contain_batch(hashes, maybe);
    }

    /// What it is made of.
    pub fn shape(&self) -> FilterShape {
        self.filter.stats()
    }

    /// Bytes of memory the partition takes, for a cache's account.
    pub fn memory_len(&self) -> usize {
        size_of::<Self>() + self.filter.bytes().len()
    }
}

/// What a partition is made of.
pub type FilterShape = lsm_burr::Stats;

const fn hash_id(id: FilterId) -> HashId {
    match id {
        FilterId::Keys => HashId::WHOLE_KEY,
        FilterId::Prefixes => HashId::PREFIX,
    }
}
