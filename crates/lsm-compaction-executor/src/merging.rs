//! The merged entries of the inputs of a job, written on from where the last stretch of keys ended.

use std::sync::Arc;

use lsm_compaction_planner::Cutter;
use lsm_iter::{FilterStage, KeyContext, Merge, Survivors};
use lsm_table::{MultiWriter, ReadMode, RunCursor, Table};
use lsm_types::{
    Cut, EntryCursor, FilterContext, RangeTombstone, Result, SeqNo, Slice, TableId, TombstoneIndex,
};

use crate::{
    Deletes, DropCounts, Job, Outside, SegmentFilter, SegmentOutput, Stoppable, StreamControl,
    job::Unread,
    lender::Share,
    relocation::{Ahead, Copier},
    split::KeyStretch,
    stream::write_entries,
    until::Until,
    values::PacedValues,
};

type Stream = Until<Merge<RunCursor<Vec<Table>>>>;

/// A merge that is under way, its cursors open. Part by part it makes what it would make as a whole.
pub trait OpenMerge: Send {
    /// Writes what survives left of `end` into new files, and then as far as `more` says, which is given the bytes
    /// written, as often as it names a further cut.
    fn write_on(
        &mut self,
        end: Cut,
        more: &mut dyn FnMut(u64) -> Result<Option<Cut>>,
    ) -> Result<SegmentOutput>;

    /// The smallest key that is left; `None` when all is written.
    fn rest(&self) -> Option<Slice>;

    /// Lets go of tables of which nothing is left.
    fn release(&mut self, is_done: &dyn Fn(&Table) -> bool);
}

/// What becomes of separated values that are not dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Values {
    /// They stay where they are.
    Stay,
    /// Those in value logs that the job rewrites are copied.
    Move,
}

/// The range tombstones a merge minds, made once for all its parts.
pub(crate) struct Tombstones {
    /// Those of the inputs.
    inputs: Vec<RangeTombstone>,
    /// These, and those of tables outside that reach keys of the job.
    cover: Arc<TombstoneIndex>,
}

impl Tombstones {
    pub(crate) fn of(job: &Job) -> Result<Self> {
        let inputs = job.input_tombstones()?;
        let cover = TombstoneIndex::new([&*inputs, &*job.tombstones].concat(), job.order.clone());
        Ok(Self { inputs, cover: Arc::new(cover) })
    }

    /// Those of the inputs, and those of tables outside that reach keys of the job.
    pub(crate) fn cover(&self) -> &Arc<TombstoneIndex> {
        &self.cover
    }
}

/// The stretch of a job that one segment writes, or the whole job.
pub(crate) struct Merging {
    job: Arc<Job>,
    cover: Arc<TombstoneIndex>,
    deletes: Deletes,
    unread: Unread,
    /// The tables that the outputs replace.
    replaced: Vec<TableId>,
    /// Lends its writers a thread.
    share: Option<Share>,
    /// What becomes of values where what is written is installed before the rest is; `None` where all is at once.
    sliced: Option<Values>,
    /// `None` after an error.
    stream: Option<Stream>,
}

/// Writes what reaches over `border` of the range tombstones of inputs that have no entries there: such an input leaves,
/// and others still hold what its tombstones hide. What becomes of them there is decided with those.
fn carry(job: &Job, border: &Cut, writer: &mut MultiWriter) -> Result<()> {
    if *border == Cut::End {
        return Ok(());
    }
    for table in job.inputs.tables() {
        if table.max_key().is_some_and(|max| border.is_left_of(max, &job.order)) {
            continue;
        }
        for tombstone in table.tombstones()?.into_iter().flat_map(|index| index.tombstones()) {
            if let Some(rest) = tombstone.clip(border, &Cut::End, &job.order) {
                writer.add_tombstone(rest)?;
            }
        }
    }
    Ok(())
}

/// What is left of the inputs, each with the place where it began; one without entries leaves with the first slice.
fn beginnings(job: &Job) -> Vec<(TableId, Cut)> {
    let beginning = |table: &Table| match table.min_key() {
        Some(_) => table.descriptor().coverage_start.clone(),
        None => Cut::Start,
    };
    job.inputs.tables().iter().map(|table| (table.id(), beginning(table))).collect()
}

impl Merging {
    /// Opens the inputs at the start of `stretch`.
    ///
    /// * `replaced`: the tables that the outputs replace, all of them together.
    pub(crate) fn open(
        job: &Arc<Job>,
        stretch: &KeyStretch,
        tombstones: &Tombstones,
        replaced: Vec<TableId>,
    ) -> Result<Self> {
        let order = &job.order;
        let start = stretch.start.clone().map_or(Cut::Start, Cut::Before);
        let end = stretch.end.clone().map_or(Cut::End, Cut::Before);
        let inputs = tombstones.inputs.iter().filter_map(|tombstone| tombstone.clip(&start, &end, order));
        let gather = job.outside.clone();
        let deletes = Deletes::collect(inputs.collect(), job.retention.watermark(), move || gather(), order);
        let (runs, unread) = job.runs_to_read(stretch, &tombstones.cover);
        let throttle = job.input_throttle();
        let sources = runs.into_iter().map(|tables| {
            RunCursor::new(tables, order.clone(), ReadMode::COMPACTION).throttled(throttle.clone())
        });
        let mut merge = Merge::new(order.clone(), sources);
        match &stretch.start {
            Some(key) => merge.seek(key, SeqNo::LATEST)?,
            None => merge.seek_first()?,
        }
        let stream = Some(Until::new(merge, end, order.clone()));
        let (job, cover) = (job.clone(), tombstones.cover.clone());
        Ok(Self { job, cover, deletes, unread, replaced, share: None, sliced: None, stream })
    }

    /// The same merge; its writers ask `share` for a thread, which is let go of with the merge.
    pub(crate) fn helped_by(mut self, share: Option<Share>) -> Self {
        self.share = share;
        self
    }

    /// The same merge, to be installed part by part.
    pub(crate) fn sliced(mut self, values: Values) -> Self {
        self.sliced = Some(values);
        self
    }

    /// Writes the whole stretch.
    pub(crate) fn write_all(mut self, values: Values) -> Result<SegmentOutput> {
        self.write(None, values, &mut |_| Ok(None))
    }

    fn write(
        &mut self,
        end: Option<Cut>,
        values: Values,
        more: &mut dyn FnMut(u64) -> Result<Option<Cut>>,
    ) -> Result<SegmentOutput> {
        let Some(mut stream) = self.stream.take() else { return Ok(SegmentOutput::default()) };
        let job = self.job.clone();
        if let Some(end) = end {
            stream.extend(end);
        }
        let stream = Stoppable::new(stream, &job.cancel);
        let gather = job.outside.clone();
        let outside = Outside::new(move || gather(), self.cover.clone(), job.order.clone());
        let survivors = Survivors::new(stream, job.retention.clone(), outside, DropCounts::default());
        let fetched = job.values.clone().map(|values| PacedValues::new(values, job.throttle()) as _);
        let survivors = survivors.folding(job.operator.clone()).fetching(fetched);
        let Some(filter) = &job.filter else {
            return Ok(self.write_survivors(survivors, values, more)?.0);
        };
        let context = FilterContext::new(job.output.dest, job.level_count);
        let filter = SegmentFilter::new(filter.factory.as_ref(), &context);
        let (output, filter) = self.write_survivors(survivors.filtered_by(filter), values, more)?;
        Ok(SegmentOutput { filter: Some(filter), ..output })
    }

    /// Writes what survives; gives back the filter.
    fn write_survivors<K: KeyContext, F: FilterStage>(
        &mut self,
        mut survivors: Survivors<Stoppable<'_, Stream>, K, DropCounts, F>,
        values: Values,
        more: &mut dyn FnMut(u64) -> Result<Option<Cut>>,
    ) -> Result<(SegmentOutput, F)> {
        let (job, deletes) = (&*self.job, &mut self.deletes);
        let mut writer = MultiWriter::new(&job.env, job.output.canonical, job.level_count)
            .dest(job.output.dest)
            .replacing(self.replaced.clone())
            .throttled(job.throttle())
            .separating(job.vlogs.as_ref())
            .helped_by(self.share.as_ref().map(Share::threads));
        if self.sliced.is_some() {
            let job = self.job.clone();
            let before = move || Ok(job.in_flight.wait(job.env.fs.as_ref())?);
            writer = writer.slicing(beginnings(&self.job), Arc::new(before)).syncing_later();
        }
        let mut cutter = Cutter::new(&job.output, &job.order);
        let control = StreamControl { cancel: &job.cancel, failpoints: job.failpoints.as_ref() };
        let (entries, copier) = match (&job.relocation, &job.vlogs) {
            (Some(relocation), Some(env)) if values == Values::Move => {
                let copier = Copier::new(relocation, env, job.throttle(), job.failpoints.as_ref());
                let mut ahead = Ahead::new(&mut survivors, copier);
                let mut entries = 0;
                loop {
                    entries += write_entries(&mut ahead, &mut writer, &mut cutter, deletes, control)?;
                    let written = writer.written_len()? + ahead.copied_len();
                    let Some(end) = more(written)? else { break };
                    ahead.go_on().cursor_mut().cursor_mut().extend(end);
                }
                (entries, Some(ahead.into_copier()))
            }
            _ => {
                let mut entries = 0;
                loop {
                    entries += write_entries(&mut survivors, &mut writer, &mut cutter, deletes, control)?;
                    let Some(end) = more(writer.written_len()?)? else { break (entries, None) };
                    survivors.cursor_mut().cursor_mut().extend(end);
                }
            }
        };
        // What no entry lies near goes along as well, up to where the next part begins.
        let rest = survivors.cursor_mut().cursor_mut().rest();
        let border = rest.map_or(Cut::End, |key| Cut::Before(key.into()));
        deletes.hand_over(&border, |piece| writer.add_tombstone(piece))?;
        if self.sliced.is_some() {
            carry(job, &border, &mut writer)?;
        }
        job.failpoints.hit("segment.seal")?;
        let (tables, mut vlogs) = writer.finish_slice(border)?;
        let (moved, relocated) =
            copier.map(|copier| copier.finish(self.sliced.is_some())).transpose()?.unwrap_or_default();
        vlogs.extend(moved);
        job.failpoints.hit("sync.file")?;
        let unread = std::mem::take(&mut self.unread);
        let floor = survivors.floor().max(deletes.floor()).max(unread.floor);
        let altered = survivors.altered().max(deletes.altered());
        let filtered = survivors.filtered();
        let (folds_failed, weak_mismatches) = (survivors.folds_failed(), survivors.weak_mismatches());
        let (stream, _, mut dropped, filter) = survivors.into_parts();
        self.stream = Some(stream.into_inner());
        dropped.range_deleted += unread.entries;
        let output = SegmentOutput {
            tables,
            vlogs,
            vectors: Vec::new(),
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
}

impl OpenMerge for Merging {
    fn write_on(
        &mut self,
        end: Cut,
        more: &mut dyn FnMut(u64) -> Result<Option<Cut>>,
    ) -> Result<SegmentOutput> {
        self.write(Some(end), self.sliced.unwrap_or(Values::Stay), more)
    }

    fn rest(&self) -> Option<Slice> {
        self.stream.as_ref()?.rest().map(Slice::copy_from)
    }

    fn release(&mut self, is_done: &dyn Fn(&Table) -> bool) {
        if let Some(stream) = &mut self.stream {
            stream.cursor_mut().sources_mut().for_each(|run| run.release_front(is_done));
        }
    }
}
