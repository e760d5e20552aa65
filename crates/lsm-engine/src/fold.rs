//! Point reads of keys with merge operands: the chain is gathered over all containers, then folded.

use lsm_iter::{Candidate, ChainResolver, Resolved};
use lsm_types::{EntryCursor, KeyHash, KeyOrder, Kind, MergeOperator, Result, SeqNo, Slice};

use crate::{get::FoundValue, memtables::Memtable, super_version::SuperVersion};
use lsm_table::{ReadMode, Table};
use std::sync::Arc;

/// Operands of one memtable that are lent; those below are copied.
const LENT_MAX: usize = 8;

type Chain<'a> = ChainResolver<FoundValue<'a>>;

/// One read of one key.
struct Fold<'a, 'k> {
    key: &'k [u8],
    hash: KeyHash,
    before: SeqNo,
    chain: Chain<'a>,
}

/// The value that `operator` makes of the operands of `key`, for a read that sees numbers below `before`.
///
/// Containers are asked newest first, each for its versions of the key down to the end of the chain; none is asked
/// that has only older ones (engine text, E-53).
///
/// # Errors
/// What reading a table finds, and `MergeFailed` with what the operator said.
pub(crate) fn fold<'a>(
    view: &'a SuperVersion,
    key: &[u8],
    before: SeqNo,
    order: &KeyOrder,
    operator: &dyn MergeOperator,
) -> Result<Option<Candidate<FoundValue<'a>>>> {
    let mut read = Fold { key, hash: KeyHash::of(key), before, chain: ChainResolver::new(before) };
    if let Some(delete) = view.covering(key, before, order)? {
        read.chain.cover(delete);
    }
    if let Some(overlay) = &view.overlay {
        read.memtable(&overlay.entries)?;
    }
    read.before = view.tree_bound(before);
    read.memtable(&view.active.entries)?;
    for sealed in view.sealed.iter() {
        if !read.chain.can_stop(sealed.max_seqno) {
            read.memtable(&sealed.entries)?;
        }
    }
    for (index, run) in view.runs.iter().enumerate() {
        if read.chain.can_stop(view.max_seqno_from(index)) {
            break;
        }
        if !read.chain.can_stop(run.max_seqno)
            && let Some(table) = run.find(key, order)
        {
            read.table(table)?;
        }
    }
    let found = read.chain.finish(key, operator, Some(&view.vlogs))?;
    Ok(found.map(|found| match found {
        Resolved::Plain(found) => found,
        Resolved::Folded { seqno, value } => {
            Candidate { seqno, kind: Kind::Put, value: FoundValue::Folded(value) }
        }
    }))
}

impl<'a> Fold<'a, '_> {
    fn memtable(&mut self, entries: &'a Arc<Memtable>) -> Result<()> {
        let chain = &mut self.chain;
        offer_memtable(entries, self.key, self.hash, self.before, |candidate| chain.offer(candidate))
    }

    fn table(&mut self, table: &Table) -> Result<()> {
        let Some(found) = table.get(self.key, self.hash, self.before)? else { return Ok(()) };
        let (seqno, value) = (found.seqno, FoundValue::Table(found.value));
        if !self.chain.offer(Candidate { seqno, kind: found.kind, value }) {
            return Ok(());
        }
        let chain = &mut self.chain;
        let offer = |candidate| chain.offer(candidate);
        walk(table.cursor(ReadMode::SCAN)?, self.key, seqno, FoundValue::Table, offer)
    }
}

/// Offers the versions of `key` below `before` in a memtable, newest first, until no older one is wanted.
pub(crate) fn offer_memtable<'a>(
    entries: &'a Arc<Memtable>,
    key: &[u8],
    hash: KeyHash,
    mut before: SeqNo,
    mut offer: impl FnMut(Candidate<FoundValue<'a>>) -> bool,
) -> Result<()> {
    for _ in 0..LENT_MAX {
        let Some(entry) = entries.get_hashed(key, hash, before) else { return Ok(()) };
        before = entry.seqno;
        let value = FoundValue::Memory(entry.value);
        if !offer(Candidate { seqno: entry.seqno, kind: entry.kind, value }) {
            return Ok(());
        }
    }
    walk(entries.cursor(), key, before, FoundValue::Folded, offer)
}

/// Offers the versions of `key` below `before`, one step each.
fn walk<'a>(
    mut cursor: impl EntryCursor,
    key: &[u8],
    before: SeqNo,
    own: impl Fn(Slice) -> FoundValue<'a>,
    mut offer: impl FnMut(Candidate<FoundValue<'a>>) -> bool,
) -> Result<()> {
    cursor.seek(key, before)?;
    while cursor.bound().is_some() {
        cursor.settle()?;
    }
    while let Some(entry) = cursor.entry().filter(|entry| entry.key == key) {
        let candidate = Candidate { seqno: entry.seqno, kind: entry.kind, value: own(cursor.value()) };
        if !offer(candidate) {
            break;
        }
        cursor.next()?;
        while cursor.bound().is_some() {
            cursor.settle()?;
        }
    }
    Ok(())
}
