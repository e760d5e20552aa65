//! The check of the manifest: `CURRENT` and every generation.

use std::{collections::BTreeMap, path::Path};

use lsm_fs::{EntryKind, Fs};
use lsm_journal::{FileName, Folder, Generation, Pointer, PointerState, RecoveryReport};
use lsm_manifest::{KeyOrders, Replayed};
use lsm_types::{FileUuid, IoKind, Result};

use crate::{
    Depth, Outcome, RepairError,
    generation::{self, Known, read_file},
    meter::Meter,
    report::FileReport,
};

/// Checks all files of the manifest.
///
/// * `used`: what recovery says about the directory; `None` where it refused it.
pub(crate) fn check(
    fs: &dyn Fs,
    root: &Path,
    used: Option<(FileUuid, &RecoveryReport)>,
    orders: &dyn KeyOrders,
    depth: Depth,
    meter: &Meter<'_>,
) -> Result<Vec<FileReport>> {
    let mut generations: BTreeMap<Generation, (bool, bool)> = BTreeMap::new();
    for entry in fs.read_dir(root)?.into_iter().filter(|entry| entry.kind == EntryKind::File) {
        match FileName::parse(Folder::Root, &entry.name) {
            Some(FileName::Manifest(number)) => generations.entry(number).or_default().0 = true,
            Some(FileName::Mirror(number)) => generations.entry(number).or_default().1 = true,
            _ => {}
        }
    }
    if let Some((_, report)) = used {
        generations.entry(report.generation).or_default();
    }
    let mut files = Vec::new();
    let mut states: BTreeMap<Generation, Replayed> = BTreeMap::new();
    for (number, is_there) in generations {
        let is_used = used.is_none_or(|(_, report)| report.generation == number);
        let database = used.map(|(database, _)| database);
        let known = Known { generation: number, database, is_used, is_there };
        let checked = generation::check(fs, root, &known, orders, depth, meter);
        files.extend(checked.files);
        states.extend(checked.replayed.map(|replayed| (number, replayed)));
    }
    files.insert(0, pointer(fs, root, used, &states, depth, meter));
    Ok(files)
}

/// `CURRENT` is there, is ours, and fits the generation it names.
fn pointer(
    fs: &dyn Fs,
    root: &Path,
    used: Option<(FileUuid, &RecoveryReport)>,
    states: &BTreeMap<Generation, Replayed>,
    depth: Depth,
    meter: &Meter<'_>,
) -> FileReport {
    let name = FileName::Current.to_string();
    let path = root.join(&name);
    let mut report = FileReport::new(Path::new(&name), meter.options().findings_per_file);
    report.reached(Depth::Presence);
    match fs.metadata(&path) {
        Ok(_) if depth == Depth::Presence => return report,
        Ok(_) => {}
        Err(error) if error.kind == IoKind::NotFound => {
            report.fail(Depth::Presence, RepairError::Missing);
            return report;
        }
        Err(error) => {
            report.fail(Depth::Presence, error);
            return report;
        }
    }
    report.reached(depth);
    let bytes = match read_file(fs, &path, meter) {
        Ok(bytes) => bytes,
        Err(error) => {
            report.add(Outcome::Fail, Depth::Heads, None, error);
            return report;
        }
    };
    report.bytes_read = bytes.len() as u64;
    if let Ok(pointer) = Pointer::decode(&bytes) {
        content(&pointer, used, states, &mut report);
    } else {
        report.fail(Depth::Heads, RepairError::Digest);
        if let Some(finding) = report.findings.last_mut() {
            finding.offset = Some(0);
        }
    }
    report
}

fn content(
    pointer: &Pointer,
    used: Option<(FileUuid, &RecoveryReport)>,
    states: &BTreeMap<Generation, Replayed>,
    report: &mut FileReport,
) {
    if used.is_some_and(|(database, _)| database != pointer.database) {
        return report.fail(Depth::Heads, RepairError::Pointer { what: "the database" });
    }
    if let Some((_, recovery)) = used
        && let PointerState::Names(named) = recovery.pointer
    {
        let (named, used) = (named.get(), recovery.generation.get());
        report.warn(Depth::Heads, RepairError::OlderPointer { named, used });
    }
    let Some(state) = states.get(&pointer.generation) else { return };
    let checks = [
        (state.begin.database == pointer.database, "the database"),
        (state.begin.edit_index == pointer.edit_min, "the least edit"),
        (state.snapshot_digest == pointer.snapshot_digest, "the digest"),
    ];
    for (_, what) in checks.iter().filter(|(holds, _)| !holds) {
        report.fail(Depth::Manifest, RepairError::Pointer { what });
    }
}
