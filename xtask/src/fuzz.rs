//! `cargo xtask fuzz`: feeds mutated bytes to every decoder, on the stable compiler, the same inputs for the same
//! seed. A decoder answers with a value or a typed error; a panic or an input that takes too long is a failure, and
//! what is needed to repeat it is printed. `--libfuzzer` runs the coverage-guided targets where cargo-fuzz is there.

mod columnar;
mod corpus;
mod delete_vector;
mod formats;
mod libfuzzer;
mod mutate;
mod row_group;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::repo::Repo;
use crate::trouble::{Findings, Trouble};
use crate::watch::Watch;
use corpus::Corpus;
use mutate::Dice;
use targets::Target;

/// An input that takes longer than this is a hang: decoders are linear in their input.
const SLOW: Duration = Duration::from_secs(2);
/// Inputs for each target when no bound is given.
const DEFAULT_RUNS: u64 = 20_000;
const DEFAULT_SEED: u64 = 1;

/// How the task was called.
#[derive(Debug, PartialEq)]
struct Options {
    bound: Bound,
    seed: u64,
    libfuzzer: bool,
    /// Names asked for; none means all.
    targets: Vec<String>,
}

/// When a target is done.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Bound {
    /// After so many inputs.
    Runs(u64),
    /// After its share of this time.
    Time(Duration),
}

pub(crate) fn run(repo: &Repo, arguments: &[String]) -> Result<(), Trouble> {
    let options = parse(arguments)?;
    if options.libfuzzer {
        return libfuzzer::run(repo, &options.targets, options.bound);
    }
    let targets = choose(&options.targets)?;
    let bound = match options.bound {
        Bound::Time(time) => Bound::Time(time / u32::try_from(targets.len().max(1)).unwrap_or(u32::MAX)),
        runs @ Bound::Runs(_) => runs,
    };
    let mut findings = Findings::default();
    let mut inputs = 0;
    // The message of a caught panic belongs into the finding, once.
    std::panic::set_hook(Box::new(|_| {}));
    for target in &targets {
        println!("fuzz: {} seed {}", target.name, options.seed);
        match drive(target, options.seed, bound) {
            Ok(tally) => {
                inputs += tally.inputs;
                println!("fuzz: {} {} inputs, {} kept", target.name, tally.inputs, tally.kept);
            }
            Err(failure) => findings.add(format!("{}: {failure}", target.name)),
        }
    }
    drop(std::panic::take_hook());
    println!("fuzz: {} targets, {inputs} inputs, seed {}", targets.len(), options.seed);
    findings.into_result()
}

/// What one target did.
struct Tally {
    inputs: u64,
    /// Inputs that made the decoder do something new.
    kept: usize,
}

/// Runs one target until its bound; the first failure ends it.
fn drive(target: &Target, seed: u64, bound: Bound) -> Result<Tally, String> {
    let mut dice = Dice::new(seed);
    let mut corpus = Corpus::new();
    let whole = Watch::start();
    let mut inputs = 0;
    for input in (target.seeds)() {
        let outcome = feed(target, &input, seed, inputs)?;
        corpus.offer(input, outcome);
        inputs += 1;
    }
    loop {
        let done = match bound {
            Bound::Runs(runs) => inputs >= runs,
            Bound::Time(time) => whole.elapsed() >= time,
        };
        if done {
            return Ok(Tally { inputs, kept: corpus.len() });
        }
        let input = mutate::mutate(&corpus, &mut dice);
        let outcome = feed(target, &input, seed, inputs)?;
        corpus.offer(input, outcome);
        inputs += 1;
    }
}

/// Gives one input to a target.
fn feed(target: &Target, input: &[u8], seed: u64, number: u64) -> Result<u64, String> {
    let watch = Watch::start();
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let told = |what: &str| format!("{what} (seed {seed}, input {number}): {}", hex(input));
    if watch.elapsed() > SLOW {
        return Err(told("too slow"));
    }
    outcome.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        told(&format!("panic `{}`", text.unwrap_or_default()))
    })
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    })
}

fn choose(names: &[String]) -> Result<Vec<&'static Target>, Trouble> {
    if let Some(unknown) = names.iter().find(|name| targets().iter().all(|target| target.name != **name)) {
        let known: Vec<_> = targets().iter().map(|target| target.name).collect();
        return Err(Trouble::Usage(format!("no target `{unknown}`; there are {}", known.join(", "))));
    }
    let asked = |target: &&Target| names.is_empty() || names.iter().any(|name| name == target.name);
    Ok(targets().iter().filter(asked).collect())
}

fn parse(arguments: &[String]) -> Result<Options, Trouble> {
    let mut options = Options {
        bound: Bound::Runs(DEFAULT_RUNS),
        seed: DEFAULT_SEED,
        libfuzzer: false,
        targets: Vec::new(),
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--libfuzzer" => options.libfuzzer = true,
            "--minutes" => {
                options.bound =
                    Bound::Time(Duration::from_secs(number(argument, rest.next())?.saturating_mul(60)));
            }
            "--runs" => options.bound = Bound::Runs(number(argument, rest.next())?),
            "--seed" => options.seed = number(argument, rest.next())?,
            flag if flag.starts_with("--") => return Err(Trouble::Usage(format!("no option `{flag}`"))),
            name => options.targets.push(name.to_owned()),
        }
    }
    Ok(options)
}

fn number(option: &str, value: Option<&String>) -> Result<u64, Trouble> {
    value
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| Trouble::Usage(format!("{option} wants a whole number after it")))
}

/// Every decoder of the workspace.
fn targets() -> &'static [Target] {
    static ALL: std::sync::LazyLock<Vec<Target>> = std::sync::LazyLock::new(|| {
        targets::TARGETS
            .into_iter()
            .chain(formats::TARGETS)
            .chain(columnar::TARGETS)
            .chain([row_group::TARGET])
            .chain(delete_vector::TARGETS)
            .collect()
    });
    &ALL
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn options_are_read() {
        let options = parse(&words("--minutes 2 --seed 7 varint")).expect("well formed");
        let expected = Options {
            bound: Bound::Time(Duration::from_mins(2)),
            seed: 7,
            libfuzzer: false,
            targets: vec!["varint".into()],
        };
        assert_eq!(options, expected);
        for line in ["--minutes", "--minutes x", "--speed 1"] {
            assert!(parse(&words(line)).is_err(), "{line}");
        }
        assert!(choose(&words("no-such-target")).is_err());
    }

    fn brittle(bytes: &[u8]) -> u64 {
        assert!(bytes.first() != Some(&0xFF), "first byte is high");
        0
    }

    #[test]
    fn a_panic_is_found_and_repeats() {
        let target = Target { name: "brittle", run: brittle, seeds: || vec![vec![0; 4]] };
        let first =
            drive(&target, 3, Bound::Runs(DEFAULT_RUNS)).err().expect("the mutator reaches the high byte");
        assert!(first.contains("first byte is high") && first.contains("seed 3"), "{first}");
        assert_eq!(drive(&target, 3, Bound::Runs(DEFAULT_RUNS)).err(), Some(first));
    }

    #[test]
    fn every_target_takes_its_seeds_and_a_few_mutations() {
        for target in targets() {
            assert!(drive(target, 5, Bound::Runs(200)).is_ok(), "{}", target.name);
        }
    }
}
