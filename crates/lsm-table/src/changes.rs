//! Change scans: the data blocks of a table that may hold numbers of a window.

use std::sync::Arc;

use lsm_sst::{TableLayout, seqno_bounds::BlockBounds};
use lsm_types::{Result, SeqNo};

use crate::{ReadMode, Table, source::CursorSource, table::TableInner};

/// Walks the data blocks of a table.
pub type TableChangeScan = lsm_sst::ChangeScan<CursorSource>;

impl Table {
    /// A scan of the data blocks that may hold numbers of a window; all blocks where the table does not record which ones
    /// those are, or where that record is damaged. Blocks come past the cache.
    ///
    /// # Errors
    /// What opening the table finds.
    pub fn change_scan(&self) -> Result<TableChangeScan> {
        let layout = self.layout()?.clone();
        let bounds = self.inner.block_bounds(&layout);
        let source = CursorSource::new(self.inner.clone(), layout.clone(), ReadMode::PICK, None);
        let scan = layout.change_scan(source, bounds).without(self.inner.dead()?);
        match &self.inner.floor {
            Some(floor) => scan.above(floor),
            None => Ok(scan),
        }
    }

    /// Whether every entry of the table is numbered at or above `seqno`.
    #[inline]
    pub fn is_newer_than(&self, seqno: SeqNo) -> bool {
        self.descriptor().point_seqnos.is_none_or(|numbers| numbers.min >= seqno)
    }
}

impl TableInner {
    /// The recorded bounds of data blocks, in memory after the first call.
    fn block_bounds(&self, layout: &TableLayout) -> Option<Arc<BlockBounds>> {
        if let Some(bounds) = self.bounds.get() {
            return bounds.clone();
        }
        let read = layout.bounds_range().map(|range| {
            let bytes = self.read(range.offset, usize::try_from(range.len).unwrap_or(usize::MAX))?;
            self.env.decoders.with(|decoder| layout.decode_bounds(&bytes, decoder))
        });
        let bounds = match read.transpose() {
            Ok(bounds) => bounds.map(Arc::new),
            Err(error) => {
                let table = self.descriptor.id;
                tracing::warn!(%table, %error, "bounds of blocks cannot be used; change scans read every block");
                None
            }
        };
        self.bounds.get_or_init(|| bounds).clone()
    }
}
