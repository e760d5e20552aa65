//! Several cursors walked as one, in internal order, forward and back.
//!
//! The sources stand in a [`LoserTree`]. A source that has only announced where it will start (it has a
//! [`EntryCursor::bound`] but no entry) takes part by that bound and is settled when it wins, so a block that never
//! comes first is never read.

use alloc::vec::Vec;
use core::ops::Bound;

use lsm_types::{Cut, EntryCursor, EntryRef, KeyOrder, Result, SeqNo, Slice};

use crate::{
    source::{Contest, Heading, Source, State, advance, settle},
    tree::LoserTree,
};

/// Several cursors as one.
///
/// The order of the sources is their precedence, newest container first: where several hold an entry with the same
/// key and number, the first one's copy is the entry and the others are passed over, in both directions.
///
/// After an error the merge stands on no entry until the next seek.
#[derive(Debug)]
pub struct Merge<C> {
    order: KeyOrder,
    sources: Vec<Source<C>>,
    /// Bypassed by a single source.
    tree: LoserTree,
    /// What the tree is built for; `None` before the first seek and after an error.
    heading: Option<Heading>,
    /// Key of the entry around which the direction turns.
    pivot: Vec<u8>,
    /// Whether sources have jumped, so that they may stand further off than one step.
    jumped: bool,
}

/// Where a seek goes.
#[derive(Clone, Copy)]
enum Target<'a> {
    First,
    Last,
    At(&'a [u8], SeqNo),
    Before(&'a [u8], SeqNo),
}

impl Target<'_> {
    fn heading(self) -> Heading {
        match self {
            Self::First | Self::At(..) => Heading::Forward,
            Self::Last | Self::Before(..) => Heading::Back,
        }
    }

    fn apply(self, cursor: &mut impl EntryCursor) -> Result<()> {
        match self {
            Self::First => cursor.seek_first(),
            Self::Last => cursor.seek_last(),
            Self::At(key, before) => cursor.seek(key, before),
            Self::Before(key, before) => cursor.seek_back(key, before),
        }
    }
}

impl<C: EntryCursor> Merge<C> {
    /// Merges `cursors`, newest container first. Stands on no entry until the first seek.
    pub fn new(order: KeyOrder, cursors: impl IntoIterator<Item = C>) -> Self {
        let source = |cursor| Source { cursor, state: State::Exhausted, duplicate: false };
        let sources: Vec<_> = cursors.into_iter().map(source).collect();
        let tree = LoserTree::with_slots(sources.len());
        Self { order, sources, tree, heading: None, pivot: Vec::new(), jumped: false }
    }

    /// The sources, in the order of their precedence. Where they stand is not to be changed.
    pub fn sources_mut(&mut self) -> impl Iterator<Item = &mut C> {
        self.sources.iter_mut().map(|source| &mut source.cursor)
    }

    fn reposition(&mut self, target: Target<'_>) -> Result<()> {
        self.heading = None;
        self.jumped = false;
        if let [only] = self.sources.as_mut_slice() {
            target.apply(&mut only.cursor)?;
            settle(&mut only.cursor)?;
        } else {
            for source in &mut self.sources {
                target.apply(&mut source.cursor)?;
            }
            self.rebuild(target.heading())?;
        }
        self.heading = Some(target.heading());
        Ok(())
    }

    fn step(&mut self, heading: Heading) -> Result<()> {
        // Taken away, which holds if this step fails.
        let Some(came) = self.heading.take() else { return Ok(()) };
        if let [only] = self.sources.as_mut_slice() {
            advance(&mut only.cursor, heading)?;
            settle(&mut only.cursor)?;
        } else if came == heading {
            self.advance_winner(heading)?;
        } else if !self.turn(heading)? {
            self.heading = Some(came);
            return Ok(());
        }
        self.heading = Some(heading);
        Ok(())
    }

    /// Steps the winner, and on over copies of entries that an earlier source holds as well.
    #[inline]
    fn advance_winner(&mut self, heading: Heading) -> Result<()> {
        let Self { order, sources, tree, .. } = self;
        loop {
            let Some(source) = sources.get_mut(tree.winner() as usize) else { return Ok(()) };
            match source.state {
                State::Live => advance(&mut source.cursor, heading)?,
                State::Lazy => settle(&mut source.cursor)?,
                State::Exhausted => return Ok(()),
            }
            tree.advance(&mut Contest { order, sources, heading });
            match sources.get(tree.winner() as usize) {
                Some(source) if source.duplicate || source.state == State::Lazy => {}
                _ => return Ok(()),
            }
        }
    }

    /// Builds the tree from where the sources stand, and reads blocks until the winner has an entry.
    fn rebuild(&mut self, heading: Heading) -> Result<()> {
        let Self { order, sources, tree, .. } = self;
        tree.build(&mut Contest { order, sources, heading });
        match sources.get(tree.winner() as usize) {
            Some(source) if source.state == State::Lazy => self.advance_winner(heading),
            _ => Ok(()),
        }
    }

    /// Moves every source to the other side of the current entry; `false` without one.
    fn turn(&mut self, heading: Heading) -> Result<bool> {
        let Self { sources, tree, pivot, .. } = self;
        let Some(entry) = sources.get(tree.winner() as usize).and_then(|source| source.cursor.entry()) else {
            return Ok(false);
        };
        pivot.clear();
        pivot.extend_from_slice(entry.key);
        let seqno = entry.seqno;
        let jumped = core::mem::take(&mut self.jumped);
        for source in sources {
            // The others stand on their first entry beyond the current one, or on its copy: one step back is enough.
            let cursor = &mut source.cursor;
            match source.state {
                _ if jumped && heading == Heading::Back => cursor.seek_back(pivot, seqno.next())?,
                _ if jumped => cursor.seek(pivot, seqno)?,
                State::Live => advance(cursor, heading)?,
                State::Exhausted if heading == Heading::Back => cursor.seek_last()?,
                State::Exhausted => cursor.seek_first()?,
                State::Lazy if heading == Heading::Back => cursor.seek_back(pivot, seqno.next())?,
                State::Lazy => cursor.seek(pivot, seqno)?,
            }
        }
        self.rebuild(heading)?;
        Ok(true)
    }

    /// Lets every source jump towards the cut; says whether one did.
    fn jump(&mut self, heading: Heading, to: &Cut, than: SeqNo) -> Result<bool> {
        if self.heading != Some(heading) {
            return Ok(false);
        }
        self.heading = None; // which holds if this fails
        let mut moved = false;
        for Source { cursor, .. } in &mut self.sources {
            moved |=
                if heading == Heading::Back { cursor.skip_back(to, than)? } else { cursor.skip(to, than)? };
        }
        match self.sources.as_mut_slice() {
            [only] => settle(&mut only.cursor)?,
            _ if moved => self.rebuild(heading)?,
            _ => {}
        }
        self.heading = Some(heading);
        self.jumped |= moved;
        Ok(moved)
    }

    #[inline]
    fn winner(&self) -> Option<&Source<C>> {
        match self.sources.as_slice() {
            [only] => Some(only),
            many => many.get(self.tree.winner() as usize),
        }
    }

    #[inline]
    fn current(&self) -> Option<EntryRef<'_>> {
        self.winner()?.cursor.entry()
    }
}

impl<C: EntryCursor> EntryCursor for Merge<C> {
    fn seek_first(&mut self) -> Result<()> {
        self.reposition(Target::First)
    }

    fn seek_last(&mut self) -> Result<()> {
        self.reposition(Target::Last)
    }

    fn seek(&mut self, key: &[u8], before: SeqNo) -> Result<()> {
        self.reposition(Target::At(key, before))
    }

    fn seek_back(&mut self, key: &[u8], before: SeqNo) -> Result<()> {
        self.reposition(Target::Before(key, before))
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        self.step(Heading::Forward)
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        self.step(Heading::Back)
    }

    #[inline]
    fn entry(&self) -> Option<EntryRef<'_>> {
        self.heading.and_then(|_| self.current())
    }

    fn value(&self) -> Slice {
        match self.winner() {
            Some(source) if self.heading.is_some() => source.cursor.value(),
            _ => Slice::empty(),
        }
    }

    /// Known of a single source alone: another one may hold a newer version.
    #[inline]
    fn is_newest(&self) -> bool {
        match self.sources.as_slice() {
            [only] => self.heading.is_some() && only.cursor.is_newest(),
            _ => false,
        }
    }

    fn shares_value(&self) -> bool {
        self.winner().is_some_and(|source| source.cursor.shares_value())
    }

    fn expect_within(&mut self, lower: &Bound<Slice>, upper: &Bound<Slice>) {
        for source in &mut self.sources {
            source.cursor.expect_within(lower, upper);
        }
    }

    fn skip(&mut self, to: &Cut, than: SeqNo) -> Result<bool> {
        self.jump(Heading::Forward, to, than)
    }

    fn skip_back(&mut self, to: &Cut, than: SeqNo) -> Result<bool> {
        self.jump(Heading::Back, to, than)
    }
}
