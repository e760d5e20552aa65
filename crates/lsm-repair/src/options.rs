//! How a check is done, and what it is confined to.

use std::{num::NonZeroUsize, ops::RangeInclusive, path::Path, sync::Arc, time::Duration};

use lsm_block::Encryption;
use lsm_manifest::TableDescriptor;
use lsm_sst::Splitters;
use lsm_types::{Clock, Comparator, KeyOrder, KeyRange, Level, PrefixExtractor, TableId, TreeId, UnixNanos};

use crate::{Cursor, Outcome};

/// Findings of one file that are kept when nobody says otherwise.
const FINDINGS_PER_FILE: usize = 1_000;

/// How a check is done. The default reads everything as fast as one thread can.
#[derive(Clone)]
pub struct VerifyOptions<'a> {
    /// Threads that check files.
    pub jobs: NonZeroUsize,
    /// What is checked, of all there is.
    pub selection: Selection,
    /// Goes on where a cancelled check stopped; the manifest is not checked again.
    pub resume: Option<Cursor>,
    /// Bounds the bytes read in a second.
    pub pace: Option<Pace<'a>>,
    /// Asked before every read; the check ends early once it says yes.
    pub cancel: Option<&'a (dyn Fn() -> bool + Sync)>,
    /// Told about every file, by the thread that checked it.
    pub progress: Option<&'a (dyn Fn(&Progress<'_>) + Sync)>,
    /// Comparators of trees; byte order needs none.
    pub comparators: Vec<Arc<dyn Comparator>>,
    /// Extractors of the prefixes in filters: only the one a filter was made with tells whether it is right.
    pub prefix_extractors: Vec<Arc<dyn PrefixExtractor>>,
    /// What puts the values of columnar tables together. Without the right one their rows are not counted, and a finding
    /// says so.
    pub splitters: Splitters,
    /// Where the keys of sealed files come from. What is sealed under a key that is not at hand is checked frame by
    /// frame, and the report says what was left out.
    pub encryption: Option<Encryption>,
    /// Findings of one file that are kept; more are counted.
    pub findings_per_file: usize,
}

impl Default for VerifyOptions<'_> {
    fn default() -> Self {
        Self {
            jobs: NonZeroUsize::MIN,
            selection: Selection::default(),
            resume: None,
            pace: None,
            cancel: None,
            progress: None,
            comparators: Vec::new(),
            prefix_extractors: Vec::new(),
            splitters: Splitters::default(),
            encryption: None,
            findings_per_file: FINDINGS_PER_FILE,
        }
    }
}

impl VerifyOptions<'_> {
    /// The order with this name; `None` when it is not at hand.
    pub(crate) fn order(&self, name: &str) -> Option<KeyOrder> {
        let bytewise = KeyOrder::bytewise();
        if bytewise.comparator().name() == name {
            return Some(bytewise);
        }
        self.comparators.iter().find(|comparator| comparator.name() == name).cloned().map(KeyOrder::new)
    }
}

impl std::fmt::Debug for VerifyOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifyOptions")
            .field("jobs", &self.jobs)
            .field("selection", &self.selection)
            .field("resume", &self.resume)
            .finish_non_exhaustive()
    }
}

/// Which tables are checked: those that meet every condition given, and the value logs they refer to. The files of the
/// manifest always are.
#[derive(Clone, Default, Debug)]
pub struct Selection {
    /// Tables of this tree.
    pub tree: Option<TreeId>,
    /// Tables in these levels.
    pub levels: Option<RangeInclusive<Level>>,
    /// Tables that can hold a key of this range, in the order of their tree.
    pub keys: Option<KeyRange>,
    /// Tables written before this moment.
    pub written_before: Option<UnixNanos>,
    /// These tables.
    pub tables: Option<Vec<TableId>>,
}

impl Selection {
    pub(crate) fn has(&self, tree: TreeId, level: Level, table: &TableDescriptor, order: &KeyOrder) -> bool {
        let overlaps = |keys: &KeyRange| match &table.entries {
            Some(range) => keys.overlaps(range, order),
            // Range tombstones alone have no entries to compare with; whoever asks for a range wants them.
            None => true,
        };
        self.tree.is_none_or(|wanted| wanted == tree)
            && self.levels.as_ref().is_none_or(|levels| levels.contains(&level))
            && self.keys.as_ref().is_none_or(overlaps)
            && self.written_before.is_none_or(|moment| table.created_at < moment)
            && self.tables.as_ref().is_none_or(|tables| tables.contains(&table.id))
    }
}

/// A bound on the bytes read in a second, over all threads.
#[derive(Clone, Copy)]
pub struct Pace<'a> {
    /// Bytes read in a second; 0 counts as 1.
    pub bytes_per_second: u64,
    /// Where time comes from.
    pub clock: &'a dyn Clock,
    /// Waits: `std::thread::sleep` outside tests.
    pub pause: &'a (dyn Fn(Duration) + Sync),
}

impl std::fmt::Debug for Pace<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pace({} bytes/s)", self.bytes_per_second)
    }
}

/// One more file was checked.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The file.
    pub file: &'a Path,
    /// How it came out.
    pub outcome: Outcome,
    /// Files checked so far, this one included.
    pub files_done: u64,
    /// Files to check.
    pub files_total: u64,
    /// Bytes read so far.
    pub bytes_read: u64,
}
