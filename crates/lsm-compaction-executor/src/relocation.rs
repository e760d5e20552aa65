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
use parking_lot::RwLock;

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
#[derive(Debug)]
pub struct Relocation {
    /// The value logs.
    pub logs: PickedLogs,
    /// Bytes of values that are read before they are written, and most bytes of a read.
    pub readahead_bytes: u32,
    /// What becomes of the job when a value cannot be copied.
    pub on_corruption: OnCorruption,
}

/// Value logs, for as long as a job wants them.
///
/// A job that installs what it has made part by part lets go of them on the way: their files go when the last handle does,
/// and the job's is one of them.
#[derive(Debug, Default)]
pub struct PickedLogs {
    logs: RwLock<BTreeMap<VlogId, ValueLog>>,
}

impl From<BTreeMap<VlogId, ValueLog>> for PickedLogs {
    fn from(logs: BTreeMap<VlogId, ValueLog>) -> Self {
        Self { logs: RwLock::new(logs) }
    }
}

impl PickedLogs {
    /// Numbers of those that are left.
    pub fn ids(&self) -> BTreeSet<VlogId> {
        self.logs.read().keys().copied().collect()
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.logs.read().is_empty()
    }

    /// Those that are left.
    pub(crate) fn open(&self) -> BTreeMap<VlogId, ValueLog> {
        self.logs.read().clone()
    }

    /// Lets go of those that are not to be kept.
    pub fn keep(&self, mut is_kept: impl FnMut(VlogId) -> bool) {
        // Dropped without the lock: the last handle of a file removes it.
        let gone: Vec<ValueLog> = {
            let mut logs = self.logs.write();
            let ids: Vec<VlogId> = logs.keys().copied().filter(|id| !is_kept(*id)).collect();
            ids.iter().filter_map(|id| logs.remove(id)).collect()
        };
        drop(gone);
    }
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
