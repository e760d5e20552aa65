//! The blocks of a table as a batch sees them: in memory, wanted, or not to be had.

use std::sync::Arc;

use lsm_block::{BlockKind, ByteRange};
use lsm_sst::{
    BlockRef, FilterId, GroupRows, PointRows, TableLayout, data_block::DataBlock, index::IndexBlock,
};
use lsm_types::Result;

use super::{BlockBatch, Goal, Held, Place, Spot, Want};
use crate::{
    cache::CachedBlock,
    filters::{Lent, Shelf},
    table::{Opened, TableInner},
};

/// A block of a table as a batch has it.
pub(super) enum Sight<B> {
    Here {
        block: B,
        /// Whether the cache has it, or took it: a value may share its memory.
        cached: bool,
    },
    /// It is wanted now.
    Missing,
}

impl BlockBatch {
    /// Notes that a block is missing, or says why it cannot be had.
    fn want(
        &mut self,
        table: &Arc<TableInner>,
        place: Place,
        goal: impl FnOnce() -> Result<(Goal, ByteRange)>,
    ) -> Result<()> {
        let spot = Spot { file: table.cache_file, place };
        if let Some(error) = self.failed.get(&spot) {
            return Err(error.clone());
        }
        if !self.wanted.contains(&spot) {
            let (goal, range) = goal()?;
            self.wanted.insert(spot);
            self.wants.push(Want { table: table.clone(), spot, range, goal, stage: self.stage });
        }
        Ok(())
    }

    /// Notes that a table has to be opened.
    pub(super) fn want_open(&mut self, table: &Arc<TableInner>) -> Result<()> {
        self.want(table, Place::Opening, || {
            let (machine, range) = table.start_opening()?;
            Ok((Goal::Open(Box::new(machine)), range))
        })
    }

    /// The block at `at` of `table`, whose layout is `layout`.
    fn sight(
        &mut self,
        table: &Arc<TableInner>,
        layout: &TableLayout,
        kind: BlockKind,
        at: BlockRef,
    ) -> Result<Sight<CachedBlock>> {
        if let Some(block) = table.env.cache.get(table.cache_file, at.handle.offset) {
            return Ok(Sight::Here { block, cached: true });
        }
        let place = Place::Frame(at.handle.offset);
        if let Some(held) = self.held.get(&Spot { file: table.cache_file, place }) {
            return Ok(Sight::Here { block: held.block.clone(), cached: held.cached });
        }
        self.want(table, place, || {
            layout.check_ref(kind, at)?;
            let goal = if kind == BlockKind::DATA { Goal::Data(at) } else { Goal::Index(at) };
            Ok((goal, ByteRange { offset: at.handle.offset, len: at.handle.len.into() }))
        })?;
        Ok(Sight::Missing)
    }

    /// A data block, or a row group as it is stored until it was asked so often that its rows are put together.
    pub(super) fn rows(
        &mut self,
        table: &Arc<TableInner>,
        layout: &TableLayout,
        at: BlockRef,
    ) -> Result<Sight<PointRows>> {
        let (block, cached) = match self.sight(table, layout, BlockKind::DATA, at)? {
            Sight::Here { block, cached } => (block, cached),
            Sight::Missing => return Ok(Sight::Missing),
        };
        let block = match block {
            CachedBlock::Data(block) => PointRows::Block(block),
            CachedBlock::Rows(rows) if rows.is_worth_a_block() => {
                PointRows::Block(self.put_together(table, layout, at, (&rows, cached))?)
            }
            CachedBlock::Rows(rows) => PointRows::Group(rows),
            _ => return Err(table.disagrees("kind of a block").into()),
        };
        Ok(Sight::Here { block, cached })
    }

    /// The rows of a group as a block, which takes its place wherever that is kept.
    fn put_together(
        &mut self,
        table: &Arc<TableInner>,
        layout: &TableLayout,
        at: BlockRef,
        (rows, cached): (&GroupRows, bool),
    ) -> Result<Arc<DataBlock>> {
        let block =
            if cached { table.take_rows(layout, at, rows)? } else { Arc::new(layout.block_of(rows)?) };
        let spot = Spot { file: table.cache_file, place: Place::Frame(at.handle.offset) };
        if let Some(held) = self.held.get_mut(&spot) {
            held.block = CachedBlock::Data(block.clone());
        }
        Ok(block)
    }

    /// An index partition.
    pub(super) fn index(
        &mut self,
        table: &Arc<TableInner>,
        layout: &TableLayout,
        at: BlockRef,
    ) -> Result<Sight<Arc<IndexBlock>>> {
        match self.sight(table, layout, BlockKind::INDEX_PARTITION, at)? {
            Sight::Here { block: CachedBlock::Index(block), cached } => Ok(Sight::Here { block, cached }),
            Sight::Here { .. } => Err(table.disagrees("kind of a block").into()),
            Sight::Missing => Ok(Sight::Missing),
        }
    }

    /// A partition of the filter over keys; `None` when it cannot be used.
    pub(super) fn filter<'t>(
        &mut self,
        table: &'t Arc<TableInner>,
        opened: &'t Opened,
        part: usize,
    ) -> Option<Sight<Lent<'t>>> {
        match table.lend_filter(opened, part) {
            Shelf::Here(partition) => Some(Sight::Here { block: partition, cached: true }),
            Shelf::Unusable => None,
            Shelf::Missing(at) => {
                let place = Place::Frame(at.handle.offset);
                if let Some(Held { block: CachedBlock::Filter(partition), .. }) =
                    self.held.get(&Spot { file: table.cache_file, place })
                {
                    return Some(Sight::Here { block: Lent::Shared(partition.clone()), cached: true });
                }
                let range = ByteRange { offset: at.handle.offset, len: at.handle.len.into() };
                let kind = FilterId::Keys.partition_kind();
                let noted = self.want(table, place, || {
                    opened.layout.check_ref(kind, at)?;
                    Ok((Goal::Filter(part), range))
                });
                match noted {
                    Ok(()) => Some(Sight::Missing),
                    Err(error) => {
                        table.give_up_filter(opened, part, &error);
                        None
                    }
                }
            }
        }
    }
}
