//! What the manifest says about value logs, and what of them is live.
//!
//! Nothing is counted along: what is live of a value log is the sum of what the tables of the version refer to, added
//! when a table enters and subtracted when one leaves. So every way in which an entry can go, be it a merge, a drop or
//! a failed job that never came in, is accounted for without anyone reporting it.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use lsm_types::{
    EditIndex, FILE_HEAD_LEN, FileUuid, TableId, UnixNanos, ValueReferences, ValueUsage, VlogId,
};

use crate::{DirectoryHandle, ManifestError};

/// Everything the manifest stores about one value log.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct VlogDescriptor {
    /// Number of the file; never reused, and no table has it.
    pub id: VlogId,
    /// Random identity, repeated in the file.
    pub uuid: FileUuid,
    /// Length of the file in bytes.
    pub file_len: u64,
    /// Digest of the file's frames.
    pub digest: u64,
    /// Major and minor version of the file format.
    pub format: (u16, u16),
    /// Features a reader must know.
    pub features: u64,
    /// Key under which the file is sealed; 0 for none.
    pub key_id: u32,
    /// When the file was written.
    pub created_at: UnixNanos,
    /// Last edit when the file was begun.
    pub created_edit: EditIndex,
    /// All values in it.
    pub total: ValueUsage,
    /// Its section directory.
    pub directory: DirectoryHandle,
    /// Bytes of the file's tail that hold all it takes to open it; 0 where that is not known.
    pub tail_len: u32,
    /// Whether its values are known to lie in the order of their keys.
    pub is_ordered: bool,
}

/// A value log of a version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LiveVlog {
    /// What it is.
    pub vlog: Arc<VlogDescriptor>,
    /// What of it the tables of the version refer to.
    pub live: ValueUsage,
    /// Whether its file was ever given a second name.
    pub is_exported: bool,
    /// Which tables these are. Kept as tables come and go, so that nobody has to ask all of them.
    pub tables: Arc<BTreeSet<TableId>>,
    /// Offset of the first byte of a value that some entry may lead to; 0 while that may be any. What lies between it and
    /// the head of the file may be gone.
    pub frontier: u64,
}

impl LiveVlog {
    /// What of it nobody refers to any more; nothing when tables refer to more than it holds, as they may after a salvage.
    pub fn garbage(&self) -> ValueUsage {
        self.vlog.total.checked_sub(self.live).unwrap_or_default()
    }

    /// Bytes of the file that somebody may still read: what the value log counts for.
    pub fn live_bytes(&self) -> u64 {
        self.vlog.file_len.saturating_sub(self.consumed_bytes())
    }

    /// Bytes between the head of the file and the frontier.
    pub fn consumed_bytes(&self) -> u64 {
        self.frontier.saturating_sub(FILE_HEAD_LEN as u64)
    }
}

/// The value logs of a version.
///
/// An edit that touches one copies the list, which takes time in the number of value logs, not of tables or values.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Vlogs {
    logs: Arc<BTreeMap<VlogId, LiveVlog>>,
    file_bytes: u64,
}

impl Vlogs {
    /// One of them.
    pub fn get(&self, id: VlogId) -> Option<&LiveVlog> {
        self.logs.get(&id)
    }

    /// All of them, ascending by number.
    pub fn iter(&self) -> impl Iterator<Item = &LiveVlog> {
        self.logs.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.logs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    /// Bytes of their files that somebody may still read.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    pub(crate) fn add(&mut self, vlog: Arc<VlogDescriptor>) -> Result<(), ManifestError> {
        let id = vlog.id;
        if self.logs.contains_key(&id) {
            return Err(ManifestError::VlogExists { vlog: id });
        }
        // Modulo 2^64, as lengths that an edit claims may pass any sum.
        self.file_bytes = self.file_bytes.wrapping_add(vlog.file_len);
        Arc::make_mut(&mut self.logs).insert(
            id,
            LiveVlog {
                vlog,
                live: ValueUsage::default(),
                is_exported: false,
                tables: Arc::default(),
                frontier: 0,
            },
        );
        Ok(())
    }

    /// Takes out one that nobody refers to.
    pub(crate) fn remove(&mut self, id: VlogId) -> Result<(), ManifestError> {
        match self.get(id) {
            None => Err(ManifestError::UnknownVlog { vlog: id }),
            Some(log) if log.live != ValueUsage::default() => Err(ManifestError::VlogInUse { vlog: id }),
            Some(log) => {
                self.file_bytes = self.file_bytes.wrapping_sub(log.live_bytes());
                Arc::make_mut(&mut self.logs).remove(&id);
                Ok(())
            }
        }
    }

    /// Notes that the file of one was given a second name.
    pub(crate) fn export(&mut self, id: VlogId) -> Result<(), ManifestError> {
        let known = self.get(id).ok_or(ManifestError::UnknownVlog { vlog: id })?;
        if !known.is_exported {
            let logs = Arc::make_mut(&mut self.logs);
            logs.get_mut(&id).into_iter().for_each(|log| log.is_exported = true);
        }
        Ok(())
    }

    /// Notes that no entry leads to a value in front of `frontier` any more.
    pub(crate) fn advance(&mut self, id: VlogId, frontier: u64) -> Result<(), ManifestError> {
        let known = self.get(id).ok_or(ManifestError::UnknownVlog { vlog: id })?;
        if frontier <= known.frontier || frontier > known.vlog.file_len {
            return Err(ManifestError::VlogFrontier { vlog: id });
        }
        let logs = Arc::make_mut(&mut self.logs);
        if let Some(log) = logs.get_mut(&id) {
            let before = log.live_bytes();
            log.frontier = frontier;
            self.file_bytes = self.file_bytes.wrapping_sub(before - log.live_bytes());
        }
        Ok(())
    }

    /// A table enters.
    pub(crate) fn refer(&mut self, table: TableId, to: &ValueReferences) -> Result<(), ManifestError> {
        self.change(to, ValueUsage::checked_add, |tables| {
            tables.insert(table);
        })
    }

    /// A table leaves.
    pub(crate) fn release(&mut self, table: TableId, from: &ValueReferences) -> Result<(), ManifestError> {
        self.change(from, ValueUsage::checked_sub, |tables| {
            tables.remove(&table);
        })
    }

    fn change(
        &mut self,
        references: &ValueReferences,
        sum: impl Fn(ValueUsage, ValueUsage) -> Option<ValueUsage>,
        link: impl Fn(&mut BTreeSet<TableId>),
    ) -> Result<(), ManifestError> {
        if references.is_empty() {
            return Ok(()); // copies nothing
        }
        let logs = Arc::make_mut(&mut self.logs);
        for (id, usage) in references.iter() {
            let log = logs.get_mut(&id).ok_or(ManifestError::UnknownVlog { vlog: id })?;
            log.live = sum(log.live, usage).ok_or(ManifestError::VlogSums { vlog: id })?;
            link(Arc::make_mut(&mut log.tables));
        }
        Ok(())
    }

    /// Whether each of them is referred to.
    ///
    /// After a salvage it may be for more than it holds, if a table came back that a merge had replaced.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        for log in self.iter() {
            if log.live.entries == 0 {
                return Err("nothing refers to a value log");
            }
        }
        let sum = self.iter().fold(0_u64, |sum, log| sum.wrapping_add(log.live_bytes()));
        if sum == self.file_bytes { Ok(()) } else { Err("the lengths of value logs have another sum") }
    }
}
