//! Whatever the bytes of a journal's files, looking at them comes to an end without a panic, and what is given is right.
//!
//! From the folder `journal`, with a nightly toolchain and cargo-fuzz: `cargo +nightly fuzz run reader`. The input is a list of
//! changes to one of the golden journals, since a journal made of nothing gets no further than its first checksum; or, for a
//! first byte of 255, the bytes of a segment's file. `tests/damage.rs` has the same with seeds, for every test run.
#![no_main]

#[path = "../../tests/common/mod.rs"]
mod common;

use common::{check_streams, copy};
use libfuzzer_sys::fuzz_target;
use std::fs;
use std::path::{Path, PathBuf};
use tickcore_journal::{info, plan_repair, recover, verify};

/// The golden journals, and one of them compacted.
const SOURCES: u8 = 4;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, rest)) = data.split_first() else { return };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    if choice == u8::MAX {
        fs::write(path.join("segment-000001.tcj"), rest).unwrap();
    } else {
        let version = ["v1", "v2", "v3", "v3"][usize::from(choice % SOURCES)];
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(version), path);
        if choice % SOURCES == 3 {
            tickcore_journal::compact(path, 3, |_, _| ()).unwrap();
        }
        change(path, rest);
    }
    check_streams(path, "as changed");
    let _ = info(path);
    let _ = verify(path, |_| ());
    let _ = plan_repair(path, |_| ());
    let _ = recover(path);
    check_streams(path, "after recovery");
});

/// Changes the files: in turn a file, a place, how, how much, and with what.
fn change(directory: &Path, mut data: &[u8]) {
    let mut names: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    while let Some((&[file, low, middle, high, how, length], rest)) = data.split_first_chunk() {
        data = rest;
        let path = &names[usize::from(file) % names.len()];
        let mut bytes = fs::read(path).unwrap();
        let place = usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16;
        let place = place % bytes.len().max(1);
        let count = usize::from(length).min(data.len());
        match how % 4 {
            0 => bytes.truncate(place),
            1 => bytes.extend_from_slice(&data[..count]),
            2 => bytes.drain(..place / 4096 * 4096).for_each(drop),
            _ => bytes.iter_mut().skip(place).zip(&data[..count]).for_each(|(byte, new)| *byte ^= new),
        }
        if how % 4 % 2 == 1 {
            data = &data[count..];
        }
        fs::write(path, bytes).unwrap();
    }
}
