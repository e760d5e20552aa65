//! Values on their way from old value logs to new ones.
//!
//! The entries of a segment pass through in batches. Of each batch the handles that lead to a picked value log are looked
//! up in the order of that file: frames that lie side by side are read at once, what lies between them, which is garbage,
//! is not read. Then the values are copied as they are stored, in the order of their keys, and each entry gets the handle
//! of the copy.

mod batch;
mod copier;

use std::collections::{BTreeMap, BTreeSet};

use lsm_table::ValueLog;
use lsm_types::VlogId;

pub(crate) use batch::Ahead;
pub(crate) use copier::Copier;

/// What becomes of a job that meets a value which cannot be read or does not stand up to its checks.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum OnCorruption {
    /// It fails, and nothing changes.
    #[default]
    Abort,
    /// The entry keeps its handle, and so the old file stays. Reads of the value go on to tell what is wrong with it.
    Carry,
}

/// The value logs that a job rewrites as far as its entries lead there.
#[derive(Clone, Debug)]
pub struct Relocation {
    /// The value logs.
    pub logs: BTreeMap<VlogId, ValueLog>,
    /// Bytes of values that are read before they are written, and most bytes of a read.
    pub readahead_bytes: u32,
    /// What becomes of the job when a value cannot be copied.
    pub on_corruption: OnCorruption,
}

/// What was copied.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Relocated {
    /// Values that got another place.
    pub values: u64,
    /// Bytes of their frames there.
    pub bytes: u64,
    /// Values that could not be copied and stayed.
    pub carried: u64,
    /// The value logs in which these lie.
    pub damaged: BTreeSet<VlogId>,
}

impl Relocated {
    pub(crate) fn add(&mut self, other: &Self) {
        self.values += other.values;
        self.bytes += other.bytes;
        self.carried += other.carried;
        self.damaged.extend(&other.damaged);
    }
}
