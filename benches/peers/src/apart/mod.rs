//! `--values-apart`: long values beside their keys and apart from them, one row for each engine and each of the two.
//!
//! An engine that cannot keep values apart, fails, answers wrongly, crashes or does not end is a row that says so.

pub(crate) mod life;
mod row;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use self::row::Row;
use crate::{
    engine::{APART_FROM_BYTES, Outcome, Settings},
    measure,
    plan::Plan,
    report::{Spread, human, markdown},
};

/// Engine whose failure fails the run.
const OURS: &str = "ours";

/// Where long values are.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Place {
    /// In files of their own.
    Apart,
    /// In the tables of their keys.
    Beside,
}

impl Place {
    /// On the command line and in the table.
    fn word(self) -> &'static str {
        match self {
            Self::Apart => "apart",
            Self::Beside => "beside",
        }
    }
}

/// What is measured, in the order of the columns.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Figure {
    Fill,
    FillQuiet,
    Overwrite,
    SettleSeconds,
    Written,
    Copied,
    Live,
    BeforeRest,
    Settled,
    ReopenMillis,
    Count,
    CountCpu,
    Gets,
    GetsCpu,
    MajorSeconds,
    Major,
}

/// The columns and their heads.
const COLUMNS: [(Figure, &str); 16] = [
    (Figure::Fill, "fill, MB/s"),
    (Figure::FillQuiet, "until quiet, s"),
    (Figure::Overwrite, "overwrite, MB/s"),
    (Figure::SettleSeconds, "settle, s"),
    (Figure::Written, "written / user bytes"),
    (Figure::Copied, "copied / overwritten bytes"),
    (Figure::Live, "live, MB"),
    (Figure::BeforeRest, "disk / live, before rest"),
    (Figure::Settled, "disk / live, settled"),
    (Figure::ReopenMillis, "reopen, ms"),
    (Figure::Count, "scan, entries/s"),
    (Figure::CountCpu, "scan, entries/CPU s"),
    (Figure::Gets, "gets/s"),
    (Figure::GetsCpu, "gets/CPU s"),
    (Figure::MajorSeconds, "major compaction, s"),
    (Figure::Major, "disk / live, after it"),
];

/// The parent: all engines in turn, with values beside their keys and apart.
pub(crate) fn compare(plan: &Plan) -> Outcome<()> {
    let engines = crate::named(plan)?;
    crate::introduce(plan);
    println!("apart: values of {APART_FROM_BYTES} bytes and more, with the codec of blocks; else defaults:");
    let settings = Settings { apart: true, ..plan.settings() };
    for engine in &engines {
        let said = (engine.separation)(&settings).unwrap_or_else(|failure| failure.to_string());
        println!("  {}: {said}", engine.name);
    }
    let (rounds, percent) = (plan.overwrite_rounds, plan.overwrite_percent);
    println!("overwritten: {percent} % of the keys, {rounds} time(s)");
    println!("{LEGEND}");
    let started = measure::now();
    let mut rows = Vec::new();
    for _ in 0..plan.repeat.max(1) {
        for engine in &engines {
            for values in [Place::Apart, Place::Beside] {
                rows.push(row::measure_in_child(plan, engine.name, values)?);
            }
        }
    }
    println!("{}", table(&rows));
    if let Some(file) = &plan.json {
        std::fs::write(file, serde_json::to_vec_pretty(&rows)?)?;
    }
    let failed = rows.iter().filter(|row| row.failure.is_some()).count();
    println!(
        "peers: {} runs, {failed} of them failed, seed {}, {:.0} s",
        rows.len(),
        plan.seed,
        started.elapsed().as_secs_f64()
    );
    match rows.iter().find(|row| row.engine == OURS && row.failure.is_some()) {
        Some(_) => Err("ours failed".into()),
        None => Ok(()),
    }
}

const LEGEND: &str = "\
fill: each key once; overwrite: so many of them again as is said above, in another order; both at the speed of the writer;
until quiet: then all is flushed and compaction rests; settle: the same after the overwrite, then flush and compact until
there is nothing to do; written: bytes handed to write calls up to then per byte of keys and values written; copied:
values that were moved to get rid of garbage, where an engine tells, per byte overwritten; live: keys and values, not
compressed; disk: allocated by the files after closing, per live byte; scan: all keys with their values, after reopening;
gets: after that. Garbage is collected by compactions, in every engine by its documentation; major compaction is the
most that can be asked for.
";

/// One line for each engine and place of values; medians of what did not fail.
fn table(rows: &[Row]) -> String {
    let mut kinds: Vec<(&str, Place)> = Vec::new();
    for row in rows {
        if !kinds.contains(&row.kind()) {
            kinds.push(row.kind());
        }
    }
    let columns =
        COLUMNS.iter().filter(|(figure, _)| rows.iter().any(|row| row.figures.contains_key(figure)));
    let columns: Vec<_> = columns.collect();
    let mut lines = vec![vec!["engine".to_owned(), "values".to_owned()]];
    lines[0].extend(columns.iter().map(|(_, head)| (*head).to_owned()));
    lines[0].push("outcome".to_owned());
    for kind in kinds {
        let of_kind = || rows.iter().filter(|row| row.kind() == kind);
        let mut line = vec![kind.0.to_owned(), kind.1.word().to_owned()];
        line.extend(columns.iter().map(|(figure, _)| {
            let values = of_kind().filter_map(|row| row.figures.get(figure).copied()).collect();
            Spread::of(values).map_or_else(|| "-".to_owned(), |spread| human(spread.median))
        }));
        let mut failures: Vec<&str> = of_kind().filter_map(|row| row.failure.as_deref()).collect();
        failures.dedup();
        line.push(if failures.is_empty() { "as written".to_owned() } else { failures.join("; ") });
        lines.push(line);
    }
    markdown(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_failed_keeps_its_figures_and_says_so() {
        let row = |engine: &str, values, failure: Option<&str>| Row {
            engine: engine.to_owned(),
            values,
            figures: [(Figure::Fill, 250.0)].into(),
            failure: failure.map(str::to_owned),
        };
        let table = table(&[row("a", Place::Apart, None), row("b", Place::Apart, Some("signal: 6"))]);
        assert!(table.contains("| a      | apart  | 250        | as written |"), "{table}");
        assert!(table.contains("| b      | apart  | 250        | signal: 6  |"), "{table}");
    }
}
