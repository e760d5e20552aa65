//! Audited merges in trees.
#![allow(clippy::unwrap_used, reason = "a test should fail where it fails")]

use std::sync::{Arc, Mutex};

use lsm_compaction_executor::{
    Cancel, Checkpoint, CompactionFlavour, FlavourRun, Job, SegmentOutput, SegmentTask, Standard,
};
use lsm_compaction_planner::Major;
use lsm_engine::{CompactOptions, FlushOptions, Outcome, Reader, Tree, TreeOptions};
use lsm_fs::MemFs;
use lsm_merge_audit::{AuditLine, Audited, Verdict};
use lsm_types::{ErrorKind, Result, SeqNo};

/// A tree of three tables with ten keys each; the second overwrites five of the first, the third deletes one.
fn tree() -> Tree {
    let options = TreeOptions::new("/db").store(|store| store.fs(Arc::new(MemFs::new())));
    let tree = Tree::open(options.table_target_bytes(1)).unwrap();
    let mut seqno = (1..).map(|raw| SeqNo::new(raw).unwrap());
    for first in [0, 5, 20] {
        for number in first..first + 10 {
            tree.insert(format!("{number:02}"), "value", seqno.next().unwrap()).unwrap();
        }
        if first == 20 {
            tree.remove("00", seqno.next().unwrap()).unwrap();
        }
        tree.seal(None);
        tree.flush(&FlushOptions::default()).unwrap();
    }
    tree.set_gc_watermark(seqno.next().unwrap());
    tree
}

/// Options with `flavour` audited, and the lines it comes to.
fn audited(flavour: impl CompactionFlavour + 'static) -> (CompactOptions, Arc<Mutex<Vec<AuditLine>>>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let log = lines.clone();
    let audited = Audited::new(flavour, move |line: &AuditLine| log.lock().unwrap().push(line.clone()));
    (CompactOptions::default().flavour(Arc::new(audited)), lines)
}

#[test]
fn a_merge_leaves_a_line() {
    let (tree, (options, lines)) = (tree(), audited(Standard));
    // In several segments: they come to one line.
    let report = tree.compact(&Major::default(), &options.segment_min_bytes(0)).unwrap();
    assert_eq!((report.outcome, report.flavour), (Outcome::Merged, Some("audited")));
    assert_eq!(tree.count().unwrap(), 24);
    let lines = lines.lock().unwrap();
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((line.verdict, line.entries_in, line.entries_out), (Verdict::Written, 31, 24));
    // Five old versions, and the first key with its tombstone.
    assert_eq!((line.dropped.total(), line.dropped.shadowed, line.dropped.evicted), (7, 6, 1), "{line}");
    assert_eq!((line.inputs.len(), line.outputs.len()), (report.tables_in, report.tables_out));
    assert_eq!((line.bytes_in, line.bytes_out), (report.bytes_in, report.bytes_out));
    let text = line.to_string();
    assert!(
        text.starts_with("written: tables ")
            && text.ends_with("24 of 31 entries kept; dropped: 6 shadowed, 1 evicted"),
        "{text}"
    );
}

#[test]
fn what_is_given_up_is_told() {
    let cancel = Cancel::new();
    let (tree, (options, lines)) = (tree(), audited(Stopped(cancel.clone())));
    let error = tree.compact(&Major::default(), &options.cancel(cancel)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    let verdicts: Vec<_> = lines.lock().unwrap().iter().map(|line| line.verdict).collect();
    assert_eq!(verdicts, [Verdict::Abandoned]);
    assert_eq!(tree.count().unwrap(), 24);
}

/// What a faulty flavour writes does not get into the tree.
#[test]
fn tables_that_are_not_in_order_are_refused() {
    let (tree, (options, lines)) = (tree(), audited(Backwards));
    let before = tree.stats().tables();
    let error = tree.compact(&Major { target_bytes: 1 }, &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Bug);
    assert!(error.to_string().contains("does not lie behind"), "{error}");
    assert_eq!((tree.stats().tables(), tree.count().unwrap()), (before, 24));
    let verdicts: Vec<_> = lines.lock().unwrap().iter().map(|line| line.verdict).collect();
    assert_eq!(verdicts, [Verdict::Refused]);
    // The standard flavour is there for those that do not apply.
    let (options, lines) = audited(Never);
    let report = tree.compact(&Major::default(), &options).unwrap();
    assert_eq!((report.outcome, report.flavour), (Outcome::Merged, Some("standard")));
    assert_eq!(lines.lock().unwrap().len(), 0);
}

/// Gives the tables of a segment in the wrong order.
struct Backwards;

impl CompactionFlavour for Backwards {
    fn name(&self) -> &'static str {
        "backwards"
    }

    fn checkpoint(&self) -> Checkpoint {
        Standard.checkpoint()
    }

    fn applies(&self, job: &Job) -> Result<bool> {
        Standard.applies(job)
    }

    fn start(&self, job: &Arc<Job>) -> Result<Box<dyn FlavourRun>> {
        Ok(Box::new(BackwardsRun(Standard.start(job)?)))
    }
}

struct BackwardsRun(Box<dyn FlavourRun>);

impl FlavourRun for BackwardsRun {
    fn next_batch(&mut self) -> Result<Vec<Box<dyn SegmentTask>>> {
        let batch = self.0.next_batch()?.into_iter();
        Ok(batch.map(|task| Box::new(BackwardsTask(task)) as Box<dyn SegmentTask>).collect())
    }
}

struct BackwardsTask(Box<dyn SegmentTask>);

impl SegmentTask for BackwardsTask {
    fn run(self: Box<Self>) -> Result<SegmentOutput> {
        let mut output = self.0.run()?;
        output.tables.reverse();
        Ok(output)
    }
}

/// Is stopped when it has begun.
struct Stopped(Cancel);

impl CompactionFlavour for Stopped {
    fn name(&self) -> &'static str {
        "stopped"
    }

    fn checkpoint(&self) -> Checkpoint {
        Standard.checkpoint()
    }

    fn applies(&self, job: &Job) -> Result<bool> {
        Standard.applies(job)
    }

    fn start(&self, job: &Arc<Job>) -> Result<Box<dyn FlavourRun>> {
        self.0.cancel();
        Standard.start(job)
    }
}

/// Applies to nothing.
struct Never;

impl CompactionFlavour for Never {
    fn name(&self) -> &'static str {
        "never"
    }

    fn checkpoint(&self) -> Checkpoint {
        Checkpoint::Once
    }

    fn applies(&self, _: &Job) -> Result<bool> {
        Ok(false)
    }

    fn start(&self, job: &Arc<Job>) -> Result<Box<dyn FlavourRun>> {
        Standard.start(job)
    }
}
