//! The standard flavour: entries are written through.
//!
//! It applies to every merge and is the last in the list. A segment reads its stretch of all inputs as one merged stream,
//! drops what no reader needs, and writes the rest into new tables; all are installed at once when the last segment is
//! through. Range tombstones are parted where segments meet. A crash before that leaves files that no version names, which the next open removes.

use std::sync::Arc;

use lsm_compaction_planner::Cutter;
use lsm_iter::{FilterStage, KeyContext, Merge, Survivors};
use lsm_table::{MultiWriter, ReadMode, RunCursor};
use lsm_types::{Cut, EntryCursor, FilterContext, RangeTombstone, Result, SeqNo, TombstoneIndex};

use crate::{
    Checkpoint, CompactionFlavour, Deletes, DropCounts, FlavourRun, Job, Outside, SegmentFilter,
    SegmentOutput, SegmentTask, Stoppable, StreamControl,
    job::Unread,
    lender::Share,
    relocation::{Ahead, Copier},
    split::{KeyStretch, stretches},
    stream::{write_entries, write_survivors},
    until::Until,
    values::PacedValues,
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

    fn start(&self, job: &Arc<Job>) -> Result<Box<dyn FlavourRun>> {
        begin(job, Values::Stay)
    }
}

/// What becomes of separated values that are not dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Values {
    /// They stay where they are.
    Stay,
    /// Those in value logs that the job rewrites are copied.
    Move,
}

/// Cuts the job into segments.
pub(crate) fn begin(job: &Arc<Job>, values: Values) -> Result<Box<dyn FlavourRun>> {
    let (stretches, inputs) = (stretches(job)?, Arc::new(job.input_tombstones()?));
    // Made once: all segments look at the same.
    let cover = Arc::new(TombstoneIndex::new([&**inputs, &*job.tombstones].concat(), job.order.clone()));
    let lender = job.parallelism.lender(stretches.len());
    let segment = |stretch| Segment {
        job: job.clone(),
        values,
        stretch,
        inputs: inputs.clone(),
        cover: cover.clone(),
        share: lender.as_ref().map(Share::new),
    };
    Ok(Box::new(Run { batch: stretches.into_iter().map(segment).collect() }))
}

struct Run {
    batch: Vec<Segment>,
}

impl FlavourRun for Run {
    fn next_batch(&mut self) -> Result<Vec<Box<dyn SegmentTask>>> {
        let batch = std::mem::take(&mut self.batch);
        Ok(batch.into_iter().map(|segment| Box::new(segment) as Box<dyn SegmentTask>).collect())
    }
}

struct Segment {
    job: Arc<Job>,
    values: Values,
    stretch: KeyStretch,
    /// Range tombstones of the inputs.
    inputs: Arc<Vec<RangeTombstone>>,
    /// These, and those of tables outside that reach keys of the job.
    cover: Arc<TombstoneIndex>,
    /// Lends its writer a thread; let go of when the segment is through.
    share: Option<Share>,
}

impl Segment {
    /// What of range tombstones lies in the stretch.
    fn part_of(&self, whole: &[RangeTombstone]) -> Vec<RangeTombstone> {
        let start = self.stretch.start.clone().map_or(Cut::Start, Cut::Before);
        let end = self.stretch.end.clone().map_or(Cut::End, Cut::Before);
        whole.iter().filter_map(|tombstone| tombstone.clip(&start, &end, &self.job.order)).collect()
    }
}

impl SegmentTask for Segment {
    fn run(self: Box<Self>) -> Result<SegmentOutput> {
        let (job, order) = (&*self.job, &self.job.order);
        let mut deletes = {
            let gather = job.outside.clone();
            Deletes::collect(self.part_of(&self.inputs), job.retention.watermark(), move || gather(), order)
        };
        let (runs, unread) = job.runs_to_read(&self.stretch, &self.cover);
        let throttle = job.throttle();
        let sources = runs.into_iter().map(|tables| {
            RunCursor::new(tables, order.clone(), ReadMode::COMPACTION).throttled(throttle.clone())
        });
        let mut merge = Merge::new(order.clone(), sources);
        match &self.stretch.start {
            Some(key) => merge.seek(key, SeqNo::LATEST)?,
            None => merge.seek_first()?,
        }
        let stream = Until::new(merge, self.stretch.end.clone(), order.clone());
        let stream = Stoppable::new(stream, &job.cancel);
        let gather = job.outside.clone();
        let outside = Outside::new(move || gather(), self.cover.clone(), order.clone());
        let survivors = Survivors::new(stream, job.retention.clone(), outside, DropCounts::default());
        let values = job.values.clone().map(|values| PacedValues::new(values, job.throttle()) as _);
        let survivors = survivors.folding(job.operator.clone()).fetching(values);
        let Some(filter) = &job.filter else {
            return Ok(write((job, self.values, self.share.as_ref()), survivors, &mut deletes, &unread)?.0);
        };
        let context = FilterContext::new(job.output.dest, job.level_count);
        let filter = SegmentFilter::new(filter.factory.as_ref(), &context);
        let survivors = survivors.filtered_by(filter);
        let (output, filter) =
            write((job, self.values, self.share.as_ref()), survivors, &mut deletes, &unread)?;
        Ok(SegmentOutput { filter: Some(filter), ..output })
    }
}

/// Writes what survives; gives back the filter.
fn write<C: EntryCursor, K: KeyContext, F: FilterStage>(
    (job, values, share): (&Job, Values, Option<&Share>),
    mut survivors: Survivors<C, K, DropCounts, F>,
    deletes: &mut Deletes,
    unread: &Unread,
) -> Result<(SegmentOutput, F)> {
    let mut writer = MultiWriter::new(&job.env, job.output.canonical, job.level_count)
        .dest(job.output.dest)
        .replacing(job.input_ids())
        .throttled(job.throttle())
        .separating(job.vlogs.as_ref())
        .helped_by(share.map(Share::threads));
    let mut cutter = Cutter::new(&job.output, &job.order);
    let control = StreamControl { cancel: &job.cancel, failpoints: job.failpoints.as_ref() };
    let (entries, copier) = match (&job.relocation, &job.vlogs) {
        (Some(relocation), Some(env)) if values == Values::Move => {
            let copier = Copier::new(relocation, env, job.throttle(), job.failpoints.as_ref());
            let mut ahead = Ahead::new(&mut survivors, copier);
            let entries = write_entries(&mut ahead, &mut writer, &mut cutter, deletes, control)?;
            (entries, Some(ahead.into_copier()))
        }
        _ => (write_survivors(&mut survivors, &mut writer, &mut cutter, deletes, control)?, None),
    };
    job.failpoints.hit("segment.seal")?;
    let (tables, mut vlogs) = writer.finish()?;
    let (moved, relocated) = copier.map(Copier::finish).transpose()?.unwrap_or_default();
    vlogs.extend(moved);
    job.failpoints.hit("sync.file")?;
    let floor = survivors.floor().max(deletes.floor()).max(unread.floor);
    let altered = survivors.altered().max(deletes.altered());
    let filtered = survivors.filtered();
    let (folds_failed, weak_mismatches) = (survivors.folds_failed(), survivors.weak_mismatches());
    let (_, _, mut dropped, filter) = survivors.into_parts();
    dropped.range_deleted += unread.entries;
    let output = SegmentOutput {
        tables,
        vlogs,
        relocated,
        entries,
        dropped,
        folds_failed,
        weak_mismatches,
        floor,
        altered,
        filtered,
        filter: None,
    };
    Ok((output, filter))
}
