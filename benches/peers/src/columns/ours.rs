//! Our own engine, whose tables hold rows or columns: the same scans in columns find the same in both.

use std::{path::Path, sync::Arc};

use lsm_codec::Compression;
use lsm_columnar::{Column, ColumnId, ColumnType, Comparison, Datum, FixedStruct, Predicate, Schema, Values};
use lsm_compaction_planner::{CompactionStrategy, Plan as Planned, PlanView, Settings};
use lsm_engine::{
    BlockCache, ColumnLayout, ColumnPolicy, ColumnScan, CompactOptions, DeleteStrategy, FlushOptions,
    IngestOptions, LevelFilter, Outcome as Done, Reader as _, TablePolicy, Tree, TreeOptions,
};
use lsm_types::{Level, SeqNo};

use super::{
    data::{COLUMNS, FIELDS, PRICE, deleted, fields, is_float, key, row, value},
    query::{Answer, Query, Table},
};
use crate::{engine::Outcome, engines::ours::compression, plan::Plan};

/// Number of the first column.
const FIRST: u16 = ColumnId::FIRST.get();

/// Number of all writes, and of all deletes.
const WRITTEN: u64 = 1;
const DELETED: u64 = 2;

/// A tree whose tables hold columns, or rows.
pub(super) struct Ours<const COLUMNAR: bool> {
    tree: Tree,
}

fn id(place: usize) -> ColumnId {
    ColumnId::new(FIRST + place as u16)
}

fn at(number: u64) -> Outcome<SeqNo> {
    SeqNo::new(number).ok_or_else(|| "no such sequence number".into())
}

fn schema() -> Outcome<Schema> {
    let ty = |place, width| match width {
        1 => ColumnType::U8,
        2 => ColumnType::U16,
        4 => ColumnType::U32,
        _ if is_float(place) => ColumnType::F64,
        _ => ColumnType::U64,
    };
    let columns = FIELDS.iter().enumerate();
    Ok(Schema::new(
        columns.map(|(place, (name, width))| Column::new(id(place), *name, ty(place, *width))).collect(),
    )?)
}

/// Defaults, but for what is equal for all stores; and dead rows are marked, not written anew.
fn open(plan: &Plan, dir: &Path, layout: ColumnLayout) -> Outcome<Tree> {
    let settings = plan.settings();
    let tables = TablePolicy { index_compression: vec![Compression::None], ..TablePolicy::default() }
        .compression(compression(settings.codec))
        .filter(LevelFilter::bits(settings.filter_bits.max(1).into())?)
        .data_block_bytes(settings.block_bytes);
    let mut columns = ColumnPolicy::new(Arc::new(FixedStruct::new("peers.row", schema()?)?)).layout(layout);
    if let Some(kib) = plan.group_kib {
        columns = columns.groups(kib << 10, 1 << 16);
    }
    let options = TreeOptions::new(dir)
        .store(|store| store.cache(BlockCache::new(settings.cache_bytes)))
        .table_target_bytes(settings.table_bytes)
        .tables(tables)
        .delete_strategies([DeleteStrategy::MergeOnRead])
        .columns(columns);
    Ok(Tree::open(options)?)
}

/// Adds the values of a column.
fn add(answer: &mut Answer, values: &Values) -> Outcome<()> {
    match values {
        Values::U8(values) => answer.add(values.iter().map(|value| u64::from(*value))),
        Values::U16(values) => answer.add(values.iter().map(|value| u64::from(*value))),
        Values::U32(values) => answer.add(values.iter().map(|value| u64::from(*value))),
        Values::U64(values) => answer.add(values.iter().copied()),
        Values::F64(values) => answer.add(values.iter().map(|value| value.to_bits())),
        _ => return Err("a column of another type".into()),
    }
    Ok(())
}

impl<const COLUMNAR: bool> Ours<COLUMNAR> {
    const LAYOUT: ColumnLayout = if COLUMNAR { ColumnLayout::Columnar } else { ColumnLayout::Row };
}

impl<const COLUMNAR: bool> Table for Ours<COLUMNAR> {
    fn settings(plan: &Plan) -> Outcome<String> {
        Ok(format!(
            "{:?}",
            ColumnPolicy::new(Arc::new(FixedStruct::new("peers.row", schema()?)?)).layout(Self::LAYOUT)
        ) + &format!(
            ", row tables of blocks of {} bytes, DeleteStrategy::MergeOnRead",
            plan.settings().block_bytes
        ))
    }

    fn fill(plan: &Plan, dir: &Path) -> Outcome<()> {
        let tree = open(plan, dir, Self::LAYOUT)?;
        let mut ingestion = tree.ingest(IngestOptions::at(at(WRITTEN)?))?;
        for number in 0..plan.key_count().into() {
            ingestion.put(key(number), value(&row(number, plan.seed)))?;
        }
        ingestion.finish()?;
        Ok(tree.close()?)
    }

    fn open(plan: &Plan, dir: &Path) -> Outcome<Self> {
        Ok(Self { tree: open(plan, dir, Self::LAYOUT)? })
    }

    fn ask(&self, query: &Query) -> Outcome<Answer> {
        let mut scan = ColumnScan::new(query.columns.iter().map(|place| id(*place)));
        if let Some(below) = query.below {
            scan = scan.filter(Predicate::Compare(id(PRICE), Comparison::Lt, Datum::U64(below)));
        }
        let mut batches = self.tree.scan_columns(&scan)?;
        let mut answer = Answer::default();
        while let Some(batch) = batches.advance()? {
            answer.count(batch.rows());
            batch.columns().iter().try_for_each(|(_, vector)| add(&mut answer, vector.values()))?;
        }
        Ok(answer)
    }

    fn get(&self, number: u64) -> Option<Outcome<Option<[u64; COLUMNS]>>> {
        let found = self.tree.get(key(number));
        Some(found.map(|value| value.map(|value| fields(&value))).map_err(Into::into))
    }

    fn delete(&self, plan: &Plan, share: u64) -> Option<Outcome<()>> {
        let delete = || {
            for range in deleted(plan.key_count().into(), share) {
                self.tree.remove_range(key(range.start)..key(range.end), at(DELETED)?)?;
            }
            self.tree.seal(None);
            self.tree.flush(&FlushOptions::default())?;
            self.tree.set_gc_watermark(at(DELETED + 1)?);
            Ok(())
        };
        Some(delete())
    }

    fn mark(&self) -> Option<Outcome<()>> {
        let mark = || match self.tree.compact(&InPlace, &CompactOptions::default())?.outcome {
            Done::Masked => Ok(()),
            other => Err(format!("dead rows were not marked: {other:?}").into()),
        };
        Some(mark())
    }
}

/// Merges the deepest level that has tables where it stands.
struct InPlace;

impl CompactionStrategy for InPlace {
    fn name(&self) -> &'static str {
        "peers.in-place"
    }

    fn settings(&self) -> Settings {
        Settings::new()
    }

    fn plan(&self, view: &PlanView<'_>) -> Planned {
        let levels: Vec<Level> = view.levels.iter().map(|(level, _)| level).collect();
        let has_tables = |level: &&Level| view.levels.level(**level).tables().next().is_some();
        let Some(level) = levels.iter().rev().find(has_tables) else { return Planned::Idle };
        Planned::merge(view, view.levels.level(*level).tables().map(|table| table.id), *level, u64::MAX)
    }
}
