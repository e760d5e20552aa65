//! `cargo xtask torture NAME`: long runs, too long for tests, that try to prove the engine wrong. One file per
//! torture.

mod bits;
mod crash;
mod damage;
mod filter;
mod full;
mod kill;
mod nonce;
mod oracle;
mod tight;

use crate::repo::Repo;
use crate::trouble::Trouble;

/// A torture and its code.
type Torture = (&'static str, fn(&Repo, &[String]) -> Result<(), Trouble>);

const TORTURES: &[Torture] = &[
    ("bits", bits::run),
    ("crash", crash::run),
    ("damage", damage::run),
    ("filter", filter::run),
    ("full", full::run),
    ("kill", kill::run),
    ("nonce", nonce::run),
    ("oracle", oracle::run),
    ("tight", tight::run),
];

pub(crate) fn run(repo: &Repo, arguments: &[String]) -> Result<(), Trouble> {
    let known = || TORTURES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let Some((name, rest)) = arguments.split_first() else {
        return Err(Trouble::Usage(format!("torture wants a name after it: {}", known())));
    };
    match TORTURES.iter().find(|(known, _)| known == name) {
        Some((_, torture)) => torture(repo, rest),
        None => Err(Trouble::Usage(format!("no torture `{name}`; there are {}", known()))),
    }
}

/// Reads words like `--seed 7` into the numbers that go by these names.
fn read_numbers(arguments: &[String], known: &mut [(&str, &mut u64)]) -> Result<(), Trouble> {
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let Some((_, number)) = known.iter_mut().find(|(name, _)| name == argument) else {
            return Err(Trouble::Usage(format!("no option `{argument}`")));
        };
        let word = rest.next().and_then(|word| word.parse().ok());
        **number = word.ok_or_else(|| Trouble::Usage(format!("{argument} wants a whole number after it")))?;
    }
    Ok(())
}
