//! `cargo xtask torture damage`: one damaged, missing or misplaced file after the other, and what becomes of the
//! database. The table of outcomes is a test of the engine that the default suite runs with a bit flipped in every
//! 64 bytes; here one is flipped in every byte, of several databases, and the counts are shown.

use crate::repo::Repo;
use crate::trouble::Trouble;

pub(super) fn run(repo: &Repo, arguments: &[String]) -> Result<(), Trouble> {
    if let Some(other) = arguments.first() {
        return Err(Trouble::Usage(format!("no option `{other}`")));
    }
    println!("torture: damage");
    let line = ["test", "--profile", "torture", "-p", "lsm-engine", "--test", "damage", "--quiet", "--"];
    repo.cargo(&[&line[..], &["--ignored", "--exact", "--nocapture", "torture"]].concat())
}
