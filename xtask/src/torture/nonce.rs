//! `cargo xtask torture nonce [--nonces N] [--seed S]`: sealed trees that are written, flushed and compacted by several
//! threads, life after life, until so many nonces were spent; each is held against all others under its key. The run is a
//! test of the engine that the default suite does in short.

use super::read_numbers;
use crate::repo::Repo;
use crate::trouble::Trouble;

const DEFAULT_NONCES: u64 = 10_000_000;
const DEFAULT_SEED: u64 = 1;

pub(super) fn run(repo: &Repo, arguments: &[String]) -> Result<(), Trouble> {
    let (mut nonces, mut seed) = (DEFAULT_NONCES, DEFAULT_SEED);
    read_numbers(arguments, &mut [("--nonces", &mut nonces), ("--seed", &mut seed)])?;
    let (nonces, seed) = (nonces.to_string(), seed.to_string());
    println!("torture: nonce, seed {seed}, {nonces} nonces");
    let line = ["test", "--profile", "torture", "-p", "lsm-engine", "--test", "sealed", "--quiet", "--"];
    let filter = ["--ignored", "--exact", "--nocapture", "nonces::torture"];
    let variables = [("LSM_TORTURE_NONCES", nonces.as_str()), ("LSM_TORTURE_SEED", seed.as_str())];
    repo.cargo_with(&[&line[..], &filter[..]].concat(), &variables)
}
