//! Keys, numbers and kinds of a row group: what every group has, and what says which rows are versions of what.

use alloc::{sync::Arc, vec::Vec};

use lsm_block::BlockKind;
use lsm_columnar::{ColumnId, ColumnVector, Values};
use lsm_types::{Kind, Result, SeqNo};

use super::{ColumnPage, GroupSource, RowGroup};
use crate::{TableLayout, payload::PayloadError};

impl TableLayout {
    /// The keys of part `part` of a group. No other page is read.
    pub(crate) fn keys_of<S: GroupSource>(
        &self,
        source: &S,
        group: &RowGroup,
        part: usize,
    ) -> Result<Arc<ColumnPage>> {
        let page = self.own_page(source, group, (ColumnId::KEY, part))?;
        if page.page().as_keys().is_some() { Ok(page) } else { Err(self.wrong_page(group, "keys")) }
    }

    /// The numbers of the rows of part `part` of a group, as they are stored. No other page is read.
    pub(crate) fn seqnos_of<S: GroupSource>(
        &self,
        source: &S,
        group: &RowGroup,
        part: usize,
    ) -> Result<Vec<SeqNo>> {
        let seqnos = self.own_column(source, group, (ColumnId::SEQNO, part))?;
        let (Values::U64(seqnos), 0) = (seqnos.values(), seqnos.null_count()) else {
            return Err(self.wrong_page(group, "validity"));
        };
        let local = |&seqno| SeqNo::new(seqno).filter(|seqno| seqno.is_write());
        let seqnos = seqnos.iter().map(local).collect::<Option<_>>();
        seqnos.ok_or_else(|| self.wrong_page(group, "seqnos"))
    }

    /// The kinds of the rows of part `part` of a group. No other page is read.
    pub(crate) fn kinds_of<S: GroupSource>(
        &self,
        source: &S,
        group: &RowGroup,
        part: usize,
    ) -> Result<Vec<Kind>> {
        let kinds = self.own_column(source, group, (ColumnId::KIND, part))?;
        let (Values::U8(kinds), 0) = (kinds.values(), kinds.null_count()) else {
            return Err(self.wrong_page(group, "validity"));
        };
        let kinds = kinds.iter().map(|&kind| Kind::from_tag(kind)).collect::<Option<_>>();
        kinds.ok_or_else(|| self.wrong_page(group, "kinds"))
    }

    fn own_column<S: GroupSource>(
        &self,
        source: &S,
        group: &RowGroup,
        page: (ColumnId, usize),
    ) -> Result<ColumnVector> {
        let page = self.own_page(source, group, page)?;
        page.decode().map_err(|_| self.wrong_page(group, "rows"))
    }

    fn own_page<S: GroupSource>(
        &self,
        source: &S,
        group: &RowGroup,
        (column, part): (ColumnId, usize),
    ) -> Result<Arc<ColumnPage>> {
        match group.directory().page(column, part) {
            Some(page) => source.page(group, page),
            None => Err(self.wrong_page(group, "column id")),
        }
    }

    fn wrong_page(&self, group: &RowGroup, field: &'static str) -> crate::Error {
        self.payload(BlockKind::COLUMN_PAGE, group.at(), PayloadError::field(field)).into()
    }
}
