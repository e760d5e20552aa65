//! The seam behind which membership filters are built and asked.
//!
//! A filter is optional: it may only ever say that a key is certainly absent. One that is missing, damaged or of an
//! unknown structure says nothing, and the answer stays the same.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::fmt;

use lsm_types::{KeyHash, Slice};

/// Builds the filter of a table, one partition after another.
///
/// A partition covers a contiguous range of keys. The table writer hands in the hash of each distinct user key in
/// key order, and takes a partition whenever the builder says that it is full.
pub trait FilterBuilder: Send {
    /// Takes in the next key of the open partition.
    fn push(&mut self, hash: KeyHash);

    /// Whether the open partition should take no further key.
    fn is_full(&self) -> bool;

    /// Appends the open partition's payload to `out` and starts the next one.
    fn finish_partition(&mut self, out: &mut Vec<u8>);

    /// Bytes of memory in use.
    fn memory_len(&self) -> usize;
}

/// A filter partition that can be asked.
pub trait FilterProbe: Send + Sync {
    /// `false` only if no key with this hash was given to the builder of this partition.
    fn may_contain(&self, hash: KeyHash) -> bool;

    /// Bytes of memory the probe takes, for a cache's account.
    fn memory_len(&self) -> usize;
}

/// Turns the payload of a filter partition into a probe; `None` for bytes it does not understand.
pub type FilterOpener = Arc<dyn Fn(Slice) -> Option<Arc<dyn FilterProbe>> + Send + Sync>;

impl fmt::Debug for dyn FilterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilterBuilder").field("memory_len", &self.memory_len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for dyn FilterProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilterProbe").field("memory_len", &self.memory_len()).finish_non_exhaustive()
    }
}

/// A builder a table writer owns.
pub type BoxedFilterBuilder = Box<dyn FilterBuilder>;
