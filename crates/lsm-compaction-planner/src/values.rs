//! Value logs as a planner sees them, and what of them a merge rewrites.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use lsm_types::{TableId, VlogId};

use crate::{Inputs, VlogFigures, VlogPicker};

/// A table holds next to nothing of a value log when it is less than this part of the average.
const SLIVER: u64 = 10;

/// The value logs of a tree at one moment, and when they are rewritten.
#[derive(Clone, PartialEq, Debug)]
pub struct ValuesView {
    logs: Vec<VlogFigures>,
    picker: VlogPicker,
    is_quiet: bool,
    /// Those that are rewritten whatever is in them.
    due: BTreeSet<VlogId>,
}

/// The value logs that a merge rewrites as far as its inputs refer to them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Picked {
    /// Stored bytes that the inputs refer to, of each.
    pub logs: BTreeMap<VlogId, u64>,
    /// Whether no other table refers to one of those with garbage: its file goes when the merge is done.
    pub frees: bool,
}

impl Picked {
    /// Bytes that are copied at most.
    pub fn bytes(&self) -> u64 {
        self.logs.values().fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }
}

impl ValuesView {
    /// A view of these value logs.
    pub fn new(logs: impl IntoIterator<Item = VlogFigures>, picker: VlogPicker) -> Self {
        let mut logs: Vec<_> = logs.into_iter().collect();
        logs.sort_by_key(|log| log.id);
        Self { logs, picker, is_quiet: false, due: BTreeSet::new() }
    }

    /// The view when these are rewritten by whatever merge comes by, garbage or not; those with values that cannot be read
    /// stay.
    #[must_use]
    pub fn due(self, due: BTreeSet<VlogId>) -> Self {
        Self { due, ..self }
    }

    /// The view of a tree in which nothing was flushed for a while, so that there is time for what is not urgent.
    #[must_use]
    pub fn quiet(self, is_quiet: bool) -> Self {
        Self { is_quiet, ..self }
    }

    /// The value logs, from the oldest on.
    pub fn logs(&self) -> &[VlogFigures] {
        &self.logs
    }

    /// Those worth rewriting, best first.
    pub fn candidates(&self) -> Vec<&VlogFigures> {
        let mut candidates = self.picker.candidates(&self.logs, self.is_quiet);
        let is_due = |log: &&VlogFigures| self.due.contains(&log.id) && !log.is_damaged && log.live_bytes > 0;
        let missing = |log: &&VlogFigures| candidates.iter().all(|known| known.id != log.id);
        let due: Vec<_> = self.logs.iter().filter(is_due).filter(missing).collect();
        candidates.extend(due);
        candidates
    }

    /// When value logs are rewritten.
    pub fn picker(&self) -> &VlogPicker {
        &self.picker
    }

    /// Which value logs a merge of `inputs` rewrites: of the candidates all that the inputs refer to, whoever else does.
    /// With them go those by which a table refers to too many, as far as it holds next to nothing of them.
    ///
    /// The admission of a merge, its carrying out and what is reported all ask here.
    pub fn pick(&self, inputs: &Inputs) -> Picked {
        let mut held: BTreeMap<VlogId, u64> = BTreeMap::new();
        for (log, usage) in inputs.tables().flat_map(|table| table.references.iter()) {
            let bytes = held.entry(log).or_default();
            *bytes = bytes.saturating_add(usage.stored_bytes);
        }
        if held.is_empty() {
            return Picked::default();
        }
        let mut logs: BTreeSet<VlogId> = BTreeSet::new();
        let mut frees = false;
        let ids: BTreeSet<TableId> = inputs.tables().map(|table| table.id).collect();
        for log in self.candidates().into_iter().filter(|log| held.contains_key(&log.id)) {
            frees |= log.garbage_bytes() > 0 && log.tables.is_subset(&ids);
            logs.insert(log.id);
        }
        self.gather(inputs, &mut logs);
        held.retain(|log, _| logs.contains(log));
        Picked { logs: held, frees }
    }

    /// Of what a merge of `inputs` rewrites, the value logs that no other table refers to and that `gives_back` says give back
    /// what was copied out of them while the merge goes on.
    pub fn pick_alone(&self, inputs: &Inputs, gives_back: impl Fn(VlogId) -> bool) -> Picked {
        let mut picked = self.pick(inputs);
        let ids: BTreeSet<TableId> = inputs.tables().map(|table| table.id).collect();
        let is_alone = |log: &&VlogFigures| log.tables.is_subset(&ids) && gives_back(log.id);
        let logs: Vec<&VlogFigures> =
            self.logs.iter().filter(|log| picked.logs.contains_key(&log.id)).filter(is_alone).collect();
        picked.frees = logs.iter().any(|log| log.garbage_bytes() > 0 || self.due.contains(&log.id));
        let ids: BTreeSet<VlogId> = logs.iter().map(|log| log.id).collect();
        picked.logs.retain(|log, _| ids.contains(log));
        picked
    }

    /// Picks, for each table that refers to too many, those of which it holds next to nothing: less than a tenth of what it
    /// holds of one on average. Reads of its keys in order then go to fewer places, and little is copied for it.
    fn gather(&self, inputs: &Inputs, picked: &mut BTreeSet<VlogId>) {
        let most = self.picker.table_references_max;
        for table in inputs.tables().filter(|table| table.references.files() > most) {
            let is_left = |log: &VlogId| !picked.contains(log) && !self.is_damaged(*log);
            let left = table.references.iter().filter(|(log, _)| is_left(log));
            let mut left: Vec<_> = left.map(|(log, usage)| (usage.stored_bytes, log)).collect();
            left.sort_unstable();
            let all = left.iter().fold(0, |sum: u64, (bytes, _)| sum.saturating_add(*bytes));
            let sliver = all / left.len().max(1) as u64 / SLIVER;
            // What is gathered lies in one more.
            let too_many = (left.len() + 1).saturating_sub(most);
            let slivers = left.into_iter().take(too_many).take_while(|(bytes, _)| *bytes < sliver);
            picked.extend(slivers.map(|(_, log)| log));
        }
    }

    fn is_damaged(&self, id: VlogId) -> bool {
        let at = self.logs.binary_search_by_key(&id, |log| log.id);
        at.is_ok_and(|at| self.logs.get(at).is_some_and(|log| log.is_damaged))
    }
}
