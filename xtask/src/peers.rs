//! `cargo xtask peers [CASE] [ARGS..]`: the driver that measures against other engines. It is a workspace of its own, so
//! that no other engine enters our lock file.
//!
//! A case is one of the driver's options by its bare name: `peers near-full` is `peers --near-full`.

use crate::repo::Repo;
use crate::trouble::Trouble;

const MANIFEST: &str = "benches/peers/Cargo.toml";

pub(crate) fn run(repo: &Repo, arguments: &[String]) -> Result<(), Trouble> {
    if !repo.root().join(MANIFEST).is_file() {
        return Err(Trouble::Usage(format!("no driver yet: {MANIFEST} is absent")));
    }
    let mut line = vec!["run", "--release", "--manifest-path", MANIFEST, "--"];
    let case = arguments.first().filter(|first| !first.starts_with('-')).map(|case| format!("--{case}"));
    line.extend(case.as_deref());
    line.extend(arguments.iter().skip(usize::from(case.is_some())).map(String::as_str));
    repo.cargo(&line)
}
