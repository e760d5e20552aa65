//! `cargo xtask torture bits`: every single bit of small databases, sealed and plain, is flipped, one at a time, and all
//! of the database is read. A test of the default suite flips some in each part of each kind of file.

use crate::repo::Repo;
use crate::trouble::Trouble;

pub(super) fn run(repo: &Repo, arguments: &[String]) -> Result<(), Trouble> {
    if let Some(other) = arguments.first() {
        return Err(Trouble::Usage(format!("no option `{other}`")));
    }
    println!("torture: bits");
    let line = ["test", "--profile", "torture", "-p", "lsm-engine", "--test", "damage", "--quiet", "--"];
    repo.cargo(&[&line[..], &["--ignored", "--exact", "--nocapture", "every_bit"]].concat())
}
