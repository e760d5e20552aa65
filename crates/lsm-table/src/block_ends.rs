//! Where the data blocks of a table end, from the index alone.

use std::sync::Arc;

use lsm_sst::{BlockSource, TableLayout, index::IndexBlock};
use lsm_types::{Result, SeqNo, Slice, columns::KeyBuf};

use crate::{ReadMode, Table, source::CursorSource};

/// The end of a data block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockEnd {
    /// A key at or above all keys of the block, and at or below all keys of the next one; the same key when versions of
    /// it lie in both.
    pub key: Slice,
    /// Bytes of the block in the file.
    pub stored_bytes: u64,
}

/// Walks the index of a table in key order. Made by [`Table::block_ends`].
pub struct BlockEnds {
    layout: Arc<TableLayout>,
    source: CursorSource,
    root_idx: usize,
    /// The partition behind it, for an index of two levels.
    partition: Option<Arc<IndexBlock>>,
    entry_idx: usize,
    key: KeyBuf,
}

impl Table {
    /// The ends of all data blocks that are left of the table. Index partitions are read past the cache, when the walk comes to them.
    ///
    /// # Errors
    /// What opening the table finds.
    pub fn block_ends(&self) -> Result<BlockEnds> {
        let layout = self.layout()?.clone();
        let source = CursorSource::new(self.inner.clone(), layout.clone(), ReadMode::PICK, None);
        let key = KeyBuf::new();
        let mut ends = BlockEnds { layout, source, root_idx: 0, partition: None, entry_idx: 0, key };
        if let Some(floor) = &self.inner.floor {
            ends.seek(floor)?;
        }
        Ok(ends)
    }
}

impl BlockEnds {
    /// Goes to the first block that may hold `key` or a larger one.
    fn seek(&mut self, key: &[u8]) -> Result<()> {
        let layout = self.layout.clone();
        let (root, order) = (layout.root(), layout.order());
        let root_idx = root.find(order, key, SeqNo::LATEST);
        if !root.is_upper() {
            self.entry_idx = root_idx;
            return Ok(());
        }
        self.root_idx = root_idx;
        if let Some(entry) = root.entry(root_idx) {
            let partition = self.source.index(entry.into())?;
            self.entry_idx = partition.find(order, key, SeqNo::LATEST);
            self.partition = Some(partition);
        }
        Ok(())
    }

    /// The next one; `None` after the last.
    ///
    /// # Errors
    /// What reading an index partition finds.
    pub fn next_end(&mut self) -> Result<Option<BlockEnd>> {
        let root = self.layout.root().clone();
        if !root.is_upper() {
            return Ok(self.next_of(&root));
        }
        while let Some(entry) = root.entry(self.root_idx) {
            let partition = match &self.partition {
                Some(partition) => partition.clone(),
                None => self.partition.insert(self.source.index(entry.into())?).clone(),
            };
            if let Some(end) = self.next_of(&partition) {
                return Ok(Some(end));
            }
            (self.root_idx, self.entry_idx, self.partition) = (self.root_idx + 1, 0, None);
        }
        Ok(None)
    }

    fn next_of(&mut self, index: &IndexBlock) -> Option<BlockEnd> {
        let stored_bytes = index.entry(self.entry_idx)?.handle.len.into();
        self.key.reset();
        index.separator(self.entry_idx, &mut self.key);
        self.entry_idx += 1;
        Some(BlockEnd { key: Slice::copy_from(self.key.as_slice()), stored_bytes })
    }
}

impl std::fmt::Debug for BlockEnds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockEnds").field("root_idx", &self.root_idx).finish_non_exhaustive()
    }
}
