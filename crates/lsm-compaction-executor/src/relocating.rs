//! The relocating flavour: entries are written through, and live values leave old value logs.
//!
//! It applies where planning picked value logs for the job: those full of garbage. A segment does what the standard one
//! does, and on the way copies each value that survives in a picked value log into a new one, as it is stored. The new
//! value logs are installed with the tables; an old one leaves in the same edit when nothing else refers to it. A crash
//! before that leaves files that no version names, which the next open removes, and the old ones as they were.

use std::{collections::BTreeSet, sync::Arc};

use lsm_types::{Result, VlogId};

use crate::{
    Checkpoint, CompactionFlavour, FlavourRun, Job, OpenMerge, Sliceable,
    merging::Values,
    standard::{begin, open_sliced},
};

/// Writes entries through, and copies values out of picked value logs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Relocating;

impl CompactionFlavour for Relocating {
    fn name(&self) -> &'static str {
        "relocating"
    }

    fn checkpoint(&self) -> Checkpoint {
        Checkpoint::Once
    }

    fn applies(&self, job: &Job) -> Result<bool> {
        let picked = job.relocation.as_ref().is_some_and(|relocation| !relocation.logs.is_empty());
        Ok(picked && job.vlogs.is_some())
    }

    fn start(&self, job: &Arc<Job>) -> Result<Box<dyn FlavourRun>> {
        begin(job, Values::Move)
    }
}

impl Sliceable for Relocating {
    fn open(&self, job: &Arc<Job>) -> Result<Box<dyn OpenMerge>> {
        open_sliced(job, Values::Move)
    }

    fn moves(&self, job: &Job) -> BTreeSet<VlogId> {
        job.relocation.as_ref().map(|relocation| relocation.logs.ids()).unwrap_or_default()
    }
}
