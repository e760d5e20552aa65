//! Coverage-guided fuzzing through cargo-fuzz, which needs a nightly compiler. Each crate keeps its targets in
//! `crates/NAME/fuzz`, a workspace of its own.

use super::Bound;
use crate::repo::Repo;
use crate::trouble::Trouble;

/// Runs the targets named, or all, one after the other.
pub(super) fn run(repo: &Repo, names: &[String], bound: Bound) -> Result<(), Trouble> {
    if !repo.has_cargo_command("fuzz") {
        println!(
            "fuzz: skipped, cargo-fuzz is not installed (`cargo install cargo-fuzz`, and a nightly compiler)"
        );
        return Ok(());
    }
    let limit = match bound {
        Bound::Runs(runs) => format!("-runs={runs}"),
        Bound::Time(time) => format!("-max_total_time={}", time.as_secs()),
    };
    let mut count = 0_usize;
    for (directory, name) in targets(&repo.files()?) {
        if names.is_empty() || names.contains(&name) {
            count += 1;
            repo.cargo(&["+nightly", "fuzz", "run", "--fuzz-dir", &directory, &name, "--", &limit])?;
        }
    }
    println!("fuzz: {count} libFuzzer targets ran");
    Ok(())
}

/// `crates/NAME/fuzz/fuzz_targets/TARGET.rs` as its fuzz directory and `TARGET`.
fn targets(files: &[String]) -> Vec<(String, String)> {
    files
        .iter()
        .filter_map(|path| {
            let (directory, file) = path.split_once("/fuzz_targets/")?;
            Some((directory.to_owned(), file.strip_suffix(".rs")?.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_found_by_their_place() {
        let files = [
            "crates/lsm-sst/fuzz/fuzz_targets/footer.rs".to_owned(),
            "crates/lsm-sst/src/footer.rs".to_owned(),
        ];
        assert_eq!(targets(&files), [("crates/lsm-sst/fuzz".to_owned(), "footer".to_owned())]);
    }
}
