//! The check of one value log.

use std::{path::PathBuf, sync::Arc};

use lsm_block::{BlockKind, Encryption, FileIdentity, Footer, Handle, LocatorHints, Superblock};
use lsm_fs::{Fs, OpenOptions as FileOptions};
use lsm_manifest::VlogDescriptor;
use lsm_types::{Error, FileKind, FileUuid, KeyOrder, ReadAt, Result, TreeId, VlogId};
use lsm_vlog::{CheckDepth, Vlog, VlogLayout};

use crate::{
    Depth, Outcome, RepairError, framed,
    meter::{Meter, Metered},
    report::{FileReport, Finding},
};

/// A value log to check.
pub(crate) struct ValueLog {
    pub(crate) id: VlogId,
    /// How reports call it.
    pub(crate) name: PathBuf,
    pub(crate) path: PathBuf,
    pub(crate) expected: Option<ExpectedLog>,
    /// Order of its keys.
    pub(crate) order: KeyOrder,
}

/// What the manifest says about a value log.
#[derive(Clone)]
pub(crate) struct ExpectedLog {
    pub(crate) tree: TreeId,
    pub(crate) database: FileUuid,
    pub(crate) descriptor: Arc<VlogDescriptor>,
    /// Where the values begin that entries lead to.
    pub(crate) frontier: u64,
}

impl ValueLog {
    /// Bytes behind the head that may be gone.
    fn consumed_bytes(&self) -> u64 {
        let frontier = self.expected.as_ref().map_or(0, |expected| expected.frontier);
        frontier.saturating_sub(Superblock::LEN as u64)
    }
}

impl ExpectedLog {
    fn identity(&self) -> FileIdentity {
        FileIdentity {
            kind: FileKind::ValueLog,
            file_id: self.descriptor.id.get(),
            uuid: self.descriptor.uuid,
            database: self.database,
            tree: self.tree,
        }
    }
}

/// Checks a value log down to `depth`. What cannot be read or opened is in the report, like everything else.
pub(crate) fn check(fs: &dyn Fs, log: &ValueLog, depth: Depth, meter: &Meter<'_>) -> FileReport {
    let mut report = FileReport::new(&log.name, meter.options().findings_per_file);
    report.value_log = Some(log.id);
    let expected_len = log.expected.as_ref().map(|expected| expected.descriptor.file_len);
    let is_there = framed::presence(fs, &log.path, expected_len, &mut report);
    report.reached(Depth::Presence);
    if is_there && depth > Depth::Presence {
        match fs.open(&log.path, &FileOptions::READ) {
            Ok(file) => {
                let file = Metered::new(file, meter);
                contents(&file, log, depth, &mut report);
                report.bytes_read += file.bytes_read();
            }
            Err(error) => report.fail(Depth::Heads, error),
        }
    }
    report
}

/// V1 and deeper.
fn contents(file: &Metered<'_>, log: &ValueLog, depth: Depth, report: &mut FileReport) {
    let opened = open(file, log.expected.as_ref(), file.options().encryption.clone());
    report.reached(Depth::Heads);
    match opened {
        Ok(opened) => opened_log(&opened, log, depth, report),
        Err(error) => {
            let head = log.expected.as_ref().map(|expected| {
                let descriptor = &expected.descriptor;
                Superblock::new(expected.identity(), descriptor.created_at, descriptor.created_edit)
            });
            framed::unopened(file, &error, (head, log.consumed_bytes()), depth, report);
        }
    }
}

/// Opens a value log, as the one that the manifest expects where it does.
pub(crate) fn open<R: ReadAt>(
    file: R,
    expected: Option<&ExpectedLog>,
    encryption: Option<Encryption>,
) -> Result<Vlog<R>> {
    let mut hints = LocatorHints::default();
    if let Some(expected) = expected {
        let directory = expected.descriptor.directory;
        hints.identity = Some(expected.identity());
        hints.directory = Some(Handle { offset: directory.offset, len: directory.len });
        hints.tail_len = expected.descriptor.tail_len.into();
    }
    Vlog::open(file, hints, encryption)
}

fn opened_log(opened: &Vlog<&Metered<'_>>, log: &ValueLog, depth: Depth, report: &mut FileReport) {
    let layout = opened.meta();
    if let Some(expected) = &log.expected {
        for what in differences(&expected.descriptor, layout) {
            report.fail(Depth::Heads, RepairError::Disagrees { what });
        }
    }
    // A copy stood in for each of these: the file can be read, and is damaged.
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
            CheckDepth::Values => Depth::Entries,
        };
        is_damaged |= at != CheckDepth::Values;
        let is_told = error.location().is_some_and(|location| told.contains(&location.offset));
        if deep <= depth && !(is_told && deep == Depth::Heads) {
            report.add(Outcome::Fail, deep, None, error);
        }
    };
    let checks = match depth {
        Depth::Presence | Depth::Heads => CheckDepth::Heads,
        Depth::Digests | Depth::Frames => CheckDepth::Frames,
        Depth::Entries | Depth::Structure | Depth::Manifest => CheckDepth::Values,
    };
    let frontier = log.expected.as_ref().map_or(0, |expected| expected.frontier);
    match opened.verify_rest(frontier, (checks, Some(&log.order)), &mut found) {
        Ok(verified) => {
            report.released_bytes = log.consumed_bytes();
            report.frames += u64::from(verified.frames);
            report.values += verified.values;
        }
        Err(error) => report.add(Outcome::Fail, Depth::Digests.min(depth), None, error),
    }
    if is_damaged && depth >= Depth::Digests {
        report.fail(Depth::Digests, RepairError::Digest);
    }
    report.reached(depth.min(Depth::Structure));
    locate(layout, &mut report.findings);
}

/// Says of findings with an offset in which section they are.
fn locate(layout: &VlogLayout, findings: &mut [Finding]) {
    for finding in findings {
        let Some(offset) = finding.offset.filter(|_| finding.section.is_none()) else { continue };
        finding.section = if offset < Superblock::LEN as u64 {
            Some("superblock")
        } else if offset >= layout.file_len().saturating_sub(Footer::LEN as u64) {
            Some("footer")
        } else if layout.values_extent().contains(&offset) {
            Some(BlockKind::VALUE.name())
        } else {
            let lies = |start: u64, len: u64| start <= offset && offset - start < len;
            let mut sections = layout.directory().sections.iter();
            sections.find(|section| lies(section.offset, section.len)).map(|section| section.kind.name())
        };
    }
}

/// What the value log says otherwise than the manifest.
fn differences(descriptor: &VlogDescriptor, layout: &VlogLayout) -> impl Iterator<Item = &'static str> {
    let (properties, head) = (layout.properties(), layout.superblock());
    let total = (properties.values, properties.value_bytes, properties.stored_bytes);
    let expected = &descriptor.total;
    [
        (head.identity.file_id == descriptor.id.get(), "number of the value log"),
        (layout.directory().file_digest == descriptor.digest, "digest of the file"),
        ((head.version.major, head.version.minor) == descriptor.format, "format"),
        (head.features.incompat == descriptor.features, "features"),
        (head.created == descriptor.created_at, "time of creation"),
        (head.edit_index == descriptor.created_edit, "edit of creation"),
        (total == (expected.entries, expected.value_bytes, expected.stored_bytes), "sums over all values"),
    ]
    .into_iter()
    .filter_map(|(holds, what)| (!holds).then_some(what))
}
