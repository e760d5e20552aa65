//! What a check found.

use std::path::{Path, PathBuf};

use lsm_types::{Error, ErrorClass, KeyRange, Level, TableId, TreeId, VlogId};

use crate::Depth;

/// How an item came out of a check.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Outcome {
    /// Everything that was to be checked is sound.
    Ok,
    /// Nothing is damaged, but something could not be checked, or is as only a crash leaves it.
    Warn,
    /// Damaged, missing or misplaced.
    Fail,
}

/// A table, and where the manifest has it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TablePlace {
    /// The table.
    pub table: TableId,
    /// The tree it belongs to.
    pub tree: TreeId,
    /// The level it stands in.
    pub level: Level,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug)]
pub struct Finding {
    /// [`Outcome::Warn`] or [`Outcome::Fail`].
    pub outcome: Outcome,
    /// The depth at which it showed.
    pub depth: Depth,
    /// The file, from the root of the database, or as it was given.
    pub file: PathBuf,
    /// The table that the manifest knows under this name, or one that refers to the value log.
    pub table: Option<TablePlace>,
    /// The value log that has this name.
    pub value_log: Option<VlogId>,
    /// The part of the file, where that is known: a kind of block.
    pub section: Option<&'static str>,
    /// First byte concerned, where that is known.
    pub offset: Option<u64>,
    /// All keys that it concerns lie within, where that is known.
    pub keys: Option<KeyRange>,
    /// What is wrong.
    pub error: Error,
}

/// Where a check that was cancelled goes on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Cursor {
    /// The first table or value log that was not checked; they share their numbers.
    pub table: TableId,
}

/// What a check went over, and what it found.
///
/// The same files give the same report, whatever the number of threads. One that was cut short covers exactly what
/// lies before [`VerifyReport::cursor`].
#[derive(Clone, Debug)]
pub struct VerifyReport {
    /// How deep it went.
    pub depth: Depth,
    /// Files looked at.
    pub files: u64,
    /// Tables among them.
    pub tables: u64,
    /// Tables without a finding that is a failure, the values they lead to included.
    pub sound_tables: u64,
    /// Value logs among the files.
    pub value_logs: u64,
    /// Value logs without a finding that is a failure.
    pub sound_value_logs: u64,
    /// Files of tables and value logs in their folders that the manifest does not name; the next open deals with them.
    pub unnamed_files: u64,
    /// Frames whose checks are good.
    pub frames: u64,
    /// Entries decoded.
    pub entries: u64,
    /// Values read in value logs; one that a table leads to counts once more.
    pub values: u64,
    /// Bytes in front of restricted tables, and of value logs, that nobody reads, so that they may be gone.
    pub released_bytes: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Everything found, by file and then by place.
    pub findings: Vec<Finding>,
    /// Findings left out because a file had too many: [`crate::VerifyOptions::findings_per_file`].
    pub suppressed: u64,
    /// Where to go on; `None` when everything was checked.
    pub cursor: Option<Cursor>,
    /// Files that were checked at each depth.
    checked: [u64; Depth::ALL.len()],
}

impl VerifyReport {
    pub(crate) fn new(depth: Depth) -> Self {
        Self {
            depth,
            files: 0,
            tables: 0,
            sound_tables: 0,
            value_logs: 0,
            sound_value_logs: 0,
            unnamed_files: 0,
            frames: 0,
            entries: 0,
            values: 0,
            released_bytes: 0,
            bytes_read: 0,
            findings: Vec::new(),
            suppressed: 0,
            cursor: None,
            checked: [0; Depth::ALL.len()],
        }
    }

    /// Whether nothing is damaged, missing or misplaced; warnings may be there.
    pub fn is_clean(&self) -> bool {
        self.damage().next().is_none()
    }

    /// What is damaged, missing or misplaced.
    pub fn damage(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.outcome == Outcome::Fail)
    }

    /// The worst there is.
    pub fn outcome(&self) -> Outcome {
        self.findings.iter().map(|finding| finding.outcome).max().unwrap_or(Outcome::Ok)
    }

    /// Files that were checked at this depth: none below [`VerifyReport::depth`], fewer where damage or a missing
    /// comparator kept a check from going on.
    pub fn checked(&self, depth: Depth) -> u64 {
        self.checked.get(depth.idx()).copied().unwrap_or_default()
    }

    pub(crate) fn take(&mut self, file: FileReport) {
        self.files += 1;
        if file.is_table {
            self.tables += 1;
            self.sound_tables += u64::from(file.outcome() != Outcome::Fail);
        }
        if file.value_log.is_some() {
            self.value_logs += 1;
            self.sound_value_logs += u64::from(file.outcome() != Outcome::Fail);
        }
        self.frames += file.frames;
        self.entries += file.entries;
        self.values += file.values;
        self.released_bytes += file.released_bytes;
        self.bytes_read += file.bytes_read;
        self.suppressed += file.suppressed;
        for (idx, count) in self.checked.iter_mut().enumerate() {
            *count += u64::from(file.depth.is_some_and(|depth| idx <= depth.idx()));
        }
        self.findings.extend(file.findings);
    }
}

/// What the check of one file found.
#[derive(Debug)]
pub(crate) struct FileReport {
    pub(crate) file: PathBuf,
    pub(crate) place: Option<TablePlace>,
    pub(crate) is_table: bool,
    pub(crate) value_log: Option<VlogId>,
    /// How deep it was checked.
    pub(crate) depth: Option<Depth>,
    pub(crate) frames: u64,
    pub(crate) entries: u64,
    pub(crate) values: u64,
    pub(crate) released_bytes: u64,
    pub(crate) bytes_read: u64,
    pub(crate) findings: Vec<Finding>,
    pub(crate) suppressed: u64,
    findings_max: usize,
}

impl FileReport {
    pub(crate) fn new(file: &Path, findings_max: usize) -> Self {
        Self {
            file: file.to_path_buf(),
            place: None,
            is_table: false,
            value_log: None,
            depth: None,
            frames: 0,
            entries: 0,
            values: 0,
            released_bytes: 0,
            bytes_read: 0,
            findings: Vec::new(),
            suppressed: 0,
            findings_max,
        }
    }

    pub(crate) fn outcome(&self) -> Outcome {
        self.findings.iter().map(|finding| finding.outcome).max().unwrap_or(Outcome::Ok)
    }

    pub(crate) fn fail(&mut self, depth: Depth, error: impl Into<Error>) {
        self.add(Outcome::Fail, depth, None, error.into());
    }

    pub(crate) fn warn(&mut self, depth: Depth, error: impl Into<Error>) {
        self.add(Outcome::Warn, depth, None, error.into());
    }

    pub(crate) fn add(
        &mut self,
        outcome: Outcome,
        depth: Depth,
        section: Option<&'static str>,
        error: Error,
    ) {
        let offset = error.location().map(|location| location.offset);
        let (file, value_log) = (self.file.clone(), self.value_log);
        let (table, keys) = (self.place, None);
        self.push(Finding { outcome, depth, file, table, value_log, section, offset, keys, error });
    }

    /// A value that this table leads to cannot be read. What cannot be told without a key is no damage.
    pub(crate) fn about_value(&mut self, file: PathBuf, log: VlogId, keys: Option<KeyRange>, error: Error) {
        let is_unknown = error.kind().class() == ErrorClass::Invalid;
        self.push(Finding {
            outcome: if is_unknown { Outcome::Warn } else { Outcome::Fail },
            depth: Depth::Structure,
            file,
            table: self.place,
            value_log: Some(log),
            section: None,
            offset: error.location().map(|location| location.offset),
            keys,
            error,
        });
    }

    fn push(&mut self, finding: Finding) {
        if self.findings.len() >= self.findings_max {
            self.suppressed += 1;
        } else {
            self.findings.push(finding);
        }
    }

    /// Everything up to `depth` was looked at.
    pub(crate) fn reached(&mut self, depth: Depth) {
        self.depth = self.depth.max(Some(depth));
    }
}
