//! A log of the caller's own beside the tree: power cuts at every moment, and what replaying the log makes of what is
//! left.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test should fail where it fails"
)]

mod common;

use std::{
    hash::{DefaultHasher, Hasher},
    path::Path,
    sync::Arc,
};

use common::{Pairs, at, contents, small_tables};
use lsm_compaction_planner::Leveled;
use lsm_engine::{
    CompactOptions, FlushOptions, Reader, Replayed, Token, Tree, TreeBatch, TreeOptions, WriteTicket,
};
use lsm_fs::{Fs, FsFile, OpenOptions, SyncLevel};
use lsm_testkit::{
    dice::Dice,
    operators::Join,
    oracle::History,
    sim::{FaultPlan, FaultRule, SimConfig, SimFs, Strategy},
};
use lsm_types::{IoKind, IoOp, KeyOrder, Kind, SeqNo, batch::BatchOp};

const LOG: &str = "/data/log";
/// Keys with history of all kinds, below those that are only ever put once before each weak delete.
const KEYS: u64 = 12;
const WEAK_KEYS: u64 = 3;

fn options(fs: &SimFs) -> TreeOptions {
    let fs: Arc<dyn Fs> = Arc::new(fs.clone());
    TreeOptions::new("/data/db")
        .store(|store| store.fs(fs).manifest_rotate_min(600).file_id_block(4))
        .tables(small_tables())
        .table_target_bytes(1_500)
        .merge_operator(Arc::new(Join::new(true)))
}

/// One record: the number of its first operation, and its operations.
#[derive(Clone, Debug)]
struct Record {
    base: SeqNo,
    batch: TreeBatch,
}

impl Record {
    fn end(&self) -> SeqNo {
        self.base.checked_add(self.batch.len() as u64).unwrap()
    }

    fn note(&self, history: &mut History) {
        for (seqno, op) in (self.base.get()..).map(at).zip(self.batch.operations()) {
            match op {
                BatchOp::Put { key, value } => history.put(key, seqno, value),
                BatchOp::Remove { key } => history.delete(key, seqno),
                BatchOp::RemoveWeak { key } => history.write(key, seqno, Kind::WeakTombstone, &[]),
                BatchOp::Merge { key, operand } => history.write(key, seqno, Kind::MergeOperand, operand),
                BatchOp::RemoveRange { lower, upper } => {
                    history.delete_range((lower, upper), seqno, &KeyOrder::bytewise());
                }
                other => panic!("{other:?} is not part of the workload"),
            }
        }
    }
}

fn history_of(records: &[Record]) -> History {
    let mut history = History::new().folding(Some(Arc::new(Join::new(true))));
    for record in records {
        record.note(&mut history);
    }
    history
}

fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// The reference log: records of length, digest, base and batch, each synced before it is applied.
struct Log {
    file: Arc<dyn FsFile>,
    records: Vec<Record>,
}

impl Log {
    fn create(fs: &SimFs) -> Self {
        fs.create_dir_all(Path::new("/data")).unwrap();
        fs.sync_dir(Path::new("/"), SyncLevel::Full).unwrap();
        let file = fs.open(Path::new(LOG), &OpenOptions::CREATE_NEW).unwrap();
        fs.sync_dir(Path::new("/data"), SyncLevel::Full).unwrap();
        Self { file, records: Vec::new() }
    }

    fn append(&mut self, record: Record) {
        let mut body = record.base.get().to_le_bytes().to_vec();
        record.batch.encode(&mut body);
        let mut bytes = (body.len() as u32).to_le_bytes().to_vec();
        bytes.extend(digest(&body).to_le_bytes());
        bytes.extend(body);
        self.file.append(&bytes).unwrap();
        self.file.sync(SyncLevel::Full).unwrap();
        self.records.push(record);
    }

    /// The records that are whole.
    fn read(fs: &SimFs) -> Vec<Record> {
        let files = fs.files();
        let mut bytes = files.get(Path::new(LOG)).map(Vec::as_slice).unwrap_or_default();
        let mut records = Vec::new();
        while let Some((head, rest)) = bytes.split_first_chunk::<12>() {
            let len = u32::from_le_bytes(head[..4].try_into().unwrap()) as usize;
            let Some((body, rest)) = rest.split_at_checked(len) else { break };
            if digest(body).to_le_bytes() != head[4..] || len < 8 {
                break;
            }
            let base = at(u64::from_le_bytes(body[..8].try_into().unwrap()));
            records.push(Record { base, batch: TreeBatch::decode(&body[8..]).unwrap() });
            bytes = rest;
        }
        records
    }
}

/// The position behind `count` records.
fn position(count: usize) -> Token {
    Token::new((count as u64).to_le_bytes().to_vec()).unwrap()
}

fn count_of(token: &Token) -> usize {
    u64::from_le_bytes(token.as_slice()[..].try_into().unwrap()) as usize
}

struct Workload {
    dice: Dice,
    next: u64,
    /// Whether a weak key holds its put.
    filled: [bool; WEAK_KEYS as usize],
}

impl Workload {
    fn record(&mut self) -> Record {
        let base = at(self.next);
        let mut batch = TreeBatch::new();
        let count = if self.dice.one_in(3) { 1 + self.dice.below(5) } else { 1 };
        for _ in 0..count {
            self.add(&mut batch);
        }
        self.next += batch.len() as u64;
        Record { base, batch }
    }

    fn add(&mut self, batch: &mut TreeBatch) {
        let key = |number: u64| format!("key-{number:02}");
        let number = self.dice.below(KEYS);
        let value = vec![b'a' + self.dice.below(26) as u8; 1 + self.dice.below(40) as usize];
        match self.dice.below(16) {
            0..=3 => batch.insert(key(number), value),
            4..=9 => batch.merge(key(number), &value[..1]),
            10..=11 => batch.remove(key(number)),
            12..=13 => batch.remove_range(key(number)..key(number + self.dice.below(5))),
            _ => {
                let weak = self.dice.index(WEAK_KEYS as usize);
                self.filled[weak] = !self.filled[weak];
                let key = format!("weak-{weak}");
                if self.filled[weak] { batch.insert(key, value) } else { batch.remove_weak(key) }
            }
        }
        .unwrap();
    }
}

/// Writes that are in the log and not in the tree yet.
type Late = Vec<(Record, WriteTicket)>;

fn land(tree: &Tree, late: &mut Late, which: usize) {
    let (record, ticket) = late.remove(which);
    assert_eq!(tree.apply(&record.batch, record.base).unwrap(), record.base..record.end());
    ticket.commit();
}

fn upkeep(tree: &Tree, dice: &mut Dice) {
    tree.set_gc_watermark(tree.applied_prefix());
    if dice.one_in(2) {
        let leveled = Leveled { l0_threshold: 2, table_target_bytes: 1_500, ..Leveled::default() };
        tree.compact(&leveled, &CompactOptions::default()).unwrap();
    } else {
        tree.major_compact(&CompactOptions::default()).unwrap();
    }
}

/// A run of `steps` steps: writes, some of which land long after later ones, seals with the log's position, flushes and
/// compactions that forget all they may.
fn run(seed: u64, steps: usize) -> SimFs {
    let fs = SimFs::new(SimConfig::default());
    let mut log = Log::create(&fs);
    let tree = Tree::open(options(&fs)).unwrap();
    let mut work = Workload { dice: Dice::new(seed), next: 1, filled: [false; WEAK_KEYS as usize] };
    let mut late = Late::new();
    for _ in 0..steps {
        match work.dice.below(12) {
            0..=6 => {
                let record = work.record();
                let ticket = tree.begin(record.base..record.end()).unwrap();
                log.append(record.clone());
                late.push((record, ticket));
                if !work.dice.one_in(6) {
                    let newest = late.len() - 1;
                    land(&tree, &mut late, newest);
                }
            }
            7..=8 if !late.is_empty() => {
                let which = work.dice.index(late.len());
                land(&tree, &mut late, which);
            }
            7..=9 => _ = tree.seal(Some(position(log.records.len()))),
            10 => {
                tree.seal(Some(position(log.records.len())));
                tree.set_gc_watermark(tree.applied_prefix());
                let report = tree.flush(&FlushOptions::default()).unwrap();
                let lowest = late.iter().map(|(record, _)| record.base).min();
                assert!(lowest.is_none_or(|lowest| report.durable_seqno <= lowest), "{lowest:?} {report:?}");
            }
            _ => upkeep(&tree, &mut work.dice),
        }
    }
    drop(tree);
    fs
}

/// How a caller brings a tree and its log together.
type Recover = fn(&Tree, &[Record]);

/// As the texts say: every record behind the token, once, in order.
fn replay(tree: &Tree, records: &[Record]) {
    let from = tree.recovered_token().as_ref().map_or(0, count_of);
    for (count, record) in (1..).zip(records).skip(from) {
        tree.replay(&record.batch, record.base, position(count)).unwrap();
    }
}

/// Replays with flushes and compactions in between.
fn replay_and_work(tree: &Tree, records: &[Record]) {
    let mut dice = Dice::new(records.len() as u64);
    let from = tree.recovered_token().as_ref().map_or(0, count_of);
    for (count, record) in (1..).zip(records).skip(from) {
        tree.replay(&record.batch, record.base, position(count)).unwrap();
        if dice.one_in(3) {
            tree.seal(None);
            tree.flush(&FlushOptions::default()).unwrap();
            upkeep(tree, &mut dice);
        }
    }
}

fn open_and(image: &SimFs, recover: Recover) -> (Tree, Vec<Record>) {
    let tree = Tree::open(options(image)).unwrap_or_else(|error| panic!("{error} ({error:?})"));
    let records = Log::read(image);
    recover(&tree, &records);
    (tree, records)
}

/// What the tree shows after a recovery, and what the log says it should.
fn recovered(image: &SimFs, recover: Recover) -> (Pairs, Pairs) {
    let (tree, records) = open_and(image, recover);
    let expected = history_of(&records).all(SeqNo::LATEST, &KeyOrder::bytewise());
    (contents(&tree).unwrap(), expected)
}

fn images(fs: &SimFs, step: usize) -> impl Iterator<Item = (String, SimFs)> {
    let images = fs.sweep(&Strategy::GATE).epochs(|_| 0);
    images.step_by(step).map(|(id, image)| (id.to_string(), image))
}

/// Proves D-127, D-128, D-129, E-117, E-19: a log and a tree, replayed from behind the recovered token, make the
/// uncrashed history, whatever moment the power went at, with writes under way, and after operands were folded. Fault:
/// durability W-18.
#[test]
fn a_log_gives_back_exactly_what_a_crash_took() {
    let (mut checked, mut trimmed, mut ahead) = (0, 0, 0);
    for seed in 0..4 {
        let fs = run(seed, 60);
        for (id, image) in images(&fs, 3) {
            checked += 1;
            let (tree, records) = open_and(&image, |tree, records| {
                assert!(tree.recovered_token().as_ref().map_or(0, count_of) <= records.len());
                replay(tree, records);
            });
            trimmed += usize::from(tree.recovered_token().is_some());
            let persisted = tree.persisted();
            ahead += usize::from(persisted.highest >= Some(persisted.watermark));
            let history = history_of(&records);
            let order = KeyOrder::bytewise();
            let end = records.last().map_or(SeqNo::ZERO, Record::end);
            assert_eq!(contents(&tree).unwrap(), history.all(SeqNo::LATEST, &order), "seed {seed}, {id}");
            let floor = tree.retention_floor().get();
            for bound in (floor + 1..=end.get()).step_by(5).map(at) {
                let view = tree.view_at(bound).unwrap();
                assert_eq!(
                    contents(&view).unwrap(),
                    history.all(bound, &order),
                    "seed {seed}, {id}, {bound}"
                );
            }
        }
    }
    let seen =
        format!("{checked} images, {trimmed} with a position, {ahead} with numbers above the watermark");
    assert!(checked > 300 && 2 * trimmed > checked && ahead > 30, "{seen}");
}

/// Proves D-129, E-117: operands are folded once through crashes while the log is replayed, flushed and compacted.
#[test]
fn crashes_during_recovery_apply_nothing_twice() {
    let mut checked = 0;
    let fs = run(7, 60);
    for (outer, image) in images(&fs, 61) {
        let (tree, records) = open_and(&image, replay_and_work);
        let expected = history_of(&records).all(SeqNo::LATEST, &KeyOrder::bytewise());
        assert_eq!(contents(&tree).unwrap(), expected, "{outer}");
        drop(tree);
        for (inner, nested) in images(&image, 17) {
            checked += 1;
            let (found, expected) = recovered(&nested, replay_and_work);
            assert_eq!(found, expected, "{inner} of {outer}");
        }
    }
    assert!(checked > 60, "only {checked} images");
}

/// What the sweep above has to catch: callers that do it wrong.
#[test]
fn wrong_recoveries_are_caught() {
    fn collapsing(tree: &Tree, records: &[Record]) {
        let from = tree.recovered_token().as_ref().map_or(0, count_of);
        for (count, record) in (1..).zip(records).skip(from) {
            let mut batch = TreeBatch::new();
            for op in record.batch.operations() {
                let op = match op {
                    BatchOp::Merge { key, operand } => BatchOp::Put { key, value: operand },
                    other => other,
                };
                batch.add(op).unwrap();
            }
            tree.replay(&batch, record.base, position(count)).unwrap();
        }
    }
    fn below_the_token(tree: &Tree, records: &[Record]) {
        let from = tree.recovered_token().as_ref().map_or(0, count_of);
        for record in records.iter().skip(from.saturating_sub(4)) {
            tree.apply(&record.batch, record.base).unwrap();
        }
    }
    fn by_the_maximum(tree: &Tree, records: &[Record]) {
        let highest = tree.persisted().highest;
        for record in records.iter().filter(|record| Some(record.base) > highest) {
            tree.apply(&record.batch, record.base).unwrap();
        }
    }
    fn not_at_all(_: &Tree, _: &[Record]) {}
    let runs: Vec<SimFs> = (0..3).map(|seed| run(seed, 60)).collect();
    let wrong: [(&str, Recover); 4] = [
        ("operations collapsed to puts", collapsing),
        ("applied from below the token", below_the_token),
        ("the highest number taken for a watermark", by_the_maximum),
        ("nothing replayed", not_at_all),
    ];
    for (name, recover) in wrong {
        let mut images = runs.iter().flat_map(|fs| images(fs, 11));
        let caught = images.any(|(_, image)| {
            let (found, expected) = recovered(&image, recover);
            found != expected
        });
        assert!(caught, "{name}: never caught");
    }
}

fn memory() -> (SimFs, Tree) {
    let fs = SimFs::new(SimConfig::default());
    let tree = Tree::open(options(&fs)).unwrap();
    (fs, tree)
}

fn flush(tree: &Tree) -> lsm_engine::FlushReport {
    tree.flush(&FlushOptions::default()).unwrap()
}

fn one(operand: &str) -> TreeBatch {
    let mut batch = TreeBatch::new();
    batch.merge("a", operand).unwrap();
    batch
}

/// Proves D-128, D-131, E-117: the watermark stops at a write that is under way, the log position waits for it, and both
/// catch up with the flush after it has landed.
#[test]
fn a_write_under_way_holds_watermark_and_token_back() {
    let (fs, tree) = memory();
    let late = tree.begin(at(1)..at(3)).unwrap();
    let quick = tree.begin(at(3)..at(4)).unwrap();
    tree.insert("quick", "x", at(3)).unwrap();
    quick.commit();
    assert_eq!(tree.applied_prefix(), at(1));
    let sealed = tree.seal(Some(position(2))).unwrap();
    assert_eq!(sealed.token, Some(position(2)));
    let report = flush(&tree);
    assert_eq!((report.durable_seqno, report.log_token), (at(1), None));
    assert_eq!(tree.persisted().highest, Some(at(3)));
    tree.insert("late", "x", at(1)).unwrap();
    tree.insert("late", "y", at(2)).unwrap();
    late.commit();
    assert_eq!(tree.applied_prefix(), at(4));
    tree.seal(None).unwrap();
    let report = flush(&tree);
    assert_eq!((report.durable_seqno, report.log_token), (at(4), Some(position(2))), "both have caught up");
    drop(tree);
    let tree = Tree::open(options(&fs)).unwrap();
    assert_eq!((tree.persisted().watermark, tree.recovered_token()), (at(4), Some(position(2))));
}

/// Proves D-128: a failed write keeps its ticket open; its record stays needed, and what is numbered above it is neither
/// called durable nor forgotten.
#[test]
fn a_write_that_failed_stays_in_the_log() {
    let (fs, tree) = memory();
    tree.merge("a", "x", at(1)).unwrap();
    tree.seal(Some(position(1)));
    flush(&tree);
    drop(tree.begin(at(2)..at(3)).unwrap());
    tree.merge("a", "z", at(3)).unwrap();
    tree.seal(Some(position(3)));
    tree.set_gc_watermark(at(4));
    let report = flush(&tree);
    assert_eq!((report.durable_seqno, report.log_token), (at(2), Some(position(1))));
    tree.major_compact(&CompactOptions::default()).unwrap();
    drop(tree);
    let tree = Tree::open(options(&fs)).unwrap();
    tree.replay(&one("y"), at(2), position(2)).unwrap();
    tree.replay(&one("z"), at(3), position(3)).unwrap();
    assert_eq!(tree.get("a").unwrap().unwrap(), b"x+y+z", "each once");
    tree.seal(None);
    let report = flush(&tree);
    assert_eq!((report.durable_seqno, report.log_token), (at(4), Some(position(3))));
}

/// Proves D-128: a flush forgets and folds nothing from the watermark on. The log lost its end with the power, after the
/// flush had made it durable; what is left of the log changes nothing when it comes again.
#[test]
fn a_flush_keeps_what_a_log_may_give_back() {
    let (fs, tree) = memory();
    tree.insert("a", "base", at(1)).unwrap();
    tree.seal(Some(position(1)));
    flush(&tree);
    drop(tree.begin(at(2)..at(3)).unwrap()); // a write that failed holds the watermark back
    tree.insert("b", "x", at(3)).unwrap();
    tree.remove("b", at(4)).unwrap();
    tree.merge("a", "y", at(5)).unwrap();
    tree.merge("a", "z", at(6)).unwrap();
    tree.seal(Some(position(6)));
    tree.set_gc_watermark(at(7));
    let report = flush(&tree);
    assert_eq!((report.durable_seqno, report.log_token), (at(2), Some(position(1))));
    drop(tree);
    let tree = Tree::open(options(&fs)).unwrap();
    let replay = |number: usize, batch: &TreeBatch| {
        let replayed = tree.replay(batch, at(number as u64), position(number)).unwrap();
        assert_eq!(replayed.applied, 1, "{number}");
    };
    let mut put = TreeBatch::new();
    put.insert("b", "x").unwrap();
    replay(3, &put);
    assert_eq!(tree.get("b").unwrap(), None, "it was removed");
    replay(5, &one("y"));
    assert_eq!(tree.get("a").unwrap().unwrap(), b"base+y+z", "each once");
}

/// Proves E-117: what is below the watermark is passed over, operation by operation, and reported.
#[test]
fn replay_reports_what_it_passes_over() {
    let (fs, tree) = memory();
    tree.apply(&one("1"), at(1)).unwrap();
    tree.seal(Some(position(1)));
    flush(&tree);
    tree.close().unwrap();
    let tree = Tree::open(options(&fs)).unwrap();
    let mut batch = one("1");
    batch.merge("a", "2").unwrap().remove_range("x".."y").unwrap();
    assert_eq!(tree.replay(&one("1"), at(1), position(1)).unwrap(), Replayed { applied: 0, skipped: 1 });
    assert_eq!(tree.replay(&batch, at(1), position(2)).unwrap(), Replayed { applied: 2, skipped: 1 });
    assert_eq!(tree.replay(&TreeBatch::new(), at(4), position(3)).unwrap(), Replayed::default());
    assert_eq!(tree.get("a").unwrap().unwrap(), b"1+2");
    assert!(tree.replay(&batch, SeqNo::MAX_WRITE, position(4)).is_err());
    assert_eq!(tree.seal(None).unwrap().token, Some(position(3)), "a refused record is not replayed");
}

/// Proves D-128, D-130: neither forgetting numbers and tombstones nor deleting all takes the watermark back, and no
/// install of the tree's own takes a number.
#[test]
fn nothing_takes_the_watermark_back() {
    let (fs, tree) = memory();
    for number in 1..=9 {
        tree.insert(format!("key-{number}"), "x", at(number)).unwrap();
    }
    tree.remove_range("key-5".., at(10)).unwrap();
    tree.remove("key-1", at(11)).unwrap();
    tree.seal(Some(position(11)));
    flush(&tree);
    tree.set_gc_watermark(at(12));
    let unchanged = |what: &str, tree: &Tree| {
        assert_eq!(tree.highest_seqno(), Some(at(11)), "{what}");
        assert_eq!(
            (tree.persisted().watermark, tree.recovered_token()),
            (at(12), Some(position(11))),
            "{what}"
        );
        assert_eq!(tree.persisted().highest, Some(at(11)), "{what}");
    };
    unchanged("flush", &tree);
    tree.major_compact(&CompactOptions::default()).unwrap();
    assert_eq!(tree.view().approximate_len(), 3, "tombstones are gone");
    unchanged("compaction", &tree);
    assert_eq!(flush(&tree).memtables, 0);
    tree.close().unwrap();
    let tree = Tree::open(options(&fs)).unwrap();
    unchanged("reopening", &tree);
    tree.drop_range("key-2"..="key-3", at(12)).unwrap();
    tree.clear(at(13)).unwrap();
    assert_eq!((tree.stats().tables(), tree.recovered_token()), (0, Some(position(11))));
    assert_eq!(tree.persisted().watermark, at(14));
    tree.close().unwrap();
    let tree = Tree::open(options(&fs)).unwrap();
    assert_eq!((tree.persisted().watermark, tree.view().before()), (at(14), at(14)));
}

/// Proves D-131: a flush that failed holds back the one after it; together they advance the watermark.
#[test]
fn a_failed_flush_advances_nothing() {
    let (fs, tree) = memory();
    tree.insert("a", "x", at(1)).unwrap();
    tree.seal(Some(position(1)));
    fs.set_faults(FaultPlan::new().with(FaultRule::fail(IoKind::Other).on(IoOp::Sync).from(0)));
    tree.flush(&FlushOptions::default()).unwrap_err();
    assert_eq!((tree.persisted().watermark, tree.recovered_token()), (SeqNo::ZERO, None));
    fs.set_faults(FaultPlan::new());
    tree.insert("b", "x", at(2)).unwrap();
    tree.seal(Some(position(2)));
    let report = flush(&tree);
    assert_eq!((report.memtables, report.durable_seqno, report.log_token), (2, at(3), Some(position(2))));
}

/// Numbers that cannot be drawn any more, or not at all.
#[test]
fn tickets_are_checked() {
    let (_fs, tree) = memory();
    assert!(tree.begin(at(3)..at(3)).is_err());
    assert!(tree.begin(SeqNo::LATEST..SeqNo::LATEST).is_err());
    tree.insert("a", "x", at(5)).unwrap();
    tree.seal(None);
    flush(&tree);
    assert!(tree.begin(at(5)..at(6)).is_err(), "called durable");
    tree.set_gc_watermark(at(9));
    assert!(tree.begin(at(8)..at(9)).is_err(), "below the watermark of readers");
    let ticket = tree.begin(at(9)..at(12)).unwrap();
    assert_eq!(ticket.numbers(), at(9)..at(12));
    ticket.commit();
    assert_eq!(tree.applied_prefix(), at(6), "as far as something was written");
}
