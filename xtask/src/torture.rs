//! `cargo xtask torture NAME`: long runs, too long for tests, that try to prove the engine wrong. One file per
//! torture.

mod filter;

use crate::repo::Repo;
use crate::trouble::Trouble;

/// A torture and its code.
type Torture = (&'static str, fn(&Repo, &[String]) -> Result<(), Trouble>);

const TORTURES: &[Torture] = &[("filter", filter::run)];

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
