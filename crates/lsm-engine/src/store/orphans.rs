//! What becomes of files of ours that no version names (D-54, D-55).

use std::{
    collections::BTreeSet,
    ffi::OsString,
    path::{Path, PathBuf},
};

use lsm_fs::{Fs, SyncLevel};
use lsm_journal::{FileName, Folder};
use lsm_types::{IoKind, Result, TableId};

use super::{
    Place,
    files::{LostFile, Stray, Survey},
    folders::ensure_folder,
};
use crate::OrphanPolicy;

/// More orphans than this are not deleted but set aside: something else than a crash left them.
const FUSE_FILES: usize = 64;
/// Neither are orphans of more than one in so many bytes of the live files.
const FUSE_FRACTION: u64 = 4;

/// What lay in the folder of the tables besides what the manifest names, and what it names in vain.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilesReport {
    /// Files of ours that no version names, and that were deleted.
    pub deleted: Vec<TableId>,
    /// Files of ours that no version names, and that were moved to `quarantine/`.
    pub quarantined: Vec<TableId>,
    /// Files of ours that no version names, and that stay.
    pub kept: Vec<TableId>,
    /// Those among them that are newer than the manifest: a lossy recovery goes on where another one refuses.
    pub newer: Vec<TableId>,
    /// Names that are not ours; never touched.
    pub foreign: Vec<OsString>,
    /// Whether there were so many orphans that they were set aside instead of deleted.
    pub fuse_blown: bool,
    /// Tables whose files are missing or of another length: a lossy recovery leaves them out.
    pub lost: Vec<LostFile>,
    /// Tables whose files are missing because a compaction replaced them that the manifest does not know: a lossy
    /// recovery takes the tables made from them.
    pub replaced: Vec<LostFile>,
}

/// Does with the strays what the policy says. What fails is left for the next open.
pub(super) fn sweep(survey: Survey, place: Place<'_>, policy: OrphanPolicy, sync: SyncLevel) -> FilesReport {
    let bytes: u64 = survey.strays.iter().map(|stray| stray.len).sum();
    let is_many = survey.strays.len() > FUSE_FILES && bytes > survey.live_bytes / FUSE_FRACTION;
    let fuse_blown = is_many && policy == OrphanPolicy::Delete;
    let policy = if fuse_blown { OrphanPolicy::Quarantine } else { policy };
    let mut report = FilesReport { foreign: survey.foreign, fuse_blown, ..FilesReport::default() };
    if policy == OrphanPolicy::Quarantine && !survey.strays.is_empty() {
        let (aside, left) = set_aside(place, &survey.strays, sync);
        (report.quarantined, report.kept) = (aside, left.into_iter().map(|(id, _)| id).collect());
        return report;
    }
    let mut changed = BTreeSet::new();
    for stray in survey.strays {
        let Stray { id, route, .. } = stray;
        let path = place.table(stray.name(), route);
        let is_gone = policy == OrphanPolicy::Delete && place.fs.remove_file(&path).is_ok();
        if is_gone {
            changed.insert((route, stray.name().folder()));
        }
        if is_gone { &mut report.deleted } else { &mut report.kept }.push(id);
    }
    for (route, folder) in changed {
        let _ = place.fs.sync_dir(&folder.path(place.at(route).root), sync);
    }
    report
}

type Left = Vec<(TableId, lsm_types::Error)>;

/// Moves files to `quarantine/`; which ones are there, and why others are not.
fn set_aside(place: Place<'_>, strays: &[Stray], sync: SyncLevel) -> (Vec<TableId>, Left) {
    let (mut aside, mut left) = (Vec::new(), Vec::new());
    for stray in strays {
        match move_one(place.at(stray.route), stray.name(), sync) {
            Ok(()) => aside.push(stray.id),
            Err(error) => left.push((stray.id, error)),
        }
    }
    let folders = strays.iter().map(|stray| (stray.route, stray.name().folder()));
    for (route, folder) in folders.collect::<BTreeSet<_>>() {
        let root = place.at(route).root;
        // The new name before the loss of the old one.
        let _ = place.fs.sync_dir(&Folder::Quarantine.path(root), sync);
        let _ = place.fs.sync_dir(&folder.path(root), sync);
    }
    (aside, left)
}

/// As [`set_aside`], all or an error.
pub(super) fn set_aside_all(place: Place<'_>, strays: &[Stray], sync: SyncLevel) -> Result<()> {
    if strays.is_empty() {
        return Ok(());
    }
    let (_, mut left) = set_aside(place, strays, sync);
    left.pop().map_or(Ok(()), |(_, error)| Err(error))
}

fn move_one(place: Place<'_>, file: FileName, sync: SyncLevel) -> Result<()> {
    ensure_folder(place, Folder::Quarantine, sync)?;
    let from = file.path(place.root);
    let aside = Folder::Quarantine.path(place.root).join(file.to_string());
    let to = free_name(place.fs, &aside)?;
    match place.fs.rename(&from, &to) {
        Err(error) if error.kind != IoKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// The path, with a number behind it where the name is taken: nothing in the quarantine is ever replaced.
fn free_name(fs: &dyn Fs, path: &Path) -> Result<PathBuf> {
    let mut free = path.to_path_buf();
    let mut number = 1_u32;
    while fs.exists(&free)? {
        let mut name = path.as_os_str().to_os_string();
        name.push(format!(".{number}"));
        free = PathBuf::from(name);
        number += 1;
    }
    Ok(free)
}
