//! A database whose edits are numbered tables, and what each moment of its life promised.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use lsm_fs::Fs;
use lsm_journal::{
    AppendError, Journal, JournalEnv, JournalError, JournalOptions, Recovered, Recovery, RecoveryMode,
};
use lsm_manifest::{
    Catalog, Census, Counts, DatabaseEdit, DirectoryHandle, SeqNoRange, Sizes, TableDescriptor, TreeEdit,
    TreeIdentity, VersionEdit,
};
use lsm_testkit::sim::{Choice, SimConfig, SimFs};
use lsm_types::{
    Clock, Cut, EditIndex, FileUuid, KeyOrder, KeyRange, Level, Random, RouteId, RunId, SeqNo, TableId,
    TreeId, UnixNanos,
};

pub(crate) const TREE: TreeId = TreeId::new(0);
pub(crate) const DATABASE: FileUuid = FileUuid::from_bytes([0xDB; 16]);

/// Time that stands still.
struct NoClock;

impl Clock for NoClock {
    fn now(&self) -> UnixNanos {
        UnixNanos::new(1)
    }

    fn monotonic_nanos(&self) -> u64 {
        1
    }
}

/// Identities that differ and repeat from run to run.
struct Counting(AtomicU64);

impl Random for Counting {
    fn fill(&self, out: &mut [u8]) {
        let number = self.0.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        for (to, from) in out.iter_mut().zip(number.iter().cycle()) {
            *to = *from;
        }
    }
}

pub(crate) fn env_on(fs: &SimFs) -> JournalEnv {
    // Another start on each disk: a file begun after a crash has an identity of its own.
    let start = fs.state_hash() | 1;
    JournalEnv {
        fs: Arc::new(fs.clone()),
        dir: PathBuf::from("/db"),
        clock: Arc::new(NoClock),
        random: Arc::new(Counting(AtomicU64::new(start))),
        encryption: None,
    }
}

pub(crate) fn disk() -> SimFs {
    let fs = SimFs::new(SimConfig::default());
    fs.create_dir(Path::new("/db")).unwrap();
    // Its trace begins with the directory in place.
    fs.image(fs.len(), Choice::Ceiling)
}

#[expect(clippy::unnecessary_wraps, reason = "the shape that is asked for")]
pub(crate) fn orders(_: TreeId, _: &TreeIdentity) -> Option<KeyOrder> {
    Some(KeyOrder::bytewise())
}

pub(crate) fn read(fs: &SimFs, mode: RecoveryMode) -> Result<Option<Recovery>, JournalError> {
    Recovery::read(&env_on(fs), mode, &orders)
}

pub(crate) fn recover(fs: &SimFs, options: JournalOptions) -> Recovered {
    Journal::recover(env_on(fs), options, RecoveryMode::Strict, &orders).unwrap().unwrap()
}

/// The state before the first edit: one tree with one run.
pub(crate) fn first_state() -> Catalog {
    let mut edit = VersionEdit::default();
    edit.database.push(DatabaseEdit::ReserveIds(1_000_000));
    edit.create_tree(TREE, TreeIdentity::new("lsm.bytewise", 7));
    edit.push(TREE, TreeEdit::AddRun { level: Level::new(1), run: RunId::new(1), age: 1 });
    Catalog::default().apply(&edit).unwrap()
}

/// An edit that adds table `id`; its keys have `key_len` bytes.
pub(crate) fn add(id: u64, key_len: usize) -> VersionEdit {
    let mut key = id.to_be_bytes().to_vec();
    key.resize(key_len.max(8), b'x');
    let key = lsm_types::Slice::from(key);
    let seqnos = SeqNoRange { min: SeqNo::ZERO, max: SeqNo::new(id).unwrap() };
    let table = TableDescriptor {
        id: TableId::new(id),
        uuid: FileUuid::from_bytes([1; 16]),
        file_len: 1,
        digest: 0,
        format: (1, 0),
        features: 0,
        key_id: 0,
        created_at: UnixNanos::new(0),
        created_edit: EditIndex::new(0),
        entries: Some(KeyRange { min: key.clone(), max: key.clone() }),
        coverage_start: Cut::Before(key.clone()),
        coverage_end: Cut::After(key),
        seqnos,
        point_seqnos: Some(seqnos),
        counts: Counts::default(),
        sizes: Sizes::default(),
        census: Census::default(),
        directory: DirectoryHandle::default(),
        filter_kind: 0,
        global_seqno: SeqNo::ZERO,
        references: lsm_types::ValueReferences::new(),
        restriction: None,
        vector: None,
        route: RouteId::PRIMARY,
        tail_len: 0,
    };
    let mut edit = VersionEdit::default();
    edit.push(TREE, TreeEdit::AddTable { level: Level::new(1), run: RunId::new(1), table: Arc::new(table) });
    edit
}

/// What a catalog holds, in short.
pub(crate) fn tables(catalog: &Catalog) -> BTreeSet<u64> {
    let version = catalog.tree(TREE).expect("the tree was created with the database");
    version.levels.tables().map(|(_, table)| table.id.get()).collect()
}

/// Sets of tables that a crash may leave from some point of the trace on. `None` stands for no database.
pub(crate) type Allowed = Vec<Option<BTreeSet<u64>>>;

/// A database at work, with a record of what it promised when.
pub(crate) struct Life {
    pub(crate) fs: SimFs,
    pub(crate) journal: Journal,
    pub(crate) catalog: Catalog,
    pub(crate) promises: Vec<(usize, Allowed)>,
    pub(crate) next: u64,
}

impl Life {
    /// Creates a database.
    pub(crate) fn create(fs: &SimFs, options: JournalOptions) -> Result<Self, JournalError> {
        let catalog = first_state();
        let promises = vec![(0, vec![None, Some(BTreeSet::new())])];
        let journal = Journal::create(env_on(fs), options, DATABASE, &catalog)?;
        let mut life = Self { fs: fs.clone(), journal, catalog, promises, next: 1 };
        life.promise(vec![Some(BTreeSet::new())]);
        Ok(life)
    }

    /// A database with so many edits in groups of one.
    pub(crate) fn with_edits(fs: &SimFs, options: JournalOptions, count: usize) -> Self {
        let mut life = Self::create(fs, options).unwrap();
        for _ in 0..count {
            life.append(1, 8).unwrap();
        }
        life
    }

    fn promise(&mut self, allowed: Allowed) {
        self.promises.push((self.fs.len(), allowed));
    }

    /// What the database holds.
    pub(crate) fn tables(&self) -> BTreeSet<u64> {
        tables(&self.catalog)
    }

    /// Appends a group of `count` new tables.
    pub(crate) fn append(&mut self, count: u64, key_len: usize) -> Result<(), AppendError> {
        let ids = self.next..self.next + count;
        self.next += count;
        let edits: Vec<VersionEdit> = ids.map(|id| add(id, key_len)).collect();
        let mut after = self.catalog.clone();
        for edit in &edits {
            after.apply_in_place(edit).unwrap();
        }
        let (old, new) = (self.tables(), tables(&after));
        self.promise(vec![Some(old.clone()), Some(new.clone())]);
        let outcome = self.journal.append(&edits.iter().collect::<Vec<_>>());
        match &outcome {
            Ok(_) => {
                self.catalog = after;
                self.promise(vec![Some(new)]);
            }
            Err(AppendError::NotApplied(_)) => self.promise(vec![Some(old)]),
            Err(AppendError::Unknown(_)) => {}
        }
        outcome.map(|_| ())
    }

    /// As [`Life::append`], and when the outcome is unknown, states the truth: the group is in, or it is not.
    pub(crate) fn append_or_reanchor(&mut self, count: u64, key_len: usize, keep: bool) {
        let first = self.next;
        let Err(AppendError::Unknown(_)) = self.append(count, key_len) else { return };
        if keep {
            for id in first..first + count {
                self.catalog.apply_in_place(&add(id, key_len)).unwrap();
            }
        }
        self.reanchor();
    }

    /// States the truth, trying until it works.
    pub(crate) fn reanchor(&mut self) {
        while self.journal.reanchor(&self.catalog).is_err() {
            assert!(self.journal.append(&[&add(999_999, 8)]).is_err(), "fenced");
        }
        let truth = self.tables();
        self.promise(vec![Some(truth)]);
    }

    pub(crate) fn rotate_or_reanchor(&mut self) {
        if let Err(lsm_journal::RotateError::Unknown(_)) = self.journal.rotate(&self.catalog) {
            self.reanchor();
        }
    }

    /// What a crash after the first `point` events may leave.
    pub(crate) fn allowed(&self, point: usize) -> &Allowed {
        let at = self.promises.partition_point(|(from, _)| *from <= point);
        &self.promises[at - 1].1
    }

    /// Numbers the promises, for telling points with equal ones.
    pub(crate) fn epochs(&self) -> impl Fn(usize) -> u64 + Send + 'static {
        let starts: Vec<usize> = self.promises.iter().map(|(from, _)| *from).collect();
        move |point| starts.partition_point(|from| *from <= point) as u64
    }
}

/// What is found on a disk: the tables, or nothing, which a new creation then accepts.
#[track_caller]
pub(crate) fn found(fs: &SimFs, what: &dyn std::fmt::Display) -> Option<BTreeSet<u64>> {
    let before = fs.state_hash();
    let recovery = match read(fs, RecoveryMode::Strict) {
        Ok(recovery) => recovery,
        Err(error) => panic!("{what}: {error:?}\n{:#?}", fs.files().keys()),
    };
    assert_eq!(fs.state_hash(), before, "{what}: reading changed something");
    recovery.map(|recovery| tables(recovery.catalog()))
}
