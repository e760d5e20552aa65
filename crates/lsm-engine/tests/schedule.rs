//! Writers, flushes, compactions and a reader take turns as a seed says, and the power fails at any moment.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test should fail where it fails")]
#![allow(clippy::cast_possible_truncation, reason = "numbers of a test are small")]

mod common;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use common::{at, small_tables};
use lsm_compaction_planner::Leveled;
use lsm_engine::{
    BlockCache, CompactOptions, DescriptorCache, ExecutorError, Failpoints, FlushOptions, Reader, Tree,
    TreeOptions,
};
use lsm_fs::Fs;
use lsm_testkit::{
    dice::Dice,
    oracle::History,
    ports::{SeededRandom, TestClock},
    schedule::{Policy, Schedule, Work},
    sim::{Choice, SimFs, Strategy},
};
use lsm_types::{KeyOrder, SeqNo, Slice};

const WRITERS: u64 = 2;
const WRITES: u64 = 40;

/// Lets others go at every step of a job.
struct Steps(Schedule);

impl Failpoints for Steps {
    fn hit(&self, _point: &'static str) -> Result<(), ExecutorError> {
        self.0.yield_now();
        Ok(())
    }
}

/// A flush: the trace when it began and when it was done, and the bound of what it made durable.
#[derive(Clone, Copy, Debug)]
struct Flushed {
    start: usize,
    end: usize,
    bound: SeqNo,
}

struct World {
    fs: SimFs,
    schedule: Schedule,
    tree: Tree,
    random: Arc<SeededRandom>,
    next: AtomicU64,
    history: Mutex<History>,
    flushed: Mutex<Vec<Flushed>>,
    writing: AtomicU64,
}

fn options(fs: &SimFs, random: &Arc<SeededRandom>) -> TreeOptions {
    let fs: Arc<dyn Fs> = Arc::new(fs.clone());
    TreeOptions::new("/db")
        .store(|store| {
            store
                .fs(fs)
                .manifest_rotate_min(600)
                .file_id_block(2)
                .cache(BlockCache::new(1 << 16))
                .descriptors(DescriptorCache::new(16))
                .clock(Arc::new(TestClock::new()))
                .random(random.clone())
        })
        .tables(small_tables())
        .table_target_bytes(1_000)
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn contents(reader: &impl Reader) -> Pairs {
    let owned = |(key, value): (Slice, Slice)| (key.to_vec(), value.to_vec());
    reader.iter().pairs().map(|pair| owned(pair.unwrap())).collect()
}

impl World {
    fn new(seed: u64, policy: Policy) -> Self {
        let fs = SimFs::default();
        let random = Arc::new(SeededRandom::new(seed));
        let tree = Tree::open(options(&fs, &random)).unwrap();
        let opened = Flushed { start: 0, end: fs.len(), bound: at(1) };
        Self {
            schedule: Schedule::new(seed, policy),
            tree,
            fs,
            random,
            next: AtomicU64::new(1),
            history: Mutex::default(),
            flushed: Mutex::new(vec![opened]),
            writing: AtomicU64::new(WRITERS),
        }
    }

    /// Nobody else goes between drawing the number and the end of the write.
    fn write(&self, writer: u64, seed: u64) {
        let mut dice = Dice::new(seed ^ writer << 32);
        for _ in 0..WRITES {
            let key = format!("w{writer}-{:02}", dice.below(15));
            let seqno = at(self.next.fetch_add(1, Ordering::Relaxed));
            if dice.one_in(4) {
                self.tree.remove(&key, seqno).unwrap();
                self.history.lock().unwrap().delete(key.as_bytes(), seqno);
            } else {
                let value = vec![b'a' + dice.below(26) as u8; dice.below(200) as usize];
                self.tree.insert(&key, &value, seqno).unwrap();
                self.history.lock().unwrap().put(key.as_bytes(), seqno, &value);
            }
            self.schedule.yield_now();
            let expected =
                self.history.lock().unwrap().get(key.as_bytes(), SeqNo::LATEST).map(<[u8]>::to_vec);
            assert_eq!(self.tree.get(&key).unwrap().as_deref(), expected.as_deref(), "{key}");
        }
        self.writing.fetch_sub(1, Ordering::Relaxed);
    }

    fn is_busy(&self) -> bool {
        self.writing.load(Ordering::Relaxed) > 0
    }

    fn flush(&self) {
        loop {
            let last = !self.is_busy();
            let bound = at(self.next.load(Ordering::Relaxed));
            self.tree.seal(None);
            let start = self.fs.len();
            self.flushed.lock().unwrap().push(Flushed { start, end: usize::MAX, bound });
            self.tree.flush(&FlushOptions::default()).unwrap();
            self.flushed.lock().unwrap().last_mut().unwrap().end = self.fs.len();
            self.schedule.yield_now();
            if last {
                return;
            }
        }
    }

    fn compact(&self) {
        let failpoints: Arc<dyn Failpoints> = Arc::new(Steps(self.schedule.clone()));
        let leveled = Leveled { l0_threshold: 2, table_target_bytes: 1_000, ..Leveled::default() };
        while self.is_busy() {
            self.tree.set_gc_watermark(at(self.next.load(Ordering::Relaxed)));
            self.tree.compact_with(&leveled, &CompactOptions::default(), &failpoints).unwrap();
            self.schedule.yield_now();
        }
    }

    /// A view stays as it was when it was taken, whatever the others do between two looks at it.
    fn read(&self) {
        while self.is_busy() {
            let view = self.tree.view();
            let expected = self.history.lock().unwrap().all(view.before(), &KeyOrder::bytewise());
            for _ in 0..3 {
                assert_eq!(contents(&view), expected, "view at {:?}", view.before());
                self.schedule.yield_now();
            }
        }
    }

    fn run(&self, seed: u64) {
        let (first, second): (Work<'_>, Work<'_>) =
            (Box::new(move || self.write(0, seed)), Box::new(move || self.write(1, seed)));
        let tasks: Vec<(&str, Work<'_>)> = vec![
            ("writer", first),
            ("writer", second),
            ("flush", Box::new(|| self.flush())),
            ("compact", Box::new(|| self.compact())),
            ("read", Box::new(|| self.read())),
        ];
        self.schedule.run(&self.fs, tasks);
    }

    /// An image holds what a flush made durable: the last one that was done, or the one under way.
    fn check(&self, point: usize, image: &SimFs) {
        let flushed = self.flushed.lock().unwrap();
        let done = flushed.iter().rposition(|flush| flush.end <= point).unwrap_or(0);
        let legal = flushed
            .iter()
            .enumerate()
            .filter(|(number, flush)| *number == done || (*number > done && flush.start <= point));
        let history = self.history.lock().unwrap();
        let order = KeyOrder::bytewise();
        let states: Vec<Pairs> = legal.map(|(_, flush)| history.all(flush.bound, &order)).collect();
        let tree = Tree::open(options(image, &self.random)).unwrap();
        let found = contents(&tree);
        assert!(states.contains(&found), "{found:?} is none of {states:?}");
        assert!(tree.verify().unwrap().is_clean());
    }
}

fn policy(seed: u64) -> Policy {
    match seed % 3 {
        0 => Policy::Random,
        1 => Policy::Priorities(3),
        _ => Policy::RoundRobin,
    }
}

/// Says which seed it was when a test fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("schedule: seed {} failed", self.0);
        }
    }
}

fn check_seed(seed: u64, points: u64) {
    let _told = Seed(seed);
    let world = World::new(seed, policy(seed));
    world.run(seed);
    let mut dice = Dice::new(seed);
    for _ in 0..points {
        let point = dice.index(world.fs.len() + 1);
        let random = [0; 2].map(|_| Choice::Random(dice.roll()));
        for choice in [Choice::Floor, Choice::Ceiling].into_iter().chain(random) {
            world.check(point, &world.fs.image(point, choice));
        }
    }
    let last = world.fs.len();
    world.fs.images(last, &Strategy::GATE).for_each(|(_, image)| world.check(last, &image));
}

/// Proves D-64.
#[test]
fn whoever_goes_first_nothing_is_lost_and_views_stand_still() {
    for seed in 0..12 {
        check_seed(seed, 12);
    }
}
