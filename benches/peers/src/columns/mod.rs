//! `--columns`: rows of ten columns, asked column by column, in each kind of store in a process of its own.
//!
//! A store that lacks something, fails, crashes or answers wrongly is a column that says so.

#[cfg(feature = "coordinode")]
mod coordinode;
mod data;
#[cfg(feature = "ours")]
mod ours;
#[cfg(feature = "parquet")]
mod parquet;
mod query;

use std::{collections::BTreeMap, path::Path, time::Duration};

use self::query::{Answer, QUERIES, Query, Table, expected};
use crate::{
    child,
    data::Dice,
    engine::Outcome,
    measure::{Stretch, disk_bytes},
    plan::Plan,
    report::{human, markdown},
};

/// Point reads.
const GETS: u32 = 100_000;

/// No more of them are made after so many seconds, which are looked at after so many.
const GETS_SECONDS: f64 = 5.0;
const GETS_AT_ONCE: u32 = 500;

/// Deleted rows in a hundred, one life each.
const SHARES: [u64; 5] = [0, 1, 5, 20, 50];

/// How often each query is asked again; the least processor time counts.
const ASKED: usize = 5;

/// What the child of a store said.
struct Said {
    figures: BTreeMap<String, f64>,
    failure: Option<String>,
}

/// A kind of store.
struct Kind {
    name: &'static str,
    settings: fn(&Plan) -> Outcome<String>,
    run: fn(&Plan, &Path) -> Outcome<()>,
}

const fn kind<T: Table>(name: &'static str) -> Kind {
    Kind { name, settings: T::settings, run: life::<T> }
}

const KINDS: &[Kind] = &[
    #[cfg(feature = "ours")]
    kind::<ours::Ours<true>>("ours, columns"),
    #[cfg(feature = "ours")]
    kind::<ours::Ours<false>>("ours, rows"),
    #[cfg(feature = "coordinode")]
    kind::<coordinode::Coordinode>("coordinode, columns"),
    #[cfg(feature = "parquet")]
    kind::<parquet::Parquet>("parquet"),
];

/// The child: one kind of store, once.
pub(crate) fn measure_here(plan: &Plan, name: &str, dir: &Path) -> Outcome<()> {
    let kind = KINDS.iter().find(|kind| kind.name == name).ok_or("no such kind of store in this build")?;
    (kind.run)(plan, dir)
}

/// The parent: all kinds in turn.
pub(crate) fn compare(plan: &Plan) -> Outcome<()> {
    println!("{}", crate::machine::describe(&plan.dir));
    println!(
        "{} rows of 8 + {} bytes in {} columns, codec {:?}, cache {} MiB, seed {}",
        plan.key_count(),
        data::VALUE_BYTES,
        data::COLUMNS,
        plan.codec,
        plan.settings().cache_bytes >> 20,
        plan.seed
    );
    let wanted = |kind: &&Kind| plan.engines.is_empty() || plan.engines.iter().any(|name| name == kind.name);
    let kinds: Vec<&Kind> = KINDS.iter().filter(wanted).collect();
    for kind in &kinds {
        println!("{}: {}", kind.name, (kind.settings)(plan)?);
    }
    println!("{LEGEND}");
    let mut rows = Vec::new();
    for kind in kinds {
        rows.push((kind.name, measure_in_child(plan, kind.name)?));
    }
    println!("{}", table(&rows));
    match rows.iter().find(|(name, said)| name.starts_with("ours") && said.failure.is_some()) {
        Some(_) => Err("ours failed".into()),
        None => Ok(()),
    }
}

const LEGEND: &str = "\
first: millions of rows of the table per second of processor time, just opened; again: the same of the best of five more;
MB: what read calls gave the first of them; deleted: again, with deletes of ranges as they were written; marked: with
dead rows marked in their tables. All answers are held against what was written.
";

/// A line for each figure, a column for each kind of store.
fn table(rows: &[(&str, Said)]) -> String {
    let mut heads: Vec<&String> = rows.iter().flat_map(|(_, said)| said.figures.keys()).collect();
    heads.sort();
    heads.dedup();
    let line = |head: &str, cell: &dyn Fn(&Said) -> String| {
        let cells = rows.iter().map(|(_, said)| cell(said));
        std::iter::once(head.to_owned()).chain(cells).collect::<Vec<_>>()
    };
    let mut lines = vec![vec!["measured".to_owned()]];
    lines[0].extend(rows.iter().map(|(name, _)| (*name).to_owned()));
    for head in heads {
        let name = head.split_once(' ').map_or(head.as_str(), |(_, name)| name);
        let cell = |said: &Said| said.figures.get(head).map_or_else(|| "-".to_owned(), |value| human(*value));
        lines.push(line(name, &cell));
    }
    lines.push(line("outcome", &|said| said.failure.clone().unwrap_or_else(|| "as written".to_owned())));
    markdown(&lines)
}

fn measure_in_child(plan: &Plan, name: &str) -> Outcome<Said> {
    // Of the parent: a child that crashes does not remove it.
    let dir = tempfile::Builder::new().prefix("peers-").tempdir_in(&plan.dir)?;
    let ended = child::run(&["--child", name], dir.path(), Duration::from_secs(60 * plan.row_minutes))?;
    let figures =
        ended.said.lines().filter_map(|line| serde_json::from_str::<BTreeMap<String, f64>>(line).ok());
    Ok(Said { figures: figures.flatten().collect(), failure: ended.failure })
}

/// Figures are sorted by the two digits that they begin with.
fn say(head: &str, value: f64) -> Outcome<()> {
    println!("{}", serde_json::to_string(&BTreeMap::from([(head, value)]))?);
    Ok(())
}

fn life<T: Table>(plan: &Plan, dir: &Path) -> Outcome<()> {
    let base = dir.join("base");
    std::fs::create_dir(&base)?;
    let stretch = Stretch::begin();
    T::fill(plan, &base)?;
    let rows = f64::from(plan.key_count());
    say("00 fill: M rows/CPU s", rows / stretch.taken().cpu_seconds / 1e6)?;
    say("01 bytes per row on disk", disk_bytes(&base)? as f64 / rows)?;
    for (place, query) in QUERIES.iter().enumerate() {
        let question = Question { query, expected: expected(plan, query, 0), rows };
        // Opened anew for each: what one query has read is not there for the next one.
        let table = T::open(plan, &base)?;
        let stretch = Stretch::begin();
        question.ask(&table)?;
        let first = stretch.taken();
        say(&format!("{} {}, first", 10 + 3 * place, query.name), rows / first.cpu_seconds / 1e6)?;
        say(&format!("{} {}, again", 11 + 3 * place, query.name), question.again(&table)?)?;
        say(&format!("{} {}, MB", 12 + 3 * place, query.name), first.read as f64 / 1e6)?;
    }
    gets(&T::open(plan, &base)?, plan)?;
    SHARES.iter().zip(50..).try_for_each(|(share, place)| {
        deleted::<T>(plan, &dir.join(format!("deleted-{share}")), *share, place)
    })
}

/// A query, and what it has to find.
struct Question<'a> {
    query: &'a Query,
    expected: Answer,
    /// In the table.
    rows: f64,
}

impl Question<'_> {
    fn ask<T: Table>(&self, table: &T) -> Outcome<()> {
        let found = table.ask(self.query)?;
        if found == self.expected {
            return Ok(());
        }
        let (name, expected) = (self.query.name, self.expected);
        Err(format!("{name}: {found:?} is found, {expected:?} is there").into())
    }

    /// Millions of rows per second of processor time.
    fn again<T: Table>(&self, table: &T) -> Outcome<f64> {
        let mut best = f64::MAX;
        for _ in 0..ASKED {
            let stretch = Stretch::begin();
            self.ask(table)?;
            best = best.min(stretch.taken().cpu_seconds);
        }
        Ok(self.rows / best / 1e6)
    }
}

fn gets<T: Table>(table: &T, plan: &Plan) -> Outcome<()> {
    let mut dice = Dice::new(plan.seed);
    let stretch = Stretch::begin();
    for asked in 1..=GETS {
        let number = dice.below(plan.key_count().into());
        let Some(found) = table.get(number) else { return Ok(()) };
        if found? != Some(data::row(number, plan.seed)) {
            return Err(format!("row {number} is gone, or another one").into());
        }
        // Whoever is slow is not asked for minutes.
        if asked == GETS || asked % GETS_AT_ONCE == 0 && stretch.taken().seconds > GETS_SECONDS {
            return say("40 gets/CPU s", f64::from(asked) / stretch.taken().cpu_seconds);
        }
    }
    Ok(())
}

/// A scan of three columns where a share of the rows is deleted.
fn deleted<T: Table>(plan: &Plan, dir: &Path, share: u64, place: u32) -> Outcome<()> {
    std::fs::create_dir(dir)?;
    T::fill(plan, dir)?;
    let table = T::open(plan, dir)?;
    let [_, query, ..] = &QUERIES;
    let question =
        Question { query, expected: expected(plan, query, share), rows: f64::from(plan.key_count()) };
    let Some(deleted) = table.delete(plan, share) else { return Ok(()) };
    deleted?;
    say(&format!("{place} {}, {share} % deleted", query.name), question.again(&table)?)?;
    let Some(marked) = (share > 0).then(|| table.mark()).flatten() else { return Ok(()) };
    marked?;
    say(&format!("{} {}, {share} % marked", place + 10, query.name), question.again(&table)?)
}
