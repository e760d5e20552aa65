//! Checking tables and value logs, one after the other or several at a time, with the same outcome.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use lsm_fs::Fs;
use lsm_types::TableId;

use crate::{
    Cursor, Depth, Progress,
    meter::Meter,
    report::{FileReport, VerifyReport},
    table::{self, Subject},
    value_log::{self, ValueLog},
};

/// A file to check.
pub(crate) enum Item {
    Table(Subject),
    ValueLog(ValueLog),
}

impl Item {
    /// Its number: tables and value logs share them.
    pub(crate) fn id(&self) -> TableId {
        match self {
            Self::Table(table) => table.id,
            Self::ValueLog(log) => TableId::new(log.id.get()),
        }
    }
}

/// Checks `items`, which ascend by number, and adds what was found to `report`.
///
/// When cancelled, the report covers the files before its cursor and nothing of the others.
pub(crate) fn run(fs: &dyn Fs, items: &[Item], depth: Depth, meter: &Meter<'_>, report: &mut VerifyReport) {
    let work = Work {
        fs,
        items,
        depth,
        meter,
        next: AtomicUsize::new(0),
        files_done: AtomicU64::new(report.files),
        files_total: report.files + items.len() as u64,
        done: Mutex::new(Vec::new()),
    };
    let jobs = meter.options().jobs.get().min(items.len());
    if jobs <= 1 {
        work.drain();
    } else {
        std::thread::scope(|scope| {
            for _ in 1..jobs {
                scope.spawn(|| work.drain());
            }
            work.drain();
        });
    }
    let mut done = work.done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(idx, _)| *idx);
    let mut expected = 0;
    for (idx, file) in done {
        if idx != expected {
            break;
        }
        expected += 1;
        report.take(file);
    }
    report.cursor = items.get(expected).map(|item| Cursor { table: item.id() });
}

struct Work<'a> {
    fs: &'a dyn Fs,
    items: &'a [Item],
    depth: Depth,
    meter: &'a Meter<'a>,
    next: AtomicUsize,
    files_done: AtomicU64,
    files_total: u64,
    done: Mutex<Vec<(usize, FileReport)>>,
}

impl Work<'_> {
    /// Checks one file after the other until none is left.
    fn drain(&self) {
        while !self.meter.is_cancelled() {
            let idx = self.next.fetch_add(1, Ordering::Relaxed);
            let file = match self.items.get(idx) {
                Some(Item::Table(table)) => table::check(self.fs, table, self.depth, self.meter),
                Some(Item::ValueLog(log)) => value_log::check(self.fs, log, self.depth, self.meter),
                None => return,
            };
            // A check that was cut short says nothing.
            if self.meter.is_cancelled() {
                return;
            }
            let files_done = self.files_done.fetch_add(1, Ordering::Relaxed) + 1;
            if let Some(tell) = self.meter.options().progress {
                tell(&Progress {
                    file: &file.file,
                    outcome: file.outcome(),
                    files_done,
                    files_total: self.files_total,
                    bytes_read: self.meter.bytes_read(),
                });
            }
            self.done.lock().unwrap_or_else(PoisonError::into_inner).push((idx, file));
        }
    }
}
