//! A cursor that ends at a cut.

use lsm_types::{Cut, EntryCursor, EntryRef, KeyOrder, Result, SeqNo, Slice};

/// The entries of `C` left of a cut, walked forward.
pub(crate) struct Until<C> {
    cursor: C,
    end: Cut,
    order: KeyOrder,
    is_over: bool,
}

impl<C: EntryCursor> Until<C> {
    pub(crate) fn new(cursor: C, end: Cut, order: KeyOrder) -> Self {
        let mut until = Self { cursor, end, order, is_over: false };
        until.look();
        until
    }

    /// Goes on up to `end`, which lies no further left than the end so far.
    pub(crate) fn extend(&mut self, end: Cut) {
        self.end = end;
        self.look();
    }

    /// The key at which the cursor itself stands, beyond the end or not.
    pub(crate) fn rest(&self) -> Option<&[u8]> {
        self.cursor.entry().map(|entry| entry.key)
    }

    pub(crate) fn cursor_mut(&mut self) -> &mut C {
        &mut self.cursor
    }

    #[inline]
    fn look(&mut self) {
        self.is_over = match (&self.end, self.cursor.entry()) {
            (Cut::End, _) | (_, None) => false,
            (end, Some(entry)) => end.is_left_of(entry.key, &self.order),
        };
    }
}

impl<C: EntryCursor> EntryCursor for Until<C> {
    fn seek_first(&mut self) -> Result<()> {
        self.cursor.seek_first()?;
        self.look();
        Ok(())
    }

    fn seek_last(&mut self) -> Result<()> {
        match &self.end {
            Cut::Before(key) => self.cursor.seek_back(key, SeqNo::LATEST)?,
            Cut::After(key) => self.cursor.seek_back(key, SeqNo::ZERO)?,
            Cut::Start | Cut::End => self.cursor.seek_last()?,
        }
        self.look();
        Ok(())
    }

    fn seek(&mut self, key: &[u8], before: SeqNo) -> Result<()> {
        self.cursor.seek(key, before)?;
        self.look();
        Ok(())
    }

    fn seek_back(&mut self, key: &[u8], before: SeqNo) -> Result<()> {
        if self.end.is_left_of(key, &self.order) {
            return self.seek_last();
        }
        self.cursor.seek_back(key, before)?;
        self.look();
        Ok(())
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        if !self.is_over {
            self.cursor.next()?;
            self.look();
        }
        Ok(())
    }

    fn prev(&mut self) -> Result<()> {
        if !self.is_over {
            self.cursor.prev()?;
        }
        Ok(())
    }

    #[inline]
    fn entry(&self) -> Option<EntryRef<'_>> {
        if self.is_over { None } else { self.cursor.entry() }
    }

    #[inline]
    fn value(&self) -> Slice {
        if self.is_over { Slice::empty() } else { self.cursor.value() }
    }

    fn bound(&self) -> Option<&[u8]> {
        self.cursor.bound()
    }

    fn settle(&mut self) -> Result<()> {
        self.cursor.settle()?;
        self.look();
        Ok(())
    }

    fn skip(&mut self, to: &Cut, than: SeqNo) -> Result<bool> {
        let moved = self.cursor.skip(to, than)?;
        self.look();
        Ok(moved)
    }
}
