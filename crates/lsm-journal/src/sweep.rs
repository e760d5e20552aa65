//! Which old generations go, and when (D-56): by number and by what is known of each, never by what a name looks
//! like.

use std::collections::BTreeSet;

use lsm_fs::EntryKind;

use crate::{FileName, Folder, Generation, JournalEnv, inspect::Inspected, scan::Verdict};

/// Generations older than the one in use, and files to be rid of.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    /// How many complete older generations stay.
    keep: usize,
    /// Complete older generations.
    complete: BTreeSet<Generation>,
    /// Files that nobody needs, once a newer generation is in use.
    useless: Vec<FileName>,
    /// Bytes of all these files, when they were last looked at.
    kept_bytes: u64,
}

impl Sweep {
    /// Nothing is there yet.
    pub(crate) fn new(keep_generations: u32) -> Self {
        Self { keep: usize::try_from(keep_generations).unwrap_or(usize::MAX), ..Self::default() }
    }

    /// What recovery found. A damaged generation stays until it is older than every complete one that stays: it
    /// may help a repair.
    pub(crate) fn of(inspected: &Inspected, keep_generations: u32) -> Self {
        let mut sweep = Self::new(keep_generations);
        sweep.complete.extend(inspected.complete());
        let oldest = sweep.complete.iter().rev().nth(sweep.keep.saturating_sub(1)).copied();
        for scan in &inspected.scans {
            let is_superfluous = match &scan.verdict {
                Verdict::Good(_) => false,
                Verdict::Incomplete => true,
                Verdict::Damaged(_) => oldest.is_some_and(|oldest| scan.number < oldest),
            };
            if is_superfluous {
                sweep.useless.extend(files(scan.number));
            }
        }
        sweep.useless.extend(&inspected.unwritten);
        sweep
    }

    /// Notes a generation that is no longer in use.
    pub(crate) fn retire(&mut self, generation: Generation) {
        self.complete.insert(generation);
    }

    /// Where the files of attempts go that could not be removed.
    pub(crate) fn leftovers(&mut self) -> &mut Vec<FileName> {
        &mut self.useless
    }

    /// Removes what is not needed beside the generation `in_use`. What cannot be removed is tried again next time.
    pub(crate) fn run(&mut self, env: &JournalEnv, in_use: Generation) {
        while self.complete.len() > self.keep {
            if let Some(oldest) = self.complete.pop_first() {
                self.useless.extend(files(oldest));
            }
        }
        self.useless.retain(|file| {
            let is_used =
                matches!(file, FileName::Manifest(number) | FileName::Mirror(number) if *number >= in_use);
            !is_used && !env.try_remove(*file)
        });
        let complete = self.complete.iter().flat_map(|generation| files(*generation));
        let kept = complete.chain(self.useless.iter().copied());
        let len = |file: FileName| env.fs.metadata(&file.path(&env.dir)).map_or(0, |found| found.len);
        self.kept_bytes = kept.map(len).fold(0, u64::saturating_add);
    }

    /// Bytes of the older generations that stay.
    pub(crate) fn kept_bytes(&self) -> u64 {
        self.kept_bytes
    }
}

fn files(generation: Generation) -> [FileName; 2] {
    [FileName::Manifest(generation), FileName::Mirror(generation)]
}

/// Removes pointers that never reached their place.
pub(crate) fn wipe_temporary(env: &JournalEnv) {
    let folder = Folder::Temporary;
    let Ok(entries) = env.fs.read_dir(&folder.path(&env.dir)) else { return };
    for entry in entries.iter().filter(|entry| entry.kind == EntryKind::File) {
        if let Some(file @ FileName::NextPointer(_)) = FileName::parse(folder, &entry.name) {
            env.try_remove(file);
        }
    }
}
