//! The engines built in: one file each, chosen by cargo features here and nowhere else.

#[cfg(feature = "coordinode")]
pub(crate) mod coordinode;
#[cfg(feature = "lsm-tree")]
mod lsm_tree;
#[cfg(feature = "ours")]
pub(crate) mod ours;

use std::path::Path;

use crate::{
    apart,
    engine::{Outcome, Settings},
    near_full,
    plan::Plan,
    report::Measured,
    workload,
};

/// An engine that can be measured.
pub(crate) struct Entry {
    /// Name in the table and on the command line.
    pub(crate) name: &'static str,
    /// Whether it knows Zstandard.
    pub(crate) has_zstd: bool,
    /// Runs all workloads in an empty directory.
    pub(crate) run: fn(&Plan, &Path) -> Outcome<Measured>,
    /// Lives through long values in an empty directory.
    pub(crate) run_apart: fn(&Plan, &Path) -> Outcome<()>,
    /// Merges everything on a disk that is nearly full.
    pub(crate) run_near_full: fn(&Plan, &Path) -> Outcome<()>,
    /// What it does about such a disk, in its own words.
    pub(crate) near_full: fn(&Settings) -> String,
    /// How it keeps values apart from their keys, in its own words.
    pub(crate) separation: fn(&Settings) -> Outcome<String>,
}

/// The engines built in, ours first.
pub(crate) fn all() -> Vec<Entry> {
    vec![
        #[cfg(feature = "ours")]
        entry::<ours::Ours>(),
        #[cfg(feature = "lsm-tree")]
        entry::<lsm_tree::LsmTree>(),
        #[cfg(feature = "coordinode")]
        entry::<coordinode::Coordinode>(),
    ]
}

#[allow(dead_code, reason = "a build without any engine has no use for it")]
fn entry<E: crate::engine::Engine>() -> Entry {
    Entry {
        name: E::NAME,
        has_zstd: E::HAS_ZSTD,
        run: workload::run::<E>,
        run_apart: apart::life::run::<E>,
        run_near_full: near_full::life::run::<E>,
        near_full: E::near_full,
        separation: E::separation,
    }
}
