//! What opening and installing cost when there are many tables: `cargo run --release --example scale [TABLES]`.
//!
//! The tables are synthetic: descriptors in a manifest, and files of the right length that nobody reads. They live in
//! memory, so the figures are processor time and no disk's.

use std::{path::Path, sync::Arc};

use lsm_engine::{FlushOptions, Reader, Tree, TreeOptions};
use lsm_fs::{Fs, MemFs, OpenOptions, SystemClock, SystemRandom};
use lsm_journal::{FileName, Journal, JournalEnv, JournalOptions};
use lsm_manifest::{
    Catalog, Census, Counts, DatabaseEdit, DirectoryHandle, SeqNoRange, Sizes, TableDescriptor, TreeEdit,
    TreeIdentity, VersionEdit,
};
use lsm_types::{
    Clock, Cut, EditIndex, FileUuid, KeyRange, Level, Result, RouteId, RunId, SeqNo, TableId, TreeId,
    UnixNanos,
};

const FILE_LEN: u64 = 1_000;

fn descriptor(number: u64) -> TableDescriptor {
    let key = |end: char| lsm_types::Slice::from(format!("key-{number:09}-{end}"));
    let (min, max) = (key('a'), key('z'));
    let seqnos = SeqNoRange { min: SeqNo::ZERO, max: SeqNo::ZERO };
    TableDescriptor {
        id: TableId::new(number),
        uuid: FileUuid::from_bytes([7; 16]),
        file_len: FILE_LEN,
        digest: number,
        format: (1, 0),
        features: 0,
        key_id: 0,
        created_at: UnixNanos::new(number),
        created_edit: EditIndex::new(0),
        coverage_start: Cut::Before(min.clone()),
        coverage_end: Cut::After(max.clone()),
        entries: Some(KeyRange { min, max }),
        seqnos,
        point_seqnos: Some(seqnos),
        counts: Counts { entries: 10, ..Counts::default() },
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
    }
}

/// A database whose manifest names `tables` tables in its last level.
fn build(memory: &Arc<MemFs>, tables: u64) -> Result<()> {
    let root = Path::new("/db");
    memory.create_dir_all(&root.join("tables"))?;
    let (tree, level, run) = (TreeId::new(0), Level::new(6), RunId::new(0));
    let mut edit = VersionEdit::default();
    edit.create_tree(tree, TreeIdentity::new("lsm.bytewise", 7));
    edit.database.push(DatabaseEdit::ReserveIds(tables + 1));
    edit.push(tree, TreeEdit::AddRun { level, run, age: 1 });
    for number in 0..tables {
        edit.push(tree, TreeEdit::AddTable { level, run, table: Arc::new(descriptor(number)) });
    }
    let mut catalog = Catalog::default();
    catalog.apply_in_place(&edit)?;
    let env = JournalEnv {
        fs: memory.clone(),
        dir: root.to_path_buf(),
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(SystemRandom),
        encryption: None,
    };
    let database = env.new_uuid();
    Journal::create(env, JournalOptions::default(), database, &catalog)?.close()?;
    for number in 0..tables {
        let path = FileName::Table(TableId::new(number)).path(root);
        memory.open(&path, &OpenOptions::CREATE_NEW)?.set_len(FILE_LEN)?;
    }
    Ok(())
}

/// Runs `step` and prints what it took.
fn timed<T>(clock: &SystemClock, what: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = clock.monotonic_nanos();
    let done = step()?;
    let micros = (clock.monotonic_nanos() - start) / 1_000;
    println!("{what:<44} {micros:>10} us");
    Ok(done)
}

fn main() -> Result<()> {
    let tables = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(100_000);
    let clock = SystemClock::new();
    let memory = Arc::new(MemFs::new());
    println!("{tables} tables in one level, in memory");
    timed(&clock, "building manifest and files", || build(&memory, tables))?;
    let open = || Tree::open(TreeOptions::new("/db").store(|store| store.fs(memory.clone())));
    let tree = timed(&clock, "open", open)?;
    let seqno = |raw| SeqNo::new(raw).unwrap_or(SeqNo::MAX_WRITE);
    for round in 1..=3 {
        tree.insert("aaa", "value", seqno(round))?;
        tree.seal(None);
        timed(&clock, "flush of one entry (first: reserves numbers)", || {
            tree.flush(&FlushOptions::default())
        })?;
    }
    timed(&clock, "1,000 reads of absent keys between tables", || {
        for number in 0..1_000 {
            tree.get(format!("key-{:09}-zz", number * 97))?;
        }
        Ok(())
    })?;
    timed(&clock, "close", || tree.close())?;
    let tree = timed(&clock, "reopen", open)?;
    println!("{} tables", tree.stats().tables());
    Ok(())
}
