//! Compactions keep to a rate, and stop where they stand, waiting or not.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a test should fail where it fails"
)]

mod common;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

use common::{at, small_tables};
use lsm_engine::{
    Cancel, CompactOptions, CompactionReport, FlushOptions, Outcome, Pause, RateLimiter, Reader,
    RelocationOptions, Store, StoreOptions, Tree, TreeOptions, VlogPicker, VlogPolicy,
};
use lsm_fs::{Fs, MemFs};
use lsm_testkit::dice::Dice;
use lsm_types::{Clock, ErrorKind, TreeId, UnixNanos};
use parking_lot::Mutex;

const S: u64 = 1_000_000_000;

/// Time that passes when somebody waits, and calls back when somebody looks at it or waits.
#[derive(Default)]
struct Time {
    now: AtomicU64,
    /// Whether time stands still, so that who waits waits for ever.
    is_frozen: bool,
    looks: AtomicU64,
    /// Raised when time is looked at for the so manieth time.
    stop: Option<(u64, Cancel)>,
    /// Told when somebody waits.
    waits: Mutex<Option<mpsc::Sender<()>>>,
}

impl Time {
    fn seconds(&self) -> f64 {
        self.now.load(Ordering::SeqCst) as f64 / S as f64
    }
}

impl Clock for Time {
    fn now(&self) -> UnixNanos {
        UnixNanos::new(self.now.load(Ordering::SeqCst))
    }

    fn monotonic_nanos(&self) -> u64 {
        let looks = self.looks.fetch_add(1, Ordering::SeqCst);
        if let Some((at, cancel)) = &self.stop
            && looks == *at
        {
            cancel.cancel();
        }
        self.now.load(Ordering::SeqCst)
    }
}

impl Pause for Time {
    fn pause(&self, nanos: u64) {
        if let Some(waits) = self.waits.lock().take() {
            let _ = waits.send(());
        }
        if self.is_frozen {
            thread::yield_now();
        } else {
            self.now.fetch_add(nanos, Ordering::SeqCst);
        }
    }
}

fn limiter(time: &Arc<Time>, rate: u64) -> Arc<RateLimiter> {
    Arc::new(RateLimiter::new(time.clone(), rate).pausing(time.clone()))
}

fn store(memory: &Arc<MemFs>, limiter: &Arc<RateLimiter>) -> StoreOptions {
    let options = StoreOptions::new("/db").fs(memory.clone()).compaction_threads(3);
    options.compaction_limiter(limiter.clone())
}

fn tree_options(store: StoreOptions) -> TreeOptions {
    TreeOptions::in_store(store).tables(small_tables()).table_target_bytes(20_000)
}

/// Bytes of a value.
const VALUE: usize = 100;

/// Two runs that overlap, each of `count` keys, with values that no codec makes smaller.
fn fill(tree: &Tree, next: &mut u64, count: u64) {
    let mut dice = Dice::new(*next);
    for round in 0..2 {
        for number in 0..count {
            let value: Vec<u8> = std::iter::repeat_with(|| dice.roll() as u8).take(VALUE).collect();
            tree.insert(format!("key-{:05}", number * 2 + round), value, at(*next)).unwrap();
            *next += 1;
        }
        tree.seal(None);
        tree.flush(&FlushOptions::default()).unwrap();
    }
}

/// What was asked for is between these two: the values, and with them keys, indexes and what each table has besides.
fn asked(reports: &[CompactionReport]) -> (f64, f64) {
    let values = |one: &CompactionReport| (one.entries_in + one.entries_out) as f64 * VALUE as f64;
    let least: f64 = reports.iter().map(values).sum();
    let tables: usize = reports.iter().map(|one| one.tables_in + one.tables_out).sum();
    (least, least * 2.0 + tables as f64 * 6_000.0)
}

fn contents(tree: &Tree) -> Vec<(Vec<u8>, Vec<u8>)> {
    tree.iter().pairs().map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap()).collect()
}

/// Proves C-157: one burst in all, not one per job; what is read and what is written counts, as it is stored; flushes
/// and reads do not wait.
/// Fault: compaction W-25.
#[test]
fn jobs_in_a_row_keep_to_the_rate_together() {
    let (time, memory) = (Arc::new(Time::default()), Arc::new(MemFs::new()));
    let rate = 20_000;
    let tree = Tree::open(tree_options(store(&memory, &limiter(&time, rate)))).unwrap();
    let (mut next, mut reports) = (0, Vec::new());
    for _ in 0..5 {
        let before = time.seconds();
        fill(&tree, &mut next, 150);
        assert!(!contents(&tree).is_empty());
        assert!((time.seconds() - before).abs() < 1e-9, "flushes and reads do not wait");
        reports.push(tree.major_compact(&CompactOptions::default()).unwrap());
    }
    let (least, most) = asked(&reports);
    assert!(least > 3.0 * rate as f64, "too little to tell: {least}");
    assert!(most < 6.0 * least, "too little per table to tell");
    let share = |bytes: f64| bytes / rate as f64 - 1.0;
    let passed = time.seconds();
    assert!(share(least) <= passed && passed <= share(most), "{least} to {most} bytes in {passed} s");
}

/// Proves C-157: jobs at the same time, of several trees and in several segments, share one rate. It may be changed at
/// any time.
#[test]
fn jobs_at_the_same_time_share_the_rate() {
    let (time, memory) = (Arc::new(Time::default()), Arc::new(MemFs::new()));
    let limiter = limiter(&time, 30_000);
    let store = Store::open(store(&memory, &limiter)).unwrap();
    let options = tree_options(StoreOptions::new("/db"));
    let trees: Vec<Tree> = (0..2).map(|id| store.tree(TreeId::new(id), &options).unwrap()).collect();
    for tree in &trees {
        fill(tree, &mut 0, 800);
    }
    let how = CompactOptions::default().segment_min_bytes(2_000);
    let reports: Vec<CompactionReport> = thread::scope(|scope| {
        let jobs: Vec<_> =
            trees.iter().map(|tree| scope.spawn(|| tree.major_compact(&how).unwrap())).collect();
        jobs.into_iter().map(|job| job.join().unwrap()).collect()
    });
    assert!(reports.iter().all(|report| report.segments == 3), "{reports:?}");
    let (least, passed) = (asked(&reports).0, time.seconds());
    assert!(passed >= least / 30_000.0 - 1.0, "{least} bytes in {passed} s");
    // Without a limit no time passes.
    store.compaction_limiter().set_rate(0);
    for tree in &trees {
        fill(tree, &mut 2_000, 100);
        assert_eq!(tree.major_compact(&how).unwrap().outcome, Outcome::Merged);
    }
    assert!((time.seconds() - passed).abs() < 1e-9);
}

/// Proves C-113, D-88: values that get another place are read and written at the rate, too.
#[test]
fn relocated_values_keep_to_the_rate() {
    let (time, memory) = (Arc::new(Time::default()), Arc::new(MemFs::new()));
    let rate = 10_000;
    let policy = VlogPolicy { thresholds: vec![1], ..VlogPolicy::default() };
    let options = tree_options(store(&memory, &limiter(&time, rate))).separation(policy);
    let relocation = RelocationOptions { picker: VlogPicker::ALWAYS, ..RelocationOptions::default() };
    let tree = Tree::open(options.relocation(relocation)).unwrap();
    fill(&tree, &mut 0, 300);
    let report = tree.major_compact(&CompactOptions::default()).unwrap();
    assert_eq!(report.values_relocated, 600);
    let copied = 2.0 * report.value_bytes_relocated as f64;
    let tables = (report.bytes_in + report.bytes_out) as f64;
    assert!(copied > 4.0 * rate as f64, "too little to tell: {copied}");
    let passed = time.seconds();
    let (least, most) = (copied / rate as f64 - 1.0, (copied + tables) / rate as f64);
    assert!(least <= passed && passed <= most, "{passed} s for {copied} bytes of values");
}

/// Stopped before every block that it reads and every piece that it writes, in turn.
#[track_caller]
fn stops_everywhere(how: &CompactOptions) {
    let mut stops = 0;
    for stop_at in (0..).step_by(5) {
        let cancel = Cancel::new();
        let time = Arc::new(Time { stop: Some((stop_at, cancel.clone())), ..Time::default() });
        let memory = Arc::new(MemFs::new());
        let limiter = limiter(&time, 1_000);
        let tree = Tree::open(tree_options(store(&memory, &limiter))).unwrap();
        fill(&tree, &mut 0, 60);
        let (before, levels) = (contents(&tree), tree.stats().levels);
        let outcome = tree.major_compact(&how.clone().cancel(cancel));
        let files = memory.read_dir(Path::new("/db/tables")).unwrap().len();
        assert_eq!(contents(&tree), before, "stop {stop_at}");
        assert_eq!(files, tree.stats().tables(), "stop {stop_at} leaves files");
        match outcome {
            Err(error) => {
                stops += 1;
                assert_eq!(error.kind(), ErrorKind::Cancelled);
                assert_eq!(tree.stats().levels, levels, "stop {stop_at}");
            }
            Ok(_) if time.looks.load(Ordering::SeqCst) <= stop_at => break,
            // Stopped after its last block.
            Ok(report) => assert_eq!(report.outcome, Outcome::Merged),
        }
        limiter.set_rate(0);
        assert_eq!(tree.major_compact(&CompactOptions::default()).unwrap().outcome, Outcome::Merged);
        assert_eq!(contents(&tree), before, "stop {stop_at}");
    }
    assert!(stops > 10, "{stops} stops");
}

/// Proves C-158, C-159, C-160: whoever waits for the limiter, or is about to, hears of a stop, rolls back, and can be
/// repeated.
#[test]
fn a_throttled_job_stops_wherever_it_stands() {
    stops_everywhere(&CompactOptions::default());
    stops_everywhere(&CompactOptions::default().segment_min_bytes(2_000));
}

/// A job that waits for ever, until `stop` is called.
fn stopped_while_waiting(stop: impl FnOnce(&Store, Tree, &Cancel) + Send) {
    let (sender, waits) = mpsc::channel();
    let time = Arc::new(Time { is_frozen: true, waits: Mutex::new(Some(sender)), ..Time::default() });
    let memory = Arc::new(MemFs::new());
    let store = Store::open(store(&memory, &limiter(&time, 1))).unwrap();
    let options = tree_options(StoreOptions::new("/db"));
    let tree = store.tree(TreeId::new(0), &options).unwrap();
    fill(&tree, &mut 0, 200);
    let tables = tree.stats().tables();
    let cancel = Cancel::new();
    let how = CompactOptions::default().cancel(cancel.clone());
    let runs = tree.clone();
    thread::scope(|scope| {
        let job = scope.spawn(move || runs.major_compact(&how));
        waits.recv().unwrap();
        stop(&store, tree, &cancel);
        assert_eq!(job.join().unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
    });
    assert_eq!(memory.read_dir(Path::new("/db/tables")).unwrap().len(), tables, "files are left");
}

/// Proves C-158, C-160: a job that waits for its turn ends with its own flag, with its tree and with its store.
#[test]
fn a_job_that_waits_ends_with_its_tree() {
    stopped_while_waiting(|_, _, cancel| cancel.cancel());
    stopped_while_waiting(|_, tree, _| tree.close().unwrap());
    stopped_while_waiting(|store, _, _| store.close().unwrap());
}

/// Proves C-159, C-160: a job whose flag is up before it begins plans nothing.
#[test]
fn a_stop_before_the_start_is_heard() {
    let time = Arc::new(Time::default());
    let tree = Tree::open(tree_options(store(&Arc::new(MemFs::new()), &limiter(&time, 0)))).unwrap();
    fill(&tree, &mut 0, 10);
    let cancel = Cancel::new();
    cancel.cancel();
    let error = tree.major_compact(&CompactOptions::default().cancel(cancel)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}
