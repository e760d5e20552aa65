//! From a table to the separated values its entries lead to: every handle leads to a frame with its key.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::PathBuf,
};

use lsm_fs::{Fs, OpenOptions as FileOptions};
use lsm_journal::FileName;
use lsm_manifest::LiveVlog;
use lsm_sst::Table;
use lsm_types::{
    EntryCursor, EntryRef, Error, FileUuid, KeyOrder, KeyRange, Kind, Result, Slice, TreeId, ValueHandle,
    VlogId,
};
use lsm_vlog::Vlog;

use crate::{
    RepairError,
    meter::{Meter, Metered},
    report::FileReport,
    value_log::{self, ExpectedLog, ValueLog},
};

/// The value logs of a tree.
pub(crate) struct Values {
    pub(crate) root: PathBuf,
    pub(crate) database: FileUuid,
    pub(crate) tree: TreeId,
    pub(crate) logs: BTreeMap<VlogId, LiveVlog>,
}

/// A value log that some entry led to; `None` for one that was reported.
type Opened<'m> = Option<Vlog<Metered<'m>>>;

impl Values {
    /// A value log as the subject of a check.
    pub(crate) fn subject(&self, log: &LiveVlog, order: KeyOrder) -> ValueLog {
        let id = log.vlog.id;
        ValueLog {
            id,
            name: name_of(id),
            path: FileName::ValueLog(id).path(&self.root),
            expected: Some(self.expected(log)),
            order,
        }
    }

    fn expected(&self, log: &LiveVlog) -> ExpectedLog {
        let (descriptor, frontier) = (log.vlog.clone(), log.frontier);
        ExpectedLog { tree: self.tree, database: self.database, descriptor, frontier }
    }

    /// V5: reads the value behind every handle of `table`. Of one in chunks the map and the first chunk tell whose it
    /// is; the check of the value log reads the others.
    ///
    /// What is found is about the value log, and names the key.
    ///
    /// * `floor`: where the table begins, if it is restricted.
    pub(crate) fn check(
        &self,
        table: &Table<&Metered<'_>>,
        floor: Option<Slice>,
        (fs, meter): (&dyn Fs, &Meter<'_>),
        report: &mut FileReport,
    ) {
        if table.meta().references().is_empty() {
            return;
        }
        let mut files: BTreeMap<VlogId, Opened<'_>> = BTreeMap::new();
        let mut cursor = table.cursor().above(floor);
        let mut step = cursor.seek_first();
        // A block that cannot be read was reported when the table was checked.
        while let Ok(()) = step
            && let Some(entry) = cursor.entry()
        {
            if entry.kind == Kind::Indirection {
                self.follow(entry, fs, meter, &mut files, report);
            }
            step = cursor.next();
        }
        report.bytes_read += files.values().flatten().map(|log| log.file().bytes_read()).sum::<u64>();
    }

    fn follow<'m>(
        &self,
        entry: EntryRef<'_>,
        fs: &dyn Fs,
        meter: &'m Meter<'m>,
        files: &mut BTreeMap<VlogId, Opened<'m>>,
        report: &mut FileReport,
    ) {
        // One that does not decode was reported with its table.
        let Ok(handle) = ValueHandle::decode(entry.value) else { return };
        let Some(live) = self.logs.get(&handle.file) else {
            return tell(report, handle.file, Some(entry.key), RepairError::NoValueLog { vlog: handle.file });
        };
        if handle.offset < live.frontier {
            let error = RepairError::Disagrees { what: "frontier of the value log" };
            return tell(report, handle.file, Some(entry.key), error);
        }
        let log = match files.entry(handle.file) {
            Entry::Occupied(log) => log.into_mut(),
            Entry::Vacant(place) => {
                let log = self.open(live, fs, meter);
                if let Err(error) = &log {
                    tell(report, handle.file, None, error.clone());
                }
                place.insert(log.ok())
            }
        };
        let Some(log) = log else { return };
        let read = if handle.is_chunked() {
            log.get_range(&handle, entry.key, 0..1)
        } else {
            log.get(&handle, entry.key)
        };
        match read {
            Ok(_) => report.values += 1,
            Err(error) => tell(report, handle.file, Some(entry.key), error),
        }
    }

    fn open<'m>(&self, live: &LiveVlog, fs: &dyn Fs, meter: &'m Meter<'m>) -> Result<Vlog<Metered<'m>>> {
        let file = fs.open(&FileName::ValueLog(live.vlog.id).path(&self.root), &FileOptions::READ)?;
        let encryption = meter.options().encryption.clone();
        value_log::open(Metered::new(file, meter), Some(&self.expected(live)), encryption)
    }
}

/// How reports call a value log of a database.
pub(crate) fn name_of(id: VlogId) -> PathBuf {
    let file = FileName::ValueLog(id);
    PathBuf::from(file.folder().name()).join(file.to_string())
}

/// What concerns one key, or without one all keys of the table.
fn tell(report: &mut FileReport, log: VlogId, key: Option<&[u8]>, error: impl Into<Error>) {
    let keys = key.map(|key| KeyRange { min: Slice::copy_from(key), max: Slice::copy_from(key) });
    report.about_value(name_of(log), log, keys, error.into());
}
