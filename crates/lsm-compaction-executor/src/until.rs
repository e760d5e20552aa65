//! A cursor that ends before a key.

use lsm_types::{Cut, EntryCursor, EntryRef, KeyOrder, Result, SeqNo, Slice};

/// The entries of `C` with keys below `end`, walked forward.
pub(crate) struct Until<C> {
    cursor: C,
    end: Option<Slice>,
    order: KeyOrder,
    is_over: bool,
}

impl<C: EntryCursor> Until<C> {
    /// All entries without an `end`.
    pub(crate) fn new(cursor: C, end: Option<Slice>, order: KeyOrder) -> Self {
        let mut until = Self { cursor, end, order, is_over: false };
        until.look();
        until
    }

    #[inline]
    fn look(&mut self) {
        self.is_over = match (&self.end, self.cursor.entry()) {
            (Some(end), Some(entry)) => self.order.compare(entry.key, end).is_ge(),
            _ => false,
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
            Some(end) => self.cursor.seek_back(end, SeqNo::LATEST)?,
            None => self.cursor.seek_last()?,
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
        if self.end.as_ref().is_some_and(|end| self.order.compare(key, end).is_ge()) {
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
