//! `cargo xtask peers [ARGS..]`: the driver that measures against other engines. It is a workspace of its own, so
//! that no other engine enters our lock file.

use crate::repo::Repo;
use crate::trouble::Trouble;

const MANIFEST: &str = "benches/peers/Cargo.toml";

pub(crate) fn run(repo: &Repo, arguments: &[String]) -> Result<(), Trouble> {
    if !repo.root().join(MANIFEST).is_file() {
        return Err(Trouble::Usage(format!("no driver yet: {MANIFEST} is absent")));
    }
    let mut line = vec!["run", "--release", "--manifest-path", MANIFEST, "--"];
    line.extend(arguments.iter().map(String::as_str));
    repo.cargo(&line)
}
