//! A run as one cursor: its tables are opened one at a time, when the walk reaches them.

use std::{ops::Bound, sync::Arc};

use lsm_types::{Cut, EntryCursor, EntryRef, KeyOrder, Result, SeqNo, Slice};

use crate::{ReadMode, Table, TableCursor, Throttle};

/// Tables with disjoint entry ranges, in key order, however the owner keeps them.
pub trait TableList {
    /// Position of a table.
    type Spot: Copy + PartialEq + Send;

    /// The table at a position.
    fn table(&self, spot: Self::Spot) -> Option<&Table>;

    /// The position of the first table whose largest key is at or above `key`.
    fn first_reaching(&self, key: &[u8], order: &KeyOrder) -> Option<Self::Spot>;

    /// The first position.
    fn first(&self) -> Option<Self::Spot>;

    /// The last position.
    fn last(&self) -> Option<Self::Spot>;

    /// The position after `spot`.
    fn after(&self, spot: Self::Spot) -> Option<Self::Spot>;

    /// The position before `spot`.
    fn before(&self, spot: Self::Spot) -> Option<Self::Spot>;
}

impl TableList for Vec<Table> {
    type Spot = usize;

    fn table(&self, spot: usize) -> Option<&Table> {
        self.get(spot)
    }

    fn first_reaching(&self, key: &[u8], order: &KeyOrder) -> Option<usize> {
        let ends_below = |table: &Table| table.max_key().is_some_and(|max| order.compare(max, key).is_lt());
        let spot = self.partition_point(ends_below);
        (spot < self.len()).then_some(spot)
    }

    fn first(&self) -> Option<usize> {
        (!self.is_empty()).then_some(0)
    }

    fn last(&self) -> Option<usize> {
        self.len().checked_sub(1)
    }

    fn after(&self, spot: usize) -> Option<usize> {
        (spot + 1 < self.len()).then_some(spot + 1)
    }

    fn before(&self, spot: usize) -> Option<usize> {
        spot.checked_sub(1)
    }
}

/// Walks the tables of a run in key order.
pub struct RunCursor<L: TableList> {
    run: L,
    order: KeyOrder,
    mode: ReadMode,
    throttle: Option<Arc<dyn Throttle>>,
    stand: Stand<L::Spot>,
    /// The cursor of the table that was opened last, kept for its buffers when the walk has left it.
    opened: Option<(L::Spot, TableCursor)>,
    /// Keys that the walk will not leave, as far as is known.
    bounds: (Bound<Slice>, Bound<Slice>),
}

#[derive(Clone, Copy, PartialEq)]
enum Stand<S> {
    Nowhere,
    /// In the table that was opened last.
    In(S),
    /// Before the first entry of a table that is not open yet.
    Before(S),
    /// After the last entry of a table that is not open yet.
    After(S),
}

impl<L: TableList> RunCursor<L> {
    /// A cursor over `run` that stands on nothing yet.
    pub fn new(run: L, order: KeyOrder, mode: ReadMode) -> Self {
        let bounds = (Bound::Unbounded, Bound::Unbounded);
        Self { run, order, mode, throttle: None, stand: Stand::Nowhere, opened: None, bounds }
    }

    /// The same cursor; `throttle` is asked before each block that is read past the cache.
    pub fn throttled(mut self, throttle: Arc<dyn Throttle>) -> Self {
        self.throttle = Some(throttle);
        self
    }

    /// The cursor of the table at `spot`, kept when it is the one that was opened last.
    #[inline]
    fn open(&mut self, spot: L::Spot) -> Result<&mut TableCursor> {
        if self.opened.as_ref().is_none_or(|(at, _)| *at != spot) {
            self.open_other(spot)?;
        }
        self.stand = Stand::In(spot);
        match &mut self.opened {
            Some((_, cursor)) => Ok(cursor),
            None => Err(crate::TableError::NoSuchSpot.into()),
        }
    }

    #[cold]
    fn open_other(&mut self, spot: L::Spot) -> Result<()> {
        let table = self.run.table(spot).ok_or(crate::TableError::NoSuchSpot)?;
        if let Some((at, cursor)) = &mut self.opened {
            table.take_over(cursor)?;
            *at = spot;
            return Ok(());
        }
        let mut cursor = table.throttled_cursor(self.mode, self.throttle.clone())?;
        cursor.expect_within(&self.bounds.0, &self.bounds.1);
        self.opened = Some((spot, cursor));
        Ok(())
    }

    /// The cursor that the walk stands in.
    #[inline]
    fn inner(&self) -> Option<(L::Spot, &TableCursor)> {
        match (self.stand, &self.opened) {
            (Stand::In(spot), Some((_, cursor))) => Some((spot, cursor)),
            _ => None,
        }
    }

    /// The position of the first table whose largest key is at or above `key`: the one opened last, if `key` lies within
    /// it.
    #[inline]
    fn reaching(&self, key: &[u8]) -> Option<L::Spot> {
        if let Some((spot, _)) = &self.opened
            && let Some(table) = self.run.table(*spot)
            && table.min_key().is_some_and(|min| self.order.compare(min, key).is_le())
            && table.max_key().is_some_and(|max| self.order.compare(key, max).is_le())
        {
            return Some(*spot);
        }
        self.run.first_reaching(key, &self.order)
    }

    /// From the end of the open table on to the start of the next one.
    fn roll_forward(&mut self) {
        if let Some((spot, cursor)) = self.inner()
            && cursor.entry().is_none()
            && cursor.bound().is_none()
        {
            self.stand = self.run.after(spot).map_or(Stand::Nowhere, Stand::Before);
        }
    }

    /// From the start of the open table back to the end of the one before.
    fn roll_back(&mut self) {
        if let Some((spot, cursor)) = self.inner()
            && cursor.entry().is_none()
            && cursor.bound().is_none()
        {
            self.stand = self.run.before(spot).map_or(Stand::Nowhere, Stand::After);
        }
    }

    /// Whether the walk forward from here comes to keys left of `to` first.
    fn is_left_of(&self, to: &Cut) -> bool {
        self.nearest().is_some_and(|key| !to.is_left_of(key, &self.order))
    }

    /// The key where the cursor stands, or one that no coming entry passes on the near side.
    fn nearest(&self) -> Option<&[u8]> {
        self.entry().map(|entry| entry.key).or_else(|| self.bound())
    }

    /// Passes tables without opening them while all they hold is numbered below `than` and lies left of `to`; goes to
    /// `to` in the table that reaches over it.
    fn skip_tables(&mut self, to: &Cut, than: SeqNo) -> Result<bool> {
        let mut moved = false;
        while self.is_left_of(to)
            && let Stand::In(spot) | Stand::Before(spot) = self.stand
            && let Some(table) = self.run.table(spot)
            && table.is_older_than(than)
        {
            moved = true;
            let reaches_over = table.max_key().is_some_and(|max| to.is_left_of(max, &self.order));
            if !reaches_over {
                self.stand = self.run.after(spot).map_or(Stand::Nowhere, Stand::Before);
                continue;
            }
            match to {
                Cut::Before(key) => self.open(spot)?.seek(key, SeqNo::LATEST)?,
                Cut::After(key) => self.open(spot)?.seek(key, SeqNo::ZERO)?,
                Cut::Start | Cut::End => {}
            }
            self.roll_forward();
            break;
        }
        Ok(moved)
    }

    /// As [`RunCursor::skip_tables`], back over what lies right of `to`.
    fn skip_tables_back(&mut self, to: &Cut, than: SeqNo) -> Result<bool> {
        let mut moved = false;
        while self.nearest().is_some_and(|key| to.is_left_of(key, &self.order))
            && let Stand::In(spot) | Stand::After(spot) = self.stand
            && let Some(table) = self.run.table(spot)
            && table.is_older_than(than)
        {
            moved = true;
            let reaches_over = table.min_key().is_some_and(|min| !to.is_left_of(min, &self.order));
            if !reaches_over {
                self.stand = self.run.before(spot).map_or(Stand::Nowhere, Stand::After);
                continue;
            }
            match to {
                Cut::Before(key) => self.open(spot)?.seek_back(key, SeqNo::LATEST)?,
                Cut::After(key) => self.open(spot)?.seek_back(key, SeqNo::ZERO)?,
                Cut::Start | Cut::End => {}
            }
            self.roll_back();
            break;
        }
        Ok(moved)
    }

    /// Settles where the walk stands. What looked like more may turn out to be nothing: the block of a restricted table
    /// that lies wholly below the bound, rows that are all dead. Then the walk goes on to the next table, until there is an
    /// entry, or the end.
    fn settle_on(&mut self) -> Result<()> {
        loop {
            let is_back = match self.stand {
                Stand::Nowhere => return Ok(()),
                Stand::In(spot) => {
                    let cursor = self.open(spot)?;
                    let is_back = cursor.is_pending_back();
                    cursor.settle()?;
                    is_back
                }
                Stand::Before(spot) => {
                    self.open(spot)?.seek_first()?;
                    false
                }
                Stand::After(spot) => {
                    self.open(spot)?.seek_last()?;
                    true
                }
            };
            if is_back {
                self.roll_back();
            } else {
                self.roll_forward();
            }
            if let Stand::In(_) = self.stand {
                return Ok(());
            }
        }
    }

    /// Runs a step and leaves the cursor without an entry when it fails.
    fn guard<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let outcome = step(self);
        if outcome.is_err() {
            self.stand = Stand::Nowhere;
        }
        outcome
    }
}

impl RunCursor<Vec<Table>> {
    /// Lets go of tables at the front of the run, from which the walk has gone on: of their handles and open files. The
    /// walk stays where it is.
    ///
    /// * `is_done`: whether nothing of the table is wanted any more; asked from the first table on until it says no.
    pub fn release_front(&mut self, mut is_done: impl FnMut(&Table) -> bool) {
        let standing = match self.stand {
            Stand::Nowhere => self.run.len(),
            Stand::In(spot) | Stand::Before(spot) | Stand::After(spot) => spot,
        };
        let done = self.run.iter().take(standing).take_while(|table| is_done(table)).count();
        if done == 0 {
            return;
        }
        self.run.drain(..done);
        let opened = self.opened.take();
        self.opened = opened.and_then(|(spot, cursor)| Some((spot.checked_sub(done)?, cursor)));
        self.stand = match self.stand {
            Stand::Nowhere => Stand::Nowhere,
            Stand::In(spot) => Stand::In(spot - done),
            Stand::Before(spot) => Stand::Before(spot - done),
            Stand::After(spot) => Stand::After(spot - done),
        };
    }
}

impl<L: TableList> EntryCursor for RunCursor<L> {
    fn seek_first(&mut self) -> Result<()> {
        self.stand = self.run.first().map_or(Stand::Nowhere, Stand::Before);
        Ok(())
    }

    fn seek_last(&mut self) -> Result<()> {
        self.stand = self.run.last().map_or(Stand::Nowhere, Stand::After);
        Ok(())
    }

    fn seek(&mut self, key: &[u8], before: SeqNo) -> Result<()> {
        self.guard(|this| {
            let Some(spot) = this.reaching(key) else {
                this.stand = Stand::Nowhere;
                return Ok(());
            };
            let min = this.run.table(spot).and_then(Table::min_key);
            if min.is_some_and(|min| this.order.compare(key, min).is_lt()) {
                this.stand = Stand::Before(spot);
                return Ok(());
            }
            this.open(spot)?.seek(key, before)?;
            this.roll_forward();
            Ok(())
        })
    }

    fn seek_back(&mut self, key: &[u8], before: SeqNo) -> Result<()> {
        self.guard(|this| {
            let Some(spot) = this.reaching(key) else {
                this.stand = this.run.last().map_or(Stand::Nowhere, Stand::After);
                return Ok(());
            };
            this.open(spot)?.seek_back(key, before)?;
            this.roll_back();
            Ok(())
        })
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        let (Stand::In(_), Some((_, cursor))) = (self.stand, &mut self.opened) else { return Ok(()) };
        if let Err(error) = cursor.next() {
            self.stand = Stand::Nowhere;
            return Err(error);
        }
        if cursor.entry().is_none() {
            self.roll_forward();
        }
        Ok(())
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        let (Stand::In(_), Some((_, cursor))) = (self.stand, &mut self.opened) else { return Ok(()) };
        if let Err(error) = cursor.prev() {
            self.stand = Stand::Nowhere;
            return Err(error);
        }
        if cursor.entry().is_none() {
            self.roll_back();
        }
        Ok(())
    }

    #[inline]
    fn entry(&self) -> Option<EntryRef<'_>> {
        self.inner()?.1.entry()
    }

    #[inline]
    fn value(&self) -> Slice {
        self.inner().map_or_else(Slice::empty, |(_, cursor)| cursor.value())
    }

    #[inline]
    fn is_newest(&self) -> bool {
        self.inner().is_some_and(|(_, cursor)| cursor.is_newest())
    }

    #[inline]
    fn shares_value(&self) -> bool {
        true
    }

    fn bound(&self) -> Option<&[u8]> {
        match self.stand {
            Stand::Nowhere => None,
            Stand::In(_) => self.inner()?.1.bound(),
            Stand::Before(spot) => self.run.table(spot)?.min_key(),
            Stand::After(spot) => self.run.table(spot)?.max_key(),
        }
    }

    fn settle(&mut self) -> Result<()> {
        self.guard(Self::settle_on)
    }

    fn expect_within(&mut self, lower: &Bound<Slice>, upper: &Bound<Slice>) {
        self.bounds = (lower.clone(), upper.clone());
        if let Some((_, cursor)) = &mut self.opened {
            cursor.expect_within(lower, upper);
        }
    }

    fn skip(&mut self, to: &Cut, than: SeqNo) -> Result<bool> {
        self.guard(|this| this.skip_tables(to, than))
    }

    fn skip_back(&mut self, to: &Cut, than: SeqNo) -> Result<bool> {
        self.guard(|this| this.skip_tables_back(to, than))
    }
}
