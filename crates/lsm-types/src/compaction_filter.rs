//! Looking at entries while they are compacted, and changing them: the plug-in behind expiry and clean-up.

use alloc::boxed::Box;

use crate::{EntryRef, Kind, Level, Result, SeparatedValue, SeqNo, Slice};

/// Looks at entries while they are compacted. One of them sees one stretch of the keys of one job, in internal order.
///
/// It acts outside of history: what it changes is as if it had been written so, under the number that it has. So it is
/// asked about an entry only when no held read sees it and no follower of changes has yet to read it; such an entry
/// passes as it is, and a later job asks. Reads of earlier states that are not held are refused once a filter has
/// changed anything: the retention floor goes up to the newest number of that moment.
///
/// It is asked once about each entry that the job meets and would keep, and never about a delete, about what a newer
/// entry or a delete of a range hides from every reader, or about a put that goes together with its weak delete. What
/// operands fold into, it sees as well. A job may fail after a filter was asked, and then ask again.
///
/// A panic ends the job, as an error does; the tree stays as it was.
///
/// ```
/// use lsm_types::{CompactionFilter, CompactionFilterFactory, FilterContext, FilterEntry, Verdict, Result};
///
/// /// Forgets sessions: values that begin with the minute in which they end.
/// struct Expired {
///     now: u32,
/// }
///
/// impl CompactionFilter for Expired {
///     fn filter(&mut self, entry: FilterEntry<'_>) -> Result<Verdict> {
///         let ends = entry.value()?.first_chunk().map(|minute| u32::from_be_bytes(*minute));
///         Ok(if ends.is_some_and(|ends| ends < self.now) { Verdict::Remove } else { Verdict::Keep })
///     }
/// }
///
/// struct Sessions;
///
/// impl CompactionFilterFactory for Sessions {
///     fn name(&self) -> &str {
///         "example.sessions"
///     }
///
///     fn make(&self, _: &FilterContext) -> Box<dyn CompactionFilter> {
///         Box::new(Expired { now: 20_000_000 })
///     }
/// }
/// ```
pub trait CompactionFilter: Send {
    /// What becomes of `entry`.
    ///
    /// # Errors
    /// Whatever ends the job; nothing changes then.
    fn filter(&mut self, entry: FilterEntry<'_>) -> Result<Verdict>;

    /// All filters of the job have seen their last entry; nothing is installed yet. Not called when the job fails or
    /// is stopped before.
    ///
    /// # Errors
    /// Whatever ends the job; nothing changes then.
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }

    /// How the job ended, whatever ended it; nothing is called afterwards.
    ///
    /// * `committed`: what the filter said is installed. `false` when nothing is, and when only reopening can tell.
    fn ended(&mut self, committed: bool) {
        let _ = committed;
    }
}

/// Makes the filters of a tree.
pub trait CompactionFilterFactory: Send + Sync + 'static {
    /// Names it in errors and messages.
    fn name(&self) -> &str;

    /// A filter for one stretch of keys of one job. Stretches may be worked on at the same time, each with a filter of
    /// its own.
    fn make(&self, context: &FilterContext) -> Box<dyn CompactionFilter>;
}

/// The job a filter is made for.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FilterContext {
    /// Where the entries go.
    pub dest: Level,
    /// Whether that is the last level.
    pub is_last_level: bool,
}

impl FilterContext {
    /// A job whose entries go to `dest`, in a tree of so many levels.
    pub fn new(dest: Level, level_count: u8) -> Self {
        Self { dest, is_last_level: u16::from(dest.get()) + 1 >= u16::from(level_count) }
    }
}

/// An entry, as a filter sees it: a value, or a merge operand.
#[derive(Clone, Copy, Debug)]
pub struct FilterEntry<'a> {
    entry: EntryRef<'a>,
    /// Where the value is, when it does not lie beside the key.
    separated: Option<&'a SeparatedValue<'a>>,
}

impl<'a> FilterEntry<'a> {
    /// Shows a value or an operand; `None` for anything else.
    pub fn new(entry: EntryRef<'a>) -> Option<Self> {
        matches!(entry.kind, Kind::Put | Kind::MergeOperand).then_some(Self { entry, separated: None })
    }

    /// Shows an entry whose value is separated.
    pub const fn separated(entry: EntryRef<'a>, value: &'a SeparatedValue<'a>) -> Self {
        Self { entry, separated: Some(value) }
    }

    /// The user key.
    pub fn key(&self) -> &'a [u8] {
        self.entry.key
    }

    /// The number of the write; zero when an earlier job has found that nobody can tell it from older ones.
    pub fn seqno(&self) -> SeqNo {
        self.entry.seqno
    }

    /// Whether it is an operand, for the merge operator, and not a value.
    pub fn is_operand(&self) -> bool {
        self.entry.kind == Kind::MergeOperand
    }

    /// The value, or the operand. A separated value is fetched when it is first asked for.
    ///
    /// # Errors
    /// What fetching it finds, which then ends the job whatever the filter says.
    pub fn value(&self) -> Result<&'a [u8]> {
        self.separated.map_or(Ok(self.entry.value), SeparatedValue::get)
    }
}

/// What becomes of an entry.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It stays as it is.
    Keep,
    /// It becomes a delete with its number.
    Remove,
    /// It becomes a weak delete with its number: for keys that are put once between two weak deletes.
    RemoveWeak,
    /// Its value becomes this one. An operand stays an operand.
    Replace(Slice),
    /// It goes without a trace. An older version of the key, wherever it is, may come back into sight.
    Destroy,
}
