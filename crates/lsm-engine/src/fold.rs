//! Point reads of keys with merge operands: the chain is gathered over all containers, then folded.

use lsm_iter::{Candidate, ChainResolver, Resolved};
use lsm_types::{EntryCursor, KeyHash, KeyOrder, Kind, MergeOperator, Result, SeqNo};

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
    let found = read.chain.finish(key, operator)?;
    Ok(found.map(|found| match found {
        Resolved::Plain(found) => found,
        Resolved::Folded { seqno, value } => {
            Candidate { seqno, kind: Kind::Put, value: FoundValue::Folded(value) }
        }
    }))
}

impl<'a> Fold<'a, '_> {
    fn memtable(&mut self, entries: &'a Arc<Memtable>) -> Result<()> {
        let mut before = self.before;
        for _ in 0..LENT_MAX {
            let Some(entry) = entries.get_hashed(self.key, self.hash, before) else { return Ok(()) };
            before = entry.seqno;
            let value = FoundValue::Memory(entry.value);
            if !self.chain.offer(Candidate { seqno: entry.seqno, kind: entry.kind, value }) {
                return Ok(());
            }
        }
        self.walk(entries.cursor(), before, FoundValue::Folded)
    }

    fn table(&mut self, table: &Table) -> Result<()> {
        let Some(found) = table.get(self.key, self.hash, self.before)? else { return Ok(()) };
        let (seqno, value) = (found.seqno, FoundValue::Table(found.value));
        if !self.chain.offer(Candidate { seqno, kind: found.kind, value }) {
            return Ok(());
        }
        self.walk(table.cursor(ReadMode::SCAN)?, seqno, FoundValue::Table)
    }

    /// Offers the versions below `before`, one step each.
    fn walk(
        &mut self,
        mut cursor: impl EntryCursor,
        before: SeqNo,
        own: impl Fn(lsm_types::Slice) -> FoundValue<'a>,
    ) -> Result<()> {
        cursor.seek(self.key, before)?;
        while cursor.bound().is_some() {
            cursor.settle()?;
        }
        while let Some(entry) = cursor.entry().filter(|entry| entry.key == self.key) {
            let candidate = Candidate { seqno: entry.seqno, kind: entry.kind, value: own(cursor.value()) };
            if !self.chain.offer(candidate) {
                break;
            }
            cursor.next()?;
            while cursor.bound().is_some() {
                cursor.settle()?;
            }
        }
        Ok(())
    }
}
