//! Which keys the files of a store are sealed under.

use std::{collections::BTreeMap, path::Path};

use lsm_crypto::{Encryption, KeyId};
use lsm_fs::EntryKind;
use lsm_journal::{FileName, Folder};
use lsm_manifest::Catalog;
use lsm_table::{FileHead, check_key, read_head};
use lsm_types::{IoKind, Result, TreeId};

use super::{Place, Store, refresh::is_vanished};

/// Files of one tree under one key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyUsage {
    /// The key; `None` for plain files.
    pub key: Option<KeyId>,
    /// The tree; 0 for files of the whole database, too.
    pub tree: TreeId,
    /// How many.
    pub files: u64,
    /// Their length together, in bytes.
    pub bytes: u64,
}

impl Store {
    /// Which keys are in use, by key and tree: what the heads of all files in the directory say, of those too that wait
    /// to be removed or were set aside. A key that is not among them may be dropped, as far as this directory goes;
    /// checkpoints and backups have files of their own.
    ///
    /// Reads 512 bytes of each file.
    ///
    /// # Errors
    /// What the file system says.
    pub fn key_usage(&self) -> Result<Vec<KeyUsage>> {
        let mut found: BTreeMap<(Option<KeyId>, TreeId), (u64, u64)> = BTreeMap::new();
        for folder in [Folder::Root].into_iter().chain(Folder::BELOW_ROOT) {
            for (_, root) in self.inner.routes().roots(self.inner.root()) {
                self.inner.keys_in(&folder.path(root), &mut found)?;
            }
        }
        let usage = |((key, tree), (files, bytes))| KeyUsage { key, tree, files, bytes };
        Ok(found.into_iter().map(usage).collect())
    }

    /// Writes the manifest anew, so often that no generation is left that was written before: for after a change of
    /// keys.
    ///
    /// # Errors
    /// What the file system says; the manifest in use is good all the same.
    pub fn renew_manifest(&self) -> Result<()> {
        self.inner.check_open_for_writing()?;
        let Some(installs) = self.inner.installs() else { return Ok(()) };
        for _ in 0..=self.inner.options.manifest_keep_generations {
            installs.renew()?;
        }
        Ok(())
    }
}

impl super::StoreInner {
    fn keys_in(&self, path: &Path, found: &mut BTreeMap<(Option<KeyId>, TreeId), (u64, u64)>) -> Result<()> {
        let entries = match self.options.fs.read_dir(path) {
            Ok(entries) => entries,
            Err(error) if error.kind == IoKind::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for entry in entries.into_iter().filter(|entry| entry.kind == EntryKind::File) {
            let path = path.join(&entry.name);
            match self.key_of(&path) {
                Ok(Some((key, tree, len))) => {
                    let (files, bytes) = found.entry((key, tree)).or_default();
                    (*files, *bytes) = (*files + 1, *bytes + len);
                }
                Ok(None) => {}
                // The reclaimer was faster.
                Err(error) if is_vanished(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn key_of(&self, path: &Path) -> Result<Option<(Option<KeyId>, TreeId, u64)>> {
        let fs = self.options.fs.as_ref();
        let FileHead::Ours { database, tree, key, .. } = read_head(fs, path)? else { return Ok(None) };
        let len = fs.metadata(path)?.len;
        Ok((database == self.database).then_some((key, tree, len)))
    }
}

/// Makes sure, before anything is changed, that every key is at hand that a table, a delete vector or a value log needs: of
/// each key and tree one file of each kind is looked at.
///
/// # Errors
/// `KeyRequired`, `UnknownKey`, `WrongKey`, `PlaintextRejected`; what the file system says.
pub(super) fn check(place: Place<'_>, catalog: &Catalog, encryption: Option<&Encryption>) -> Result<()> {
    // By tree, key, and whether it is a table, a delete vector or a value log.
    let mut seen = BTreeMap::new();
    for (tree, version) in catalog.trees() {
        for (_, table) in version.levels.tables() {
            let path = || place.table(FileName::Table(table.id), table.route);
            seen.entry((tree, table.key_id, 0)).or_insert_with(path);
            if let Some(vector) = &table.vector {
                let path = || place.table(FileName::DeleteVector(vector.id), table.route);
                seen.entry((tree, vector.key_id, 1)).or_insert_with(path);
            }
        }
        for log in version.vlogs.iter().map(|log| &log.vlog) {
            let path = || FileName::ValueLog(log.id).path(place.root);
            seen.entry((tree, log.key_id, 2)).or_insert_with(path);
        }
    }
    if encryption.is_none() && seen.keys().all(|(_, key, _)| *key == 0) {
        return Ok(());
    }
    for path in seen.into_values() {
        check_key(place.fs, &path, encryption)?;
    }
    Ok(())
}
