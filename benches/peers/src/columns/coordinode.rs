//! `coordinode-lsm-tree` with its columnar mode on: batches go in by its ingestion, tables are asked one by one, as it
//! has no scan in columns of a whole tree. Its predicates skip blocks of numbers but let their rows through: those are
//! asked here. What deletes of ranges hide its tables show until a full compaction, which is therefore part of deleting.

use std::{path::Path, sync::Arc};

use ::coordinode::{
    AbstractTree as _, AnyTree, Cache, Config, InternalValue, SequenceNumberCounter, ValueType,
    config::{CompressionPolicy, DeleteStrategy, DeleteStrategyPolicy},
    table::{
        columnar::{Column, ColumnBatch, TypeTag, entries_to_column_batch},
        columnar_predicate::ColumnRangePredicate,
    },
};

use super::{
    data::{COLUMNS, FIELDS, PRICE, deleted, key, row},
    query::{Answer, Query, Table},
};
use crate::{
    engine::{Codec, Outcome},
    engines::coordinode::compression,
    plan::Plan,
};

/// Rows of a batch that goes in; it makes blocks of them as it likes.
const BATCH_ROWS: u32 = 4096;

/// Number of the first column of a value.
const FIRST: u16 = 3;

/// A tree of one or more columnar tables.
pub(super) struct Coordinode {
    tree: AnyTree,
}

fn open(plan: &Plan, dir: &Path) -> Outcome<AnyTree> {
    let tree = Config::new(dir, SequenceNumberCounter::default(), SequenceNumberCounter::default())
        .use_cache(Arc::new(Cache::with_capacity_bytes(plan.settings().cache_bytes)))
        .data_block_compression_policy(CompressionPolicy::all(compression(plan.codec)))
        .compaction_threads(1)
        .open()?;
    if let AnyTree::Standard(tree) = &tree {
        tree.update_runtime_config(|config| {
            config.columnar = true;
            config.zone_map = true;
            config.delete_strategy = DeleteStrategyPolicy::all(DeleteStrategy::MergeOnRead);
        })?;
    }
    Ok(tree)
}

fn id(place: usize) -> u16 {
    FIRST + place as u16
}

/// Numbers as bytes that sort like them, which is how its zones compare.
fn stored(place: usize, bits: u64) -> Vec<u8> {
    bits.to_be_bytes().get(8 - width(place)..).unwrap_or_default().to_vec()
}

fn width(place: usize) -> usize {
    FIELDS.get(place).map_or(8, |(_, width)| *width)
}

/// The numbers of a column of a batch.
fn numbers(column: &Column, place: usize) -> Vec<u64> {
    let data = &column.data;
    match width(place) {
        1 => data.iter().map(|byte| u64::from(*byte)).collect(),
        2 => data.as_chunks().0.iter().map(|bytes| u64::from(u16::from_be_bytes(*bytes))).collect(),
        4 => data.as_chunks().0.iter().map(|bytes| u64::from(u32::from_be_bytes(*bytes))).collect(),
        _ => data.as_chunks().0.iter().map(|bytes| u64::from_be_bytes(*bytes)).collect(),
    }
}

fn batch(first: u32, end: u32, seed: u64) -> Outcome<ColumnBatch> {
    let keys = (first..end)
        .map(|number| InternalValue::from_components(key(number.into()), [], 0, ValueType::Value));
    let mut batch = entries_to_column_batch(&keys.collect::<Vec<_>>())?;
    batch.columns.pop();
    let rows: Vec<[u64; COLUMNS]> = (first..end).map(|number| row(number.into(), seed)).collect();
    for place in 0..COLUMNS {
        let data =
            rows.iter().filter_map(|row| row.get(place)).flat_map(|bits| stored(place, *bits)).collect();
        let type_tag = TypeTag::Fixed(width(place) as u8);
        batch.columns.push(Column { column_id: id(place), type_tag, validity: None, data });
    }
    Ok(batch)
}

impl Table for Coordinode {
    fn settings(_: &Plan) -> Outcome<String> {
        Ok(format!("columnar, zone_map, DeleteStrategy::MergeOnRead, batches of {BATCH_ROWS} rows ingested"))
    }

    fn fill(plan: &Plan, dir: &Path) -> Outcome<()> {
        if plan.codec == Codec::Zstd1 {
            return Err("its columnar mode is measured without codec and with lz4".into());
        }
        let tree = open(plan, dir)?;
        let mut ingestion = tree.ingestion()?;
        let mut first = 0;
        while first < plan.key_count() {
            let end = plan.key_count().min(first + BATCH_ROWS);
            ingestion.write_columnar_batch(&batch(first, end, plan.seed)?)?;
            first = end;
        }
        ingestion.finish()?;
        Ok(())
    }

    fn open(plan: &Plan, dir: &Path) -> Outcome<Self> {
        Ok(Self { tree: open(plan, dir)? })
    }

    fn ask(&self, query: &Query) -> Outcome<Answer> {
        let mut wanted: Vec<u16> = query.columns.iter().map(|place| id(*place)).collect();
        let predicate = query.below.map(|below| ColumnRangePredicate {
            column_id: id(PRICE),
            lower: None,
            upper: Some(stored(PRICE, below - 1)),
        });
        if predicate.is_some() && !wanted.contains(&id(PRICE)) {
            wanted.push(id(PRICE));
        }
        let mut answer = Answer::default();
        for table in self.tree.current_version().iter_tables() {
            for batch in table.columnar_scan(&wanted, predicate.as_ref())? {
                let find = |place| batch.columns.iter().find(|column| column.column_id == id(place));
                let find = |place| find(place).ok_or("its columns are gone");
                if query.below.is_none() {
                    answer.count(batch.row_count as usize);
                    for place in query.columns {
                        answer.add(numbers(find(*place)?, *place).into_iter());
                    }
                    continue;
                }
                let keep: Vec<bool> =
                    numbers(find(PRICE)?, PRICE).into_iter().map(|price| query.wants(price)).collect();
                answer.count(keep.iter().filter(|keep| **keep).count());
                for place in query.columns {
                    let kept =
                        numbers(find(*place)?, *place).into_iter().zip(&keep).filter(|(_, keep)| **keep);
                    answer.add(kept.map(|(number, _)| number));
                }
            }
        }
        Ok(answer)
    }

    fn get(&self, number: u64) -> Option<Outcome<Option<[u64; COLUMNS]>>> {
        let found = self.tree.get(key(number), ::coordinode::MAX_SEQNO);
        Some(found.map(|value| value.map(|value| cells(&value))).map_err(Into::into))
    }

    fn delete(&self, plan: &Plan, share: u64) -> Option<Outcome<()>> {
        let delete = || {
            let seqno = self.tree.get_highest_seqno().map_or(0, |highest| highest + 1);
            for range in deleted(plan.key_count().into(), share) {
                self.tree.remove_range(key(range.start), key(range.end), seqno);
            }
            if share > 0 {
                self.tree.flush_active_memtable(0)?;
                self.tree.major_compact(plan.settings().table_bytes, seqno + 1)?;
            }
            Ok(())
        };
        Some(delete())
    }
}

/// The columns of a value that it put together: one after another.
fn cells(value: &[u8]) -> [u64; COLUMNS] {
    let mut rest = value;
    FIELDS.map(|(_, width)| {
        let (cell, tail) = rest.split_at_checked(width).unwrap_or((rest, &[]));
        rest = tail;
        cell.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    })
}
