//! Many ranges through one cursor.

use std::{
    iter::FusedIterator,
    marker::PhantomData,
    ops::{Bound, RangeBounds},
};

use lsm_types::Result;

use crate::{Cursor, Entry, View, prefix_scan::owned_bounds};

/// The entries of one range after the other, read through one cursor.
///
/// The next range is taken from its iterator when the one before is at its end, so it may depend on what came before.
/// Ascending ranges that do not overlap are the fast case; any others are just as right. The ranges share one view. After
/// an error the iterator is finished, unless a key's operands could not be folded: that is an error of this key.
pub struct Ranges<I, K> {
    cursor: Cursor,
    rest: I,
    state: State,
    keys: PhantomData<fn() -> K>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// The next range is yet to be taken.
    Between,
    /// The cursor stands on the entry yielded last.
    Within,
    Finished,
}

impl<I, K> Ranges<I, K> {
    pub(crate) fn new(view: View, ranges: I) -> Self {
        let cursor = Cursor::new(view, (Bound::Unbounded, Bound::Unbounded));
        Self { cursor, rest: ranges, state: State::Between, keys: PhantomData }
    }
}

impl<I, K> Ranges<I, K>
where
    I: Iterator,
    I::Item: RangeBounds<K>,
    K: AsRef<[u8]>,
{
    /// Moves to the next entry; `false` after the last range.
    fn step(&mut self) -> Result<bool> {
        while self.state != State::Finished {
            if self.state == State::Within && self.cursor.move_next()? {
                return Ok(true);
            }
            self.state = State::Finished;
            let Some(range) = self.rest.next() else { break };
            self.cursor.set_bounds(owned_bounds(&range))?;
            let found = self.cursor.seek_first()?;
            self.state = if found { State::Within } else { State::Between };
            if found {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl<I, K> Iterator for Ranges<I, K>
where
    I: Iterator,
    I::Item: RangeBounds<K>,
    K: AsRef<[u8]>,
{
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.step() {
            Ok(true) => self.cursor.entry().transpose(),
            Ok(false) => None,
            Err(error) => {
                self.state = State::Finished;
                Some(Err(error))
            }
        }
    }
}

impl<I, K> FusedIterator for Ranges<I, K>
where
    I: Iterator,
    I::Item: RangeBounds<K>,
    K: AsRef<[u8]>,
{
}

impl<I, K> std::fmt::Debug for Ranges<I, K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ranges").field("state", &self.state).finish_non_exhaustive()
    }
}
