//! One engine in a process of its own, and what became of it.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Figure, Place};
use crate::{child, engine::Outcome, plan::Plan};

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
    let ended = child::run(
        &["--child", engine, "--child-values", values.word()],
        dir.path(),
        Duration::from_secs(60 * plan.row_minutes),
    )?;
    let figures: Vec<BTreeMap<Figure, f64>> =
        ended.said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let figures = figures.into_iter().flatten().collect();
    Ok(Row { engine: engine.to_owned(), values, figures, failure: ended.failure })
}
