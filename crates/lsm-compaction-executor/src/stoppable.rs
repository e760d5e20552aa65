//! A cursor that looks at the stop flag on its way.

use std::ops::Bound;

use lsm_types::{Cut, EntryCursor, EntryRef, Result, SeqNo, Slice};

use crate::Cancel;

/// Entries between two looks at the stop flag.
const CHECK_EVERY: u32 = 1024;

/// The entries of `C`; a step fails at most 1,024 entries after the flag was raised.
///
/// It is the entries read that count, not those written: a merge may drop millions before it writes one.
pub struct Stoppable<'a, C> {
    cursor: C,
    cancel: &'a Cancel,
    /// Steps until the next look.
    left: u32,
}

impl<'a, C: EntryCursor> Stoppable<'a, C> {
    /// A walk that `cancel` ends.
    pub fn new(cursor: C, cancel: &'a Cancel) -> Self {
        Self { cursor, cancel, left: CHECK_EVERY }
    }

    /// What is walked.
    pub fn cursor_mut(&mut self) -> &mut C {
        &mut self.cursor
    }

    /// What was walked.
    pub fn into_inner(self) -> C {
        self.cursor
    }

    #[inline]
    fn step(&mut self) -> Result<()> {
        self.left -= 1;
        if self.left == 0 {
            self.left = CHECK_EVERY;
            self.cancel.check()?;
        }
        Ok(())
    }
}

impl<C: EntryCursor> EntryCursor for Stoppable<'_, C> {
    fn seek_first(&mut self) -> Result<()> {
        self.cursor.seek_first()
    }

    fn seek_last(&mut self) -> Result<()> {
        self.cursor.seek_last()
    }

    fn seek(&mut self, key: &[u8], before: SeqNo) -> Result<()> {
        self.cursor.seek(key, before)
    }

    fn seek_back(&mut self, key: &[u8], before: SeqNo) -> Result<()> {
        self.cursor.seek_back(key, before)
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        self.step()?;
        self.cursor.next()
    }

    fn prev(&mut self) -> Result<()> {
        self.step()?;
        self.cursor.prev()
    }

    #[inline]
    fn entry(&self) -> Option<EntryRef<'_>> {
        self.cursor.entry()
    }

    #[inline]
    fn value(&self) -> Slice {
        self.cursor.value()
    }

    #[inline]
    fn shares_value(&self) -> bool {
        self.cursor.shares_value()
    }

    #[inline]
    fn is_newest(&self) -> bool {
        self.cursor.is_newest()
    }

    fn bound(&self) -> Option<&[u8]> {
        self.cursor.bound()
    }

    fn settle(&mut self) -> Result<()> {
        self.cursor.settle()
    }

    fn expect_within(&mut self, lower: &Bound<Slice>, upper: &Bound<Slice>) {
        self.cursor.expect_within(lower, upper);
    }

    fn skip(&mut self, to: &Cut, than: SeqNo) -> Result<bool> {
        self.cursor.skip(to, than)
    }

    fn skip_back(&mut self, to: &Cut, than: SeqNo) -> Result<bool> {
        self.cursor.skip_back(to, than)
    }
}

#[cfg(test)]
mod tests {
    use lsm_iter::{Coverage, KeyContext, Retention, Survivors};
    use lsm_types::{ErrorKind, Kind};

    use super::*;
    use crate::DropCounts;

    /// Versions of one key, without end. The flag goes up at one of them.
    struct Endless {
        at: u64,
        raises_at: u64,
        cancel: Cancel,
    }

    impl EntryCursor for Endless {
        fn seek_first(&mut self) -> Result<()> {
            Ok(())
        }

        fn seek_last(&mut self) -> Result<()> {
            Ok(())
        }

        fn seek(&mut self, _: &[u8], _: SeqNo) -> Result<()> {
            Ok(())
        }

        fn seek_back(&mut self, _: &[u8], _: SeqNo) -> Result<()> {
            Ok(())
        }

        fn next(&mut self) -> Result<()> {
            self.at += 1;
            if self.at == self.raises_at {
                self.cancel.cancel();
            }
            Ok(())
        }

        fn prev(&mut self) -> Result<()> {
            Ok(())
        }

        fn entry(&self) -> Option<EntryRef<'_>> {
            let seqno = SeqNo::new(1 << 40)?.get() - self.at;
            Some(EntryRef { key: b"key", seqno: SeqNo::new(seqno)?, kind: Kind::Put, value: b"" })
        }
    }

    struct Bottom;

    impl Coverage for Bottom {
        fn covering(&mut self, _: &[u8], _: SeqNo) -> Option<SeqNo> {
            None
        }
    }

    impl KeyContext for Bottom {
        fn bottom(&mut self, _: &[u8], _: SeqNo) -> bool {
            true
        }

        fn adjacent(&mut self, _: &[u8], _: SeqNo, _: SeqNo) -> bool {
            true
        }
    }

    /// Proves C-159: a merge that drops all it reads and writes nothing hears of a stop as soon as any other.
    /// Fault: compaction W-36.
    #[test]
    fn a_walk_that_writes_nothing_can_be_stopped() {
        for raises_at in [1, 1_023, 1_024, 1_025, 50_000] {
            let cancel = Cancel::new();
            let entries = Endless { at: 0, raises_at, cancel: cancel.clone() };
            let stream = Stoppable::new(entries, &cancel);
            let watermark = Retention::above(SeqNo::LATEST);
            let mut survivors = Survivors::new(stream, watermark, Bottom, DropCounts::default());
            assert!(survivors.advance().unwrap(), "the newest version stays");
            let error = survivors.advance().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Cancelled);
            let dropped = survivors.into_parts().2.total();
            assert!(dropped <= raises_at + 1_024, "{dropped} entries were read");
        }
    }
}
