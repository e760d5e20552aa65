//! Figures: what a child process hands to its parent, medians over repetitions, and the tables.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::{Deserialize, Serialize};

use crate::measure::Taken;

/// What one process measured of one engine.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) engine: String,
    rows: Vec<Row>,
    facts: Vec<(String, f64)>,
    answers: BTreeMap<String, u64>,
}

/// One workload.
#[derive(Serialize, Deserialize, Clone, Debug)]
struct Row {
    name: String,
    ops: u64,
    seconds: f64,
    cpu_seconds: f64,
}

impl Measured {
    pub(crate) fn new(engine: &str) -> Self {
        Self { engine: engine.to_owned(), rows: Vec::new(), facts: Vec::new(), answers: BTreeMap::new() }
    }

    /// A workload that did `ops` operations.
    pub(crate) fn row(&mut self, name: &str, ops: u64, taken: Taken) {
        let (seconds, cpu_seconds) = (taken.seconds, taken.cpu_seconds);
        self.rows.push(Row { name: name.to_owned(), ops, seconds, cpu_seconds });
    }

    /// Something that is not a speed.
    pub(crate) fn fact(&mut self, name: &str, value: f64) {
        self.facts.push((name.to_owned(), value));
    }

    /// Sum of what the engine answered: the same for every engine, or one of them is wrong.
    pub(crate) fn answer(&mut self, name: &str, sum: u64) {
        self.answers.insert(name.to_owned(), sum);
    }
}

/// Names the first answer in which two processes differ.
pub(crate) fn disagreement(all: &[Measured]) -> Option<String> {
    let (first, others) = all.split_first()?;
    others.iter().find_map(|other| {
        let differs = first.answers.iter().find(|(name, sum)| other.answers.get(*name) != Some(*sum));
        differs.map(|(name, _)| format!("{} and {} differ in: {name}", first.engine, other.engine))
    })
}

/// Median and half the distance between the extremes.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    half_range: f64,
}

impl Spread {
    /// `None` when there are no values.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        let (first, last) = (*values.first()?, *values.last()?);
        let upper = *values.get(values.len() / 2)?;
        let lower = *values.get((values.len() - 1) / 2)?;
        Some(Self { median: f64::midpoint(lower, upper), half_range: (last - first) / 2.0 })
    }
}

/// The speeds: operations per second, how far the repetitions lie apart, and the ratio of the first engine to each
/// other one.
pub(crate) fn speed_table(all: &[Measured]) -> String {
    let names =
        all.first().map_or_else(Vec::new, |one| one.rows.iter().map(|row| row.name.clone()).collect());
    table(all, "operations or entries per second", &names, |one, name| {
        let row = one.rows.iter().find(|row| row.name == name)?;
        Some(row.ops as f64 / row.seconds)
    })
}

/// Processor time of all threads, in nanoseconds per operation.
pub(crate) fn cpu_table(all: &[Measured]) -> String {
    let names =
        all.first().map_or_else(Vec::new, |one| one.rows.iter().map(|row| row.name.clone()).collect());
    table(all, "CPU nanoseconds per operation or entry (less is better)", &names, |one, name| {
        let row = one.rows.iter().find(|row| row.name == name)?;
        Some(row.cpu_seconds * 1e9 / row.ops as f64)
    })
}

/// Everything that is not a speed.
pub(crate) fn fact_table(all: &[Measured]) -> String {
    let names =
        all.first().map_or_else(Vec::new, |one| one.facts.iter().map(|(name, _)| name.clone()).collect());
    table(all, "figure", &names, |one, name| {
        one.facts.iter().find(|(fact, _)| fact == name).map(|(_, value)| *value)
    })
}

fn engines(all: &[Measured]) -> Vec<String> {
    let mut engines: Vec<String> = Vec::new();
    for one in all {
        if !engines.contains(&one.engine) {
            engines.push(one.engine.clone());
        }
    }
    engines
}

fn table(
    all: &[Measured],
    title: &str,
    names: &[String],
    value: impl Fn(&Measured, &str) -> Option<f64>,
) -> String {
    let engines = engines(all);
    let mut head = vec![title.to_owned()];
    head.extend(engines.iter().cloned());
    if let Some((first, others)) = engines.split_first() {
        head.extend(others.iter().map(|other| format!("{first} / {other}")));
    }
    let rows = names.iter().map(|name| {
        let spreads: Vec<Option<Spread>> = engines
            .iter()
            .map(|engine| {
                let of_engine = all.iter().filter(|one| one.engine == *engine);
                Spread::of(of_engine.filter_map(|one| value(one, name)).collect())
            })
            .collect();
        let mut row = vec![name.clone()];
        row.extend(spreads.iter().map(|spread| spread.map_or_else(|| "-".to_owned(), cell)));
        if let Some((first, others)) = spreads.split_first() {
            row.extend(others.iter().map(|other| match (first, other) {
                (Some(first), Some(other)) => format!("{:.2}", first.median / other.median),
                _ => "-".to_owned(),
            }));
        }
        row
    });
    markdown(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

fn cell(spread: Spread) -> String {
    let percent = 100.0 * spread.half_range / spread.median;
    format!("{} ±{percent:.0}%", human(spread.median))
}

/// With about three digits.
pub(crate) fn human(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.2}M", v / 1e6),
        v if v >= 1e4 => format!("{:.0}k", v / 1e3),
        v if v >= 100.0 => format!("{v:.0}"),
        v => format!("{v:.2}"),
    }
}

/// A table whose first row is its head.
pub(crate) fn markdown(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (at, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(text, "| {cell:<width$} ");
        }
        text.push_str("|\n");
        if at == 0 {
            for width in &widths {
                let _ = write!(text, "|-{}-", "-".repeat(*width));
            }
            text.push_str("|\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(engine: &str, seconds: f64, sum: u64) -> Measured {
        let mut measured = Measured::new(engine);
        measured.row("get", 1000, Taken { seconds, cpu_seconds: seconds, written: 0, read: 0 });
        measured.answer("get", sum);
        measured
    }

    #[test]
    fn medians_and_ratios_are_taken_per_engine() {
        let all =
            [measured("a", 1.0, 7), measured("b", 4.0, 7), measured("a", 3.0, 7), measured("a", 2.0, 7)];
        let table = speed_table(&all);
        assert!(table.contains("| get "), "{table}");
        assert!(table.contains("| 500 ±67% "), "{table}");
        assert!(table.contains("| 250 ±0% "), "{table}");
        assert!(table.contains("| 2.00 "), "{table}");
    }

    #[test]
    fn different_answers_are_named() {
        assert_eq!(disagreement(&[measured("a", 1.0, 7), measured("b", 1.0, 7)]), None);
        let all = [measured("a", 1.0, 7), measured("b", 1.0, 8)];
        assert_eq!(disagreement(&all).as_deref(), Some("a and b differ in: get"));
    }
}
