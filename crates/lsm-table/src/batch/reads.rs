//! What a batch wants read: blocks that touch each other come in one read.

use std::{collections::HashSet, path::PathBuf, sync::Arc};

use lsm_types::{Error, FileKind, IoError, IoKind, IoOp, Location, Result, Slice, TableId};

use super::{Place, Spot, Want};
use crate::{TableError, table::TableInner};

/// A range of bytes of a table's file that a batch waits for. It keeps the file, so it may be read from any thread.
#[derive(Clone)]
pub struct BlockRead {
    table: Arc<TableInner>,
    offset: u64,
    len: usize,
    blocks: usize,
}

impl BlockRead {
    /// The table.
    pub fn table(&self) -> TableId {
        self.table.descriptor.id
    }

    /// Where its file lies, in the file system that was given for its level.
    pub fn path(&self) -> PathBuf {
        self.table.env.real_path(self.table(), self.table.descriptor.route)
    }

    /// The first byte.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes.
    #[expect(clippy::len_without_is_empty, reason = "nobody wants to read nothing")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// How many blocks lie in it, side by side.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Reads it, and waits until that is done.
    ///
    /// # Errors
    /// What the system says, with file and offset.
    pub fn read(&self) -> Result<Slice> {
        self.table.read(self.offset, self.len)
    }

    /// Tells the system that it is read soon.
    pub(super) fn announce(&self) {
        self.table.announce(self.offset, self.len as u64);
    }

    pub(super) fn fell_short(&self) -> Error {
        let at = Location { kind: FileKind::Table, id: self.table().get(), offset: self.offset };
        let len = u32::try_from(self.len).unwrap_or(u32::MAX);
        TableError::Read { at, len, source: IoError::new(IoOp::Read, IoKind::UnexpectedEof) }.into()
    }
}

impl std::fmt::Debug for BlockRead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (table, end) = (self.table(), self.offset + self.len as u64);
        write!(f, "table {table}: {}..{end} ({} blocks)", self.offset, self.blocks)
    }
}

/// The reads that get `wants`, which stand in the order of their spots.
pub(super) fn coalesce(wants: &[Want], alone: &HashSet<Spot>, longest: u64) -> Vec<BlockRead> {
    let mut reads: Vec<BlockRead> = Vec::new();
    let mut last: Option<&Want> = None;
    for want in wants {
        let (offset, len) = (want.range.offset, usize::try_from(want.range.len).unwrap_or(usize::MAX));
        let touches = |last: &Want, read: &BlockRead| {
            last.spot.file == want.spot.file
                && last.spot.place != Place::Opening
                && !alone.contains(&last.spot)
                && !alone.contains(&want.spot)
                && last.range.offset.checked_add(last.range.len) == Some(offset)
                && read.len as u64 + want.range.len <= longest
        };
        match (last, reads.last_mut()) {
            (Some(last), Some(read)) if touches(last, read) => {
                read.len += len;
                read.blocks += 1;
            }
            _ => reads.push(BlockRead { table: want.table.clone(), offset, len, blocks: 1 }),
        }
        last = Some(want);
    }
    reads
}
