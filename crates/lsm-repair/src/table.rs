//! The check of one table file.

use std::{path::PathBuf, sync::Arc};

use lsm_block::{FileIdentity, Handle, LocatorHints, Superblock};
use lsm_fs::{Fs, OpenOptions as FileOptions};
use lsm_journal::FileName;
use lsm_manifest::{Counts, SeqNoRange, TableDescriptor};
use lsm_sst::{
    CheckDepth, DeleteVector, ExtractorId, OpenOptions, Remainder, Table, TableLayout, TableOptions,
    properties::SeqNoBounds,
};
use lsm_types::{Error, ErrorKind, FileKind, FileUuid, KeyOrder, PrefixExtractor, Result, TableId};

use crate::{
    Depth, Outcome, RepairError, VerifyOptions, framed,
    meter::{Meter, Metered},
    place::locate,
    report::{FileReport, TablePlace},
    values::Values,
};

/// A table to check.
pub(crate) struct Subject {
    pub(crate) id: TableId,
    /// How reports call it.
    pub(crate) name: PathBuf,
    pub(crate) path: PathBuf,
    pub(crate) expected: Option<Expected>,
    /// Order of its keys.
    pub(crate) order: KeyOrder,
    /// What names the prefixes in its filters; `None` to look for it among those of the options.
    pub(crate) prefix_extractor: Option<Arc<dyn PrefixExtractor>>,
    /// Where its separated values lie; `None` where nobody knows.
    pub(crate) values: Option<Arc<Values>>,
}

/// What the manifest says about a table.
pub(crate) struct Expected {
    pub(crate) place: TablePlace,
    pub(crate) database: FileUuid,
    pub(crate) descriptor: Arc<TableDescriptor>,
}

impl Expected {
    fn identity(&self) -> FileIdentity {
        FileIdentity {
            kind: FileKind::Table,
            file_id: self.descriptor.id.get(),
            uuid: self.descriptor.uuid,
            database: self.database,
            tree: self.place.tree,
        }
    }
}

/// Checks a table down to `depth`. What cannot be read or opened is in the report, like everything else.
pub(crate) fn check(fs: &dyn Fs, subject: &Subject, depth: Depth, meter: &Meter<'_>) -> FileReport {
    let mut report = FileReport::new(&subject.name, meter.options().findings_per_file);
    report.is_table = true;
    report.place = subject.expected.as_ref().map(|expected| expected.place);
    let keys = subject.expected.as_ref().and_then(|expected| expected.descriptor.entries.clone());
    let expected_len = subject.expected.as_ref().map(|expected| expected.descriptor.file_len);
    let is_there = framed::presence(fs, &subject.path, expected_len, &mut report);
    report.reached(Depth::Presence);
    if is_there && depth > Depth::Presence {
        match fs.open(&subject.path, &FileOptions::READ) {
            Ok(file) => {
                let file = Metered::new(file, meter);
                contents(&file, (fs, meter), subject, depth, &mut report);
                report.bytes_read += file.bytes_read();
            }
            Err(error) => report.fail(Depth::Heads, error),
        }
    }
    // What concerns the whole file concerns all of its keys.
    for finding in &mut report.findings {
        if finding.keys.is_none() {
            finding.keys.clone_from(&keys);
        }
    }
    report
}

/// V1 and deeper.
fn contents(
    file: &Metered<'_>,
    (fs, meter): (&dyn Fs, &Meter<'_>),
    subject: &Subject,
    depth: Depth,
    report: &mut FileReport,
) {
    let opened = open(file, subject, depth);
    report.reached(Depth::Heads);
    match opened {
        Ok(table) => {
            opened_table(&table, subject, depth, file.options(), report);
            delete_vector((fs, meter), subject, depth, report);
            if depth >= Depth::Structure
                && let Some(values) = &subject.values
            {
                let left = subject.expected.as_ref().and_then(|expected| remainder(&expected.descriptor));
                values.check(&table, left.map(|left| left.floor), (fs, meter), report);
            }
        }
        Err(error) => {
            let head = subject.expected.as_ref().map(|expected| {
                let descriptor = &expected.descriptor;
                Superblock::new(expected.identity(), descriptor.created_at, descriptor.created_edit)
            });
            let consumed =
                subject.expected.as_ref().map_or(0, |expected| expected.descriptor.consumed_bytes());
            framed::unopened(file, &error, (head, consumed), depth, report);
        }
    }
}

fn open<'f, 'm>(file: &'f Metered<'m>, subject: &Subject, depth: Depth) -> Result<Table<&'f Metered<'m>>> {
    let mut options = OpenOptions::new(subject.order.clone());
    options.encryption.clone_from(&file.options().encryption);
    options.splitters.clone_from(&file.options().splitters);
    if let Some(expected) = &subject.expected {
        let directory = expected.descriptor.directory;
        options.hints.identity = Some(expected.identity());
        options.hints.directory = Some(Handle { offset: directory.offset, len: directory.len });
        if expected.descriptor.tail_len > 0 {
            options.hints.tail_len = expected.descriptor.tail_len.into();
        }
    }
    // Filters lead to blocks, too: they are held against the keys with the index.
    let asks_filters = depth >= Depth::Structure;
    Table::open(file, TableOptions::new().open(options).filters(asks_filters))
}

/// Values that cannot be put together because nobody gave the splitter are no damage.
fn outcome_of(error: &Error) -> Outcome {
    if error.kind() == ErrorKind::OptionMismatch { Outcome::Warn } else { Outcome::Fail }
}

fn opened_table(
    table: &Table<&Metered<'_>>,
    subject: &Subject,
    depth: Depth,
    options: &VerifyOptions<'_>,
    report: &mut FileReport,
) {
    let layout = table.meta();
    if let Some(expected) = &subject.expected {
        for what in differences(&expected.descriptor, layout) {
            report.fail(Depth::Heads, RepairError::Disagrees { what });
        }
    }
    // A copy stood in for each of these: the table can be read, and its file is damaged.
    let mut told: Vec<u64> = Vec::new();
    for detour in layout.detours() {
        told.extend(detour.location().map(|location| location.offset));
        report.add(Outcome::Fail, Depth::Heads, None, detour.clone());
    }
    let mut is_damaged = !layout.detours().is_empty();
    let mut found = |at: CheckDepth, error: Error| {
        let deep = match at {
            CheckDepth::Heads => Depth::Heads,
            CheckDepth::Frames => Depth::Frames,
            CheckDepth::Rows if depth == Depth::Entries => Depth::Entries,
            CheckDepth::Rows => Depth::Structure,
        };
        is_damaged |= at != CheckDepth::Rows;
        let is_told = error.location().is_some_and(|location| told.contains(&location.offset));
        if deep <= depth && !(is_told && deep == Depth::Heads) {
            report.add(outcome_of(&error), deep, None, error);
        }
    };
    let checks = match depth {
        Depth::Presence | Depth::Heads => CheckDepth::Heads,
        Depth::Digests | Depth::Frames => CheckDepth::Frames,
        Depth::Entries | Depth::Structure | Depth::Manifest => CheckDepth::Rows,
    };
    let recorded = layout.properties().filters.extractor.as_ref();
    let given = subject.prefix_extractor.iter().chain(&options.prefix_extractors);
    let extractor = given.map(AsRef::as_ref).find(|given| recorded == Some(&ExtractorId::of(*given)));
    let left = subject.expected.as_ref().and_then(|expected| remainder(&expected.descriptor));
    match table.verify_to((checks, extractor), left.as_ref(), &mut found) {
        Ok(verified) => {
            report.released_bytes = left.map_or(0, |left| left.consumed_bytes);
            report.frames += u64::from(verified.frames);
            report.entries += verified.entries;
        }
        Err(error) => report.add(outcome_of(&error), Depth::Digests.min(depth), None, error),
    }
    if is_damaged && depth >= Depth::Digests {
        report.fail(Depth::Digests, RepairError::Digest);
    }
    report.reached(depth.min(Depth::Structure));
    locate(table, &mut report.findings);
}

/// A table cannot be read without its delete vector.
fn delete_vector(
    (fs, meter): (&dyn Fs, &Meter<'_>),
    subject: &Subject,
    depth: Depth,
    report: &mut FileReport,
) {
    let Some(descriptor) = subject.expected.as_ref().map(|expected| &expected.descriptor) else { return };
    let Some(vector) = &descriptor.vector else { return };
    let name = FileName::DeleteVector(vector.id).to_string();
    let path = subject.path.with_file_name(name);
    let file = match fs.open(&path, &FileOptions::READ) {
        Ok(file) => Metered::new(file, meter),
        Err(error) => return report.add(Outcome::Fail, Depth::Heads, None, error.into()),
    };
    let encryption = meter.options().encryption.as_ref();
    let read = DeleteVector::read_file(&file, LocatorHints::default(), encryption);
    // A copy may have stood in for what is damaged.
    framed::all_frames(&file, depth, report);
    report.bytes_read += file.bytes_read();
    let (found, digest) = match read {
        Ok(read) => read,
        Err(error) => return report.add(Outcome::Fail, Depth::Heads, None, error),
    };
    let about = (found.table, found.table_uuid, found.rows.rows());
    if about != (descriptor.id, descriptor.uuid, descriptor.counts.entries) {
        report.fail(Depth::Heads, RepairError::Disagrees { what: "table of the delete vector" });
    }
    let content = (digest, found.rows.cardinality(), found.watermark);
    if content != (vector.digest, vector.cardinality, vector.watermark) {
        report.fail(Depth::Heads, RepairError::Disagrees { what: "content of the delete vector" });
    }
}

/// What is left of a restricted table.
fn remainder(descriptor: &TableDescriptor) -> Option<Remainder> {
    let restriction = descriptor.restriction.as_ref()?;
    Some(Remainder {
        floor: restriction.lower.clone(),
        consumed_bytes: restriction.consumed_bytes,
        references: descriptor.references.clone(),
    })
}

/// What the table says otherwise than the manifest. Of a restricted table the file says where it began.
fn differences(descriptor: &TableDescriptor, layout: &TableLayout) -> impl Iterator<Item = &'static str> {
    let properties = layout.properties();
    let counters = &properties.counters;
    let head = layout.superblock();
    let range = |bounds: SeqNoBounds| SeqNoRange { min: bounds.min, max: bounds.max };
    let counts = Counts {
        entries: counters.entries,
        tombstones: counters.tombstones,
        weak_tombstones: counters.weak_tombstones,
        reclaimable_weak_tombstones: counters.reclaimable_weak_tombstones,
        operands: counters.merge_operands,
        indirections: counters.indirections,
        range_tombstones: counters.range_tombstones,
    };
    let keys = properties.keys.as_ref().map(|(min, max)| (min, max));
    let expected_keys = descriptor.entries.as_ref().map(|range| (&range.min, &range.max));
    let extent = properties.extent.as_ref().map(|(start, end)| (start, end));
    let coverage = (&descriptor.coverage_start, &descriptor.coverage_end);
    let (keys_agree, coverage_agrees) = if descriptor.restriction.is_some() {
        let ends = keys.zip(expected_keys).map(|((_, max), (_, expected))| max == expected);
        (
            ends.unwrap_or(expected_keys.is_none()),
            extent.is_none_or(|(_, end)| *end == descriptor.coverage_end),
        )
    } else {
        (keys == expected_keys, extent.is_none_or(|extent| extent == coverage))
    };
    let census = (properties.codecs.raw, properties.codecs.lz4, properties.codecs.zstd);
    let expected_census = (descriptor.census.raw, descriptor.census.lz4, descriptor.census.zstd);
    let sizes = (counters.data_stored_bytes, counters.raw_key_bytes, counters.raw_value_bytes);
    let expected_sizes = (descriptor.sizes.data, descriptor.sizes.raw_keys, descriptor.sizes.raw_values);
    [
        (properties.table_id == descriptor.id, "number of the table"),
        (layout.directory().file_digest == descriptor.digest, "digest of the file"),
        ((head.version.major, head.version.minor) == descriptor.format, "format"),
        (head.features.incompat == descriptor.features, "features"),
        (head.created == descriptor.created_at, "time of creation"),
        (head.edit_index == descriptor.created_edit, "edit of creation"),
        (keys_agree, "key range"),
        (coverage_agrees, "coverage"),
        (layout.seqnos().is_none_or(|seqnos| range(seqnos) == descriptor.seqnos), "sequence numbers"),
        (
            properties.effective(properties.point_seqnos).map(range) == descriptor.point_seqnos,
            "sequence numbers of entries",
        ),
        (counts == descriptor.counts, "counts of entries"),
        (sizes == expected_sizes, "sizes of its parts"),
        (census == expected_census, "codecs of its blocks"),
        (
            descriptor.restriction.is_some() || *layout.references() == descriptor.references,
            "separated values",
        ),
    ]
    .into_iter()
    .filter_map(|(holds, what)| (!holds).then_some(what))
}
