//! Walking back: the oldest version comes first, so versions are held until the cursor leaves the key. A version that is
//! known to be the only one is lent where it lies.

use lsm_types::{EntryCursor, EntryRef, Kind, Result, SeqNo};

use super::{Held, SKIPS_MAX, Side, Stand, Visible};
use crate::{
    chain::Met,
    coverage::Coverage,
    resolve::{gives_value, hidden},
    source::Heading,
};

impl<C: EntryCursor, R: Coverage> Visible<C, R> {
    /// From the end of a key, or from among its versions at or above the bound, to the previous visible entry.
    pub(super) fn find_back(&mut self) -> Result<()> {
        while let Some(entry) = self.cursor.entry() {
            if !self.window.above_lower(entry.key) {
                return Ok(());
            }
            if self.before <= entry.seqno {
                self.pass_unseen(Heading::Back)?;
                continue;
            }
            let (seqno, kind) = (entry.seqno, entry.kind);
            let covering = self.coverage.covering(entry.key, self.before);
            if hidden(seqno, covering) && self.jump(Heading::Back, covering)? {
                continue;
            }
            if self.cursor.is_newest() && (kind != Kind::MergeOperand || self.operator.is_none()) {
                if gives_value(kind, seqno, covering) {
                    self.stand = Stand::Sole;
                    return Ok(());
                }
                self.cursor.prev()?;
                continue;
            }
            self.take_key();
            let stand = self.hold_newest(covering)?;
            let (seqno, kind) = match stand {
                Stand::Cursor => {
                    self.cursor.entry().map_or((SeqNo::ZERO, Kind::Tombstone), |it| (it.seqno, it.kind))
                }
                _ => (self.held.seqno, self.held.kind),
            };
            if gives_value(kind, seqno, covering) {
                if kind != Kind::MergeOperand || self.operator.is_none() {
                    self.stand = stand;
                    return Ok(());
                }
                return match stand {
                    Stand::Cursor => self.fold_forward(covering),
                    _ => self.fold(seqno, Met::OldestFirst, Side::Before),
                };
            }
            if stand == Stand::Cursor {
                self.cursor.seek_back(&self.key, SeqNo::LATEST)?;
            }
        }
        Ok(())
    }

    /// From the oldest version of the key in hand to the newest one that is seen; says where that is. On the way the
    /// chain takes what may be the value's parts.
    #[inline]
    fn hold_newest(&mut self, covering: Option<SeqNo>) -> Result<Stand> {
        let folds = self.operator.is_some();
        if folds {
            self.chain.clear();
        }
        for _ in 0..SKIPS_MAX {
            if let Some(entry) = self.cursor.entry() {
                if self.values {
                    self.held.take(entry, &self.cursor);
                } else {
                    self.held.take_head(entry);
                }
            }
            if folds {
                self.note_newer(covering);
            }
            self.cursor.prev()?;
            let newer = |entry: EntryRef<'_>| entry.seqno < self.before && entry.key == self.key;
            if !self.cursor.entry().is_some_and(newer) {
                return Ok(Stand::Held(Side::Before));
            }
        }
        self.cursor.seek(&self.key, self.before)?;
        Ok(Stand::Cursor)
    }

    /// Takes the version under the cursor into the chain, or starts it anew from there.
    #[inline(never)] // keeps walks without an operator tight
    fn note_newer(&mut self, covering: Option<SeqNo>) {
        let Held { seqno, kind, .. } = self.held;
        if kind == Kind::MergeOperand && !hidden(seqno, covering) {
            return self.chain.push(&self.cursor);
        }
        self.chain.clear();
        match kind {
            Kind::Put | Kind::Indirection if !hidden(seqno, covering) => self.chain.set_base(&self.cursor),
            _ => {}
        }
    }
}
