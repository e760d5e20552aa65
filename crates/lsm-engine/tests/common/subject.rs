//! A tree as a subject of the crash driver.
#![allow(clippy::cast_possible_truncation, reason = "numbers of a test are small")]

use std::{collections::BTreeMap, ffi::OsString, path::Path, sync::Arc};

use lsm_compaction_planner::Leveled;
use lsm_engine::{
    BlockCache, CompactOptions, DescriptorCache, Encryption, FlushOptions, IngestOptions, Reader,
    RelocationOptions, SpaceOptions, Tree, TreeBatch, TreeOptions, VlogPicker, VlogPolicy,
};
use lsm_fs::Fs;
use lsm_testkit::{
    crash::{Failed, OpKind, Subject},
    dice::Dice,
    ports::{SeededRandom, TestClock},
    sim::SimFs,
};
use lsm_types::{Error, ErrorClass, SeqNo, Slice};

use crate::common::{
    at,
    sealed::{Audit, chain},
    small_tables,
};

const ROOT: &str = "/data/db";
const TABLES: &str = "/data/db/tables";
/// Another directory for tables.
const COLD: &str = "/data/cold";
const COLD_TABLES: &str = "/data/cold/tables";
const BLOBS: &str = "/data/db/blobs";
/// Few keys, so that most writes hide older ones.
const KEYS: u64 = 12;

/// How the trees of a workload are configured.
pub(crate) struct TreeSubject {
    manifest_rotate_min: u64,
    manifest_keep_generations: u32,
    manifest_mirror: bool,
    file_id_block: u32,
    table_target_bytes: u64,
    clock: Arc<TestClock>,
    random: Arc<SeededRandom>,
    encryption: Option<Encryption>,
    /// The first level whose tables lie elsewhere.
    cold_from: Option<u8>,
    /// Values of at least so many bytes are separated.
    separate_from: Option<u32>,
}

/// One operation.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Put(u64, u16),
    Delete(u64),
    /// Puts and deletes, all or none.
    Batch(Vec<(u64, Option<u16>)>),
    /// Replaces everything by these rows, in several tables or one: durable at once, whatever becomes of what is in
    /// memory.
    Ingest(Vec<u16>),
    Seal,
    Flush,
    /// One job of the leveled strategy.
    Compact,
    /// Everything into the last level.
    CompactAll,
    /// The same, slice by slice as far as there is room, which there is not for the whole.
    Slices,
    Reopen,
    Close,
}

pub(crate) struct Db {
    tree: Tree,
    next: u64,
}

type State = BTreeMap<Vec<u8>, Vec<u8>>;

fn key(number: u64) -> Vec<u8> {
    format!("key-{number:02}").into_bytes()
}

/// A value that differs with its length.
fn value(len: u16) -> Vec<u8> {
    vec![b'a' + (len % 26) as u8; len.into()]
}

#[expect(clippy::needless_pass_by_value, reason = "given to `map_err`")]
fn told(error: Error) -> String {
    format!("{error} ({error:?})")
}

impl TreeSubject {
    /// Options as the dice say: what matters to a crash is different from workload to workload.
    pub(crate) fn new(dice: &mut Dice) -> Self {
        let mut one_of = |choices: &[u64]| choices[dice.index(choices.len())];
        Self {
            manifest_rotate_min: one_of(&[300, 600, 2_000, 1 << 20]),
            manifest_keep_generations: one_of(&[0, 1, 2]) as u32,
            manifest_mirror: one_of(&[0, 1, 1]) == 1,
            file_id_block: one_of(&[1, 2, 8]) as u32,
            table_target_bytes: one_of(&[400, 1_500, 20_000]),
            clock: Arc::new(TestClock::new()),
            random: Arc::new(SeededRandom::new(dice.roll())),
            // Over all images of all power cuts of a workload, no nonce is spent twice.
            encryption: (dice.index(3) == 0).then(|| Arc::new(Audit::default()).over(Arc::new(chain()))),
            cold_from: [None, None, None, Some(1)][dice.index(4)],
            separate_from: [None, None, None, None, None, Some(64)][dice.index(6)],
        }
    }

    /// The same with tables in two directories in any case.
    pub(crate) fn routed(dice: &mut Dice) -> Self {
        Self { cold_from: Some([0, 1, 4][dice.index(3)]), ..Self::new(dice) }
    }

    /// The same with all values apart from their keys.
    pub(crate) fn apart(dice: &mut Dice) -> Self {
        Self { separate_from: Some(1), ..Self::new(dice) }
    }

    /// The same with values of any length apart from their keys, or with those of some.
    pub(crate) fn separated(dice: &mut Dice) -> Self {
        Self { separate_from: Some([1, 64][dice.index(2)]), ..Self::new(dice) }
    }

    fn options(&self, fs: &SimFs) -> TreeOptions {
        let fs: Arc<dyn Fs> = Arc::new(fs.clone());
        let options = match self.separate_from {
            Some(threshold) => TreeOptions::new(ROOT)
                .separation(VlogPolicy { thresholds: vec![threshold], ..VlogPolicy::default() })
                // Every merge gives every value another place.
                .relocation(RelocationOptions { picker: VlogPicker::ALWAYS, ..RelocationOptions::default() }),
            None => TreeOptions::new(ROOT),
        };
        options
            .store(|store| match self.cold_from {
                Some(level) => store.level_route(level..=9, COLD, fs.clone()),
                None => store,
            })
            .store(|store| {
                let store = match &self.encryption {
                    Some(encryption) => store.encryption(encryption.clone()),
                    None => store,
                };
                store
                    .fs(fs)
                    .manifest_rotate_min(self.manifest_rotate_min)
                    .manifest_keep_generations(self.manifest_keep_generations)
                    .manifest_mirror(self.manifest_mirror)
                    .file_id_block(self.file_id_block)
                    .cache(BlockCache::new(1 << 16))
                    .descriptors(DescriptorCache::new(16))
                    .clock(self.clock.clone())
                    .random(self.random.clone())
            })
            .tables(small_tables())
            .table_target_bytes(self.table_target_bytes)
    }
}

fn ingest(tree: &Tree, seqno: SeqNo, rows: &[u16]) -> Result<(), Error> {
    let mut ingestion = tree.ingest(IngestOptions::at(seqno))?;
    ingestion.remove_range::<&str>(..)?;
    for (len, number) in rows.iter().zip(0..) {
        ingestion.put(key(number), value(*len))?;
    }
    ingestion.finish().map(drop)
}

/// One block a slice, under a quota that lacks a byte for all of them at once.
fn slices(tree: &Tree) -> Result<(), Error> {
    let store = tree.store();
    let space = store.space();
    let limit = space.used_bytes + space.full_compaction_bytes.saturating_sub(1);
    let tight = SpaceOptions::default().admission(true).reserve_min_bytes(0).tight(true);
    store.set_space(tight.slice_min_bytes(0).slice_max_bytes(Some(0)).limit_bytes(Some(limit)));
    let outcome = tree.major_compact(&CompactOptions::default());
    store.set_space(SpaceOptions::default());
    outcome.map(drop)
}

impl Subject for TreeSubject {
    type Op = Op;
    type Db = Db;
    type State = State;

    fn open(&self, fs: &SimFs) -> Result<Db, String> {
        let tree = Tree::open(self.options(fs)).map_err(told)?;
        let next = tree.view().before().get();
        Ok(Db { tree, next })
    }

    fn empty(&self) -> State {
        State::new()
    }

    fn kind(&self, op: &Op) -> OpKind {
        match op {
            Op::Put(..) | Op::Delete(_) | Op::Batch(_) => OpKind::Write,
            Op::Ingest(_) => OpKind::Commit,
            Op::Seal => OpKind::Seal,
            Op::Flush => OpKind::Flush,
            Op::Compact | Op::CompactAll | Op::Slices => OpKind::Upkeep,
            Op::Reopen => OpKind::Reopen,
            Op::Close => OpKind::Close,
        }
    }

    fn label(&self, op: &Op) -> &'static str {
        match op {
            Op::Put(..) => "put",
            Op::Delete(_) => "delete",
            Op::Batch(_) => "batch",
            Op::Ingest(_) => "ingest",
            Op::Seal => "seal",
            Op::Flush => "flush",
            Op::Compact => "compact",
            Op::CompactAll => "compact all",
            Op::Slices => "slices",
            Op::Reopen => "reopen",
            Op::Close => "close",
        }
    }

    fn model(&self, state: &mut State, op: &Op) {
        let mut set = |number: u64, len: Option<u16>| match len {
            Some(len) => _ = state.insert(key(number), value(len)),
            None => _ = state.remove(&key(number)),
        };
        match op {
            Op::Put(number, len) => set(*number, Some(*len)),
            Op::Delete(number) => set(*number, None),
            Op::Batch(writes) => writes.iter().for_each(|&(number, len)| set(number, len)),
            Op::Ingest(rows) => {
                state.clear();
                state.extend(rows.iter().zip(0..).map(|(len, number)| (key(number), value(*len))));
            }
            Op::Seal | Op::Flush | Op::Compact | Op::CompactAll | Op::Slices | Op::Reopen | Op::Close => {}
        }
    }

    fn apply(&self, db: &mut Db, op: &Op) -> Result<(), Failed> {
        let next = at(db.next);
        let options = CompactOptions::default();
        let outcome = match op {
            Op::Put(number, len) => db.tree.insert(key(*number), value(*len), next).map(drop),
            Op::Delete(number) => db.tree.remove(key(*number), next).map(drop),
            Op::Batch(writes) => {
                let mut batch = TreeBatch::new();
                for &(number, len) in writes {
                    let added = match len {
                        Some(len) => batch.insert(key(number), value(len)).map(drop),
                        None => batch.remove(key(number)).map(drop),
                    };
                    added.map_err(|error| Failed::Broken(told(error)))?;
                }
                db.tree.apply(&batch, next).map(drop)
            }
            Op::Ingest(rows) => ingest(&db.tree, next, rows),
            Op::Seal => {
                db.tree.seal(None);
                Ok(())
            }
            Op::Flush => db.tree.flush(&FlushOptions::default()).map(drop),
            Op::Compact => {
                let target_bytes = self.table_target_bytes;
                let leveled =
                    Leveled { l0_threshold: 2, table_target_bytes: target_bytes, ..Leveled::default() };
                db.tree.set_gc_watermark(next);
                db.tree.compact(&leveled, &options).map(drop)
            }
            Op::CompactAll => {
                db.tree.set_gc_watermark(next);
                db.tree.major_compact(&options).map(drop)
            }
            Op::Slices => {
                db.tree.set_gc_watermark(next);
                slices(&db.tree)
            }
            Op::Reopen | Op::Close => Ok(()),
        };
        db.next += if let Op::Batch(writes) = op { writes.len() as u64 } else { 1 };
        outcome.map_err(|error| match error.kind().class() {
            ErrorClass::Fenced => Failed::InDoubt(told(error)),
            ErrorClass::Io | ErrorClass::NoSpace | ErrorClass::Retry => Failed::Refused(told(error)),
            _ => Failed::Broken(told(error)),
        })
    }

    fn close(&self, db: Db) -> Result<(), String> {
        db.tree.close().map_err(told)
    }

    fn read(&self, db: &Db) -> Result<State, String> {
        let owned = |(key, value): (Slice, Slice)| (key.to_vec(), value.to_vec());
        let scanned: State =
            db.tree.iter().pairs().map(|pair| pair.map(owned)).collect::<Result<_, _>>().map_err(told)?;
        for number in 0..KEYS {
            let found = db.tree.get(key(number)).map_err(told)?;
            if found.as_deref() != scanned.get(&key(number)).map(Vec::as_slice) {
                return Err(format!("key {number} reads {found:?}, a scan says otherwise"));
            }
        }
        Ok(scanned)
    }

    fn check(&self, db: &Db, fs: &SimFs) -> Result<(), String> {
        let report = db.tree.verify().map_err(told)?;
        if !report.is_clean() {
            return Err(format!("is damaged: {:?}", report.findings));
        }
        let names = |folder: &str| -> Vec<OsString> {
            match fs.read_dir(Path::new(folder)) {
                Ok(entries) => entries.into_iter().map(|entry| entry.name).collect(),
                Err(_) => Vec::new(),
            }
        };
        let is_stale = |folder: &str, name: &OsString| {
            let files = fs.files();
            let bytes = files.get(&Path::new(folder).join(name)).map(Vec::as_slice).unwrap_or_default();
            bytes.first() == Some(&fs.config().stale_pattern)
        };
        // A file that shows another file's bytes where its head should be is nobody's: it is left alone.
        let ours =
            |folder: &'static str| names(folder).into_iter().filter(move |name| !is_stale(folder, name));
        let files: Vec<OsString> = ours(TABLES).chain(ours(COLD_TABLES)).collect();
        let tables = db.tree.stats().tables();
        if files.len() != tables {
            return Err(format!("{files:?} lie there for {tables} tables"));
        }
        let (logs, stats) = (ours(BLOBS).count(), db.tree.stats().value_logs);
        if logs != stats.files {
            return Err(format!("{logs} files lie there for {} value logs", stats.files));
        }
        let left = names("/data/db/tmp");
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?} are left in tmp")) }
    }

    fn is_named_once(&self, path: &Path) -> bool {
        path.starts_with(TABLES) || path.starts_with(COLD_TABLES) || path.starts_with(BLOBS)
    }

    fn random_op(&self, dice: &mut Dice) -> Op {
        let len = |dice: &mut Dice| if dice.one_in(8) { dice.below(1_200) } else { dice.below(60) } as u16;
        match dice.below(25) {
            0..=5 => Op::Put(dice.below(KEYS), len(dice)),
            6..=7 => Op::Delete(dice.below(KEYS)),
            8..=9 => {
                let count = 1 + dice.below(5);
                let write = |_| (dice.below(KEYS), (!dice.one_in(3)).then(|| dice.below(60) as u16));
                Op::Batch((0..count).map(write).collect())
            }
            10..=12 => Op::Seal,
            13..=15 => Op::Flush,
            16..=17 => Op::Compact,
            18..=19 => Op::CompactAll,
            20 => Op::Reopen,
            23..=24 => Op::Slices,
            21 => {
                let count = dice.below(KEYS);
                Op::Ingest((0..count).map(|_| len(dice)).collect())
            }
            _ => Op::Close,
        }
    }

    fn alphabet(&self) -> Vec<Op> {
        let batch = Op::Batch(vec![(1, Some(700)), (2, None), (1, None), (3, Some(9))]);
        vec![
            Op::Put(1, 40),
            Op::Delete(1),
            batch,
            Op::Ingest(vec![40, 700, 9, 2_000]),
            Op::Seal,
            Op::Flush,
            Op::Compact,
            Op::CompactAll,
            Op::Slices,
            Op::Reopen,
            Op::Close,
        ]
    }
}
