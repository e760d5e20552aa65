//! Value logs as a planner sees them, and what of them a merge rewrites.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use lsm_types::{TableId, VlogId};

use crate::{Inputs, VlogFigures, VlogPicker};

/// The value logs of a tree at one moment, and when they are rewritten.
#[derive(Clone, PartialEq, Debug)]
pub struct ValuesView {
    logs: Vec<VlogFigures>,
    picker: VlogPicker,
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
        Self { logs, picker }
    }

    /// The value logs, from the oldest on.
    pub fn logs(&self) -> &[VlogFigures] {
        &self.logs
    }

    /// Those worth rewriting, best first.
    pub fn candidates(&self) -> Vec<&VlogFigures> {
        self.picker.candidates(&self.logs)
    }

    /// Which value logs a merge of `inputs` rewrites: of the candidates all that the inputs refer to, whoever else does.
    /// With them go those by which a table refers to too many.
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
        self.gather(inputs, &held, &mut logs);
        held.retain(|log, _| logs.contains(log));
        Picked { logs: held, frees }
    }

    /// Picks, for each table that refers to too many, those that the inputs hold least of.
    fn gather(&self, inputs: &Inputs, held: &BTreeMap<VlogId, u64>, picked: &mut BTreeSet<VlogId>) {
        let most = self.picker.table_references_max;
        for table in inputs.tables().filter(|table| table.references.files() > most) {
            let is_left = |log: &VlogId| !picked.contains(log) && !self.is_damaged(*log);
            let left = table.references.iter().map(|(log, _)| log).filter(is_left);
            let mut left: Vec<_> = left.map(|log| (held.get(&log), log)).collect();
            left.sort_unstable();
            // What is gathered lies in one more.
            let too_many = (left.len() + 1).saturating_sub(most);
            picked.extend(left.into_iter().take(too_many).map(|(_, log)| log));
        }
    }

    fn is_damaged(&self, id: VlogId) -> bool {
        let at = self.logs.binary_search_by_key(&id, |log| log.id);
        at.is_ok_and(|at| self.logs.get(at).is_some_and(|log| log.is_damaged))
    }
}
