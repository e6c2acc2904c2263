//! The corpora of the fuzzers, and the torture messages, through the functions that are fuzzed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};

use fuzz_bodies::{TARGETS, Target};

fn folder(rest: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(rest)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn replay(target: Target, file: &Path) {
    let data = fs::read(file).unwrap();
    let played = std::panic::catch_unwind(|| target(&data));
    assert!(played.is_ok(), "{}", file.display());
}

#[test]
fn every_seed_of_every_fuzz_target_keeps_the_invariants() {
    for (name, target) in TARGETS {
        let seeds = files(&folder(&format!("fuzz/corpus/{name}")));
        assert!(!seeds.is_empty(), "{name} has no seeds");
        seeds.iter().for_each(|seed| replay(target, seed));
    }
}

#[test]
fn every_fuzz_target_has_a_fuzzer_and_every_corpus_a_target() {
    let names = |rest: &str| -> Vec<String> {
        let files = files(&folder(rest));
        files
            .iter()
            .map(|file| file.file_stem().unwrap().to_string_lossy().into_owned())
            .collect()
    };
    let targets: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names("fuzz/fuzz_targets"), targets);
    assert_eq!(names("fuzz/corpus"), targets);
}
