//! The check of the two copies of one manifest generation.
//!
//! A copy is held against itself (frames, chain of records), against the other copy, and against the rules of
//! edits. What a crash leaves behind (an unfinished generation, a torn tail, a second copy that is behind) is a
//! warning; everything else that is not as it was written is damage.

use std::path::Path;

use lsm_block::{
    BlockError, BlockKind, DirectoryPointer, Superblock, Transforms, Walk, Walked,
    log::{LogFormat, LogPosition, LogScanner, Tail},
};
use lsm_fs::{Fs, OpenOptions};
use lsm_journal::{FileName, Generation};
use lsm_manifest::{KeyOrders, Replay, Replayed};
use lsm_types::{Error, FileKind, FileUuid, IoError, IoKind, IoOp, Location, ReadAt, Result};

use crate::{
    Depth, Outcome, RepairError,
    meter::{Meter, Metered},
    report::FileReport,
};

/// What is known of a generation before its bytes are looked at.
pub(crate) struct Known {
    pub(crate) generation: Generation,
    /// The database it must belong to, where that is known.
    pub(crate) database: Option<FileUuid>,
    /// Whether it is the one in use.
    pub(crate) is_used: bool,
    /// Which copies are there: primary, mirror.
    pub(crate) is_there: (bool, bool),
}

/// What the check of a generation found.
pub(crate) struct CheckedGeneration {
    /// One report for each copy that is there, or should be.
    pub(crate) files: Vec<FileReport>,
    /// The state after the last record of the better copy; `None` unless checked down to the manifest.
    pub(crate) replayed: Option<Replayed>,
}

/// One copy, read.
struct Copy {
    report: FileReport,
    is_primary: bool,
    bytes: Vec<u8>,
    /// Its own header, where it is sound.
    header: Option<Superblock>,
    /// The place behind its last good record, and what follows.
    end: u64,
    tail: Option<Tail>,
    /// Damage that its frames show by themselves: place, section, error.
    damage: Vec<(u64, Option<&'static str>, Error)>,
}

/// Checks the copies of a generation.
pub(crate) fn check(
    fs: &dyn Fs,
    root: &Path,
    known: &Known,
    orders: &dyn KeyOrders,
    depth: Depth,
    meter: &Meter<'_>,
) -> CheckedGeneration {
    let number = known.generation;
    let names = [
        (FileName::Manifest(number), known.is_there.0, Outcome::Fail),
        (FileName::Mirror(number), known.is_there.1, Outcome::Warn),
    ];
    let mut files = Vec::new();
    let mut copies = Vec::new();
    for (name, is_there, if_missing) in names {
        let name = name.to_string();
        let mut report = FileReport::new(Path::new(&name), meter.options().findings_per_file);
        report.reached(Depth::Presence);
        if !is_there {
            // A database may do without its second copy, and older generations go one file after the other.
            let outcome = if known.is_used { if_missing } else { Outcome::Warn };
            report.add(outcome, Depth::Presence, None, RepairError::Missing.into());
            files.push(report);
        } else if depth == Depth::Presence {
            files.push(report);
        } else {
            let mut copy = Copy::read(fs, &root.join(&name), known, report, meter);
            copy.is_primary = if_missing == Outcome::Fail;
            copies.push(copy);
        }
    }
    let header = copies.iter().find_map(|copy| copy.header.clone());
    let replayed = header.and_then(|header| {
        let transforms = match header.transforms(meter.options().encryption.as_ref()) {
            Ok(transforms) => Some(transforms),
            Err(error) => {
                let what = "records, because their key is not at hand";
                for copy in &mut copies {
                    copy.report.add(Outcome::Warn, Depth::Heads, Some("superblock"), error.into());
                    copy.report.warn(Depth::Digests.min(depth), RepairError::NotChecked { what });
                }
                None
            }
        };
        for copy in &mut copies {
            copy.scan(&header, transforms.as_ref());
        }
        judge(&mut copies, known, depth);
        if depth >= Depth::Digests {
            compare(&mut copies, number);
        }
        let transforms = transforms.filter(|_| depth >= Depth::Manifest)?;
        replay(&mut copies, &header, &transforms, orders)
    });
    files.extend(copies.into_iter().map(|mut copy| {
        copy.report.reached(depth);
        copy.report
    }));
    CheckedGeneration { files, replayed }
}

impl Copy {
    /// Reads a copy and its header.
    fn read(fs: &dyn Fs, path: &Path, known: &Known, mut report: FileReport, meter: &Meter<'_>) -> Self {
        let bytes = read_file(fs, path, meter).unwrap_or_else(|error| {
            report.fail(Depth::Heads, error);
            Vec::new()
        });
        report.bytes_read = bytes.len() as u64;
        let mut copy = Self {
            report,
            is_primary: false,
            bytes,
            header: None,
            end: Superblock::LEN as u64,
            tail: None,
            damage: Vec::new(),
        };
        let at = Location { kind: FileKind::Manifest, id: known.generation.get(), offset: 0 };
        match Superblock::decode(at, &copy.bytes) {
            Ok(header) => copy.take_header(header, known),
            Err(_) if !known.is_used && copy.bytes.iter().take(Superblock::LEN).all(|&byte| byte == 0) => {
                copy.report.warn(Depth::Heads, RepairError::Unfinished);
            }
            Err(error) => {
                copy.report.add(Outcome::Fail, Depth::Heads, Some("superblock"), error.into());
            }
        }
        copy
    }

    fn take_header(&mut self, header: Superblock, known: &Known) {
        let identity = &header.identity;
        let is_ours = identity.kind == FileKind::Manifest
            && identity.file_id == known.generation.get()
            && known.database.is_none_or(|database| database == identity.database);
        if is_ours {
            if header.directory != DirectoryPointer::Absent {
                // It has a check of its own, and a log has none to point to.
                let (at, kind) = (identity.at(0), BlockKind::SUPERBLOCK_COPY);
                let error = BlockError::Decode { at, kind, field: "directory pointer" };
                self.report.add(Outcome::Fail, Depth::Heads, Some("superblock"), error.into());
                self.report.fail(Depth::Digests, RepairError::Digest);
            }
            self.header = Some(header);
        } else {
            let (at, found) = (identity.at(0), identity.uuid);
            let expected = known.database.unwrap_or_default();
            let error = BlockError::OtherFile { at, expected, found };
            self.report.add(Outcome::Fail, Depth::Heads, Some("superblock"), error.into());
        }
    }

    /// Whether some of what was to be written between the last sound record and `end` never arrived, as a disk writes whole
    /// sectors: it is not a matter of bits.
    fn misses_a_sector_before(&self, end: u64) -> bool {
        const SECTOR: u64 = 512;
        let len = self.bytes.len() as u64;
        let mut from = self.end;
        while from < end && from < len {
            let to = (from / SECTOR + 1).saturating_mul(SECTOR).min(end).min(len);
            let sector = usize::try_from(from).ok().zip(usize::try_from(to).ok());
            let bytes = sector.and_then(|(from, to)| self.bytes.get(from..to)).unwrap_or_default();
            if bytes.iter().all(|&byte| byte == 0) {
                return true;
            }
            from = to;
        }
        from < end
    }

    /// Reads the frames, as `header` says they are made, and with a key the records.
    fn scan(&mut self, header: &Superblock, transforms: Option<&Transforms>) {
        if self.header.as_ref().is_some_and(|own| own.identity != header.identity) {
            // Another file than its sibling: told when the two are compared.
            return;
        }
        if let Some(transforms) = transforms {
            let mut scanner = scanner(header, transforms, &self.bytes);
            self.tail = Some(scanner.tail(0));
            self.end = scanner.position().offset;
        } else {
            let at = self.bytes.len() as u64;
            (self.tail, self.end) = (Some(Tail::Clean { at }), at);
        }
        // The bytes are at hand: the walk cannot fail to read them.
        let steps = Walk::file(self.bytes.as_slice(), header).into_iter().flatten().flatten();
        for step in steps {
            let (offset, section, why) = match step {
                Walked::Frame { .. } => {
                    self.report.frames += 1;
                    continue;
                }
                Walked::Zeros { .. } => continue,
                Walked::BadFrame { header, handle, why } => (handle.offset, Some(header.kind.name()), why),
                Walked::Damaged { extent, why } => (extent.start, None, why),
            };
            self.damage.push((offset, section, why.into()));
        }
    }
}

/// Tells damage from what a crash leaves behind the last record.
fn judge(copies: &mut [Copy], known: &Known, depth: Depth) {
    let end = copies.iter().map(|copy| copy.end).max().unwrap_or_default();
    let number = known.generation.get();
    for copy in copies {
        let Some(tail) = &copy.tail else { continue };
        // The second copy is written when the first one is synced: a crash may leave it torn and behind, and it stays until
        // its generation goes.
        let is_behind = !copy.is_primary && copy.misses_a_sector_before(end);
        let is_torn =
            matches!(tail, Tail::Torn { .. } | Tail::UnsyncedGap { .. }) && (copy.end == end || is_behind);
        let damage = std::mem::take(&mut copy.damage);
        let (left_behind, damage): (Vec<_>, Vec<_>) =
            damage.into_iter().partition(|(offset, ..)| is_torn && *offset >= copy.end);
        if !left_behind.is_empty() && depth >= Depth::Digests {
            let at = Location { kind: FileKind::Manifest, id: number, offset: copy.end };
            let bytes = (copy.bytes.len() as u64).saturating_sub(copy.end);
            copy.report.warn(Depth::Frames.min(depth), RepairError::Tail { at, bytes });
        }
        let mut is_damaged = !damage.is_empty();
        if depth >= Depth::Frames {
            for (_, section, error) in damage {
                copy.report.add(Outcome::Fail, Depth::Frames, section, error);
            }
        }
        if let Tail::Corrupt { at, why, .. } = tail
            && !is_damaged
        {
            // Every frame is sound, and one is missing or does not follow the one before it.
            is_damaged = true;
            let offset = Location { kind: FileKind::Manifest, id: number, offset: *at };
            let error =
                why.map_or_else(|| Error::from(RepairError::Tail { at: offset, bytes: 0 }), Error::from);
            copy.report.add(Outcome::Fail, Depth::Digests, None, error);
        }
        if is_damaged && depth >= Depth::Digests {
            copy.report.fail(Depth::Digests, RepairError::Digest);
        }
        if copy.end < end && !matches!(tail, Tail::Corrupt { .. }) {
            // The first copy is synced before the second is written.
            let outcome = if copy.is_primary { Outcome::Fail } else { Outcome::Warn };
            copy.report.add(outcome, Depth::Heads, None, RepairError::Behind.into());
        }
    }
}

/// The copies are the same bytes as far as both go.
fn compare(copies: &mut [Copy], generation: Generation) {
    let [one, other] = copies else { return };
    let is_damaged = |copy: &Copy| copy.report.outcome() == Outcome::Fail;
    if is_damaged(one) || is_damaged(other) {
        return;
    }
    let len = usize::try_from(one.end.min(other.end)).unwrap_or(usize::MAX);
    let Some(offset) = one.bytes.iter().zip(&other.bytes).take(len).position(|(a, b)| a != b) else { return };
    let generation = generation.get();
    let at = Location { kind: FileKind::Manifest, id: generation, offset: offset as u64 };
    for copy in [one, other] {
        copy.report.fail(Depth::Digests, RepairError::CopiesDiffer { generation, at });
    }
}

/// Applies the records of the copy that goes furthest to nothing, one after the other.
fn replay(
    copies: &mut [Copy],
    header: &Superblock,
    transforms: &Transforms,
    orders: &dyn KeyOrders,
) -> Option<Replayed> {
    // Of equals the last one wins: the first copy.
    let copy = copies.iter_mut().rev().max_by_key(|copy| copy.end)?;
    let mut replay = Replay::new(orders);
    for record in scanner(header, transforms, &copy.bytes) {
        if let Err(error) = replay.feed(&record.body) {
            let section = Some(BlockKind::MANIFEST_WHOLE.name());
            copy.report.add(Outcome::Fail, Depth::Manifest, section, error.into());
            if let Some(finding) = copy.report.findings.last_mut() {
                finding.offset = Some(record.start);
            }
            return None;
        }
    }
    let replayed = replay.finish();
    if let Some(replayed) = &replayed {
        if let Err(error) = replayed.catalog.check() {
            copy.report.fail(Depth::Manifest, error);
        }
    } else if copy.report.outcome() != Outcome::Fail {
        copy.report.warn(Depth::Manifest, RepairError::Unfinished);
    }
    replayed
}

fn scanner<'a>(header: &Superblock, transforms: &Transforms, bytes: &'a [u8]) -> LogScanner<'a> {
    LogScanner::new(header.identity, transforms.clone(), LogFormat::MANIFEST, bytes, 0)
        .anchored(LogPosition::START)
}

/// All bytes of a file that is small beside the data it describes.
pub(crate) fn read_file(fs: &dyn Fs, path: &Path, meter: &Meter<'_>) -> Result<Vec<u8>> {
    let file = Metered::new(fs.open(path, &OpenOptions::READ)?, meter);
    let len = usize::try_from(file.len()?).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| IoError::new(IoOp::Read, IoKind::Other))?;
    bytes.resize(len, 0);
    file.read_exact_at(0, &mut bytes)?;
    Ok(bytes)
}
