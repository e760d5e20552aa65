//! The standard flavour: entries are written through.
//!
//! It applies to every merge and is the last in the list. A segment reads its stretch of all inputs as one merged stream,
//! drops what no reader needs, and writes the rest into new tables; all are installed at once when the last segment is
//! through. Range tombstones are parted where segments meet. A crash before that leaves files that no version names, which the next open removes.

use std::sync::Arc;

use lsm_types::Result;

use crate::{
    Checkpoint, CompactionFlavour, FlavourRun, Job, OpenMerge, SegmentOutput, SegmentTask, Sliceable,
    lender::Share,
    merging::{Merging, Tombstones, Values},
    split::{KeyStretch, stretches},
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

impl Sliceable for Standard {
    fn open(&self, job: &Arc<Job>) -> Result<Box<dyn OpenMerge>> {
        open_sliced(job, Values::Stay)
    }
}

/// A merge to be installed slice by slice.
pub(crate) fn open_sliced(job: &Arc<Job>, values: Values) -> Result<Box<dyn OpenMerge>> {
    // A slice replaces nothing as a whole: its tables name the inputs with the border, each slice for itself.
    let merge = Merging::open(job, &KeyStretch::default(), &Tombstones::of(job)?, Vec::new())?;
    let lender = job.parallelism.lender(1);
    Ok(Box::new(merge.sliced(values).helped_by(lender.as_ref().map(Share::new))))
}

/// Cuts the job into segments.
pub(crate) fn begin(job: &Arc<Job>, values: Values) -> Result<Box<dyn FlavourRun>> {
    // Made once: all segments look at the same.
    let (stretches, tombstones) = (stretches(job)?, Arc::new(Tombstones::of(job)?));
    let lender = job.parallelism.lender(stretches.len());
    let segment = |stretch| Segment {
        job: job.clone(),
        values,
        stretch,
        tombstones: tombstones.clone(),
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
    tombstones: Arc<Tombstones>,
    /// Lends its writer a thread; let go of when the segment is through.
    share: Option<Share>,
}

impl SegmentTask for Segment {
    fn run(self: Box<Self>) -> Result<SegmentOutput> {
        let merge = Merging::open(&self.job, &self.stretch, &self.tombstones, self.job.input_ids())?;
        merge.helped_by(self.share).write_all(self.values)
    }
}
