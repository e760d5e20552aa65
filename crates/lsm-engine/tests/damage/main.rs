//! What one damaged, missing or misplaced file leads to: the table of outcomes, held against every file of a
//! database. Anything else than the outcome in the table fails, above all a read that differs.
//!
//! The default suite runs the table over one database with a bit flipped in every 64 bytes. `cargo xtask torture
//! damage` runs it over several, with one flipped in every byte; `cargo xtask torture bits` flips every bit.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test should fail where it fails"
)]

mod bits;
#[path = "../common/mod.rs"]
mod common;
mod disk;
mod outcome;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use bits::Which;
use disk::{Database, Plan, edges, lies_in_filter};
use outcome::{Kind, Outcome, judge};

/// Kinds of files, as the table has them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Row {
    Current,
    /// The generation in use: the first copy.
    Primary,
    /// The generation in use: the second copy.
    Mirror,
    /// Any file of an older generation.
    OlderGeneration,
    Table,
    /// A part of a table that only helps: a filter.
    TableHelp,
    ValueLog,
    Lock,
    Temporary,
    Quarantine,
}

impl Row {
    fn of(path: &Path, database: &Database) -> Self {
        let name = path.file_name().unwrap().to_str().unwrap();
        let newest = database.files.keys().filter_map(|path| path.file_name()?.to_str());
        let newest = newest.filter_map(|name| name.strip_suffix(".m").or(Some(name)));
        let newest = newest.filter(|name| name.starts_with("MANIFEST")).max();
        match path.parent().unwrap().file_name().unwrap().to_str().unwrap() {
            "tables" => Self::Table,
            "blobs" => Self::ValueLog,
            "tmp" => Self::Temporary,
            "quarantine" => Self::Quarantine,
            _ if name == "CURRENT" => Self::Current,
            _ if name == "LOCK" => Self::Lock,
            _ if Some(name) == newest => Self::Primary,
            _ if name.strip_suffix(".m") == newest => Self::Mirror,
            _ => Self::OlderGeneration,
        }
    }
}

/// What is done to a file.
#[derive(Clone, Debug)]
enum Damage {
    Delete,
    Truncate(u64),
    Flip(u64, u8),
    /// An earlier copy of the same file.
    Older(Vec<u8>),
    /// Another file of its kind.
    Other(Vec<u8>),
}

/// The columns of the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Column {
    Missing,
    Truncated,
    BitFlip,
    OlderCopy,
    Swapped,
}

impl Damage {
    fn column(&self) -> Column {
        match self {
            Self::Delete => Column::Missing,
            Self::Truncate(_) => Column::Truncated,
            Self::Flip(..) => Column::BitFlip,
            Self::Older(_) => Column::OlderCopy,
            Self::Other(_) => Column::Swapped,
        }
    }

    fn apply(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = bytes.to_vec();
        match self {
            Self::Delete => return None,
            Self::Truncate(len) => bytes.truncate(*len as usize),
            Self::Flip(byte, bit) => bytes[*byte as usize] ^= 1 << bit,
            Self::Older(other) | Self::Other(other) => bytes.clone_from(other),
        }
        Some(bytes)
    }
}

/// Whether the table allows this outcome.
fn allows(database: &Database, row: Row, damage: &Damage, len: usize, outcome: Outcome) -> bool {
    let has_mirror = database.plan.has_mirror;
    match (row, damage) {
        (Row::Table | Row::ValueLog, Damage::Delete) => outcome == Outcome::Refused(Kind::MissingFiles),
        (Row::Table | Row::ValueLog, Damage::Flip(..)) => {
            matches!(outcome, Outcome::Full | Outcome::ReadFails(Kind::Corruption))
        }
        (Row::Table | Row::ValueLog, Damage::Older(bytes) | Damage::Other(bytes)) if bytes.len() == len => {
            outcome == Outcome::ReadFails(Kind::Identity)
        }
        // Cut short, or of another length.
        (Row::Table | Row::ValueLog, _) => outcome == Outcome::Refused(Kind::Length),
        (Row::Primary, Damage::Delete) if !has_mirror => outcome == Outcome::Refused(Kind::Regression),
        // A single log that was cut, or whose last record is damaged, is what a crash leaves: the tail goes. What
        // was acknowledged before is never lost unnoticed further than that.
        (Row::Primary, _) if !has_mirror => {
            matches!(outcome, Outcome::Full | Outcome::Older | Outcome::Refused(_))
        }
        // Another database's generation under this name: the second copy serves, or the open says what is amiss.
        (Row::Primary, Damage::Other(_)) => {
            matches!(outcome, Outcome::Full | Outcome::Refused(Kind::Regression | Kind::Identity))
        }
        // Among the rest: a filter that is damaged is not used, and only `verify` tells, which the judge has asked.
        _ => outcome == Outcome::Full,
    }
}

/// How thorough a run is.
#[derive(Clone, Copy, Debug)]
struct Effort {
    /// A bit is flipped in each so many bytes.
    stride: usize,
    /// Only these are damaged.
    files: Files,
}

/// Kinds of files that are damaged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Files {
    All,
    Manifest,
    ValueLogs,
}

impl Files {
    fn has(self, row: Row) -> bool {
        match self {
            Self::All => true,
            Self::Manifest => {
                matches!(row, Row::Current | Row::Primary | Row::Mirror | Row::OlderGeneration)
            }
            Self::ValueLogs => row == Row::ValueLog,
        }
    }
}

fn damages(database: &Database, twin: &Database, path: &Path, effort: Effort) -> Vec<Damage> {
    let bytes = &database.files[path];
    let len = bytes.len() as u64;
    let mut damages = vec![Damage::Delete];
    let edges = edges(bytes);
    for pair in edges.windows(2) {
        let lens = [pair[0], pair[0].midpoint(pair[1]), pair[1].saturating_sub(1)];
        damages.extend(lens.into_iter().filter(|cut| *cut < len).map(Damage::Truncate));
    }
    // Zeros between two copies hold nothing: a few of them stand for all.
    for (step, piece) in bytes.chunks(effort.stride).enumerate() {
        let start = step * effort.stride;
        if piece.iter().any(|&byte| byte != 0) || start % 4096 < effort.stride {
            damages.push(Damage::Flip((start + step * 29 % piece.len()) as u64, (step % 8) as u8));
        }
    }
    damages.extend(database.older(path).into_iter().map(Damage::Older));
    // The same file of another life of the same database, and its neighbours.
    damages.extend(twin.files.get(path).filter(|other| *other != bytes).cloned().map(Damage::Other));
    let is_same_kind =
        |other: &&PathBuf| Row::of(other, database) == Row::of(path, database) && *other != path;
    damages.extend(
        database.files.keys().find(is_same_kind).map(|other| Damage::Other(database.files[other].clone())),
    );
    damages
}

/// Counts of outcomes by row and column.
#[derive(Default)]
struct Tally {
    cells: BTreeMap<(Row, Column), BTreeMap<Outcome, u64>>,
    cases: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((row, column), outcomes) in &self.cells {
            let list: Vec<_> = outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
            writeln!(f, "{:16} {:10} {}", format!("{row:?}"), format!("{column:?}"), list.join(", "))?;
        }
        write!(f, "{} cases", self.cases)
    }
}

/// Runs the table over one database.
fn run(plan: Plan, effort: Effort, tally: &mut Tally) {
    let database = Database::build(plan);
    let twin = Database::build(Plan { seed: plan.seed + 1, ..plan });
    for path in database.files.keys() {
        let row = Row::of(path, &database);
        if !effort.files.has(row) {
            continue;
        }
        let len = database.files[path].len();
        for damage in damages(&database, &twin, path, effort) {
            let mut damaged = database.files.clone();
            match damage.apply(&damaged[path]) {
                Some(bytes) => damaged.insert(path.clone(), bytes),
                None => damaged.remove(path),
            };
            let is_help =
                matches!(&damage, Damage::Flip(byte, _) if lies_in_filter(&database.files[path], *byte));
            let row = if row == Row::Table && is_help { Row::TableHelp } else { row };
            let what = match &damage {
                Damage::Older(bytes) | Damage::Other(bytes) => {
                    format!("{:?} of {} bytes", damage.column(), bytes.len())
                }
                damage => format!("{damage:?}"),
            };
            let outcome = match judge(&database, &damaged, path) {
                Ok(outcome) => outcome,
                Err(broken) => panic!("{plan:?}, {}, {what}: {broken}", path.display()),
            };
            assert!(
                allows(&database, row, &damage, len, outcome),
                "{plan:?}, {}, {what}: {outcome} is not what the table says",
                path.display()
            );
            let outcomes = tally.cells.entry((row, damage.column())).or_default();
            *outcomes.entry(outcome).or_default() += 1;
            tally.cases += 1;
        }
    }
}

const PLAN: Plan =
    Plan { seed: 1, has_mirror: true, is_partitioned: true, is_sealed: false, is_separated: false };

/// Proves D-26. Fault: durability W-14.
#[test]
fn one_damaged_file_leads_to_what_the_table_says() {
    let mut tally = Tally::default();
    run(PLAN, Effort { stride: 64, files: Files::All }, &mut tally);
    println!("{tally}");
    let rows: std::collections::BTreeSet<Row> = tally.cells.keys().map(|(row, _)| *row).collect();
    assert_eq!(rows.len(), 9, "every kind of file is there");
    assert!(tally.cases > 500, "{}", tally.cases);
    // Without a second copy, more is refused; nothing is invented.
    let mut tally = Tally::default();
    let plan = Plan { has_mirror: false, ..PLAN };
    run(plan, Effort { stride: 64, files: Files::Manifest }, &mut tally);
    println!("{tally}");
}

/// A sealed database answers damage as a plain one does: nobody who only damages bytes makes it say that somebody
/// tampered with them.
#[test]
fn a_sealed_database_answers_damage_as_a_plain_one_does() {
    let mut tally = Tally::default();
    run(Plan { is_sealed: true, ..PLAN }, Effort { stride: 128, files: Files::All }, &mut tally);
    println!("{tally}");
    assert!(tally.cases > 300, "{}", tally.cases);
}

/// Value logs are as tables: what is damaged in one is an error of the keys whose values lie there.
///
/// Proves D-74.
#[test]
fn a_damaged_value_log_leads_to_what_a_damaged_table_does() {
    let mut tally = Tally::default();
    run(Plan { is_separated: true, ..PLAN }, Effort { stride: 256, files: Files::ValueLogs }, &mut tally);
    println!("{tally}");
    assert!(tally.cases > 50, "{}", tally.cases);
}

/// Fault: durability W-3.
#[test]
fn without_any_manifest_nothing_opens_and_no_table_is_touched() {
    let database = Database::build(PLAN);
    let is_manifest = |path: &Path| path.to_string_lossy().contains("MANIFEST");
    for keeps_pointer in [true, false] {
        let mut damaged = database.files.clone();
        damaged.retain(|path, _| !is_manifest(path) && (keeps_pointer || !path.ends_with("CURRENT")));
        let outcome = judge(&database, &damaged, Path::new("/db/CURRENT"));
        assert_eq!(outcome, Ok(Outcome::Refused(Kind::Partial)));
    }
}

#[test]
fn a_flipped_bit_in_any_part_is_an_error_or_is_reported() {
    for (is_sealed, is_separated) in [(true, false), (false, false), (true, true), (false, true)] {
        let count = bits::flip(Plan { is_sealed, is_separated, ..PLAN }, Which::Samples);
        println!("{count}");
        assert!(count.bits() > if is_separated { 50 } else { 250 }, "{}", count.bits());
    }
}

#[test]
#[ignore = "takes many minutes; `cargo xtask torture bits` runs it"]
fn every_bit() {
    for is_sealed in [true, false] {
        for has_mirror in [true, false] {
            println!("{}", bits::flip(Plan { has_mirror, is_sealed, ..PLAN }, Which::All));
        }
        println!("{}", bits::flip(Plan { is_sealed, is_separated: true, ..PLAN }, Which::All));
    }
}

#[test]
#[ignore = "takes minutes; `cargo xtask torture damage` runs it"]
fn torture() {
    let mut tally = Tally::default();
    let sealed = [(true, true, true), (false, false, true)];
    let open = [(true, true), (true, false), (false, true), (false, false)].map(|(a, b)| (a, b, false));
    for (has_mirror, is_partitioned, is_sealed) in open.into_iter().chain(sealed) {
        let plan = Plan { seed: 7, has_mirror, is_partitioned, is_sealed, is_separated: false };
        run(plan, Effort { stride: 1, files: Files::All }, &mut tally);
        run(Plan { is_separated: true, ..plan }, Effort { stride: 1, files: Files::ValueLogs }, &mut tally);
    }
    println!("{tally}");
}
