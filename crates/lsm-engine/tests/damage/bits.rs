//! Every single bit: one is flipped in the files of a closed database, a directory check is asked, the database is opened
//! from the flipped files and all of it read. What comes of it is counted, by what the bit belongs to.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
    sync::{Mutex, atomic::AtomicUsize, atomic::Ordering::Relaxed},
    thread,
};

use lsm_block::{FrameHeader, Superblock, Walk, Walked};
use lsm_engine::{Reader, Tree};
use lsm_repair::{Depth, Scope, VerifyOptions, verify};
use lsm_types::{Error, ErrorClass, FileKind, Location};

use crate::{
    Row,
    common::sealed::encryption,
    disk::{Contents, Database, Plan, ROOT, contents, mount},
};

/// What came of one bit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Fate {
    /// The open, or a read, is refused with an error that says what is damaged; no read is wrong.
    Refused,
    /// All data, and the check of the directory names the file.
    Reported,
    /// All data, and nothing is said.
    Silent,
    /// What a crash may leave, too: an earlier durable state.
    Older,
}

/// What holds nothing: between copies, and behind the end of a log.
const PADDING: &str = "padding";

/// Where a bit lies: the kind of file, and the part of it.
type Place = (Row, &'static str);

/// What is at each place of a file: the end of each part, and its name.
struct Parts(Vec<(usize, &'static str)>);

impl Parts {
    fn of(bytes: &[u8]) -> Self {
        let at = Location { kind: FileKind::Table, id: 0, offset: 0 };
        let Ok(head) = Superblock::decode(at, bytes) else { return Self(vec![(bytes.len(), "all")]) };
        let mut parts = vec![(Superblock::LEN, "superblock")];
        for step in Walk::file(bytes, &head).unwrap() {
            match step.unwrap() {
                Walked::Frame { header, mark } => {
                    let start = usize::try_from(mark.handle.offset).unwrap();
                    parts.push((start, "between frames"));
                    parts.push((start + FrameHeader::LEN, "frame header"));
                    parts.push((start + mark.handle.len as usize, header.kind.name()));
                }
                Walked::Zeros { extent } => parts.push((usize::try_from(extent.end).unwrap(), PADDING)),
                Walked::BadFrame { .. } | Walked::Damaged { .. } => panic!("the database is whole"),
            }
        }
        parts.push((bytes.len(), "footer"));
        Self(parts)
    }

    fn at(&self, byte: usize) -> &'static str {
        self.0.iter().find(|(end, _)| byte < *end).map_or("nowhere", |(_, name)| name)
    }

    /// Bytes that stand for all of a file: in each word of a header, each sixteen bytes of what is no longer than a
    /// superblock, and at the start, in the middle and at the end of the rest; of each name the first part.
    fn samples(&self) -> BTreeSet<usize> {
        let mut bytes = BTreeSet::new();
        let (mut start, mut seen) = (0, BTreeSet::new());
        for &(end, name) in &self.0 {
            if start < end && seen.insert(name) {
                let step = match name {
                    "frame header" => 4,
                    _ if end - start <= Superblock::LEN => 16,
                    _ => (end - start) / 2,
                };
                bytes.extend((start..end).step_by(step));
                bytes.insert(end - 1);
            }
            start = start.max(end);
        }
        bytes
    }
}

/// Exact numbers of what came of all bits.
#[derive(Default)]
pub(crate) struct Count {
    cells: BTreeMap<Place, BTreeMap<Fate, u64>>,
    bits: u64,
}

impl Count {
    fn note(&mut self, place: Place, fate: Fate, times: u64) {
        *self.cells.entry(place).or_default().entry(fate).or_default() += times;
        self.bits += times;
    }

    fn add(&mut self, other: Self) {
        for (place, fates) in other.cells {
            for (fate, times) in fates {
                self.note(place, fate, times);
            }
        }
    }

    /// Bits flipped.
    pub(crate) fn bits(&self) -> u64 {
        self.bits
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| file | part | typed error | all data, reported | all data, silent | earlier state |")?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        for ((row, part), fates) in &self.cells {
            let times = |fate| fates.get(&fate).copied().unwrap_or_default();
            let (refused, reported) = (times(Fate::Refused), times(Fate::Reported));
            let (silent, older) = (times(Fate::Silent), times(Fate::Older));
            writeln!(f, "| {row:?} | {part} | {refused} | {reported} | {silent} | {older} |")?;
        }
        write!(f, "{} bits, none of them wrong", self.bits)
    }
}

/// Which bits are flipped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Which {
    /// All of them; of padding, one in 64 bytes.
    All,
    /// Some in each part of each kind of file.
    Samples,
}

/// Flips bits of a database, by as many threads as there are cores. Fails at the first that is answered wrongly.
pub(crate) fn flip(plan: Plan, which: Which) -> Count {
    let database = Database::build(plan);
    let parts: BTreeMap<&PathBuf, Parts> =
        database.files.iter().map(|(path, bytes)| (path, Parts::of(bytes))).collect();
    for (path, bytes) in &database.files {
        let padding = (0..bytes.len()).filter(|&byte| parts[path].at(byte) == PADDING).count();
        println!("{}: {} bytes and {padding} of padding", path.display(), bytes.len() - padding);
    }
    let mut work: Vec<(&PathBuf, usize, u8)> = Vec::new();
    let mut rows = BTreeSet::new();
    // Of a database with value logs only what others do not have.
    let is_new = |path: &Path| match Row::of(path, &database) {
        Row::ValueLog => true,
        Row::Table => which == Which::All,
        _ => false,
    };
    for (path, bytes) in database.files.iter().filter(|(path, _)| !plan.is_separated || is_new(path)) {
        match which {
            Which::All => work.extend(
                (0..bytes.len())
                    .filter(|&byte| parts[path].at(byte) != PADDING || byte % 64 == 0)
                    .flat_map(move |byte| (0..8).map(move |bit| (path, byte, bit)))
                    .filter(|&(_, byte, bit)| {
                        parts[path].at(byte) != PADDING || usize::from(bit) == byte / 64 % 8
                    }),
            ),
            Which::Samples if !rows.insert(Row::of(path, &database)) => {}
            Which::Samples => {
                work.extend(parts[path].samples().into_iter().map(|byte| (path, byte, byte as u8 % 8)));
            }
        }
    }
    let (next, total) = (AtomicUsize::new(0), Mutex::new(Count::default()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                let mut count = Count::default();
                while let Some(&(path, byte, bit)) = work.get(next.fetch_add(1, Relaxed)) {
                    let place = (Row::of(path, &database), parts[path].at(byte));
                    let fate = fate(&database, path, byte, bit).unwrap_or_else(|broken| {
                        panic!(
                            "{plan:?}, {}, bit {bit} of byte {byte}, {}: {broken}",
                            path.display(),
                            place.1
                        )
                    });
                    assert!(
                        is_allowed(plan, place, fate),
                        "{plan:?}, {}, bit {bit} of byte {byte}, {}: {fate:?}",
                        path.display(),
                        place.1
                    );
                    count.note(place, fate, 1);
                }
                total.lock().unwrap().add(count);
            });
        }
    });
    total.into_inner().unwrap()
}

/// Every bit gives a typed error or all data with a report; files and bytes that hold nothing may give all data without.
fn is_allowed(plan: Plan, (row, part): Place, fate: Fate) -> bool {
    let is_exempt = matches!(row, Row::Lock | Row::Temporary | Row::Quarantine) || part == PADDING;
    match fate {
        Fate::Refused | Fate::Reported => true,
        Fate::Silent => is_exempt,
        // Without a second copy, a damaged last record cannot be told from one that a crash cut.
        Fate::Older => row == Row::Primary && !plan.has_mirror,
    }
}

/// An error text is a broken promise.
fn fate(database: &Database, path: &Path, byte: usize, bit: u8) -> Result<Fate, String> {
    let mut damaged = database.files.clone();
    damaged.get_mut(path).unwrap()[byte] ^= 1 << bit;
    let fs = mount(&damaged);
    let options =
        VerifyOptions { encryption: database.plan.is_sealed.then(encryption), ..VerifyOptions::default() };
    let scope = Scope::Directory { fs: &fs, root: Path::new(ROOT) };
    let is_reported = match verify(&scope, Depth::Manifest, &options) {
        Ok(report) => report.findings.iter().any(|finding| path.ends_with(&finding.file)),
        Err(error) => typed(&error)?,
    };
    let tree = match Tree::open(database.plan.options(&fs)) {
        Ok(tree) => tree,
        Err(error) => return typed(&error).map(|_| Fate::Refused),
    };
    let mut errors = Vec::new();
    let keys = database.past.iter().flat_map(|(_, contents)| contents.keys()).chain(database.contents.keys());
    let mut found = Contents::new();
    for key in keys {
        match tree.get(key) {
            Ok(Some(value)) => drop(found.insert(key.clone(), value.to_vec())),
            Ok(None) => {}
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty()
        && let Some(error) = tree.iter().find_map(Result::err)
    {
        errors.push(error);
    }
    for error in &errors {
        typed(error)?;
    }
    if !errors.is_empty() {
        let is_right = found.iter().all(|(key, value)| database.contents.get(key) == Some(value));
        return if is_right { Ok(Fate::Refused) } else { Err("a read that does not fail is wrong".into()) };
    }
    if contents(&tree) != found {
        return Err("point reads and scans differ".into());
    }
    if found != database.contents {
        let is_past = database.past.iter().any(|(_, past)| *past == found);
        return if is_past { Ok(Fate::Older) } else { Err("reads return what never was".into()) };
    }
    Ok(if is_reported { Fate::Reported } else { Fate::Silent })
}

fn typed(error: &Error) -> Result<bool, String> {
    if error.kind().class() == ErrorClass::Corrupt {
        return Ok(true);
    }
    Err(format!("{:?} says nothing about damage: {error}", error.kind()))
}
