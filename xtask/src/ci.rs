//! `cargo xtask ci`: every gate, the same here and on a server. Stops at the first failure.

use crate::repo::Repo;
use crate::trouble::Trouble;
use crate::watch::Watch;
use crate::{fuzz, map, readme, tidy, trace};

/// One gate.
type Step = (&'static str, fn(&Repo) -> Result<(), Trouble>);

/// In this order: what fails fastest comes first.
const STEPS: &[Step] = &[
    ("fmt", |repo| repo.cargo(&["fmt", "--all", "--check"])),
    ("map", |repo| map::run(repo, &[])),
    ("tidy", |repo| tidy::run(repo, &[])),
    ("trace", |repo| trace::run(repo, &[])),
    ("clippy", |repo| repo.cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])),
    ("doc", |repo| repo.cargo_with(&["doc", "--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")])),
    ("test", |repo| repo.cargo(&["test", "--workspace"])),
    ("fuzz", |repo| fuzz::run(repo, &[])),
    ("readme", |repo| readme::run(repo, &[])),
];

pub(crate) fn run(repo: &Repo, _arguments: &[String]) -> Result<(), Trouble> {
    let whole = Watch::start();
    for (name, step) in STEPS {
        println!("ci: {name}");
        let watch = Watch::start();
        if let Err(trouble) = step(repo) {
            println!("ci: {name} failed after {:.1} s", watch.elapsed().as_secs_f64());
            return Err(trouble);
        }
        println!("ci: {name} passed in {:.1} s", watch.elapsed().as_secs_f64());
    }
    println!("ci: {} steps passed in {:.1} s", STEPS.len(), whole.elapsed().as_secs_f64());
    Ok(())
}
