//! `cargo xtask map`: the crate map, as data, and the check that the manifests, the sources and `deny.toml` keep to
//! it. A new edge is one word in [`ROOMS`] and in `deny.toml`: a line somebody reviews.

mod check;
mod deny;
mod manifests;

use crate::repo::Repo;
use crate::trouble::{Findings, Trouble};

/// Which part of the standard library a crate may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Std {
    /// `#![no_std]` and `alloc`, always.
    Without,
    /// `std`, always.
    With,
}

/// One crate of ours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    name: &'static str,
    floor: u8,
    std: Std,
    /// Our crates it may depend on.
    uses: &'static [&'static str],
}

const fn room(name: &'static str, floor: u8, std: Std, uses: &'static [&'static str]) -> Room {
    Room { name, floor, std, uses }
}

use Std::{With, Without};

/// The house. Arrows run down; the exceptions are in [`SAME_FLOOR`].
#[rustfmt::skip]
pub(crate) const ROOMS: &[Room] = &[
    room("lsm-types",    0, Without, &[]),
    room("lsm-fs",       0, With,    &["lsm-types"]),
    room("lsm-codec",    1, Without, &["lsm-types"]),
    room("lsm-crypto",   1, Without, &["lsm-types"]),
    room("lsm-ecc",      1, Without, &["lsm-types"]),
    room("lsm-burr",     1, Without, &["lsm-types"]),
    room("lsm-columnar", 1, Without, &["lsm-types"]),
    room("lsm-memtable", 1, Without, &["lsm-types"]),
    room("lsm-iter",     1, Without, &["lsm-types"]),
    room("lsm-block",    2, Without, &["lsm-types", "lsm-codec", "lsm-crypto", "lsm-ecc"]),
    room("lsm-sst",      3, Without, &["lsm-types", "lsm-codec", "lsm-burr", "lsm-columnar", "lsm-block"]),
    room("lsm-vlog",     3, Without, &["lsm-types", "lsm-codec", "lsm-block"]),
    room("lsm-manifest", 3, Without, &["lsm-types", "lsm-block"]),
    room("lsm-wal",      3, Without, &["lsm-types", "lsm-codec", "lsm-block"]),
    room("lsm-table",    4, With,    &["lsm-types", "lsm-fs", "lsm-codec", "lsm-crypto", "lsm-burr", "lsm-columnar",
                                       "lsm-block", "lsm-sst", "lsm-vlog", "lsm-manifest", TESTKIT]),
    room("lsm-journal",  4, With,    &["lsm-types", "lsm-fs", "lsm-codec", "lsm-block", "lsm-manifest", "lsm-wal"]),
    room("lsm-compaction-planner", 4, Without, &["lsm-types", "lsm-manifest"]),
    room("lsm-compaction-executor", 5, With, &["lsm-types", "lsm-fs", "lsm-codec", "lsm-columnar", "lsm-iter",
                                       "lsm-block", "lsm-sst", "lsm-vlog", "lsm-manifest", "lsm-table",
                                       "lsm-compaction-planner"]),
    room("lsm-daily-tiers", 5, Without, &["lsm-compaction-planner"]),
    room("lsm-repair",   5, With,    &["lsm-types", "lsm-fs", "lsm-codec", "lsm-crypto", "lsm-columnar", "lsm-iter",
                                       "lsm-block", "lsm-sst", "lsm-vlog", "lsm-manifest", "lsm-wal", "lsm-table",
                                       "lsm-journal"]),
    room("lsm-engine",   6, With,    &["lsm-types", "lsm-fs", "lsm-codec", "lsm-crypto", "lsm-columnar",
                                       "lsm-memtable", "lsm-iter", "lsm-block", "lsm-sst", "lsm-vlog", "lsm-manifest",
                                       "lsm-table", "lsm-journal", "lsm-compaction-planner",
                                       "lsm-compaction-executor", "lsm-repair"]),
    room("lsm-merge-audit", 7, With, &["lsm-types", "lsm-compaction-executor"]),
    room("lsm-db",       7, With,    &["lsm-types", "lsm-fs", "lsm-codec", "lsm-crypto", "lsm-iter", "lsm-block",
                                       "lsm-manifest", "lsm-wal", "lsm-journal", "lsm-compaction-planner",
                                       "lsm-compaction-executor", "lsm-engine"]),
    room("lsm",          8, With,    &["lsm-types", "lsm-fs", "lsm-codec", "lsm-crypto", "lsm-columnar", "lsm-block",
                                       "lsm-sst", "lsm-manifest", "lsm-compaction-planner", "lsm-compaction-executor",
                                       "lsm-repair", "lsm-engine", "lsm-db"]),
    room("lsm-cli",      9, With,    &["lsm-types", "lsm-fs", "lsm-codec", "lsm-block", "lsm-sst", "lsm-vlog",
                                       "lsm-manifest", "lsm-table", "lsm-journal", "lsm-compaction-planner",
                                       "lsm-repair", "lsm-engine", "lsm"]),
    room(TESTKIT,        1, With,    &["lsm-types", "lsm-fs"]),
];

/// Edges between crates of one floor.
const SAME_FLOOR: &[(&str, &str)] = &[("lsm-fs", "lsm-types")];

/// Used by tests only, from any floor.
pub(crate) const TESTKIT: &str = "lsm-testkit";

/// Workspace members outside the house: tools that may use every crate and that no crate uses.
pub(crate) const TOOLS: &[&str] = &["xtask", "lsm-benches"];

/// An outside crate, and the crates of ours that may name it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owned {
    name: &'static str,
    by: &'static [&'static str],
    /// Other outside crates use it too, so `deny.toml` cannot name its parents; only our manifests are checked.
    shared: bool,
}

const fn owned(name: &'static str, by: &'static [&'static str]) -> Owned {
    Owned { name, by, shared: false }
}

const fn shared(name: &'static str, by: &'static [&'static str]) -> Owned {
    Owned { name, by, shared: true }
}

/// Outside crates with an owner. Those not named here are free (error derivation, test tools).
#[rustfmt::skip]
pub(crate) const OUTSIDE: &[Owned] = &[
    owned("zstd", &["lsm-codec"]),
    shared("zstd-safe", &["lsm-codec"]),
    owned("lz4_flex", &["lsm-codec"]),
    owned("aes-gcm", &["lsm-crypto"]),
    owned("aws-lc-rs", &["lsm-crypto"]),
    owned("chacha20poly1305", &["lsm-crypto"]),
    owned("hkdf", &["lsm-crypto"]),
    shared("sha2", &["lsm-crypto"]),
    shared("subtle", &["lsm-crypto"]),
    shared("zeroize", &["lsm-crypto"]),
    owned("reed-solomon-simd", &["lsm-ecc"]),
    owned("crc32c", &["lsm-block", "lsm-ecc"]),
    owned("xxhash-rust", &["lsm-types", "lsm-block", "lsm-journal", "lsm-sst", "lsm-vlog", "lsm-manifest", TESTKIT]),
    shared("bytes", &["lsm-types", "lsm-block", TESTKIT]),
    owned("roaring", &["lsm-columnar"]),
    shared("arrow-array", &["lsm-columnar"]),
    shared("arrow-buffer", &["lsm-columnar"]),
    shared("arrow-schema", &["lsm-columnar"]),
    owned("fastlanes", &["lsm-columnar"]),
    owned("fsst-rs", &["lsm-columnar"]),
    owned("quick_cache", &["lsm-table"]),
    shared("rustix", &["lsm-fs"]),
    owned("io-uring", &["lsm-fs"]),
    shared("getrandom", &["lsm-fs", "lsm-crypto"]),
    shared("parking_lot", &["lsm-fs", "lsm-table", "lsm-journal", "lsm-compaction-executor", "lsm-repair",
                            "lsm-engine", "lsm-db", TESTKIT]),
    owned("arc-swap", &["lsm-table", "lsm-engine", "lsm-db"]),
    shared("rayon", &["lsm-compaction-executor", "lsm-repair"]),
    shared("clap", &["lsm-cli"]),
    owned("indicatif", &["lsm-cli"]),
    owned("csv-core", &["lsm-cli"]),
    shared("serde_json", &["lsm-columnar", "lsm-cli"]),
];

/// A part of the standard library, and the crates that may name it.
const STD_PARTS: &[(&str, &[&str])] = &[("fs", &["lsm-fs", "lsm-cli"]), ("env", &["lsm-cli"])];

pub(crate) fn run(repo: &Repo, _arguments: &[String]) -> Result<(), Trouble> {
    let members = manifests::members(repo)?;
    let mut findings = Findings::default();
    check::table(&mut findings);
    check::edges(&members, &mut findings);
    check::std_attribute(repo, &members, &mut findings)?;
    let sources = repo.rust_files(&["crates/", "xtask/", "benches/"])?;
    check::std_parts(&sources, &mut findings);
    check::unused(&members, &sources, &mut findings);
    deny::check(&repo.read("deny.toml")?, &mut findings);
    findings.into_result()?;
    let edges: usize = members.iter().map(|member| member.ours().count()).sum();
    println!("map: {} members, {edges} edges between them, as drawn", members.len());
    if repo.has_cargo_command("deny") {
        return repo.cargo(&["deny", "check", "bans", "licenses"]);
    }
    println!("map: cargo-deny is not installed; deny.toml was compared with the table only");
    Ok(())
}

fn find_room(name: &str) -> Option<&'static Room> {
    ROOMS.iter().find(|room| room.name == name)
}
