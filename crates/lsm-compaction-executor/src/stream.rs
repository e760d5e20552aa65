//! One segment: survivors of a merge, written into tables.

use lsm_compaction_planner::Cutter;
use lsm_iter::{DropReason, DropSink, FilterStage, KeyContext, Survivors};
use lsm_table::MultiWriter;
use lsm_types::{Cut, EntryCursor, EntryRef, Result, Slice};

use crate::{Cancel, Deletes, Failpoints};

/// Entries between two looks at the stop flag.
const CHECK_EVERY: u64 = 1024;

/// How many entries a stream dropped, by reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DropCounts {
    /// Hidden by a newer version.
    pub shadowed: u64,
    /// Tombstones with nothing left to hide.
    pub evicted: u64,
    /// Weak tombstones and the puts that went with them.
    pub annihilated: u64,
    /// Hidden by a range tombstone.
    pub range_deleted: u64,
    /// Gone into the result of a merge operator.
    pub folded: u64,
    /// Destroyed by a filter.
    pub filtered: u64,
}

impl DropCounts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.shadowed += other.shadowed;
        self.evicted += other.evicted;
        self.annihilated += other.annihilated;
        self.range_deleted += other.range_deleted;
        self.folded += other.folded;
        self.filtered += other.filtered;
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.shadowed + self.evicted + self.annihilated + self.range_deleted + self.folded + self.filtered
    }
}

impl DropSink for DropCounts {
    #[inline]
    fn dropped(&mut self, reason: DropReason, _: EntryRef<'_>) {
        match reason {
            DropReason::Evicted => self.evicted += 1,
            DropReason::Annihilated => self.annihilated += 1,
            DropReason::RangeDeleted => self.range_deleted += 1,
            DropReason::Folded => self.folded += 1,
            DropReason::Filtered => self.filtered += 1,
            _ => self.shadowed += 1,
        }
    }
}

/// Entries in internal order, on their way into tables.
pub(crate) trait EntryStream {
    /// Goes to the next entry; whether there is one.
    fn advance(&mut self) -> Result<bool>;

    /// The entry, lent until the next step.
    fn entry(&self) -> Option<EntryRef<'_>>;

    /// Its value as a slice that outlives it.
    fn value(&self) -> Slice;
}

impl<C: EntryCursor, K: KeyContext, S: DropSink, F: FilterStage> EntryStream for Survivors<C, K, S, F> {
    #[inline]
    fn advance(&mut self) -> Result<bool> {
        Self::advance(self)
    }

    #[inline]
    fn entry(&self) -> Option<EntryRef<'_>> {
        Self::entry(self)
    }

    fn value(&self) -> Slice {
        Self::value(self)
    }
}

/// What may end a stream early.
#[derive(Clone, Copy)]
pub struct StreamControl<'a> {
    /// Stops it from outside.
    pub cancel: &'a Cancel,
    /// Makes it fail on purpose.
    pub failpoints: &'a dyn Failpoints,
}

/// Writes all survivors, into tables that end where `cutter` says, and all of `deletes`, each table taking those up to
/// the next one; returns how many survivors there were. Without survivors the deletes make a table of their own.
///
/// # Errors
/// `Cancelled` at most 1,024 entries after the flag was raised; errors of the inputs and of the writer. What was
/// written so far belongs to the writer, which removes it when it is dropped.
pub fn write_survivors<C: EntryCursor, K: KeyContext, S: DropSink, F: FilterStage>(
    survivors: &mut Survivors<C, K, S, F>,
    writer: &mut MultiWriter,
    cutter: &mut Cutter<'_>,
    deletes: &mut Deletes,
    control: StreamControl<'_>,
) -> Result<u64> {
    let written = write_entries(survivors, writer, cutter, deletes, control)?;
    deletes.hand_over(&Cut::End, |piece| writer.add_tombstone(piece))?;
    Ok(written)
}

/// As [`write_survivors`], from any stream; the deletes right of the last table that is full stay with `deletes`.
pub(crate) fn write_entries<I: EntryStream>(
    entries: &mut I,
    writer: &mut MultiWriter,
    cutter: &mut Cutter<'_>,
    deletes: &mut Deletes,
    control: StreamControl<'_>,
) -> Result<u64> {
    let mut written = 0_u64;
    loop {
        if written.is_multiple_of(CHECK_EVERY) {
            control.cancel.check()?;
            control.failpoints.hit("segment.entry")?;
        }
        let Some(entry) = (if entries.advance()? { entries.entry() } else { None }) else {
            return Ok(written);
        };
        let begins_key = writer.last_key() != Some(entry.key);
        let is_begun = writer.is_open();
        let is_cut =
            begins_key && cutter.ends_before_reaching(entry.key, is_begun, |len| writer.open_reaches(len))?;
        let domain_end = if begins_key { writer.domain_ends_before(entry.key) } else { None };
        if is_cut || domain_end.is_some() {
            if !deletes.is_empty() {
                let border = match domain_end {
                    Some(end) => Cut::Before(end.clone()),
                    None => cutter.border(writer.last_key().unwrap_or_default(), entry.key),
                };
                deletes.hand_over(&border, |piece| writer.add_tombstone(piece))?;
            }
            writer.end_table()?;
        }
        writer.add(entry)?;
        written += 1;
    }
}
