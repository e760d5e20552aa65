//! Point reads: the first decisive entry by sequence number, whatever container holds it.

use lsm_iter::{Candidate, PointResolver};
use lsm_table::CacheUse;
use lsm_types::{KeyHash, KeyOrder, Kind, MergeOperator, Result, SeqNo, Slice};

use crate::{fold::fold, super_version::SuperVersion};

/// A value where it was found.
pub(crate) enum FoundValue<'a> {
    /// In the arena of a memtable.
    Memory(&'a [u8]),
    /// In a block of a table, shared.
    Table(Slice),
    /// Made for this read, by a merge operator, as a copy, or fetched.
    Folded(Slice),
}

impl FoundValue<'_> {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Memory(bytes) => bytes,
            Self::Table(slice) | Self::Folded(slice) => slice,
        }
    }

    pub(crate) fn into_slice(self) -> Slice {
        match self {
            Self::Memory(bytes) => Slice::copy_from(bytes),
            Self::Table(slice) | Self::Folded(slice) => slice,
        }
    }

    /// The same value, lent by nobody.
    pub(crate) fn into_owned<'b>(self) -> FoundValue<'b> {
        if self.is_shared() {
            FoundValue::Table(self.into_slice())
        } else {
            FoundValue::Folded(self.into_slice())
        }
    }

    /// Whether the value shares a block that stays alive with it.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self, Self::Table(_))
    }
}

impl AsRef<[u8]> for FoundValue<'_> {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

/// The value of `key` for a read that sees numbers below `before`, operands folded by `operator`.
///
/// * `fetch`: a separated value is fetched; otherwise its handle stands for it, and its kind says so.
pub(crate) fn resolve<'a>(
    view: &'a SuperVersion,
    key: &[u8],
    before: SeqNo,
    order: &KeyOrder,
    operator: Option<&dyn MergeOperator>,
    fetch: bool,
) -> Result<Option<Candidate<FoundValue<'a>>>> {
    let found = match (find(view, key, before, order)?, operator) {
        (Some(newest), Some(operator)) if newest.kind == Kind::MergeOperand => {
            fold(view, key, before, order, operator)?
        }
        (found, _) => found,
    };
    match found {
        Some(found) if found.kind == Kind::Indirection && fetch => {
            let value = view.vlogs.value(key, found.value.as_bytes(), CacheUse::Fill)?;
            let value = FoundValue::Folded(value);
            Ok(Some(Candidate { seqno: found.seqno, kind: Kind::Put, value }))
        }
        found => Ok(found),
    }
}

/// The entry that decides `key` for a read that sees numbers below `before`.
///
/// Containers are asked newest first. Numbers decide, not places: the search goes on while a container further
/// down may hold a higher number than the best one found (engine text, E-18).
pub(crate) fn find<'a>(
    view: &'a SuperVersion,
    key: &[u8],
    before: SeqNo,
    order: &KeyOrder,
) -> Result<Option<Candidate<FoundValue<'a>>>> {
    let mut read = PointResolver::new(before);
    if let Some(delete) = view.covering(key, before, order)? {
        read.cover(delete);
    }
    // Once for the whole lookup: memtables, filters and the tags of blocks are all asked with it.
    let hash = KeyHash::of(key);
    let own = view.overlay.as_ref().and_then(|overlay| overlay.entries.get_hashed(key, hash, before));
    if let Some(entry) = own {
        read.offer(Candidate {
            seqno: entry.seqno,
            kind: entry.kind,
            value: FoundValue::Memory(entry.value),
        });
    }
    let before = view.tree_bound(before);
    if let Some(entry) = view.active.entries.get_hashed(key, hash, before) {
        read.offer(Candidate {
            seqno: entry.seqno,
            kind: entry.kind,
            value: FoundValue::Memory(entry.value),
        });
    }
    for sealed in view.sealed.iter() {
        if read.can_stop(sealed.max_seqno) {
            continue;
        }
        if let Some(entry) = sealed.entries.get_hashed(key, hash, before) {
            read.offer(Candidate {
                seqno: entry.seqno,
                kind: entry.kind,
                value: FoundValue::Memory(entry.value),
            });
        }
    }
    if view.runs.is_empty() {
        return Ok(read.finish());
    }
    for (index, run) in view.runs.iter().enumerate() {
        if read.can_stop(view.max_seqno_from(index)) {
            break;
        }
        if !run.has_entries || read.can_stop(run.max_seqno) {
            continue;
        }
        let Some(table) = run.find(key, order) else { continue };
        if let Some(found) = table.get(key, hash, before)? {
            read.offer(Candidate {
                seqno: found.seqno,
                kind: found.kind,
                value: FoundValue::Table(found.value),
            });
        }
    }
    Ok(read.finish())
}
