//! The full history of writes, and what every read returns by definition.

use std::cmp::Reverse;

use lsm_iter::Coverage;
use lsm_types::{Cut, KeyOrder, Kind, MergeOperator, RangeTombstone, SeqNo};
use proptest::prelude::*;

use crate::support::{Row, at};

/// Range tombstones, looked through one by one.
#[derive(Clone, Debug)]
pub(crate) struct Deletes {
    pub(crate) order: KeyOrder,
    pub(crate) all: Vec<RangeTombstone>,
    /// The cuts of the one found last.
    last: Option<(Cut, Cut)>,
}

impl Deletes {
    /// The newest range tombstone numbered below `before` that covers `key`.
    pub(crate) fn newest(&self, key: &[u8], before: SeqNo) -> Option<&RangeTombstone> {
        let hides = |delete: &&RangeTombstone| delete.seqno < before && delete.covers(key, &self.order);
        self.all.iter().filter(hides).max_by_key(|delete| delete.seqno)
    }
}

impl Coverage for Deletes {
    fn covering(&mut self, key: &[u8], before: SeqNo) -> Option<SeqNo> {
        let newest = self.newest(key, before).cloned();
        self.last = newest.as_ref().map(|delete| (delete.start.clone(), delete.end.clone()));
        newest.map(|delete| delete.seqno)
    }

    fn stretch(&self) -> Option<(&Cut, &Cut)> {
        self.last.as_ref().map(|(start, end)| (start, end))
    }
}

/// What a read answers: kind and value, or that the operator failed.
pub(crate) type Answer = Result<Option<(Kind, Vec<u8>)>, ()>;

/// `resolve(key, read)`, word for word; `rows` are in order of precedence and may hold copies.
pub(crate) fn resolve(
    rows: &[Row],
    deletes: &Deletes,
    operator: Option<&dyn MergeOperator>,
    key: &[u8],
    read: SeqNo,
) -> Answer {
    let covering = deletes.newest(key, read).map(|delete| delete.seqno);
    let mut versions: Vec<&Row> = rows.iter().filter(|row| row.key == key && row.seqno < read).collect();
    versions.sort_by_key(|row| Reverse(row.seqno)); // stable: precedence stays
    versions.dedup_by_key(|row| row.seqno);
    let mut operands: Vec<&Row> = Vec::new();
    let mut base = None;
    for row in versions {
        if covering.is_some_and(|delete| row.seqno < delete) {
            break;
        }
        if row.kind == Kind::MergeOperand {
            operands.push(row);
            continue;
        }
        base = Some(row).filter(|row| row.kind.is_value());
        break;
    }
    let plain = |row: &Row| (row.kind, row.value.clone());
    let (Some(_), Some(operator)) = (operands.first(), operator) else {
        return Ok(operands.first().copied().or(base).map(plain));
    };
    if base.is_some_and(|base| base.kind == Kind::Indirection) {
        return Err(()); // its value lies in a file that these tests do not have
    }
    let oldest_first: Vec<&[u8]> = operands.iter().rev().map(|row| row.value.as_slice()).collect();
    let folded = operator.full_merge(key, base.map(|base| base.value.as_slice()), &oldest_first);
    folded.map(|value| Some((Kind::Put, value.to_vec()))).map_err(drop)
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
    Deletes { order: order.clone(), all: ranges.iter().map(delete).collect(), last: None }
}
