//! `cargo xtask simulate`: how the stock strategies behave at sizes that no test machine holds.
//!
//! The planner that runs is the engine's; the tables are expected numbers (`lsm_compaction_planner::forecast`). Prints a
//! table in Markdown, and writes plots as SVG where it is told to. The workloads are fixed, so two runs differ only when
//! a strategy does.
//!
//! `cargo xtask simulate agree` runs the workloads on the engine too, in a tree of as many tables as 20 GiB have, and
//! fails where both are further apart than they may be. It is a test of the engine that the default suite runs a small
//! part of.

mod plot;

use std::fmt::Write as _;

use lsm_compaction_planner::{
    CompactionStrategy, LazyLeveling, Leveled, SizeTiered,
    forecast::{Forecast, Machine, OVERWRITE, SERIES, SKEWED, Workload},
};

use crate::repo::Repo;
use crate::trouble::Trouble;
use crate::watch::Watch;
use plot::{Chart, Curve};

const WORKLOADS: [&Workload; 3] = [&OVERWRITE, &SKEWED, &SERIES];
const STRATEGIES: [&str; 3] = ["leveled", "tiered", "lazy"];
const GIB: u64 = 1 << 30;
const DAY_SECS: f64 = 86_400.0;
/// Points of a curve.
const POINTS: u64 = 200;

const USAGE: &str = "simulate agree | simulate [--gib N] [--table-mib N] [--rounds PERCENT] [--workload NAME] [--strategy NAME] \
                     [--plots DIRECTORY]";

/// What is simulated.
struct Wish {
    /// Size of the tree, in GiB of live entries.
    gib: u64,
    /// Length of a table and of a memtable, in MiB.
    table_mib: u64,
    /// How much is written, in percent of the size.
    percent: u64,
    workload: Option<String>,
    strategy: Option<String>,
    plots: Option<String>,
}

pub(crate) fn run(repo: &Repo, arguments: &[String]) -> Result<(), Trouble> {
    if arguments == ["agree"] {
        let line = ["test", "--release", "--package", "lsm-engine", "--test", "agreement", "--quiet", "--"];
        return repo.cargo(&[&line[..], &["--ignored", "--exact", "--nocapture", "agree"]].concat());
    }
    let wish = Wish::read(arguments)?;
    if cfg!(debug_assertions) {
        // Thirty times faster: this program again, compiled for speed.
        let mut line = vec!["run", "--quiet", "--release", "--package", "xtask", "--", "simulate"];
        line.extend(arguments.iter().map(String::as_str));
        return repo.cargo(&line);
    }
    println!("{}", Row::HEAD);
    for workload in WORKLOADS.into_iter().filter(|one| wants(wish.workload.as_ref(), one.name)) {
        let mut rows = Vec::new();
        for name in STRATEGIES.into_iter().filter(|name| wants(wish.strategy.as_ref(), name)) {
            let row = simulate(&wish, workload, name)?;
            println!("{row}");
            rows.push(row);
        }
        if let Some(directory) = &wish.plots {
            let path = format!("{directory}/{}-{}g.svg", workload.name, wish.gib);
            repo.write(&path, &charts(workload, &wish, &rows))?;
            println!("<!-- {path} -->");
        }
    }
    Ok(())
}

impl Wish {
    fn read(arguments: &[String]) -> Result<Self, Trouble> {
        let mut wish =
            Self { gib: 1024, table_mib: 64, percent: 300, workload: None, strategy: None, plots: None };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let usage = || Trouble::Usage(USAGE.into());
            let word = rest.next().ok_or_else(usage)?;
            let number = || word.parse::<u64>().ok().filter(|number| *number > 0).ok_or_else(usage);
            match argument.as_str() {
                "--gib" => wish.gib = number()?,
                "--table-mib" => wish.table_mib = number()?,
                "--rounds" => wish.percent = number()?,
                "--workload" => wish.workload = Some(word.clone()),
                "--strategy" => wish.strategy = Some(word.clone()),
                "--plots" => wish.plots = Some(word.clone()),
                _ => return Err(usage()),
            }
        }
        Ok(wish)
    }

    fn strategy(&self, name: &str) -> Box<dyn CompactionStrategy> {
        let table_target_bytes = self.table_mib << 20;
        match name {
            "tiered" => Box::new(SizeTiered { table_target_bytes, ..SizeTiered::default() }),
            "lazy" => Box::new(LazyLeveling { table_target_bytes, ..LazyLeveling::default() }),
            _ => Box::new(Leveled { table_target_bytes, ..Leveled::default() }),
        }
    }
}

/// Whether something of this name is wanted: everything is, without a wish.
fn wants(wish: Option<&String>, name: &str) -> bool {
    wish.is_none_or(|wish| wish == name)
}

/// What one strategy came to under one workload.
struct Row {
    workload: &'static str,
    strategy: &'static str,
    days: f64,
    write: f64,
    read: (f64, u64),
    space: (f64, f64),
    transient: f64,
    stalled: f64,
    tombstones: (f64, f64),
    plans: u64,
    secs: f64,
    points: Vec<Point>,
}

/// A moment of a run.
#[derive(Clone, Copy)]
struct Point {
    days: f64,
    write: f64,
    read: f64,
    space: f64,
    debt: f64,
}

fn simulate(wish: &Wish, workload: &'static Workload, strategy: &'static str) -> Result<Row, Trouble> {
    let watch = Watch::start();
    let trouble = |source| Trouble::Strategy { strategy: strategy.into(), source };
    let chosen = wish.strategy(strategy);
    let table_bytes = wish.table_mib << 20;
    let live_bytes = wish.gib * GIB;
    let machine = Machine { memtable_bytes: table_bytes, ..Machine::default() };
    let mut forecast =
        Forecast::new(chosen.as_ref(), workload, machine, live_bytes, table_bytes).map_err(trouble)?;
    let rounds = (live_bytes / 100).saturating_mul(wish.percent) / table_bytes;
    let mut points = Vec::new();
    let mut tombstones = (0.0_f64, 0.0_f64);
    let mut before = *forecast.figures();
    for flush in 0..rounds.max(1) {
        forecast.flush().map_err(trouble)?;
        if flush % (rounds / POINTS).max(1) == 0 {
            let (now, live) = (*forecast.figures(), as_float(live_bytes));
            let age = forecast.tombstone_age_secs();
            tombstones = (age.0 / DAY_SECS, tombstones.1.max(age.1 / DAY_SECS));
            let flushed = as_float(now.flushed_bytes - before.flushed_bytes).max(1.0);
            points.push(Point {
                days: forecast.now_secs() / DAY_SECS,
                write: as_float(now.merged_bytes - before.merged_bytes) / flushed,
                read: as_float(forecast.run_count()),
                space: forecast.space_amplification(),
                debt: as_float(forecast.debt().bytes) / live,
            });
            before = now;
        }
    }
    let figures = forecast.figures();
    Ok(Row {
        workload: workload.name,
        strategy,
        days: forecast.now_secs() / DAY_SECS,
        write: figures.write_amplification(),
        read: figures.read_amplification(),
        space: (figures.space_amplification(), figures.space_amplification_max()),
        transient: as_float(figures.transient_bytes_max) / as_float(GIB),
        stalled: figures.stalled_secs / forecast.now_secs().max(1.0) * 100.0,
        tombstones,
        plans: figures.plans,
        secs: watch.elapsed().as_secs_f64(),
        points,
    })
}

impl Row {
    const HEAD: &'static str = "| workload | strategy | days | write | read mean | read max | space mean | space max \
        | transient GiB | stalled % | tombstone days mean | max | plans | seconds |\n\
        |---|---|---|---|---|---|---|---|---|---|---|---|---|---|";
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "| {} | {} | {:.1} | {:.2} ", self.workload, self.strategy, self.days, self.write)?;
        write!(f, "| {:.1} | {} | {:.2} | {:.2} ", self.read.0, self.read.1, self.space.0, self.space.1)?;
        write!(f, "| {:.1} | {:.1} ", self.transient, self.stalled)?;
        write!(f, "| {:.1} | {:.1} ", self.tombstones.0, self.tombstones.1)?;
        write!(f, "| {} | {:.1} |", self.plans, self.secs)
    }
}

/// Four charts of a workload, a curve for each strategy.
fn charts(workload: &Workload, wish: &Wish, rows: &[Row]) -> String {
    let chart = |title: &str, value: fn(&Point) -> f64| Chart {
        title: title.to_owned(),
        curves: rows
            .iter()
            .map(|row| Curve {
                name: row.strategy.to_owned(),
                points: row.points.iter().map(|point| (point.days, value(point))).collect(),
            })
            .collect(),
    };
    let mut head = String::new();
    let _ = write!(head, "{}, {} GiB: {}", workload.name, wish.gib, workload.about);
    plot::draw(
        &head,
        &[
            chart("bytes merged per byte flushed", |point| point.write),
            chart("runs a read may ask", |point| point.read),
            chart("bytes of tables per live byte", |point| point.space),
            chart("debt per live byte", |point| point.debt),
        ],
    )
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn as_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_can_be_simulated() {
        let wish = Wish {
            percent: 60,
            ..Wish::read(&["--gib".into(), "2".into(), "--table-mib".into(), "4".into()]).unwrap()
        };
        for workload in WORKLOADS {
            let rows: Vec<Row> =
                STRATEGIES.iter().map(|strategy| simulate(&wish, workload, strategy).unwrap()).collect();
            assert!(rows.iter().all(|row| row.space.0 > 0.9 && row.read.0 >= 1.0), "{}", workload.name);
            let drawn = charts(workload, &wish, &rows);
            assert!(drawn.starts_with("<svg") && drawn.trim_end().ends_with("</svg>"));
            assert_eq!(drawn.matches("<polyline").count(), 4 * STRATEGIES.len());
        }
    }

    #[test]
    fn words_are_understood_or_refused() {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let wish = Wish::read(&words("--gib 7 --strategy lazy")).unwrap();
        assert_eq!((wish.gib, wish.strategy.as_deref()), (7, Some("lazy")));
        for line in ["--gib", "--gib x", "--gib 0", "--size 3"] {
            assert!(Wish::read(&words(line)).is_err(), "{line}");
        }
    }
}
