//! The judge of every read: the whole history, and what a read at some bound sees of it.
//!
//! Written from the definition in the engine text, section 2.3, without a thought for speed, and without a line in
//! common with the engine.

use std::{collections::BTreeMap, fmt, ops::Bound, sync::Arc};

use lsm_types::{KeyOrder, Kind, MergeOperator, Result, SeqNo};

/// One write of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Number of the write.
    pub seqno: SeqNo,
    /// What it means.
    pub kind: Kind,
    /// Its value; empty for deletes.
    pub value: Vec<u8>,
}

/// Everything ever written to a tree.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// By key, in byte order; the versions of a key in the order of writing.
    keys: BTreeMap<Vec<u8>, Vec<Version>>,
    /// Deletes of ranges, in the order of writing.
    ranges: Vec<RangeDelete>,
    operator: Operator,
}

/// What folds operands, if anything does.
#[derive(Clone, Default)]
struct Operator(Option<Arc<dyn MergeOperator>>);

impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.as_ref().map(|operator| operator.name()))
    }
}

/// A delete of many keys.
#[derive(Clone, Debug)]
struct RangeDelete {
    keys: RangeKeys,
    seqno: SeqNo,
}

#[derive(Clone, Debug)]
enum RangeKeys {
    /// Those between two bounds of an order.
    Between(Bound<Vec<u8>>, Bound<Vec<u8>>, KeyOrder),
    /// Those that start so.
    Prefix(Vec<u8>),
}

impl RangeKeys {
    fn holds(&self, key: &[u8]) -> bool {
        match self {
            Self::Between(lower, upper, order) => {
                is_between((lower.as_ref().map(Vec::as_slice), upper.as_ref().map(Vec::as_slice)), key, order)
            }
            Self::Prefix(prefix) => key.starts_with(prefix),
        }
    }
}

impl History {
    /// Nothing written yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Folds operands with `operator`; without one the newest operand is the value.
    #[must_use]
    pub fn folding(self, operator: Option<Arc<dyn MergeOperator>>) -> Self {
        Self { operator: Operator(operator), ..self }
    }

    /// Adds a write. A second one with the same key and number takes the place of the first.
    pub fn write(&mut self, key: &[u8], seqno: SeqNo, kind: Kind, value: &[u8]) {
        let versions = self.keys.entry(key.to_vec()).or_default();
        versions.retain(|version| version.seqno != seqno);
        versions.push(Version { seqno, kind, value: value.to_vec() });
    }

    /// Adds a put.
    pub fn put(&mut self, key: &[u8], seqno: SeqNo, value: &[u8]) {
        self.write(key, seqno, Kind::Put, value);
    }

    /// Adds a delete.
    pub fn delete(&mut self, key: &[u8], seqno: SeqNo) {
        self.write(key, seqno, Kind::Tombstone, &[]);
    }

    /// Adds a delete of the keys between two bounds, in the order of `order`.
    pub fn delete_range(&mut self, bounds: (Bound<&[u8]>, Bound<&[u8]>), seqno: SeqNo, order: &KeyOrder) {
        let (lower, upper) = (bounds.0.map(<[u8]>::to_vec), bounds.1.map(<[u8]>::to_vec));
        self.ranges.push(RangeDelete { keys: RangeKeys::Between(lower, upper, order.clone()), seqno });
    }

    /// Adds a delete of the keys that start with `prefix`, wherever they stand.
    pub fn delete_prefix(&mut self, prefix: &[u8], seqno: SeqNo) {
        self.ranges.push(RangeDelete { keys: RangeKeys::Prefix(prefix.to_vec()), seqno });
    }

    /// The newest delete of a range with `key` in it that a read sees which sees numbers below `before`: it hides
    /// what is strictly older.
    fn range_deleted(&self, key: &[u8], before: SeqNo) -> Option<SeqNo> {
        let seen = self.ranges.iter().filter(|delete| delete.seqno < before);
        seen.filter(|delete| delete.keys.holds(key)).map(|delete| delete.seqno).max()
    }

    /// Forgets every write numbered at or above `from`: what a crash does that lost them.
    pub fn forget_from(&mut self, from: SeqNo) {
        for versions in self.keys.values_mut() {
            versions.retain(|version| version.seqno < from);
        }
        self.ranges.retain(|delete| delete.seqno < from);
    }

    /// What a read of `key` sees that sees numbers below `before` and has no operator: the newest operand is a value.
    pub fn get(&self, key: &[u8], before: SeqNo) -> Option<&[u8]> {
        let versions = self.keys.get(key)?;
        let deleted = self.range_deleted(key, before);
        let survives = |version: &&Version| deleted.is_none_or(|delete| delete <= version.seqno);
        let seen = versions.iter().filter(|version| version.seqno < before).filter(survives);
        let newest = seen.max_by_key(|version| version.seqno)?;
        match newest.kind {
            Kind::Tombstone | Kind::WeakTombstone => None,
            _ => Some(&newest.value),
        }
    }

    /// What a read of `key` sees that sees numbers below `before`, operands folded.
    ///
    /// # Errors
    /// What the operator says.
    pub fn value(&self, key: &[u8], before: SeqNo) -> Result<Option<Vec<u8>>> {
        let deleted = self.range_deleted(key, before);
        let mut seen: Vec<&Version> = self.keys.get(key).into_iter().flatten().collect();
        seen.retain(|version| version.seqno < before && deleted <= Some(version.seqno));
        seen.sort_by_key(|version| version.seqno);
        let Some(operator) = &self.operator.0 else { return Ok(self.get(key, before).map(<[u8]>::to_vec)) };
        let (mut value, mut operands) = (None, Vec::new());
        for version in seen {
            if version.kind == Kind::MergeOperand {
                operands.push(version.value.as_slice());
            } else {
                operands.clear();
                value = version.kind.is_value().then_some(version.value.as_slice());
            }
        }
        if operands.is_empty() {
            return Ok(value.map(<[u8]>::to_vec));
        }
        Ok(Some(operator.full_merge(key, value, &operands)?.to_vec()))
    }

    /// The versions of `key`, newest first, that a read sees which sees numbers below `before`, and that no delete of a
    /// range hides.
    pub fn survivors(&self, key: &[u8], before: SeqNo) -> Vec<&Version> {
        let deleted = self.range_deleted(key, before);
        let mut seen: Vec<&Version> = self.keys.get(key).into_iter().flatten().collect();
        seen.retain(|version| version.seqno < before && deleted <= Some(version.seqno));
        seen.sort_by_key(|version| std::cmp::Reverse(version.seqno));
        seen
    }

    /// Keys whose operands do not fold, for a read that sees numbers below `before`.
    pub fn broken(&self, before: SeqNo) -> Vec<Vec<u8>> {
        self.keys.keys().filter(|key| self.value(key, before).is_err()).cloned().collect()
    }

    /// What a scan sees, but for keys whose operands do not fold, in the order of `order`, of keys between the bounds.
    pub fn range(
        &self,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        before: SeqNo,
        order: &KeyOrder,
    ) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut seen: Vec<_> = self
            .keys
            .keys()
            .filter(|key| is_between(bounds, key, order))
            .filter_map(|key| Some((key.clone(), self.value(key, before).ok()??)))
            .collect();
        seen.sort_by(|(a, _), (b, _)| order.compare(a, b));
        seen
    }

    /// Everything a scan sees.
    pub fn all(&self, before: SeqNo, order: &KeyOrder) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.range((Bound::Unbounded, Bound::Unbounded), before, order)
    }

    /// All keys ever written.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.keys().map(Vec::as_slice)
    }
}

fn is_between(bounds: (Bound<&[u8]>, Bound<&[u8]>), key: &[u8], order: &KeyOrder) -> bool {
    let above = match bounds.0 {
        Bound::Unbounded => true,
        Bound::Included(lower) => order.compare(lower, key).is_le(),
        Bound::Excluded(lower) => order.compare(lower, key).is_lt(),
    };
    let below = match bounds.1 {
        Bound::Unbounded => true,
        Bound::Included(upper) => order.compare(key, upper).is_le(),
        Bound::Excluded(upper) => order.compare(key, upper).is_lt(),
    };
    above && below
}
