//! `cargo xtask torture oracle [--minutes M] [--seed S]`: random lives of a tree, in which every form of read is held to
//! the whole history. The lives and the judge are a test of the engine that the default suite runs a few of; here it
//! runs optimised, on all processors, with its assertions on. It fails, too, when an operation or a form of read never
//! came up.

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
    let (seconds, seed) = (options.minutes.saturating_mul(60).to_string(), options.seed.to_string());
    println!("torture: oracle, seed {seed}, {} minutes", options.minutes);
    let line = ["test", "--profile", "torture", "-p", "lsm-engine", "--test", "model", "--quiet", "--"];
    let filter = ["--ignored", "--exact", "--nocapture", "torture"];
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
