//! Nothing in the crate could remember anything.

use std::{fs, path::Path};

/// What could hold a memory between two calls, or look outside. `no_std` keeps files, clocks and threads away.
const FORBIDDEN: &[&str] = &[
    "extern crate std",
    "use std::",
    "static ",
    "core::cell",
    "core::sync",
    "Cell<",
    "Atomic",
    "Mutex",
    "unsafe",
    "core::arch",
];

/// Proves C-13: a plan follows from the view alone, because there is nothing else that it could follow from. Comments and
/// unit tests are not looked at.
///
/// Fault: compaction W-28.
#[test]
fn nothing_is_kept_between_two_calls() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    assert!(fs::read_to_string(source.join("lib.rs")).unwrap().contains("\n#![no_std]\n"));
    let (mut folders, mut files) = (vec![source], 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap().lines();
            for line in code.filter(|line| !line.trim_start().starts_with("//")) {
                let found = FORBIDDEN.iter().find(|word| line.replace("&'static ", "").contains(**word));
                assert_eq!(found, None, "{}: {line}", path.display());
            }
            files += 1;
        }
    }
    assert!(files > 20, "{files}");
}
