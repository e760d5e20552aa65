//! `cargo xtask torture tight [--free MIB]`: a full compaction of a database of ten times the free space, in memory and,
//! where file systems may be mounted, on ext4 and tmpfs. The run is a test of the engine that the default suite runs small.

use super::read_numbers;
use crate::repo::Repo;
use crate::trouble::Trouble;

const DEFAULT_FREE_MIB: u64 = 16;

pub(super) fn run(repo: &Repo, arguments: &[String]) -> Result<(), Trouble> {
    let mut free = DEFAULT_FREE_MIB;
    read_numbers(arguments, &mut [("--free", &mut free)])?;
    println!("torture: tight, {free} MiB free");
    let line = ["test", "--profile", "torture", "-p", "lsm-engine", "--test", "near_full", "--quiet", "--"];
    let filter = ["--ignored", "--exact", "--nocapture", "torture"];
    repo.cargo_with(&[&line[..], &filter[..]].concat(), &[("LSM_TORTURE_FREE_MIB", &free.to_string())])
}
