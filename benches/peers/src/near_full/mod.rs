//! `--near-full`: a full compaction on a disk that has room for a tenth of it, on a file system of its own that is mounted
//! for each engine; one row for each.
//!
//! An engine without a way to do so, one that fails, does nothing, answers wrongly, crashes or does not end is a row that
//! says so.

mod disk;
pub(crate) mod life;

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    child,
    engine::{Outcome, Settings},
    measure,
    plan::Plan,
    report::{human, markdown},
};

/// Engine whose failure fails the run.
const OURS: &str = "ours";

/// Free bytes of the disk besides the database and what it takes to fill it, in MiB.
const FILL_ROOM_MIB: u64 = 64;

/// What is measured, in the order of the columns.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Figure {
    Before,
    Free,
    Finished,
    Calls,
    Seconds,
    Written,
    Peak,
    Intact,
    After,
    FreeAfter,
    GoesOn,
}

/// The columns and their heads; yes and no are 1 and 0.
const COLUMNS: [(Figure, &str); 11] = [
    (Figure::Before, "database, MB"),
    (Figure::Free, "free before, MB"),
    (Figure::Finished, "one run"),
    (Figure::Calls, "calls"),
    (Figure::Seconds, "s"),
    (Figure::Written, "written, MB"),
    (Figure::Peak, "taken at most, MB"),
    (Figure::Intact, "reads as written"),
    (Figure::After, "reopened: database, MB"),
    (Figure::FreeAfter, "free, MB"),
    (Figure::GoesOn, "takes a write"),
];

/// What became of one engine.
#[derive(Serialize, Clone, Debug)]
struct Row {
    engine: String,
    mode: String,
    figures: BTreeMap<Figure, f64>,
    failure: Option<String>,
}

/// The parent: all engines in turn.
pub(crate) fn compare(plan: &Plan) -> Outcome<()> {
    let engines = crate::named(plan)?;
    crate::introduce(plan);
    println!(
        "two runs over each other, {}; then all but {} MiB of the disk are taken by another file, and a full compaction is \
         asked for until all is one run or it fails. Limit {} minutes.\n",
        if plan.garbage { "both with the same half of the keys" } else { "each with every other key" },
        plan.free_mib,
        plan.row_minutes
    );
    let settings = Settings { near_full: true, ..plan.settings() };
    let mib = 2 * (plan.user_bytes() >> 20) + plan.free_mib + FILL_ROOM_MIB;
    let started = measure::now();
    let limit = Duration::from_secs(60 * plan.row_minutes);
    let mut rows = Vec::new();
    for engine in (0..plan.repeat.max(1)).flat_map(|_| &engines) {
        let disk = match disk::Disk::mount(&plan.dir, mib) {
            Ok(disk) => disk,
            Err(reason) => {
                println!("peers: near-full is left out, it needs a file system of its own: {reason}");
                return Ok(());
            }
        };
        let ended = child::run(&["--child", engine.name], &disk.point(), limit)?;
        let figures: Vec<BTreeMap<Figure, f64>> =
            ended.said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        rows.push(Row {
            engine: engine.name.to_owned(),
            mode: (engine.near_full)(&settings),
            figures: figures.into_iter().flatten().collect(),
            failure: ended.failure,
        });
    }
    println!("{}", table(&rows));
    if let Some(file) = &plan.json {
        std::fs::write(file, serde_json::to_vec_pretty(&rows)?)?;
    }
    println!("peers: {} runs, seed {}, {:.0} s", rows.len(), plan.seed, started.elapsed().as_secs_f64());
    match rows.iter().find(|row| row.engine == OURS && row.has_failed()) {
        Some(_) => Err("ours failed".into()),
        None => Ok(()),
    }
}

impl Row {
    fn has_failed(&self) -> bool {
        let is = |figure| self.figures.get(&figure).is_some_and(|value| *value > 0.0);
        self.failure.is_some() || !is(Figure::Finished) || !is(Figure::Intact)
    }
}

fn table(rows: &[Row]) -> String {
    let mut lines = vec![vec!["engine".to_owned()]];
    lines[0].extend(COLUMNS.iter().map(|(_, head)| (*head).to_owned()));
    lines[0].extend(["mode".to_owned(), "outcome".to_owned()]);
    for row in rows {
        let mut line = vec![row.engine.clone()];
        line.extend(COLUMNS.iter().map(|(figure, _)| match (figure, row.figures.get(figure)) {
            (_, None) => "-".to_owned(),
            (Figure::Finished | Figure::Intact | Figure::GoesOn, Some(yes)) => {
                if *yes > 0.0 { "yes" } else { "no" }.to_owned()
            }
            (_, Some(value)) => human(*value),
        }));
        line.push(row.mode.clone());
        line.push(match (&row.failure, row.has_failed()) {
            (Some(failure), _) => failure.clone(),
            (None, true) => "ended without an error and not as asked".to_owned(),
            (None, false) => "done".to_owned(),
        });
        lines.push(line);
    }
    markdown(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_does_nothing_has_a_row() {
        let row = |finished: f64, failure: Option<&str>| Row {
            engine: "a".to_owned(),
            mode: "none".to_owned(),
            figures: [(Figure::Finished, finished), (Figure::Intact, 1.0)].into(),
            failure: failure.map(str::to_owned),
        };
        let table = table(&[row(0.0, None), row(1.0, None), row(0.0, Some("no space"))]);
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[2].contains("| no ") && lines[2].contains("not as asked"), "{table}");
        assert!(lines[3].contains("| yes ") && lines[3].contains("done"), "{table}");
        assert!(lines[4].contains("no space"), "{table}");
    }
}
