//! What a filter of a table is made of, as a report.

use std::fmt;

use lsm_sst::{BlockSource, FilterId, Table};
use lsm_types::ReadAt;
use serde::Serialize;

use crate::text;

/// One filter of a table.
#[derive(Debug, Serialize)]
pub(crate) struct FilterReport {
    #[serde(rename = "over")]
    pub(crate) name: &'static str,
    /// What named the prefixes, and its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    extractor: Option<String>,
    partitions: u64,
    /// Partitions that cannot be used.
    pub(crate) damaged_partitions: u64,
    hashes: u64,
    bytes: u64,
    nominal_bits: f64,
    bits_per_hash: f64,
    layers_max: u8,
    /// Share of the hashes that the first layer did not take.
    bumped_share: f64,
    /// Hashes kept as they are.
    stash: u64,
}

impl FilterReport {
    /// The filter, read whole; `None` when the table has no such filter, or none that can be found.
    pub(crate) fn read<R: ReadAt>(table: &Table<R>, id: FilterId) -> Option<Self> {
        let (meta, filters) = (table.meta(), &table.meta().properties().filters);
        let facts = filters.get(id)?;
        let (name, extractor) = match id {
            FilterId::Keys => ("filter over keys", None),
            FilterId::Prefixes => {
                let extractor = filters.extractor.as_ref();
                let named = extractor.map(|found| format!("{}, version {}", found.name, found.version));
                ("filter over prefixes", named)
            }
        };
        let mut report = Self {
            name,
            extractor,
            partitions: meta.filter_partitions(id) as u64,
            damaged_partitions: 0,
            hashes: 0,
            bytes: 0,
            nominal_bits: facts.nominal_bits(),
            bits_per_hash: 0.0,
            layers_max: 0,
            bumped_share: 0.0,
            stash: 0,
        };
        let mut bumped = 0;
        for part in 0..meta.filter_partitions(id) {
            let Ok(Some(partition)) = table.source().filter(id, part) else {
                report.damaged_partitions += 1;
                continue;
            };
            let shape = partition.shape();
            report.hashes += u64::from(shape.keys);
            report.bytes += shape.len as u64;
            report.layers_max = report.layers_max.max(shape.layers);
            report.stash += u64::from(shape.stash);
            // A slot of a later layer, or a place in the stash, is worth a hash that the first layer did not take.
            bumped += (shape.slots - shape.first_slots) + u64::from(shape.stash);
        }
        if report.hashes > 0 {
            report.bits_per_hash = text::quotient(report.bytes * 8, report.hashes);
            report.bumped_share = text::quotient(bumped, report.hashes);
        }
        Some(report)
    }
}

impl fmt::Display for FilterReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = text::counted(self.hashes, "hash", "hashes");
        let partitions = text::counted(self.partitions, "partition", "partitions");
        write!(f, "{partitions}, {what} at {:.2} of {} bits", self.bits_per_hash, self.nominal_bits)?;
        let layers = text::counted(self.layers_max.into(), "layer", "layers");
        write!(
            f,
            ", {layers}, {:.1} % bumped, stash {}",
            100.0 * self.bumped_share,
            text::count(self.stash)
        )?;
        if let Some(extractor) = &self.extractor {
            write!(f, ", by {extractor}")?;
        }
        if self.damaged_partitions > 0 {
            write!(f, ", {} damaged", text::count(self.damaged_partitions))?;
        }
        Ok(())
    }
}
