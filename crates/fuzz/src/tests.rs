//! Every target on what its search begins with. What a search has found goes into those folders,
//! so it is tried here ever after.

use std::path::Path;

/// The files of a folder beside this crate.
fn files(folder: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let paths = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    paths.map(|path| std::fs::read(path).unwrap()).collect()
}

fn every(folder: &str, at_least: usize, target: fn(&[u8])) {
    let files = files(folder);
    assert!(files.len() >= at_least, "{folder}: {}", files.len());
    files.iter().for_each(|bytes| target(bytes));
}

#[test]
fn recorded_streams_and_their_events() {
    every("../providers/fixtures", 16, super::stream);
    every("../providers/fixtures", 16, super::event);
}

#[test]
fn files_good_and_bad() {
    every("seeds/config", 6, super::config);
}

#[test]
fn frames_and_commands() {
    every("seeds/frame", 8, super::frame);
}
