//! Reading ahead of a scan: once it goes from block to block, the blocks it comes to next are read with the one it needs.
//!
//! The first two blocks of a row come alone, so that a short scan reads nothing in vain. The third one brings the blocks
//! behind it along, 32 KiB with it, and every further read twice as many up to 1 MiB. A read begins and ends where the
//! index says that blocks do, stops where the scan does, and leaves out what the cache has. Frames are decoded, and go
//! into the cache, when the scan reaches them, each in memory of its own: a cached block never holds its neighbours'.

use std::ops::Range;

use lsm_block::BlockKind;
use lsm_sst::{BlockRef, Neighbours, TableLayout};
use lsm_types::{Result, Slice};

use crate::table::TableInner;

/// Steps from block to block, one way, before the scan is taken for one that goes on.
const STEPS_MIN: u32 = 2;
/// Bytes of the first read ahead.
const WINDOW_MIN: u64 = 32 << 10;
/// Bytes of the longest one.
const WINDOW_MAX: u64 = 1 << 20;
/// Bytes of cached blocks in a row that are read again rather than split a read in two.
const BRIDGE_MAX: u64 = 16 << 10;
/// Bytes between data blocks that an index partition may take without breaking a row.
const GAP_MAX: u64 = 64 << 10;

/// How a scan goes through a table, and what was read for it. Holds at most the longest read.
#[derive(Debug)]
pub(crate) struct ReadAhead {
    heading: Heading,
    /// Steps from block to block so far.
    steps: u32,
    /// Bytes of the next read.
    window: u64,
    /// Where the block lies that the scan stands in.
    here: Range<u64>,
    /// Where in the file `bytes` begins.
    start: u64,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Heading {
    Forward,
    Back,
}

impl ReadAhead {
    /// For a scan that stands nowhere.
    pub(crate) const fn new() -> Self {
        Self {
            heading: Heading::Forward,
            steps: 0,
            window: WINDOW_MIN,
            here: u64::MAX..u64::MAX,
            start: 0,
            bytes: Vec::new(),
        }
    }

    /// Notes that the scan comes to the block at `at`.
    pub(crate) fn come_to(&mut self, at: BlockRef, near: &Neighbours<'_>) {
        let block = place(at);
        let follows = |gap: Option<u64>, at_edge: bool| match gap {
            Some(0) => true,
            Some(gap) => at_edge && gap <= GAP_MAX,
            None => false,
        };
        let heading = if follows(block.start.checked_sub(self.here.end), near.is_first()) {
            Some(Heading::Forward)
        } else if follows(self.here.start.checked_sub(block.end), near.is_last()) {
            Some(Heading::Back)
        } else {
            None
        };
        match heading {
            Some(heading) if heading == self.heading => self.steps = self.steps.saturating_add(1),
            Some(heading) => {
                self.start_anew(1);
                self.heading = heading;
            }
            None if block != self.here => self.start_anew(0),
            None => {}
        }
        self.here = block;
    }

    fn start_anew(&mut self, steps: u32) {
        (self.steps, self.window) = (steps, WINDOW_MIN);
    }

    /// The frame of the block that the scan came to, which the cache does not have.
    ///
    /// # Errors
    /// What reading this block finds. What hinders the others shows when the scan comes to them.
    pub(crate) fn frame(
        &mut self,
        table: &TableInner,
        layout: &TableLayout,
        at: BlockRef,
        near: &Neighbours<'_>,
    ) -> Result<Slice> {
        layout.check_ref(BlockKind::DATA, at)?;
        if let Some(frame) = self.held(at) {
            return Ok(Slice::copy_from(frame));
        }
        if self.steps >= STEPS_MIN {
            let is_cached = |at: BlockRef| table.env.cache.contains(table.cache_file, at.handle.offset);
            let is_sound = |at: &BlockRef| layout.check_ref(BlockKind::DATA, *at).is_ok();
            let read = match self.heading {
                Heading::Forward => reach(at, near.after().take_while(is_sound), self.window, is_cached),
                Heading::Back => reach(at, near.before().take_while(is_sound), self.window, is_cached),
            };
            if read != place(at) {
                self.fill(table, read);
            }
        }
        match self.held(at) {
            Some(frame) => Ok(Slice::copy_from(frame)),
            None => table.read(at.handle.offset, at.handle.len as usize),
        }
    }

    /// Reads a range of the file; holds nothing when that fails, and the row starts anew.
    fn fill(&mut self, table: &TableInner, range: Range<u64>) {
        self.start = range.start;
        self.bytes.resize(usize::try_from(range.end - range.start).unwrap_or_default(), 0);
        if table.read_into(range.start, &mut self.bytes).is_ok() {
            self.window = WINDOW_MAX.min(self.window * 2);
        } else {
            self.bytes.clear();
            self.start_anew(0);
        }
    }

    /// The bytes of a frame, if all of them were read.
    fn held(&self, at: BlockRef) -> Option<&[u8]> {
        let from = usize::try_from(at.handle.offset.checked_sub(self.start)?).ok()?;
        self.bytes.get(from..from.checked_add(at.handle.len as usize)?)
    }
}

/// Where a block lies. One whose reference was not checked may seem to end at the end of all files.
fn place(at: BlockRef) -> Range<u64> {
    at.handle.offset..at.handle.offset.saturating_add(at.handle.len.into())
}

/// The range of `first` and of those of `others`, the nearest first, that lie beside it without a gap and in no more than
/// `window` bytes; not beyond the last one that is not cached.
fn reach(
    first: BlockRef,
    others: impl Iterator<Item = BlockRef>,
    window: u64,
    is_cached: impl Fn(BlockRef) -> bool,
) -> Range<u64> {
    let len = |range: &Range<u64>| range.end - range.start;
    let mut wanted = place(first);
    let mut seen = wanted.clone();
    for other in others {
        let block = place(other);
        if block.start == seen.end {
            seen.end = block.end;
        } else if block.end == seen.start {
            seen.start = block.start;
        } else {
            break;
        }
        if len(&seen) > window {
            break;
        }
        if !is_cached(other) {
            wanted = seen.clone();
        } else if len(&seen) - len(&wanted) > BRIDGE_MAX {
            break;
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use lsm_block::Handle;

    use super::*;

    /// Blocks of 10,000 bytes, `first` one of them; those in `cached` are cached. Which range is read?
    #[track_caller]
    fn check(first: u64, others: &[u64], window: u64, cached: &[u64], expected: Range<u64>) {
        let block = |number: u64| BlockRef {
            handle: Handle { offset: number * 10_000, len: 10_000 },
            ordinal: u32::try_from(number).unwrap(),
        };
        let is_cached = |at: BlockRef| cached.contains(&at.ordinal.into());
        let found = reach(block(first), others.iter().copied().map(block), window, is_cached);
        assert_eq!(found, expected.start * 10_000..expected.end * 10_000);
    }

    #[test]
    fn a_read_reaches_as_far_as_it_is_worth() {
        check(3, &[4, 5, 6, 7], 32_000, &[], 3..6);
        check(3, &[2, 1, 0], 32_000, &[], 1..4);
        check(3, &[4, 5, 6], 1_000_000, &[], 3..7);
        check(3, &[], 32_000, &[], 3..4);
        check(3, &[4, 5], 5_000, &[], 3..4);
        // A gap ends it.
        check(3, &[4, 6, 7], 1_000_000, &[], 3..5);
        check(3, &[2, 0], 1_000_000, &[], 2..4);
        // Cached ones at the far end are left out, one between others is read again, two are not.
        check(3, &[4, 5, 6], 1_000_000, &[5, 6], 3..5);
        check(3, &[4, 5, 6, 7], 1_000_000, &[5], 3..8);
        check(3, &[4, 5, 6, 7], 1_000_000, &[5, 6], 3..5);
        check(3, &[2, 1, 0], 1_000_000, &[2, 1], 3..4);
    }
}
