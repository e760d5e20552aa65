//! The check of a whole directory, which nobody needs to have open.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use lsm_block::Superblock;
use lsm_fs::{EntryKind, Fs, OpenOptions, SystemClock, SystemRandom};
use lsm_journal::{FileName, Folder, FoundFile, JournalEnv, Recovery, RecoveryMode};
use lsm_manifest::{Catalog, TreeIdentity};
use lsm_types::{
    EditIndex, ErrorClass, ErrorKind, Fault, FileKind, FileUuid, IoKind, KeyOrder, Location, Result, TableId,
    TreeId,
};

use crate::{
    Depth, Outcome, RepairError, VerifyOptions, VerifyReport, manifest,
    meter::Meter,
    pool,
    report::{FileReport, TablePlace},
    table::{Expected, Subject},
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

    fn order(&self, _tree: TreeId, identity: &TreeIdentity) -> Option<KeyOrder> {
        self.options.order(&identity.comparator)
    }

    fn check_known(&self, recovery: &Recovery, meter: &Meter<'_>, report: &mut VerifyReport) -> Result<()> {
        let is_resumed = self.options.resume.is_some();
        if !is_resumed {
            self.check_manifest(Some(recovery), meter, report)?;
        }
        let subjects = self.subjects(recovery.catalog(), recovery.database());
        self.check_unnamed(recovery, !is_resumed, report)?;
        pool::run(self.fs.as_ref(), &subjects, self.depth, meter, report);
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
        let mut subjects: Vec<Subject> = self.table_files()?.into_iter().map(|id| self.unnamed(id)).collect();
        subjects.retain(|subject| self.options.resume.is_none_or(|cursor| subject.id >= cursor.table));
        pool::run(self.fs.as_ref(), &subjects, self.depth, meter, report);
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

    /// The tables that the manifest names and the caller wants, ascending.
    fn subjects(&self, catalog: &Catalog, database: FileUuid) -> Vec<Subject> {
        let mut subjects = Vec::new();
        for (tree, version) in catalog.trees() {
            let order = catalog.order(tree);
            for (level, descriptor) in version.levels.tables() {
                let place = TablePlace { table: descriptor.id, tree, level };
                let is_next = self.options.resume.is_none_or(|cursor| descriptor.id >= cursor.table);
                if is_next && self.options.selection.has(tree, level, descriptor, &order) {
                    let expected = Expected { place, database, descriptor: descriptor.clone() };
                    subjects.push(self.subject(descriptor.id, Some(expected), order.clone()));
                }
            }
        }
        subjects.sort_by_key(|subject| subject.id);
        subjects
    }

    fn subject(&self, id: TableId, expected: Option<Expected>, order: KeyOrder) -> Subject {
        let file = FileName::Table(id);
        let name = PathBuf::from(file.folder().name()).join(file.to_string());
        Subject { id, name, path: file.path(self.root), expected, order, prefix_extractor: None }
    }

    fn unnamed(&self, id: TableId) -> Subject {
        let path = FileName::Table(id).path(self.root);
        let order = stored_order(self.fs.as_ref(), &path, self.options);
        self.subject(id, None, order)
    }

    /// Files named like tables, ascending.
    fn table_files(&self) -> Result<BTreeSet<TableId>> {
        let entries = match self.fs.read_dir(&Folder::Tables.path(self.root)) {
            Ok(entries) => entries,
            Err(error) if error.kind == IoKind::NotFound => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let tables = entries.iter().filter(|entry| entry.kind == EntryKind::File).filter_map(|entry| {
            match FileName::parse(Folder::Tables, &entry.name) {
                Some(FileName::Table(id)) => Some(id),
                _ => None,
            }
        });
        Ok(tables.collect())
    }

    /// Tables that the manifest does not name are nobody's loss, unless they are newer than the manifest (D-24).
    fn check_unnamed(&self, recovery: &Recovery, tells: bool, report: &mut VerifyReport) -> Result<()> {
        for id in self.table_files()? {
            if recovery.catalog().table(id).is_some() {
                continue;
            }
            report.unnamed_tables += 1;
            let subject = self.subject(id, None, KeyOrder::bytewise());
            let Some(created_edit) = owner_edit(self.fs.as_ref(), &subject.path, recovery.database()) else {
                continue;
            };
            let found = FoundFile { kind: FileKind::Table, id: id.get(), created_edit: Some(created_edit) };
            if let Err(error) = recovery.high_water().check(&found)
                && tells
            {
                let mut file = FileReport::new(&subject.name, self.options.findings_per_file);
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
        report
            .findings
            .retain(|finding| finding.table.is_some_and(|place| now.catalog().table(place.table).is_some()));
        let mut manifest = VerifyReport::new(self.depth);
        if self.options.resume.is_none() {
            self.check_manifest(Some(&now), meter, &mut manifest)?;
            self.check_unnamed(&now, true, &mut manifest)?;
        }
        report.unnamed_tables = manifest.unnamed_tables;
        manifest.findings.append(&mut report.findings);
        report.findings = manifest.findings;
        let failed: BTreeSet<TableId> =
            report.damage().filter_map(|finding| finding.table.map(|place| place.table)).collect();
        report.sound_tables = report.tables.saturating_sub(failed.len() as u64);
        Ok(())
    }
}

/// The edit at which a table of this database was begun; `None` for what is not one.
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
