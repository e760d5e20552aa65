//! A disk that fills: which writes are refused and which are not, that a flush always lands, and that nothing has to be
//! opened again when there is room.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test should fail where it fails")]

mod common;
#[path = "common/wrap.rs"]
mod wrap;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use common::{at, flush, small_tables};
use lsm_compaction_planner::Leveled;
use lsm_engine::{
    CompactOptions, FlushOptions, IngestOptions, Pressure, PressureLimits, Ramp, Reader, SpaceOptions,
    SpaceStatus, Store, StoreOptions, Token, Tree, TreeBatch, TreeOptions,
};
use lsm_fs::{Fs, MemFs, OpenOptions};
use lsm_testkit::dice::Dice;
use lsm_types::{Clock, Error, ErrorKind, SeqNo, TreeId, UnixNanos};
use wrap::{Control, WrapFs};

const MIB: u64 = 1 << 20;
const SECOND: u64 = 1_000_000_000;

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
struct Hands(AtomicU64);

impl Hands {
    fn move_on(&self, nanos: u64) {
        self.0.fetch_add(nanos, Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn now(&self) -> UnixNanos {
        UnixNanos::new(self.0.load(Ordering::SeqCst))
    }

    fn monotonic_nanos(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

struct World {
    store: Store,
    tree: Tree,
    clock: Arc<Hands>,
    next: u64,
    expected: BTreeMap<Vec<u8>, Vec<u8>>,
    dice: Dice,
    keys: u64,
}

impl World {
    fn new(fs: Arc<dyn Fs>, space: SpaceOptions) -> Self {
        let clock = Arc::new(Hands::default());
        let options = StoreOptions::new("/db").fs(fs).clock(clock.clone()).space(space);
        let store = Store::open(options).unwrap();
        let options = TreeOptions::in_store(StoreOptions::new("/db"))
            .tables(small_tables())
            .table_target_bytes(2 << 20);
        let tree = store.tree(TreeId::new(1), &options).unwrap();
        Self { store, tree, clock, next: 1, expected: BTreeMap::new(), dice: Dice::new(5), keys: 2_000 }
    }

    fn seqno(&mut self) -> SeqNo {
        self.next += 1;
        at(self.next - 1)
    }

    /// Puts bytes that do not compress.
    fn put(&mut self, len: usize) -> Result<(), Error> {
        let key = format!("{:04}", self.dice.roll() % self.keys).into_bytes();
        let value: Vec<u8> = (0..len).map(|_| self.dice.roll() as u8).collect();
        let seqno = self.seqno();
        self.tree.insert(&key, &value, seqno)?;
        self.expected.insert(key, value);
        Ok(())
    }

    /// Puts until that is refused; how many.
    fn fill(&mut self) -> u64 {
        let mut puts = 0;
        for len in [4_000, 0] {
            while puts < 10_000 {
                match self.put(len) {
                    Ok(()) => puts += 1,
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
                        break;
                    }
                }
            }
        }
        puts
    }

    fn compact(&self) -> Result<(), Error> {
        let strategy = Leveled { l0_threshold: 2, table_target_bytes: 2 << 20, ..Leveled::default() };
        self.tree.set_gc_watermark(at(self.next));
        while self.tree.compact(&strategy, &CompactOptions::default())?.did_work() {}
        Ok(())
    }

    #[track_caller]
    fn check(&self) {
        let found: BTreeMap<Vec<u8>, Vec<u8>> = self
            .tree
            .iter()
            .pairs()
            .map(|pair| pair.unwrap())
            .map(|(key, value)| (key.to_vec(), value.to_vec()))
            .collect();
        assert!(found == self.expected, "{} entries instead of {}", found.len(), self.expected.len());
    }
}

fn gated() -> SpaceOptions {
    SpaceOptions::default().writes(true)
}

/// A file of another program.
struct Foreign<'a>(&'a MemFs);

impl Foreign<'_> {
    /// Takes all but so many bytes.
    fn leave(&self, bytes: u64) {
        self.remove();
        let free = self.0.available_space(Path::new("/")).unwrap().unwrap();
        let file = self.0.open(Path::new("/foreign"), &OpenOptions::REPLACE).unwrap();
        let mut left = free.saturating_sub(bytes);
        while left > 0 {
            let part = left.min(MIB);
            file.append(&vec![1; part as usize]).unwrap();
            left -= part;
        }
    }

    fn remove(&self) {
        if self.0.exists(Path::new("/foreign")).unwrap() {
            self.0.remove_file(Path::new("/foreign")).unwrap();
        }
    }
}

/// Proves E-184, D-122: off, nothing is refused; on, values and operands are refused when what they need passes the
/// limit, reads and flushes are not, and a higher limit clears it at once.
/// Fault: engine W-20.
#[test]
fn a_limit_refuses_values_until_it_is_raised() {
    let mut world = World::new(Arc::new(MemFs::new()), SpaceOptions::default().limit_bytes(Some(1)));
    world.put(100).unwrap();
    world.store.set_space(gated().limit_bytes(Some(12 * MIB)));
    let puts = world.fill();
    assert!((1_000..3_000).contains(&puts), "{puts}");
    assert_eq!(world.store.space().status, SpaceStatus::ReadOnlyOutOfSpace);
    let seqno = world.seqno();
    let merge = world.tree.merge("0000", "x", seqno).unwrap_err();
    assert_eq!(merge.kind(), ErrorKind::StorageFull);
    assert!(merge.to_string().contains("raise the limit"), "{merge}");
    assert_eq!(world.tree.ingest(IngestOptions::at(at(1))).unwrap_err().kind(), ErrorKind::StorageFull);
    world.check();
    flush(&world.tree);
    assert!(world.store.space().used_bytes <= 12 * MIB, "the flush was reckoned with");
    world.store.set_space(gated().limit_bytes(Some(24 * MIB)));
    world.put(1_000).unwrap();
    assert_ne!(world.store.space().status, SpaceStatus::ReadOnlyOutOfSpace);
    world.store.set_space(SpaceOptions::default().limit_bytes(Some(1)));
    world.put(1_000).unwrap();
    world.check();
}

/// Proves E-186: deletes of all kinds pass where values do not, and with them a full store becomes one that has room,
/// without being opened again.
#[test]
fn deletes_may_use_the_reserve() {
    let mut world = World::new(Arc::new(MemFs::new()), gated().limit_bytes(Some(12 * MIB)));
    world.fill();
    let seqno = world.seqno();
    let mut mixed = TreeBatch::new();
    mixed.remove("0001").unwrap().insert("0002", "value").unwrap();
    assert_eq!(world.tree.apply(&mixed, seqno).unwrap_err().kind(), ErrorKind::StorageFull);
    let seqno = at(world.next + 10);
    assert_eq!(world.tree.apply_shared(&mixed, seqno).unwrap_err().kind(), ErrorKind::StorageFull);
    let mut deletes = TreeBatch::new();
    deletes.remove("0001").unwrap().remove_range("0002".."0010").unwrap();
    world.tree.apply(&deletes, at(world.next)).unwrap();
    world.next += 20;
    let (first, second, third) = (world.seqno(), world.seqno(), world.seqno());
    world.tree.remove("0011", first).unwrap();
    world.tree.remove_range("0012".."1000", second).unwrap();
    world.tree.remove_prefix("11", third).unwrap();
    world.expected.retain(|key, _| {
        let gone = [b"0001".as_slice(), b"0011"].contains(&key.as_slice());
        !gone
            && !(b"0002".as_slice()..b"0010").contains(&key.as_slice())
            && !(b"0012".as_slice()..b"1000").contains(&key.as_slice())
            && !key.starts_with(b"11")
    });
    world.check();
    flush(&world.tree);
    world.compact().unwrap();
    world.put(1_000).unwrap();
    world.check();
}

/// Proves E-184: a log that is replayed was acknowledged, and is not refused.
#[test]
fn replay_is_not_refused() {
    let mut world = World::new(Arc::new(MemFs::new()), gated().limit_bytes(Some(12 * MIB)));
    world.fill();
    let mut batch = TreeBatch::new();
    batch.insert("replayed", "value").unwrap();
    let (seqno, token) = (world.seqno(), Token::new([7; 8]).unwrap());
    world.tree.replay(&batch, seqno, token).unwrap();
    assert_eq!(world.tree.get("replayed").unwrap().unwrap(), b"value");
}

/// Proves E-185, D-122: free bytes are asked for at most once a second, whoever writes; when another program gives room
/// back it is seen then, and a volume that cannot say is no reason to refuse.
#[test]
fn free_bytes_are_asked_for_once_a_second() {
    let memory = MemFs::with_capacity(612 * MIB);
    let control = Arc::new(Control::default());
    let fs = WrapFs { inner: Arc::new(memory.clone()), control: control.clone() };
    let mut world = World::new(Arc::new(fs), gated());
    world.put(1_000).unwrap();
    Foreign(&memory).leave(3 * MIB);
    world.clock.move_on(SECOND);
    let asked = control.probes();
    assert!(world.fill() > 100);
    for _ in 0..100 {
        world.put(1_000).unwrap_err();
    }
    assert_eq!(control.probes() - asked, 1);
    Foreign(&memory).remove();
    world.put(1_000).unwrap_err();
    world.clock.move_on(SECOND);
    world.put(1_000).unwrap();
    assert_eq!(control.probes() - asked, 2);

    let blind = WrapFs { inner: Arc::new(memory.clone()), control: Arc::new(Control::blind()) };
    drop(world);
    let mut world = World::new(Arc::new(blind), gated());
    Foreign(&memory).leave(0);
    world.put(1_000).unwrap();
}

/// Proves D-124: on a full disk the ballast pays for one more flush and for the edit of a merge that gives room back, and
/// is laid down again when there is room.
#[test]
fn ballast_pays_for_a_flush() {
    let memory = MemFs::with_capacity(612 * MIB);
    let mut world = World::new(Arc::new(memory.clone()), SpaceOptions::default());
    for _ in 0..500 {
        world.put(1_000).unwrap();
    }
    Foreign(&memory).leave(0);
    world.tree.seal(None);
    assert_eq!(world.tree.flush(&FlushOptions::default()).unwrap_err().kind(), ErrorKind::NoSpace);
    Foreign(&memory).remove();
    world.store.set_space(SpaceOptions::default().ballast_bytes(2 * MIB));
    assert_eq!(world.store.space().ballast_bytes, 2 * MIB);
    Foreign(&memory).leave(0);
    assert_eq!(world.tree.flush(&FlushOptions::default()).unwrap().memtables, 1);
    assert_eq!(world.store.space().ballast_bytes, 0);
    world.check();
    world.put(10).unwrap();
    Foreign(&memory).remove();
    flush(&world.tree);
    assert_eq!(world.store.space().ballast_bytes, 2 * MIB);
    // An edit finds room, too: a page of the manifest is full after some of them.
    Foreign(&memory).leave(0);
    let options = TreeOptions::in_store(StoreOptions::new("/db"));
    for tree in 2..100 {
        world.store.tree(TreeId::new(tree), &options).unwrap();
    }
    assert_eq!(world.store.space().ballast_bytes, 0);
    let seqno = world.seqno();
    world.tree.clear(seqno).unwrap();
    assert_eq!(world.tree.count().unwrap(), 0);
    world.store.set_space(SpaceOptions::default());
    assert_eq!(world.store.space().ballast_bytes, 0);
    assert!(!memory.exists(Path::new("/db/BALLAST")).unwrap());
}

/// Proves D-124: what lies in the directory already is counted at open, and what is not wanted goes.
#[test]
fn ballast_is_found_again() {
    let memory = MemFs::new();
    let open = |bytes| {
        Store::open(
            StoreOptions::new("/db")
                .fs(Arc::new(memory.clone()))
                .space(SpaceOptions::default().ballast_bytes(bytes)),
        )
        .unwrap()
    };
    for (bytes, held) in [(MIB, MIB), (MIB, MIB), (2 * MIB, 2 * MIB), (0, 0)] {
        assert_eq!(open(bytes).space().ballast_bytes, held);
        assert_eq!(memory.exists(Path::new("/db/BALLAST")).unwrap(), held > 0);
    }
}

/// Proves E-187, D-124: another program fills the disk at any moment, again and again. No flush is lost, nothing that was
/// taken is, and within a second of room coming back writes pass, in the same open store.
#[test]
fn a_disk_that_others_fill() {
    let memory = MemFs::with_capacity(12 * MIB);
    let space = gated().ballast_bytes(2 * MIB).admission(true);
    let mut world = World::new(Arc::new(memory.clone()), space);
    world.keys = 200;
    let mut refused = 0;
    for round in 0..200_u64 {
        let left = [0, 100_000, MIB, 3 * MIB][world.dice.index(4)];
        let fill_at = world.dice.index(60);
        for step in 0..60 {
            if step == fill_at {
                Foreign(&memory).leave(left);
                world.clock.move_on(SECOND / 2);
            }
            match world.put(500) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
        world.tree.seal(None);
        // What the gate let pass finds room, in the reserve or in the ballast; a merge runs, is put off, or fails.
        world.tree.flush(&FlushOptions::default()).unwrap();
        if let Err(error) = world.compact() {
            assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
        }
        if round.is_multiple_of(20) {
            world.check();
        }
        Foreign(&memory).remove();
        world.clock.move_on(SECOND);
        world.put(500).unwrap();
        flush(&world.tree);
        world.compact().unwrap();
    }
    world.check();
    assert!(refused > 100, "{refused}");
    assert_eq!(world.store.space().ballast_bytes, 2 * MIB);
    assert!(memory.read_dir(Path::new("/db/tmp")).unwrap().is_empty());
}

/// Proves E-182, E-184: writers are slowed when what is left for them is less than a tenth of the reserve, more and more, and told to
/// stop where writes are refused; a higher limit clears it at once, and who is not gated is not slowed.
#[test]
fn writers_slow_down_before_they_are_refused() {
    let mut world = World::new(Arc::new(MemFs::new()), gated().limit_bytes(Some(12 * MIB)));
    let limits = PressureLimits { room: Some(Ramp::ROOM), ..PressureLimits::default() };
    let strategy = Leveled::default();
    let mut told = vec![world.tree.pressure(&limits, &strategy)];
    let mut puts = 0_u64;
    while world.put(1_000).is_ok() {
        puts += 1;
        told.push(world.tree.pressure(&limits, &strategy));
    }
    while world.put(0).is_ok() {}
    told.push(world.tree.pressure(&limits, &strategy));
    assert!(puts > 1_000 && told.is_sorted(), "{puts}");
    let slowed = told.iter().filter(|advice| matches!(advice, Pressure::Slowdown { .. })).count();
    assert!(told[0] == Pressure::None && slowed > 20, "{slowed} of {puts}");
    assert!(told[told.len() - 1] > Pressure::Slowdown { delay: limits.max_delay * 9 / 10 });
    assert_eq!(world.tree.pressure(&PressureLimits::default(), &strategy), Pressure::None);
    world.store.set_space(gated().limit_bytes(Some(24 * MIB)));
    assert_eq!(world.tree.pressure(&limits, &strategy), Pressure::None);
    world.store.set_space(SpaceOptions::default().limit_bytes(Some(1)));
    assert_eq!(world.tree.pressure(&limits, &strategy), Pressure::None);
    world.check();
}

/// Proves E-182, D-126: the figures of a tree, and what comes of them.
#[test]
fn pressure_of_a_tree() {
    let mut world = World::new(Arc::new(MemFs::new()), SpaceOptions::default());
    let strategy = Leveled { l0_threshold: 2, table_target_bytes: 2 << 20, ..Leveled::default() };
    for _ in 0..6 {
        let seqno = world.seqno();
        world.tree.insert("key", "value", seqno).unwrap();
        flush(&world.tree);
    }
    let ramp = |slow, stop| Some(Ramp { slow, stop });
    let runs = PressureLimits { l0_runs: ramp(4, 8), ..PressureLimits::default() };
    assert_eq!(world.tree.pressure_figures(&strategy).l0_runs, 6);
    let delay = runs.max_delay / 2;
    assert_eq!(world.tree.pressure(&runs, &strategy), Pressure::Slowdown { delay });
    let debt = PressureLimits { debt_bytes: ramp(0, 1), ..PressureLimits::default() };
    assert_eq!(world.tree.pressure(&debt, &strategy), Pressure::Stop);
    world.compact().unwrap();
    assert_eq!(world.tree.pressure(&debt, &strategy), Pressure::None);
    world.put(1_000).unwrap();
    let sealed = PressureLimits { sealed_bytes: ramp(0, 1), ..PressureLimits::default() };
    assert_eq!(world.tree.pressure(&sealed, &strategy), Pressure::None, "active is not sealed");
    world.tree.seal(None);
    assert_eq!(world.tree.pressure(&sealed, &strategy), Pressure::Stop);
    let count = PressureLimits { sealed_memtables: ramp(0, 1), ..PressureLimits::default() };
    assert_eq!(world.tree.pressure(&count, &strategy), Pressure::Stop);
    flush(&world.tree);
    assert_eq!(world.tree.pressure(&count, &strategy), Pressure::None);
}
