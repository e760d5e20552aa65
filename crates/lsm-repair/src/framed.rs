//! What the checks of tables and of value logs have in common: both are files of frames behind a superblock.

use std::path::Path;

use lsm_block::{BlockError, Footer, Superblock, Walk, Walked};
use lsm_fs::Fs;
use lsm_types::{Error, ErrorClass, ErrorKind, FileKind, IoKind, Location, ReadAt, Result};

use crate::{Depth, Outcome, RepairError, meter::Metered, report::FileReport};

/// V0. Whether there is anything to look into.
pub(crate) fn presence(fs: &dyn Fs, path: &Path, expected: Option<u64>, report: &mut FileReport) -> bool {
    let len = match fs.metadata(path) {
        Ok(metadata) => metadata.len,
        Err(error) if error.kind == IoKind::NotFound => {
            report.fail(Depth::Presence, RepairError::Missing);
            return false;
        }
        Err(error) => {
            report.fail(Depth::Presence, error);
            return false;
        }
    };
    if let Some(expected) = expected.filter(|expected| *expected != len) {
        report.fail(Depth::Presence, RepairError::Length { expected, found: len });
    }
    true
}

/// A file that does not open: its frames can still be told from each other.
///
/// * `known`: its head as the manifest has it, should its own be damaged.
/// * `consumed`: bytes behind the head that may be gone.
pub(crate) fn unopened(
    file: &Metered<'_>,
    error: &Error,
    (known, consumed): (Option<Superblock>, u64),
    depth: Depth,
    report: &mut FileReport,
) {
    let is_unknown = error.kind().class() == ErrorClass::Invalid && error.kind() != ErrorKind::NotOurs;
    let outcome = if is_unknown { Outcome::Warn } else { Outcome::Fail };
    report.add(outcome, Depth::Heads, None, error.clone());
    if depth < Depth::Digests || error.kind() == ErrorKind::FileIdentityMismatch {
        return;
    }
    let Some(superblock) = head(file).ok().or(known) else { return };
    let mut is_damaged = false;
    match walk(file, (&superblock, consumed), depth, &mut is_damaged, report) {
        Ok(()) => report.reached(depth.min(Depth::Frames)),
        Err(error) => report.add(Outcome::Fail, Depth::Digests, None, error.into()),
    }
    if is_damaged {
        report.fail(Depth::Digests, RepairError::Digest);
    }
    if depth > Depth::Frames && outcome == Outcome::Warn {
        let what = "entries, because the table does not open";
        let what = if report.is_table { what } else { "values, because the value log does not open" };
        report.warn(Depth::Entries, RepairError::NotChecked { what });
    }
}

/// Every frame of a file that goes with another one, its head and its footer.
pub(crate) fn all_frames(file: &Metered<'_>, depth: Depth, report: &mut FileReport) {
    let head = match head(file) {
        Ok(head) => head,
        Err(error) => return report.add(Outcome::Fail, Depth::Heads, Some("superblock"), error),
    };
    if let Err(error) = footer(file, &head) {
        report.add(Outcome::Fail, Depth::Heads, Some("footer"), error);
    }
    let mut is_damaged = false;
    if depth >= Depth::Digests
        && let Err(error) = walk(file, (&head, 0), depth, &mut is_damaged, report)
    {
        report.add(Outcome::Fail, Depth::Digests, None, error.into());
    }
    if is_damaged {
        report.fail(Depth::Digests, RepairError::Digest);
    }
}

fn walk(
    file: &Metered<'_>,
    (superblock, consumed): (&Superblock, u64),
    depth: Depth,
    is_damaged: &mut bool,
    report: &mut FileReport,
) -> Result<(), BlockError> {
    for step in Walk::file_from(file, superblock, (Superblock::LEN as u64).saturating_add(consumed))? {
        let (section, why) = match step? {
            Walked::Frame { .. } => {
                report.frames += 1;
                continue;
            }
            Walked::Zeros { .. } => continue,
            Walked::BadFrame { header, why, .. } => (Some(header.kind.name()), why),
            Walked::Damaged { why, .. } => (None, why),
        };
        *is_damaged = true;
        if depth >= Depth::Frames {
            report.add(Outcome::Fail, Depth::Frames, section, why.into());
        }
    }
    Ok(())
}

/// The head of the file.
fn head(file: &Metered<'_>) -> Result<Superblock> {
    let mut bytes = [0; Superblock::LEN];
    let at = Location { kind: FileKind::Table, id: 0, offset: 0 };
    file.read_exact_at(0, &mut bytes)?;
    Ok(Superblock::decode(at, &bytes)?)
}

fn footer(file: &Metered<'_>, head: &Superblock) -> Result<()> {
    let mut bytes = [0; Footer::LEN];
    let at = file.len()?.saturating_sub(Footer::LEN as u64);
    file.read_exact_at(at, &mut bytes)?;
    Footer::decode(head.identity.at(at), &bytes)?;
    Ok(())
}
