//! `cargo xtask torture full [--times N]`: another program fills the disk at random moments and gives it back, on the
//! simulated disk and, where file systems may be mounted, on ext4 and tmpfs. The run is a test of the engine that the default
//! suite runs small.

use super::read_numbers;
use crate::repo::Repo;
use crate::trouble::Trouble;

const DEFAULT_TIMES: u64 = 200;

pub(super) fn run(repo: &Repo, arguments: &[String]) -> Result<(), Trouble> {
    let mut times = DEFAULT_TIMES;
    read_numbers(arguments, &mut [("--times", &mut times)])?;
    println!("torture: full, {times} times on each disk");
    let line = ["test", "--profile", "torture", "-p", "lsm-engine", "--test", "filled", "--quiet", "--"];
    let filter = ["--ignored", "--exact", "--nocapture", "torture"];
    repo.cargo_with(&[&line[..], &filter[..]].concat(), &[("LSM_TORTURE_TIMES", &times.to_string())])
}
