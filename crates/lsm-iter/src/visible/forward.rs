//! Walking forward: the newest version that is seen comes first, and decides.

use lsm_types::{EntryCursor, Kind, Result, SeqNo};

use super::{SKIPS_MAX, Side, Stand, Visible};
use crate::{
    chain::Met,
    coverage::Coverage,
    resolve::{gives_value, hidden},
    source::Heading,
};

impl<C: EntryCursor, R: Coverage> Visible<C, R> {
    /// From the start of a key, or from among its versions at or above the bound, to the next visible entry.
    pub(super) fn find_forward(&mut self) -> Result<()> {
        while let Some(entry) = self.cursor.entry() {
            if !self.window.below_upper(entry.key) {
                return Ok(());
            }
            if self.before <= entry.seqno {
                self.pass_unseen(Heading::Forward)?;
                continue;
            }
            let covering = self.coverage.covering(entry.key, self.before);
            if gives_value(entry.kind, entry.seqno, covering) {
                if entry.kind == Kind::MergeOperand && self.operator.is_some() {
                    return self.fold_forward(covering);
                }
                self.stand = Stand::Cursor;
                return Ok(());
            }
            if !hidden(entry.seqno, covering) || !self.jump(Heading::Forward, covering)? {
                self.leave_forward()?;
            }
        }
        Ok(())
    }

    /// From a key's deciding version to the next key.
    #[inline]
    pub(super) fn leave_forward(&mut self) -> Result<()> {
        self.take_key();
        self.cursor.next()?;
        self.pass_versions()
    }

    /// Passes what is left of the versions of the key in hand.
    #[inline]
    pub(super) fn pass_versions(&mut self) -> Result<()> {
        for _ in 0..SKIPS_MAX {
            if !self.at_key() {
                return Ok(());
            }
            self.cursor.next()?;
        }
        self.cursor.seek(&self.key, SeqNo::ZERO)
    }

    /// From a key's newest version that is seen, an operand, to the end of the chain, and makes the value of it.
    #[inline(never)]
    pub(super) fn fold_forward(&mut self, covering: Option<SeqNo>) -> Result<()> {
        self.take_key();
        let newest = self.cursor.entry().map_or(SeqNo::ZERO, |entry| entry.seqno);
        self.chain.clear();
        while let Some(entry) = self.cursor.entry() {
            if entry.key != self.key || hidden(entry.seqno, covering) {
                break;
            }
            match entry.kind {
                Kind::MergeOperand => self.chain.push(&self.cursor),
                Kind::Put | Kind::Indirection => self.chain.set_base(&self.cursor),
                _ => {}
            }
            if entry.kind != Kind::MergeOperand {
                break;
            }
            self.cursor.next()?;
        }
        self.fold(newest, Met::NewestFirst, Side::Behind)
    }
}
