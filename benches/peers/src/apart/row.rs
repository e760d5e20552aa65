//! One engine in a process of its own, and what became of it.

use std::{
    collections::BTreeMap,
    io::{Read as _, Seek as _},
    path::Path,
    process::{Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{Figure, Place};
use crate::{engine::Outcome, measure::now, plan::Plan};

/// How often the child is looked after.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Most characters of a failure in the table.
const FAILURE_CHARS_MAX: usize = 300;

/// What one process measured.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub(super) struct Row {
    pub(super) engine: String,
    pub(super) values: Place,
    pub(super) figures: BTreeMap<Figure, f64>,
    /// Why it ended early.
    pub(super) failure: Option<String>,
}

impl Row {
    /// What rows are told apart by.
    pub(super) fn kind(&self) -> (&str, Place) {
        (&self.engine, self.values)
    }
}

/// An error is one of the driver; one of the engine is in the row.
pub(super) fn measure_in_child(plan: &Plan, engine: &str, values: Place) -> Outcome<Row> {
    // Of the parent: a child that crashes does not remove it.
    let dir = tempfile::Builder::new().prefix("peers-").tempdir_in(&plan.dir)?;
    let limit = Duration::from_secs(60 * plan.row_minutes);
    let (lines, failure) = run_child(engine, dir.path(), &["--child-values", values.word()], limit)?;
    let figures: Vec<BTreeMap<Figure, f64>> =
        lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let figures = figures.into_iter().flatten().collect();
    Ok(Row { engine: engine.to_owned(), values, figures, failure })
}

/// Runs one engine in a process of its own, with a database in `dir`: what it printed, and why it ended early.
pub(crate) fn run_child(
    engine: &str,
    dir: &Path,
    arguments: &[&str],
    limit: Duration,
) -> Outcome<(String, Option<String>)> {
    let (mut said, mut complained) = (tempfile::tempfile()?, tempfile::tempfile()?);
    let mut child = Command::new(std::env::current_exe()?);
    child.args(std::env::args_os().skip(1)).args(["--child", engine, "--child-dir"]).arg(dir).args(arguments);
    let child = child.stdout(Stdio::from(said.try_clone()?)).stderr(Stdio::from(complained.try_clone()?));
    let ended = wait(child, limit)?;

    let (mut lines, mut complaint) = (String::new(), Vec::new());
    said.rewind()?;
    said.read_to_string(&mut lines)?;
    complained.rewind()?;
    complained.read_to_end(&mut complaint)?;
    let complaint = String::from_utf8_lossy(&complaint);
    eprint!("{complaint}");
    let failure = match ended {
        Some(status) if status.success() => None,
        Some(status) => Some(shorten(&format!("{status}: {complaint}"))),
        None => Some(format!("ended after {} minutes", limit.as_secs() / 60)),
    };
    Ok((lines, failure))
}

/// `None` when it took longer than `limit`, and was ended.
fn wait(command: &mut Command, limit: Duration) -> Outcome<Option<ExitStatus>> {
    let started = now();
    let mut child = command.spawn()?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// On one line of a table.
fn shorten(failure: &str) -> String {
    let line = failure.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "/");
    line.chars().take(FAILURE_CHARS_MAX).collect()
}
