//! `cargo xtask mutants [--seconds S] [NAME..]`: finds out whether the judge of reads finds anything.
//!
//! Each file in `xtask/mutants` puts one fault into the engine. One at a time they are applied to a copy of the tree,
//! and random lives are lived in it until a read differs. A fault that is not found in time, a patch that does not apply
//! any more, and a read that differs without a fault, fail the task.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::repo::{Repo, cargo};
use crate::trouble::{Findings, Trouble};

const PATCHES: &str = "xtask/mutants/";
const DEFAULT_SECONDS: u64 = 120;
/// How long the tree lives without a fault before.
const CONTROL_SECONDS: u64 = 30;

/// How the task was called.
#[derive(Debug, PartialEq)]
struct Options {
    /// How long one fault is looked for.
    seconds: u64,
    /// Faults to look for; none stands for all.
    names: Vec<String>,
}

pub(crate) fn run(repo: &Repo, arguments: &[String]) -> Result<(), Trouble> {
    let options = parse(arguments)?;
    let patches: Vec<String> = repo
        .files()?
        .into_iter()
        .filter(|path| {
            path.starts_with(PATCHES) && Path::new(path).extension().is_some_and(|end| end == "patch")
        })
        .filter(|path| options.names.is_empty() || options.names.iter().any(|name| name == name_of(path)))
        .collect();
    if patches.is_empty() {
        return Err(Trouble::Usage("no fault by that name in xtask/mutants".into()));
    }
    let copy = Copy::make(repo)?;
    // What is found without a fault would be found with each of them, too.
    if copy.judge(CONTROL_SECONDS)?.is_some() {
        return Err(Trouble::Usage(
            "a read differs without a fault; see `cargo xtask torture oracle`".into(),
        ));
    }
    let mut findings = Findings::default();
    println!("{:30} {:>12} {:>12}", "fault", "operations", "milliseconds");
    for patch in &patches {
        let name = name_of(patch);
        let patch = repo.root().join(patch);
        let patch = patch.to_string_lossy();
        copy.git(&["apply", &patch])?;
        let outcome = copy.judge(options.seconds);
        copy.git(&["apply", "--reverse", &patch])?;
        if let Some((operations, millis)) = outcome? {
            println!("{name:30} {operations:>12} {millis:>12}");
        } else {
            println!("{name:30}    NOT FOUND");
            findings.add(name);
        }
    }
    findings.into_result()
}

fn name_of(patch: &str) -> &str {
    patch.strip_prefix(PATCHES).and_then(|name| name.strip_suffix(".patch")).unwrap_or(patch)
}

fn parse(arguments: &[String]) -> Result<Options, Trouble> {
    let mut options = Options { seconds: DEFAULT_SECONDS, names: Vec::new() };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--seconds" {
            let word = rest.next().and_then(|word| word.parse().ok());
            let wrong = || Trouble::Usage("--seconds wants a whole number after it".into());
            options.seconds = word.ok_or_else(wrong)?;
        } else if argument.starts_with("--") {
            return Err(Trouble::Usage(format!("no option `{argument}`")));
        } else {
            options.names.push(argument.clone());
        }
    }
    Ok(options)
}

/// A copy of the tree, with a target directory of its own.
struct Copy {
    root: PathBuf,
    target: PathBuf,
}

impl Copy {
    /// Copies what is not the same there.
    fn make(repo: &Repo) -> Result<Self, Trouble> {
        let home = repo.root().join("target").join("mutants");
        let (root, target) = (home.join("tree"), home.join("build"));
        for path in repo.files()? {
            let (from, to) = (repo.root().join(&path), root.join(&path));
            let trouble = |source| Trouble::File { path: to.clone(), source };
            let bytes = fs::read(&from).map_err(trouble)?;
            // What is as it was keeps its time: cargo does not build it again.
            if fs::read(&to).is_ok_and(|known| known == bytes) {
                continue;
            }
            if let Some(folder) = to.parent() {
                fs::create_dir_all(folder).map_err(trouble)?;
            }
            fs::write(&to, bytes).map_err(trouble)?;
        }
        Ok(Self { root, target })
    }

    /// Git as if the copy lay outside of any repository: otherwise it would patch nothing, and be content.
    fn git(&self, arguments: &[&str]) -> Result<(), Trouble> {
        let mut command = Command::new("git");
        command.args(arguments).current_dir(&self.root);
        command.env("GIT_CEILING_DIRECTORIES", self.root.parent().unwrap_or(&self.root));
        crate::repo::run(command)
    }

    /// Lives in the copy; after how many operations and milliseconds a read differed, if one did.
    fn judge(&self, seconds: u64) -> Result<Option<(u64, u64)>, Trouble> {
        let line = ["test", "--profile", "mutants", "-p", "lsm-engine", "--test", "model"];
        crate::repo::run(self.cargo(&[&line[..], &["--no-run", "--quiet"]].concat()))?;
        let mut command = self.cargo(
            &[&line[..], &["--quiet", "--", "--ignored", "--exact", "--nocapture", "torture"]].concat(),
        );
        command.env("RUST_BACKTRACE", "0");
        command.env("LSM_TORTURE_SECONDS", seconds.to_string()).env("LSM_TORTURE_SHRINK", "0");
        let output = command.output().map_err(|source| Trouble::Start { program: "cargo".into(), source })?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().find_map(read_found))
    }

    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(cargo());
        command.args(arguments).current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        command
    }
}

/// Operations and milliseconds from the line of the torture that tells them.
fn read_found(line: &str) -> Option<(u64, u64)> {
    let rest = line.strip_prefix("torture: found after ")?;
    let (operations, rest) = rest.split_once(" operations, ")?;
    Some((operations.parse().ok()?, rest.strip_suffix(" ms")?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let parse = |line: &str| parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let options = |seconds, names: &[&str]| Options {
            seconds,
            names: names.iter().map(|&name| name.to_owned()).collect(),
        };
        assert_eq!(parse("").ok(), Some(options(DEFAULT_SECONDS, &[])));
        assert_eq!(parse("a --seconds 7 b").ok(), Some(options(7, &["a", "b"])));
        assert!(parse("--seconds").is_err() && parse("--minutes 1").is_err());
    }

    #[test]
    fn what_was_found_is_read() {
        assert_eq!(read_found("torture: found after 12 operations, 34 ms"), Some((12, 34)));
        assert_eq!(read_found("torture: no read differs, seed 1"), None);
    }
}
