//! The standard flavour: entries are written through.
//!
//! It applies to every merge and is the last in the list. One segment reads all inputs as one merged stream,
//! drops what no reader needs, and writes the rest into new tables; they are installed at once when the stream is
//! through. A crash before that leaves files that no version names, which the next open removes.

use lsm_compaction_planner::Cutter;
use lsm_iter::{Merge, Survivors};
use lsm_table::{MultiWriter, ReadMode, RunCursor};
use lsm_types::{EntryCursor, Result, TombstoneIndex};

use crate::{
    Checkpoint, CompactionFlavour, Deletes, DropCounts, FlavourRun, Job, Outside, SegmentOutput, SegmentTask,
    StreamControl, stream::write_survivors,
};

/// Writes entries through.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standard;

impl CompactionFlavour for Standard {
    fn name(&self) -> &'static str {
        "standard"
    }

    fn checkpoint(&self) -> Checkpoint {
        Checkpoint::Once
    }

    fn applies(&self, _: &Job) -> Result<bool> {
        Ok(true)
    }

    fn start<'j>(&self, job: &'j Job) -> Result<Box<dyn FlavourRun + 'j>> {
        Ok(Box::new(Run { job, started: false }))
    }
}

struct Run<'j> {
    job: &'j Job,
    started: bool,
}

impl FlavourRun for Run<'_> {
    fn next_batch(&mut self) -> Result<Vec<Box<dyn SegmentTask + '_>>> {
        if std::mem::replace(&mut self.started, true) {
            return Ok(Vec::new());
        }
        Ok(vec![Box::new(Whole { job: self.job })])
    }
}

struct Whole<'j> {
    job: &'j Job,
}

impl SegmentTask for Whole<'_> {
    fn run(self: Box<Self>) -> Result<SegmentOutput> {
        let job = self.job;
        let inputs = job.input_tombstones()?;
        let cover = TombstoneIndex::new([&*inputs, &*job.tombstones].concat(), job.order.clone());
        let mut deletes = {
            let gather = job.outside.clone();
            Deletes::collect(inputs, job.retention.watermark(), move || gather(), &job.order)
        };
        let (runs, unread) = job.runs_to_read(&cover);
        let sources =
            runs.into_iter().map(|tables| RunCursor::new(tables, job.order.clone(), ReadMode::COMPACTION));
        let mut merge = Merge::new(job.order.clone(), sources);
        merge.seek_first()?;
        let gather = job.outside.clone();
        let outside = Outside::new(move || gather(), cover, job.order.clone());
        let survivors = Survivors::new(merge, job.retention.clone(), outside, DropCounts::default());
        let mut survivors = survivors.folding(job.operator.clone());
        let mut writer = MultiWriter::new(&job.env, job.output.canonical, job.level_count)
            .dest(job.output.dest)
            .replacing(job.input_ids());
        let mut cutter = Cutter::new(&job.output, &job.order);
        let control = StreamControl { cancel: &job.cancel, failpoints: job.failpoints.as_ref() };
        let entries = write_survivors(&mut survivors, &mut writer, &mut cutter, &mut deletes, control)?;
        job.failpoints.hit("segment.seal")?;
        let tables = writer.finish()?;
        job.failpoints.hit("sync.file")?;
        let floor = survivors.floor().max(deletes.floor()).max(unread.floor);
        let (folds_failed, weak_mismatches) = (survivors.folds_failed(), survivors.weak_mismatches());
        let (_, _, mut dropped) = survivors.into_parts();
        dropped.range_deleted += unread.entries;
        Ok(SegmentOutput { tables, entries, dropped, folds_failed, weak_mismatches, floor })
    }
}
