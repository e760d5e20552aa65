//! Power cuts at every moment of a workload with range deletes, drops, purges and clears, and everything a disk may
//! have kept of it.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test should fail where it fails")]

mod common;

use std::{ops::Bound, path::Path, sync::Arc};

use common::{InPlace, at, layouts::texts, small_tables};
use lsm_compaction_planner::{Leveled, VlogPicker};
use lsm_engine::{
    ColumnLayout, CompactOptions, DeleteStrategy, FlushOptions, Outcome, Reader, RelocationOptions, Tree,
    TreeOptions, VlogPolicy,
};
use lsm_fs::Fs;
use lsm_testkit::{
    oracle::History,
    sim::{SimConfig, SimFs, Strategy},
};
use lsm_types::{IoKind, KeyOrder, Level, SeqNo};

/// A flush that returned: how long the trace was then, and the bound below which every write is durable.
#[derive(Clone, Copy, Debug)]
struct Durable {
    point: usize,
    bound: SeqNo,
}

/// Where values are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Values {
    Beside,
    /// Apart from their keys, of whatever length, and copied by every merge.
    Apart,
    /// In columns below level 0, and what is dead is marked.
    Mixed,
}

const MARKING: [DeleteStrategy; 1] = [DeleteStrategy::MergeOnRead];

struct Run {
    values: Values,
    fs: SimFs,
    history: History,
    /// Ends of successful flushes; the first stands for the empty database.
    durable: Vec<Durable>,
    /// When opening the new database returned.
    opened: usize,
}

fn options(values: Values, fs: &SimFs) -> TreeOptions {
    let fs: Arc<dyn Fs> = Arc::new(fs.clone());
    let options = TreeOptions::new("/data/db")
        .store(|store| store.fs(fs).manifest_rotate_min(600).file_id_block(4))
        .tables(small_tables())
        .table_target_bytes(1_500);
    match values {
        Values::Beside => options,
        Values::Mixed => {
            let layout = ColumnLayout::ColumnarFrom(Level::new(1));
            options.columns(texts().layout(layout)).delete_strategies(MARKING)
        }
        Values::Apart => options
            .separation(VlogPolicy { thresholds: vec![1], target_bytes: 1_500, ..VlogPolicy::default() })
            .relocation(RelocationOptions { picker: VlogPicker::ALWAYS, ..RelocationOptions::default() }),
    }
}

/// A small generator, so that a failure repeats.
fn roll(state: &mut u64, below: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % below
}

fn key(number: u64) -> Vec<u8> {
    format!("key-{number:03}").into_bytes()
}

fn workload(values: Values, rounds: u64, seed: u64) -> Run {
    let fs = SimFs::new(SimConfig::default());
    let mut dice = seed;
    let mut history = History::new();
    let mut next = 1;
    let tree = Tree::open(options(values, &fs)).unwrap();
    let opened = fs.len();
    let mut durable = vec![Durable { point: opened, bound: at(next) }];
    let leveled = Leveled { l0_threshold: 2, table_target_bytes: 1_500, ..Leveled::default() };
    let order = KeyOrder::bytewise();
    for round in 0..rounds {
        for _ in 0..12 {
            let (number, seqno) = (roll(&mut dice, 40), at(next));
            next += 1;
            let fate = roll(&mut dice, 16);
            if fate == 0 {
                let other = number + roll(&mut dice, 8);
                tree.remove_range(key(number)..key(other), seqno).unwrap();
                let bounds = (key(number), key(other));
                let bounds = (Bound::Included(bounds.0.as_slice()), Bound::Excluded(bounds.1.as_slice()));
                history.delete_range(bounds, seqno, &order);
            } else if fate < 4 {
                tree.remove(key(number), seqno).unwrap();
                history.delete(&key(number), seqno);
            } else {
                let value = vec![b'a' + (round % 26) as u8; roll(&mut dice, 90) as usize];
                tree.insert(key(number), &value, seqno).unwrap();
                history.put(&key(number), seqno, &value);
            }
        }
        tree.seal(None);
        tree.flush(&FlushOptions::default()).unwrap();
        durable.push(Durable { point: fs.len(), bound: at(next) });
        tree.set_gc_watermark(at(next));
        if round % 3 == 1 {
            tree.compact(&leveled, &CompactOptions::default()).unwrap();
        }
        if round % 5 == 4 {
            tree.major_compact(&CompactOptions::default()).unwrap();
        }
    }
    if values == Values::Mixed {
        // What one delete has killed is marked, and what another one has killed is marked beside it.
        tree.major_compact(&CompactOptions::default()).unwrap();
        for from in [3, 12] {
            tree.remove_range(key(from)..key(from + 14), at(next)).unwrap();
            let bounds = (key(from), key(from + 14));
            let bounds = (Bound::Included(bounds.0.as_slice()), Bound::Excluded(bounds.1.as_slice()));
            history.delete_range(bounds, at(next), &order);
            next += 1;
            tree.seal(None);
            tree.flush(&FlushOptions::default()).unwrap();
            durable.push(Durable { point: fs.len(), bound: at(next) });
            tree.set_gc_watermark(at(next));
            let marked = tree.compact(&InPlace(1_500), &CompactOptions::default()).unwrap();
            assert_eq!(marked.outcome, Outcome::Masked);
        }
    }
    // Deletes that free space at once: of a range, wider than its tables; of a range with its history; of all, twice.
    for step in 0..4 {
        let (lower, upper) = (key(5 * step), key(5 * step + 13));
        let inner = (Bound::Included(lower.as_slice()), Bound::Excluded(upper.as_slice()));
        let bounds = if step < 2 { inner } else { (Bound::Unbounded, Bound::Unbounded) };
        match step {
            0 => tree.drop_range::<&[u8]>(bounds, at(next)).unwrap(),
            1 => tree.purge_range::<&[u8]>(bounds, at(next)).unwrap(),
            _ => tree.clear(at(next)).unwrap(),
        }
        history.delete_range(bounds, at(next), &order);
        durable.push(Durable { point: fs.len(), bound: at(next + 1) });
        next += 4;
        for number in 0..20 {
            tree.insert(key(number), [7; 60], at(next)).unwrap();
            history.put(&key(number), at(next), &[7; 60]);
            next += 1;
        }
        tree.seal(None);
        tree.flush(&FlushOptions::default()).unwrap();
        durable.push(Durable { point: fs.len(), bound: at(next) });
    }
    // What is newer than the clear is durable with it.
    tree.insert("newer", "x", at(next + 9)).unwrap();
    history.put(b"newer", at(next + 9), b"x");
    tree.clear(at(next)).unwrap();
    history.delete_range((Bound::Unbounded, Bound::Unbounded), at(next), &order);
    durable.push(Durable { point: fs.len(), bound: at(next + 10) });
    tree.close().unwrap();
    Run { values, fs, history, durable, opened }
}

/// What an image holds has to be exactly what some flush made durable: the last one that returned before the crash,
/// or the one that was under way.
fn check_image(run: &Run, point: usize, image: &SimFs, go_on: bool) -> Result<(), String> {
    let order = KeyOrder::bytewise();
    let opened = Tree::open(options(run.values, image));
    let tree = match opened {
        Ok(tree) => tree,
        Err(error) => return Err(format!("does not open: {error} ({error:?})")),
    };
    let contents: Vec<_> = tree
        .iter()
        .pairs()
        .map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())))
        .collect::<Result<_, _>>()
        .map_err(|error| format!("does not read: {error}"))?;
    let acknowledged = run.durable.iter().rposition(|flush| flush.point <= point).unwrap_or(0);
    let legal = run.durable.iter().skip(acknowledged).take(2);
    if !legal.clone().any(|flush| run.history.all(flush.bound, &order) == contents) {
        let states: Vec<_> = run
            .durable
            .iter()
            .filter(|flush| run.history.all(flush.bound, &order) == contents)
            .map(|flush| flush.bound)
            .collect();
        let legal: Vec<_> = legal.map(|flush| flush.bound).collect();
        return Err(format!("holds the state at {states:?}, legal are {legal:?}"));
    }
    let report = tree.verify().map_err(|error| error.to_string())?;
    if !report.is_clean() {
        return Err(format!("is damaged: {:?}", report.findings));
    }
    no_orphans(&tree, image)?;
    if go_on {
        let next = run.durable.last().map_or(SeqNo::ZERO, |flush| flush.bound);
        tree.insert("after", "crash", next).map_err(|error| error.to_string())?;
        tree.seal(None);
        tree.flush(&FlushOptions::default()).map_err(|error| format!("does not go on: {error}"))?;
        tree.major_compact(&CompactOptions::default()).map_err(|error| format!("does not go on: {error}"))?;
        tree.close().map_err(|error| error.to_string())?;
        let tree = Tree::open(options(run.values, image))
            .map_err(|error| format!("does not open again: {error}"))?;
        let count = tree.count().map_err(|error| error.to_string())?;
        if count != contents.len() as u64 + 1 {
            return Err(format!("{count} entries after going on, {} before", contents.len()));
        }
    }
    Ok(())
}

/// Every file among the tables and the value logs is one that the tree names.
fn no_orphans(tree: &Tree, fs: &SimFs) -> Result<(), String> {
    let stats = tree.stats();
    let vectors: usize = stats.levels.iter().map(|level| level.vectors).sum();
    for (folder, known) in [("tables", stats.tables() + vectors), ("blobs", stats.value_logs.files)] {
        let folder = Path::new("/data/db").join(folder);
        let files = match fs.read_dir(&folder) {
            Ok(files) => files.len(),
            Err(error) if error.kind == IoKind::NotFound => 0,
            Err(error) => return Err(error.to_string()),
        };
        if files != known {
            return Err(format!("{files} files in {} for {known}", folder.display()));
        }
    }
    Ok(())
}

#[track_caller]
fn check_workload(values: Values, rounds: u64, seed: u64, strategy: &Strategy) {
    let run = workload(values, rounds, seed);
    let points: Vec<usize> = run.durable.iter().map(|flush| flush.point).collect();
    let epoch = move |point: usize| points.partition_point(|end| *end <= point) as u64;
    let mut images = 0_u64;
    for (id, image) in run.fs.sweep(strategy).epochs(epoch) {
        images += 1;
        let point = id.point;
        if let Err(problem) = check_image(&run, point, &image, images.is_multiple_of(16)) {
            let trace: Vec<_> = run.fs.trace().iter().take(point).rev().take(12).rev().cloned().collect();
            panic!("image {id} after opening at {}: {problem}\nlast events: {trace:#?}", run.opened);
        }
    }
    assert!(images > 200, "only {images} images");
}

/// Proves D-39, D-93, E-128, E-129, I-2.
#[test]
fn every_image_of_a_power_cut_opens_with_what_a_flush_made_durable() {
    check_workload(Values::Beside, 7, 1, &Strategy::GATE);
}

/// Proves D-39, F-132, I-2: tables of rows and of columns, and dead rows that are marked, one delete after the other.
#[test]
fn columns_and_delete_vectors_are_part_of_every_image() {
    check_workload(Values::Mixed, 4, 6, &Strategy::GATE);
}

/// Proves D-82, D-83.
#[test]
fn value_logs_are_part_of_every_image() {
    check_workload(Values::Apart, 4, 3, &Strategy::GATE);
}

/// Proves D-47.
#[test]
fn a_crash_while_recovering_changes_nothing() {
    for (values, rounds) in [(Values::Beside, 3), (Values::Apart, 2)] {
        check_recoveries(values, rounds);
    }
}

#[track_caller]
fn check_recoveries(values: Values, rounds: u64) {
    let run = workload(values, rounds, 2);
    let mut checked = 0;
    for (outer, image) in run.fs.sweep(&Strategy::GATE).step_by(23) {
        drop(Tree::open(options(values, &image)).unwrap());
        for (inner, nested) in image.sweep(&Strategy::GATE).step_by(3) {
            checked += 1;
            if let Err(problem) = check_image(&run, outer.point, &nested, false) {
                panic!("{values:?}: image {inner} of image {outer}: {problem}");
            }
        }
    }
    assert!(checked > 100, "{values:?}: only {checked} images");
}
