//! The check of a whole directory, which nobody needs to have open.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use lsm_block::Superblock;
use lsm_fs::{EntryKind, Fs, OpenOptions, SystemClock, SystemRandom};
use lsm_journal::{FileName, Folder, FoundFile, JournalEnv, Recovery, RecoveryMode};
use lsm_manifest::{Catalog, TreeIdentity};
use lsm_types::{
    EditIndex, ErrorClass, ErrorKind, Fault, FileKind, FileUuid, IoKind, KeyOrder, Location, Result, TableId,
    TreeId, VlogId,
};

use crate::{
    Depth, Finding, LiveTable, LiveValues, Outcome, RepairError, VerifyOptions, VerifyReport,
    items::{Items, lone_log, lone_table},
    manifest,
    meter::Meter,
    pool::{self, Item},
    report::{FileReport, TablePlace},
    table::Expected,
};

/// A directory to check.
pub(crate) struct Directory<'a> {
    pub(crate) fs: &'a Arc<dyn Fs>,
    pub(crate) root: &'a Path,
    pub(crate) depth: Depth,
    pub(crate) options: &'a VerifyOptions<'a>,
}

impl Directory<'_> {
    /// Checks the directory. A writer may be at work in it: what it has replaced in the meantime is no damage.
    pub(crate) fn check(&self) -> Result<VerifyReport> {
        let meter = Meter::new(self.options);
        let mut report = VerifyReport::new(self.depth);
        let recovery = self.recover()?;
        match &recovery {
            Ok(recovery) => self.check_known(recovery, &meter, &mut report)?,
            Err(refused) => self.check_unknown(refused, &meter, &mut report)?,
        }
        if let Ok(recovery) = recovery
            && !report.findings.is_empty()
        {
            self.forget_outdated(&recovery, &meter, &mut report)?;
        }
        report.bytes_read = meter.bytes_read();
        Ok(report)
    }

    /// What the manifest says; the inner error is what recovery refuses the directory for.
    fn recover(&self) -> Result<Result<Recovery>> {
        let env = JournalEnv {
            fs: self.fs.clone(),
            dir: self.root.to_path_buf(),
            clock: Arc::new(SystemClock::new()),
            random: Arc::new(SystemRandom),
            encryption: self.options.encryption.clone(),
        };
        match Recovery::read(&env, RecoveryMode::Strict, &|tree, identity: &_| self.order(tree, identity)) {
            Ok(Some(recovery)) => Ok(Ok(recovery)),
            Ok(None) => Err(RepairError::NoDatabase.into()),
            // Not a matter of bytes: the caller has to say more, or to take another program.
            Err(error)
                if matches!(error.kind(), ErrorKind::ComparatorMismatch | ErrorKind::UnsupportedFormat) =>
            {
                Err(error.into())
            }
            Err(error) => Ok(Err(error.into())),
        }
    }

    /// What the manifest says of a table of which a part is left: its file does not tell. `None` for any other, and where the
    /// manifest cannot be used.
    pub(crate) fn restricted(&self, table: TableId) -> Option<Expected> {
        let recovery = self.recover().ok()?.ok()?;
        let catalog = recovery.catalog();
        let descriptor = catalog.table(table).filter(|table| table.restriction.is_some())?.clone();
        let (tree, level, _) = catalog.place(table)?;
        let place = TablePlace { table, tree, level };
        Some(Expected { place, database: recovery.database(), descriptor })
    }

    fn order(&self, _tree: TreeId, identity: &TreeIdentity) -> Option<KeyOrder> {
        self.options.order(&identity.comparator)
    }

    fn check_known(&self, recovery: &Recovery, meter: &Meter<'_>, report: &mut VerifyReport) -> Result<()> {
        let is_resumed = self.options.resume.is_some();
        if !is_resumed {
            self.check_manifest(Some(recovery), meter, report)?;
        }
        let items = self.items(recovery.catalog(), recovery.database());
        self.check_unnamed(recovery, !is_resumed, report)?;
        pool::run(self.fs.as_ref(), &items, self.depth, meter, report);
        Ok(())
    }

    /// The manifest cannot be used: every file is checked by itself.
    fn check_unknown(
        &self,
        refused: &lsm_types::Error,
        meter: &Meter<'_>,
        report: &mut VerifyReport,
    ) -> Result<()> {
        let mut whole = FileReport::new(Path::new(""), self.options.findings_per_file);
        // What fails for want of a key is not damaged: its frames are checked without.
        let is_damage = refused.kind().class() != ErrorClass::Invalid;
        let outcome = if is_damage { Outcome::Fail } else { Outcome::Warn };
        whole.add(outcome, Depth::Presence, None, refused.clone());
        report.findings.append(&mut whole.findings);
        if self.options.resume.is_none() {
            self.check_manifest(None, meter, report)?;
        }
        let mut items: Vec<Item> =
            self.files()?.into_iter().filter_map(|(id, file)| self.unnamed(id, file)).collect();
        items.retain(|item| self.options.resume.is_none_or(|cursor| item.id() >= cursor.table));
        pool::run(self.fs.as_ref(), &items, self.depth, meter, report);
        Ok(())
    }

    fn check_manifest(
        &self,
        recovery: Option<&Recovery>,
        meter: &Meter<'_>,
        report: &mut VerifyReport,
    ) -> Result<()> {
        let used = recovery.map(|recovery| (recovery.database(), recovery.report()));
        let orders = |tree: TreeId, identity: &TreeIdentity| self.order(tree, identity);
        for file in manifest::check(self.fs.as_ref(), self.root, used, &orders, self.depth, meter)? {
            report.take(file);
        }
        Ok(())
    }

    /// The files that the manifest names and the caller wants, ascending.
    fn items(&self, catalog: &Catalog, database: FileUuid) -> Vec<Item> {
        let mut items = Items::new(self.options);
        let root = self.root.to_path_buf();
        for (tree, version) in catalog.trees() {
            let order = catalog.order(tree);
            if version.separates {
                let logs = version.vlogs.iter().cloned().collect();
                items.tree(&LiveValues { tree, logs, order: order.clone(), root: root.clone() }, database);
            }
            for (level, descriptor) in version.levels.tables() {
                let (descriptor, order, root) = (descriptor.clone(), order.clone(), root.clone());
                let table = LiveTable { tree, level, descriptor, order, prefix_extractor: None, root };
                items.table(&table, database);
            }
        }
        items.finish()
    }

    /// A file to be checked by itself; a delete vector says nothing without the manifest.
    fn unnamed(&self, id: TableId, file: FileName) -> Option<Item> {
        let name = PathBuf::from(file.folder().name()).join(file.to_string());
        let path = file.path(self.root);
        if let FileName::ValueLog(id) = file {
            return Some(Item::ValueLog(lone_log(id, name, path)));
        }
        if matches!(file, FileName::DeleteVector(_)) {
            return None;
        }
        let order = stored_order(self.fs.as_ref(), &path, self.options);
        Some(Item::Table(lone_table(id, name, path, order)))
    }

    /// Files named like tables or value logs, ascending by number.
    fn files(&self) -> Result<BTreeMap<TableId, FileName>> {
        let mut files = BTreeMap::new();
        for folder in [Folder::Tables, Folder::Blobs] {
            let entries = match self.fs.read_dir(&folder.path(self.root)) {
                Ok(entries) => entries,
                Err(error) if error.kind == IoKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            };
            for entry in entries.iter().filter(|entry| entry.kind == EntryKind::File) {
                match FileName::parse(folder, &entry.name) {
                    Some(file @ FileName::Table(id)) => files.insert(id, file),
                    Some(file @ FileName::ValueLog(id)) => files.insert(TableId::new(id.get()), file),
                    Some(file @ FileName::DeleteVector(id)) => files.insert(TableId::new(id.get()), file),
                    _ => None,
                };
            }
        }
        Ok(files)
    }

    /// Files that the manifest does not name are nobody's loss, unless they are newer than the manifest (D-24).
    fn check_unnamed(&self, recovery: &Recovery, tells: bool, report: &mut VerifyReport) -> Result<()> {
        let tables = recovery.catalog().trees().flat_map(|(_, version)| version.levels.tables());
        let vectors: HashSet<_> = tables.filter_map(|(_, table)| Some(table.vector.as_ref()?.id)).collect();
        for (id, name) in self.files()? {
            let (is_named, kind) = match name {
                FileName::ValueLog(id) => (has_log(recovery.catalog(), id), FileKind::ValueLog),
                FileName::DeleteVector(id) => (vectors.contains(&id), FileKind::DeleteVector),
                _ => (recovery.catalog().table(id).is_some(), FileKind::Table),
            };
            if is_named {
                continue;
            }
            report.unnamed_files += 1;
            let path = name.path(self.root);
            let Some(created_edit) = owner_edit(self.fs.as_ref(), &path, recovery.database()) else {
                continue;
            };
            let found = FoundFile { kind, id: id.get(), created_edit: Some(created_edit) };
            if let Err(error) = recovery.high_water().check(&found)
                && tells
            {
                let path = PathBuf::from(name.folder().name()).join(name.to_string());
                let mut file = FileReport::new(&path, self.options.findings_per_file);
                file.fail(Depth::Presence, error);
                report.findings.append(&mut file.findings);
            }
        }
        Ok(())
    }

    /// Looks at the manifest once more: findings about what a writer has replaced since are dropped.
    fn forget_outdated(&self, before: &Recovery, meter: &Meter<'_>, report: &mut VerifyReport) -> Result<()> {
        let Ok(now) = self.recover()? else { return Ok(()) };
        let state = |recovery: &Recovery| (recovery.report().generation, recovery.last_edit());
        if state(&now) == state(before) {
            return Ok(());
        }
        let is_named = |finding: &Finding| {
            let has_table = finding.table.map(|place| now.catalog().table(place.table).is_some());
            let has_log = finding.value_log.map(|log| has_log(now.catalog(), log));
            // What a writer has given back meanwhile reads as zeros.
            let is_behind = |log| finding.offset.is_some_and(|offset| offset < frontier(now.catalog(), log));
            let is_released = finding.value_log.is_some_and(is_behind);
            let is_there = has_table != Some(false) && has_log != Some(false) && !is_released;
            is_there && has_table.or(has_log).is_some()
        };
        report.findings.retain(is_named);
        let mut manifest = VerifyReport::new(self.depth);
        if self.options.resume.is_none() {
            self.check_manifest(Some(&now), meter, &mut manifest)?;
            self.check_unnamed(&now, true, &mut manifest)?;
        }
        report.unnamed_files = manifest.unnamed_files;
        manifest.findings.append(&mut report.findings);
        report.findings = manifest.findings;
        let failed: BTreeSet<TableId> =
            report.damage().filter_map(|finding| finding.table.map(|place| place.table)).collect();
        report.sound_tables = report.tables.saturating_sub(failed.len() as u64);
        let logs = report.damage().filter(|finding| finding.table.is_none());
        let failed: BTreeSet<VlogId> = logs.filter_map(|finding| finding.value_log).collect();
        report.sound_value_logs = report.value_logs.saturating_sub(failed.len() as u64);
        Ok(())
    }
}

/// Where the values of a value log begin that entries lead to.
fn frontier(catalog: &Catalog, id: VlogId) -> u64 {
    let logs = catalog.trees().filter_map(|(_, version)| version.vlogs.get(id));
    logs.map(|log| log.frontier).max().unwrap_or(0)
}

fn has_log(catalog: &Catalog, id: VlogId) -> bool {
    catalog.trees().any(|(_, version)| version.vlogs.get(id).is_some())
}

/// The edit at which a file of this database was begun; `None` for what is not one.
fn owner_edit(fs: &dyn Fs, path: &Path, database: FileUuid) -> Option<EditIndex> {
    let file = fs.open(path, &OpenOptions::READ).ok()?;
    let mut bytes = [0; Superblock::LEN];
    file.read_at(0, &mut bytes).ok()?;
    let at = Location { kind: FileKind::Table, id: 0, offset: 0 };
    let head = Superblock::decode(at, &bytes).ok()?;
    (head.identity.database == database).then_some(head.edit_index)
}

/// The order that a table names, as far as it is at hand; byte order otherwise, which a table then refuses.
pub(crate) fn stored_order(fs: &dyn Fs, path: &Path, options: &VerifyOptions<'_>) -> KeyOrder {
    let fits = |order: &KeyOrder| {
        let Ok(file) = fs.open(path, &OpenOptions::READ) else { return false };
        let encryption = options.encryption.clone();
        let open = lsm_sst::OpenOptions { encryption, ..lsm_sst::OpenOptions::new(order.clone()) };
        let open = lsm_sst::TableOptions::new().open(open);
        let opened = lsm_sst::Table::open(file as Arc<dyn lsm_fs::FsFile>, open);
        opened.is_ok()
    };
    let given = options.comparators.iter().cloned().map(KeyOrder::new);
    given.into_iter().find(fits).unwrap_or_default()
}
