//! What is left of a table whose lower part was taken over, told from the file alone: for recoveries that have no manifest
//! to tell it. Nothing below the bound is read, for it may have been given back.

use std::{path::Path, sync::Arc};

use lsm_block::{Encryption, Superblock};
use lsm_fs::{Fs, FsFile, OpenOptions};
use lsm_manifest::{Restriction, TableDescriptor};
use lsm_sst::TableOptions;
use lsm_types::{
    Cut, EntryCursor as _, KeyOrder, Kind, ReadAt as _, Result, SeqNo, Slice, ValueHandle, ValueReferences,
    VlogId,
};

use crate::front::FS_BLOCK;

/// Bytes of a block of the file system.
const PAGE: usize = 4 << 10;
const _: () = assert!(PAGE as u64 == FS_BLOCK);

/// A table whose file is read without anything being known of it but how its keys are ordered and sealed.
#[derive(Debug)]
pub struct RestOfTable {
    file: Arc<dyn FsFile>,
    table: lsm_sst::Table<Arc<dyn FsFile>>,
    order: KeyOrder,
}

impl RestOfTable {
    /// Opens the file at `path`: its metadata, which is never given back.
    ///
    /// # Errors
    /// As for [`crate::read_table`].
    pub fn open(fs: &dyn Fs, path: &Path, order: &KeyOrder, encryption: Option<&Encryption>) -> Result<Self> {
        let file = fs.open(path, &OpenOptions::READ)?;
        let open = lsm_sst::OpenOptions {
            encryption: encryption.cloned(),
            ..lsm_sst::OpenOptions::new(order.clone())
        };
        let table = lsm_sst::Table::open(file.clone(), TableOptions::new().open(open).filters(false))?;
        Ok(Self { file, table, order: order.clone() })
    }

    /// `descriptor` as it is with nothing below `lower`; `None` where nothing is left.
    ///
    /// # Errors
    /// What reading the entries from there on finds: those of a table with separated values, to see what they refer to.
    pub fn above(&self, descriptor: &TableDescriptor, lower: &Slice) -> Result<Option<TableDescriptor>> {
        let start = Cut::Before(lower.clone());
        if !start.compare(&descriptor.coverage_end, &self.order).is_lt() {
            return Ok(None);
        }
        if start.compare(&descriptor.coverage_start, &self.order).is_le() {
            return Ok(Some(descriptor.clone()));
        }
        let layout = self.table.meta();
        let (consumed, entries) = layout.consumed_below(self.table.source(), lower)?;
        let max = descriptor.entries.as_ref().map(|range| &range.max);
        let is_left = max.is_some_and(|max| self.order.compare(lower, max).is_le());
        let left = layout.entries().saturating_sub(entries).min(descriptor.live_entries());
        let restriction = Restriction {
            lower: lower.clone(),
            entries: if is_left { left } else { 0 },
            consumed_bytes: consumed.max(descriptor.consumed_bytes()),
        };
        let references = if descriptor.references.is_empty() {
            ValueReferences::new()
        } else {
            self.references_from(lower)?
        };
        let rest = descriptor.restricted(restriction, references, &self.order)?;
        Ok(Some(Arc::unwrap_or_clone(rest)))
    }

    /// Reads entries from `lower` on, as far as `to`: whether they are all there, and what they lead to.
    ///
    /// * `is_gone`: whether the value of a key is not there.
    ///
    /// # Errors
    /// The first block that is not there.
    pub fn is_whole(
        &self,
        lower: Option<&Slice>,
        to: &Cut,
        mut is_gone: impl FnMut(&ValueHandle, &[u8]) -> Result<bool>,
    ) -> Result<bool> {
        let mut is_whole = true;
        self.walk(lower, |key, value, kind| {
            if to.is_left_of(key, &self.order) {
                return Ok(true);
            }
            is_whole = kind != Kind::Indirection || !is_gone(&ValueHandle::decode(value)?, key)?;
            Ok(!is_whole)
        })?;
        Ok(is_whole)
    }

    /// Where in the value log the first of the values lies that entries from `lower` on lead to.
    ///
    /// # Errors
    /// What reading the entries finds.
    pub fn first_value(&self, log: VlogId, lower: Option<&Slice>) -> Result<Option<u64>> {
        let mut first: Option<u64> = None;
        self.walk(lower, |_, value, kind| {
            if kind == Kind::Indirection {
                let handle = ValueHandle::decode(value)?;
                if handle.file == log {
                    first = Some(first.map_or(handle.offset, |first| first.min(handle.offset)));
                }
            }
            Ok(false)
        })?;
        Ok(first)
    }

    /// Whether bytes in front were given back, unless a power cut came in the middle of it: the first block of the file
    /// system that would be is empty, and what lies there cannot be read.
    ///
    /// # Errors
    /// What the system says.
    pub fn is_front_gone(&self) -> Result<bool> {
        let at = (Superblock::LEN as u64).next_multiple_of(FS_BLOCK);
        let mut page = [0; PAGE];
        if at.saturating_add(FS_BLOCK) > self.table.meta().file_len() {
            return Ok(false);
        }
        self.file.read_exact_at(at, &mut page)?;
        Ok(page.iter().all(|byte| *byte == 0) && !self.is_readable_to(at + FS_BLOCK))
    }

    fn is_readable_to(&self, end: u64) -> bool {
        for block in self.table.blocks() {
            let Ok(block) = block else { return false };
            if block.load().is_err() {
                return false;
            }
            if block.at().handle.offset >= end {
                break;
            }
        }
        true
    }

    fn references_from(&self, lower: &Slice) -> Result<ValueReferences> {
        let mut left = ValueReferences::new();
        self.walk(Some(lower), |_, value, kind| {
            if kind == Kind::Indirection {
                left.record(&ValueHandle::decode(value)?)?;
            }
            Ok(false)
        })?;
        Ok(left)
    }

    /// Goes through entries until `is_done`.
    fn walk(
        &self,
        lower: Option<&Slice>,
        mut is_done: impl FnMut(&[u8], &[u8], Kind) -> Result<bool>,
    ) -> Result<()> {
        let mut cursor = self.table.cursor();
        match lower {
            Some(key) => cursor.seek(key, SeqNo::LATEST)?,
            None => cursor.seek_first()?,
        }
        while let Some(entry) = cursor.entry() {
            if is_done(entry.key, entry.value, entry.kind)? {
                break;
            }
            cursor.next()?;
        }
        Ok(())
    }
}
