//! The full history of writes, and what every read returns by definition.

use std::cmp::Reverse;

use lsm_iter::Coverage;
use lsm_types::{Cut, KeyOrder, Kind, RangeTombstone, SeqNo};
use proptest::prelude::*;

use crate::support::{Row, at};

/// Range tombstones, looked through one by one.
#[derive(Clone, Debug)]
pub(crate) struct Deletes {
    pub(crate) order: KeyOrder,
    pub(crate) all: Vec<RangeTombstone>,
}

impl Coverage for Deletes {
    fn covering(&mut self, key: &[u8], before: SeqNo) -> Option<SeqNo> {
        let hides = |delete: &&RangeTombstone| delete.seqno < before && delete.covers(key, &self.order);
        self.all.iter().filter(hides).map(|delete| delete.seqno).max()
    }
}

/// `resolve(key, read)`, word for word; `rows` are in order of precedence and may hold copies.
pub(crate) fn resolve(rows: &[Row], deletes: &Deletes, key: &[u8], read: SeqNo) -> Option<(Kind, Vec<u8>)> {
    let covering = deletes.clone().covering(key, read);
    let mut versions: Vec<&Row> = rows.iter().filter(|row| row.key == key && row.seqno < read).collect();
    versions.sort_by_key(|row| Reverse(row.seqno)); // stable: precedence stays
    versions.dedup_by_key(|row| row.seqno);
    let mut newest_operand = None;
    for row in versions {
        if covering.is_some_and(|delete| row.seqno < delete) {
            break;
        }
        match row.kind {
            Kind::MergeOperand => newest_operand = newest_operand.or(Some(row)),
            Kind::Put | Kind::Indirection => {
                let found = newest_operand.unwrap_or(row);
                return Some((found.kind, found.value.clone()));
            }
            _ => break,
        }
    }
    newest_operand.map(|row| (row.kind, row.value.clone()))
}

/// The keys of every test: a few, ordered differently by every comparator.
pub(crate) fn keys() -> Vec<Vec<u8>> {
    ["a", "b", "ba", "c", "\u{7f}z"].iter().map(|key| key.as_bytes().to_vec()).collect()
}

pub(crate) fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(keys())
}

pub(crate) fn deletes(max: u64, count: usize) -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>, u64)>> {
    prop::collection::vec((key(), key(), 0..max), 0..=count)
}

/// Puts the ends of each range in order; both are deleted.
pub(crate) fn in_order(order: &KeyOrder, ranges: &[(Vec<u8>, Vec<u8>, u64)]) -> Deletes {
    let delete = |(a, b, seqno): &(Vec<u8>, Vec<u8>, u64)| {
        let (from, to) = if order.compare(a, b).is_le() { (a, b) } else { (b, a) };
        let (start, end) = (Cut::Before(from.as_slice().into()), Cut::After(to.as_slice().into()));
        RangeTombstone { start, end, seqno: at(*seqno) }
    };
    Deletes { order: order.clone(), all: ranges.iter().map(delete).collect() }
}
