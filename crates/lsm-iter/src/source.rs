//! A source of the merge, and how two of them compare.

use core::cmp::Ordering;

use lsm_types::{EntryCursor, KeyOrder, Result};

use crate::tree::{Node, Slots};

/// A cursor and where it stands, as of the last match it prepared for.
#[derive(Debug)]
pub(crate) struct Source<C> {
    pub(crate) cursor: C,
    pub(crate) state: State,
    /// An earlier source holds the same entry.
    pub(crate) duplicate: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// Stands on an entry.
    Live,
    /// Has a bound and no entry yet.
    Lazy,
    Exhausted,
}

/// Which way a walk goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Heading {
    Forward,
    Back,
}

impl<C: EntryCursor> Source<C> {
    /// Looks where the cursor stands, which decides most matches by the head of its key.
    #[inline]
    fn refresh(&mut self, order: &KeyOrder) -> Option<u64> {
        self.duplicate = false;
        if let Some(entry) = self.cursor.entry() {
            self.state = State::Live;
            return Some(order.head(entry.key));
        }
        let bound = self.cursor.bound();
        self.state = if bound.is_some() { State::Lazy } else { State::Exhausted };
        bound.map(|bound| order.head(bound))
    }

    /// The key by which the source competes.
    #[inline]
    fn key(&self) -> Option<&[u8]> {
        match self.state {
            State::Live => self.cursor.entry().map(|entry| entry.key),
            State::Lazy => self.cursor.bound(),
            State::Exhausted => None,
        }
    }
}

/// The sources as the tree sees them.
pub(crate) struct Contest<'a, C> {
    pub(crate) order: &'a KeyOrder,
    pub(crate) sources: &'a mut [Source<C>],
    pub(crate) heading: Heading,
}

impl<C: EntryCursor> Slots for Contest<'_, C> {
    #[inline]
    fn node(&mut self, slot: u32) -> Node {
        let source = self.sources.get_mut(slot as usize);
        let Some(head) = source.and_then(|source| source.refresh(self.order)) else {
            return Node::exhausted(slot);
        };
        Node { head: if self.heading == Heading::Back { !head } else { head }, slot }
    }

    /// Keys, then numbers, then precedence. A bound comes before an entry with its key: what follows it is not known.
    fn tie(&mut self, a: u32, b: u32) -> bool {
        let (Some(x), Some(y)) = (self.sources.get(a as usize), self.sources.get(b as usize)) else {
            return a < b; // padding has the highest numbers
        };
        let (Some(x_key), Some(y_key)) = (x.key(), y.key()) else {
            return y.key().is_none() && (x.key().is_some() || a < b);
        };
        let keys = self.order.compare(x_key, y_key);
        if keys.is_ne() {
            return keys.is_lt() == (self.heading == Heading::Forward);
        }
        let (Some(x), Some(y)) = (x.cursor.entry(), y.cursor.entry()) else {
            return x.state == State::Lazy && (y.state != State::Lazy || a < b);
        };
        match x.seqno.cmp(&y.seqno) {
            Ordering::Greater => self.heading == Heading::Forward,
            Ordering::Less => self.heading == Heading::Back,
            Ordering::Equal => {
                if let Some(source) = self.sources.get_mut(a.max(b) as usize) {
                    source.duplicate = true;
                }
                a < b
            }
        }
    }
}

#[inline]
pub(crate) fn advance(cursor: &mut impl EntryCursor, heading: Heading) -> Result<()> {
    if heading == Heading::Back { cursor.prev() } else { cursor.next() }
}

/// Reads the block that a seek or step has put off.
#[inline]
pub(crate) fn settle(cursor: &mut impl EntryCursor) -> Result<()> {
    while cursor.bound().is_some() {
        cursor.settle()?;
    }
    Ok(())
}
