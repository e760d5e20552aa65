//! `cargo xtask torture crash [--minutes M] [--seed S]`: power cuts at every moment of workload after workload on the
//! simulated disk. The workloads and the judge are a test of the engine that the default suite runs a slice of; here
//! it runs optimised, with its assertions on, for as long as asked.

use super::read_numbers;
use crate::repo::Repo;
use crate::trouble::Trouble;

const DEFAULT_MINUTES: u64 = 10;
const DEFAULT_SEED: u64 = 1;

/// How the torture was called.
#[derive(Debug, PartialEq)]
struct Options {
    minutes: u64,
    seed: u64,
}

pub(super) fn run(repo: &Repo, arguments: &[String]) -> Result<(), Trouble> {
    let options = parse(arguments)?;
    let seconds = options.minutes.saturating_mul(60).to_string();
    let seed = options.seed.to_string();
    let line = ["test", "--profile", "torture", "-p", "lsm-engine", "--test", "crash", "--quiet", "--"];
    let filter = ["--ignored", "--nocapture", "torture"];
    println!("torture: crash, seed {seed}, {} minutes", options.minutes);
    let variables = [("LSM_TORTURE_SECONDS", seconds.as_str()), ("LSM_TORTURE_SEED", seed.as_str())];
    repo.cargo_with(&[&line[..], &filter[..]].concat(), &variables)
}

fn parse(arguments: &[String]) -> Result<Options, Trouble> {
    let mut options = Options { minutes: DEFAULT_MINUTES, seed: DEFAULT_SEED };
    read_numbers(arguments, &mut [("--minutes", &mut options.minutes), ("--seed", &mut options.seed)])?;
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let parse = |line: &str| parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(parse("--minutes 2 --seed 7").ok(), Some(Options { minutes: 2, seed: 7 }));
        assert_eq!(parse("").ok(), Some(Options { minutes: DEFAULT_MINUTES, seed: DEFAULT_SEED }));
        assert!(parse("--minutes").is_err() && parse("--hours 1").is_err());
    }
}
