//! `cargo xtask torture kill [--rounds N] [--seed S]`: writers that are killed at random moments on a real file
//! system. The writer and the judge are a test of the engine that the default suite runs a few rounds of.

use super::read_numbers;
use crate::repo::Repo;
use crate::trouble::Trouble;

const DEFAULT_ROUNDS: u64 = 200;
const DEFAULT_SEED: u64 = 1;

/// How the torture was called.
#[derive(Debug, PartialEq)]
struct Options {
    rounds: u64,
    seed: u64,
}

pub(super) fn run(repo: &Repo, arguments: &[String]) -> Result<(), Trouble> {
    let options = parse(arguments)?;
    let (rounds, seed) = (options.rounds.to_string(), options.seed.to_string());
    println!("torture: kill, seed {seed}, {rounds} rounds");
    let line = ["test", "--profile", "torture", "-p", "lsm-engine", "--test", "kill", "--quiet", "--"];
    let filter = ["--ignored", "--exact", "--nocapture", "torture"];
    let variables = [("LSM_TORTURE_ROUNDS", rounds.as_str()), ("LSM_TORTURE_SEED", seed.as_str())];
    repo.cargo_with(&[&line[..], &filter[..]].concat(), &variables)
}

fn parse(arguments: &[String]) -> Result<Options, Trouble> {
    let mut options = Options { rounds: DEFAULT_ROUNDS, seed: DEFAULT_SEED };
    read_numbers(arguments, &mut [("--rounds", &mut options.rounds), ("--seed", &mut options.seed)])?;
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let parse = |line: &str| parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(parse("--rounds 2 --seed 7").ok(), Some(Options { rounds: 2, seed: 7 }));
        assert_eq!(parse("").ok(), Some(Options { rounds: DEFAULT_ROUNDS, seed: DEFAULT_SEED }));
        assert!(parse("--rounds").is_err() && parse("--hours 1").is_err());
    }
}
