//! Looking at a database directory: which names are there, and whose they are.

use std::{collections::BTreeMap, ffi::OsString};

use lsm_fs::{EntryKind, OpenOptions};
use lsm_types::{IoKind, ReadAt};

use crate::{FileName, Folder, Generation, JournalEnv, JournalError, Pointer, PointerError};

/// The names in the root of a database.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Survey {
    /// Generations, and which of their copies are there: primary, mirror.
    pub(crate) generations: BTreeMap<Generation, (bool, bool)>,
    /// Whether `CURRENT` is there.
    pub(crate) has_pointer: bool,
    /// Names that are not ours, sorted.
    pub(crate) foreign: Vec<OsString>,
    /// Folders of ours.
    folders: Vec<Folder>,
}

impl Survey {
    /// Lists the root; `None` when there is no such directory.
    pub(crate) fn take(env: &JournalEnv) -> Result<Option<Self>, JournalError> {
        let entries = match env.fs.read_dir(&env.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind == IoKind::NotFound => return Ok(None),
            Err(source) => return Err(JournalError::Folder { folder: Folder::Root, source }),
        };
        let mut survey = Self::default();
        for entry in entries {
            let file = FileName::parse(Folder::Root, &entry.name).filter(|_| entry.kind == EntryKind::File);
            let folder = Folder::parse(&entry.name).filter(|_| entry.kind == EntryKind::Dir);
            match (file, folder) {
                (Some(FileName::Manifest(number)), _) => {
                    survey.generations.entry(number).or_default().0 = true;
                }
                (Some(FileName::Mirror(number)), _) => {
                    survey.generations.entry(number).or_default().1 = true;
                }
                (Some(FileName::Current), _) => survey.has_pointer = true,
                (Some(_), _) => {}
                (None, Some(folder)) => survey.folders.push(folder),
                (None, None) => survey.foreign.push(entry.name),
            }
        }
        survey.foreign.sort();
        Ok(Some(survey))
    }

    /// A file that only a database has: a pointer, or anything below the root that is not on its way elsewhere.
    pub(crate) fn find_content(&self, env: &JournalEnv) -> Result<Option<FileName>, JournalError> {
        if self.has_pointer {
            return Ok(Some(FileName::Current));
        }
        for folder in self.folders.iter().filter(|folder| **folder != Folder::Temporary) {
            let entries = env.fs.read_dir(&folder.path(&env.dir)).map_err(JournalError::folder(*folder))?;
            let mut files = entries
                .iter()
                .filter(|entry| entry.kind == EntryKind::File)
                .filter_map(|entry| FileName::parse(*folder, &entry.name));
            if let Some(file) = files.next() {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }
}

/// What `CURRENT` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Current {
    Missing,
    Damaged,
    Names(Pointer),
}

/// Reads `CURRENT`.
pub(crate) fn read_pointer(env: &JournalEnv) -> Result<Current, JournalError> {
    let Some(bytes) = read_file(env, FileName::Current, Pointer::LEN as u64)? else {
        return Ok(Current::Missing);
    };
    match Pointer::decode(&bytes) {
        Ok(pointer) => Ok(Current::Names(pointer)),
        Err(PointerError::Damaged) => Ok(Current::Damaged),
        Err(error) => Err(JournalError::Pointer(error)),
    }
}

/// All bytes of a file, as many as there are when it is opened; `None` when there is no such file. A file longer
/// than `len_max` is read up to one byte more, so that its length still tells.
pub(crate) fn read_file(
    env: &JournalEnv,
    file: FileName,
    len_max: u64,
) -> Result<Option<Vec<u8>>, JournalError> {
    let failed = JournalError::file(file);
    let opened = match env.fs.open(&file.path(&env.dir), &OpenOptions::READ) {
        Ok(opened) => opened,
        Err(error) if error.kind == IoKind::NotFound => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    let len = opened.len().map_err(&failed)?.min(len_max.saturating_add(1));
    let mut bytes = Vec::new();
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    if bytes.try_reserve_exact(len).is_err() {
        let out_of_memory = lsm_types::IoError::new(lsm_types::IoOp::Read, IoKind::Other);
        return Err(failed(out_of_memory));
    }
    bytes.resize(len, 0);
    (*opened).read_exact_at(0, &mut bytes).map_err(&failed)?;
    Ok(Some(bytes))
}
