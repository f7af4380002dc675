//! A byte that changed in a sealed journal: the command finds it and says where, and does not replay past it.

mod common;

use common::command::{Finish, journal, replay};
use common::day::{Dice, generated, put};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::{TempDir, tempdir};

/// Frames begin at multiples of this.
const UNIT: usize = 4096;
const HEADER_BYTES: usize = 256;
const RECORD_BYTES: usize = 64;
const SEGMENT: &str = "segment-000001.tcj";

/// A frame as its header in the file tells: where it stands, its length, its records and the first of them.
#[derive(Clone, Copy, Debug)]
struct Frame {
    offset: usize,
    bytes: usize,
    records: usize,
    first_sequence: u64,
}

impl Frame {
    fn padding(&self) -> std::ops::Range<usize> {
        self.offset + HEADER_BYTES + self.records * RECORD_BYTES..self.offset + self.bytes
    }
}

fn word(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().expect("eight bytes"))
}

fn half(bytes: &[u8], offset: usize) -> usize {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().expect("four bytes")) as usize
}

/// The frames of a sealed segment, from the bytes alone.
fn frames_of(segment: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut offset = UNIT;
    while &segment[offset..offset + 8] == b"TCJFRAME" {
        let (bytes, records) = (half(segment, offset + 16), half(segment, offset + 20));
        frames.push(Frame { offset, bytes, records, first_sequence: word(segment, offset + 32) });
        offset += bytes;
    }
    assert_eq!(&segment[offset..offset + 8], b"TCJINDEX", "the index stands behind the last frame");
    let footer = segment.len() - UNIT;
    assert!(offset < footer && &segment[footer..footer + 8] == b"TCJFOOTR", "the footer stands last");
    frames
}

/// A sealed journal of some dozen to some hundred frames, with its one segment's bytes.
struct Sealed {
    scratch: TempDir,
    directory: PathBuf,
    segment: Vec<u8>,
    frames: Vec<Frame>,
}

impl Sealed {
    fn new() -> Self {
        let scratch = tempdir().unwrap();
        let directory = scratch.path().join("journal");
        let input = put(scratch.path(), "day.itch", &generated(30_000, 20, 5));
        // Paced for two seconds, so that also on a slow disk frames of many lengths are written, most of them with padding.
        replay(&input).args(["--pace", "15000", "--journal"]).arg(&directory).succeed();
        let segment = fs::read(directory.join(SEGMENT)).unwrap();
        let frames = frames_of(&segment);
        Self { scratch, directory, segment, frames }
    }

    fn path(&self) -> PathBuf {
        self.directory.join(SEGMENT)
    }

    /// The first sequence that a flipped byte at `offset` takes away; `None` in the header and the footer.
    fn lost_sequence(&self, offset: usize) -> Option<(usize, u64)> {
        let frame = self.frames.iter().find(|frame| (frame.offset..frame.offset + frame.bytes).contains(&offset))?;
        Some((frame.offset, frame.first_sequence))
    }

    fn with_flipped(&self, offset: usize, act: impl FnOnce(&Path)) {
        let mut bytes = self.segment.clone();
        bytes[offset] ^= 1 << (offset % 8);
        fs::write(self.path(), &bytes).unwrap();
        act(&self.directory);
        fs::write(self.path(), &self.segment).unwrap();
    }

    fn damages(&self, offset: usize) -> Vec<Value> {
        let mut damages = Vec::new();
        self.with_flipped(offset, |directory| {
            let finished = journal("verify", directory).arg("--json").fail(1, &["damaged"]);
            let json = finished.json();
            assert_eq!(json["intact"], false);
            damages = json["damages"].as_array().unwrap().clone();
        });
        damages
    }

    /// Where the index begins, behind the last frame.
    fn index(&self) -> usize {
        self.frames.last().map_or(UNIT, |frame| frame.offset + frame.bytes)
    }

    /// The flipped byte at `offset` has to be reported where it is.
    fn expect_found(&self, offset: usize) {
        let damages = self.damages(offset);
        let first = &damages[0];
        assert_eq!(first["file"], SEGMENT, "byte {offset}: {damages:?}");
        match self.lost_sequence(offset) {
            Some((frame, sequence)) => {
                assert_eq!((&first["offset"], &first["sequence"]), (&frame.into(), &sequence.into()), "byte {offset}");
            }
            None if offset < UNIT => assert_eq!(first["offset"], 0, "byte {offset}: {damages:?}"),
            None => {
                let footer = self.segment.len() - UNIT;
                let place = if offset < footer { self.index() } else { footer };
                assert_eq!(first["offset"], place, "byte {offset}: {damages:?}");
            }
        }
    }
}

#[test]
fn a_flipped_byte_is_found_wherever_it_is() {
    let sealed = Sealed::new();
    assert!(sealed.frames.len() > 20, "{} frames", sealed.frames.len());
    let control = journal("verify", &sealed.directory).arg("--json").succeed().json();
    assert_eq!((&control["intact"], &control["frames"]), (&true.into(), &sealed.frames.len().into()));
    let mut dice = Dice::new();
    let middle = sealed.frames[sealed.frames.len() / 2];
    let padded = sealed.frames.iter().find(|frame| !frame.padding().is_empty()).expect("a frame with padding");
    let footer = sealed.segment.len() - UNIT;
    let regions = [
        ("segment header", 0, UNIT),
        ("first frame's header", UNIT, HEADER_BYTES),
        ("frame header", middle.offset, HEADER_BYTES),
        ("records", middle.offset + HEADER_BYTES, middle.records * RECORD_BYTES),
        ("padding", padded.padding().start, padded.padding().len()),
        ("index", sealed.index(), footer - sealed.index()),
        ("footer", footer, UNIT),
    ];
    for (name, start, length) in regions {
        for offset in [start, start + length - 1, start + dice.below(length as u64) as usize] {
            eprintln!("{name}: byte {offset}");
            sealed.expect_found(offset);
        }
    }
    for _ in 0..40 {
        sealed.expect_found(dice.below(sealed.segment.len() as u64) as usize);
    }
    journal("verify", &sealed.directory).succeed();
}

#[test]
fn people_are_told_segment_offset_and_sequence() {
    let sealed = Sealed::new();
    let frame = sealed.frames[sealed.frames.len() / 2];
    sealed.with_flipped(frame.offset + HEADER_BYTES, |directory| {
        let finished = journal("verify", directory).fail(1, &["damaged in 1 place"]);
        let place = format!("{SEGMENT} is damaged at byte {}, sequence {}", frame.offset, frame.first_sequence);
        assert!(finished.stdout.contains(&place), "{}", finished.stdout);
    });
}

#[test]
fn a_damaged_journal_is_not_replayed_past_the_damage() {
    let sealed = Sealed::new();
    let input = sealed.scratch.path().join("day.itch");
    let frame = sealed.frames[sealed.frames.len() / 2];
    let footer = sealed.segment.len() - UNIT;
    for offset in [8, frame.offset + 40, frame.offset + HEADER_BYTES + 1, footer + 20] {
        sealed.with_flipped(offset, |directory| {
            let finished = replay(directory).fail(1, &[SEGMENT, "damaged", "journal verify"]);
            assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
            let export = common::command::tickcore()
                .arg("export")
                .arg(directory)
                .args(["--schema", "bbo", "-o"])
                .arg(sealed.scratch.path().join("bbo.csv"))
                .finish();
            assert!(export.stderr.contains("damaged"), "{}", export.stderr);
        });
    }
    // Nor is it gone on with: what is there would be lost behind the damage.
    sealed.with_flipped(frame.offset + HEADER_BYTES + 1, |directory| {
        let before = fs::read(sealed.path()).unwrap();
        replay(&input).args(["--resume", "--journal"]).arg(directory).fail(1, &["damaged"]);
        assert!(fs::read(sealed.path()).unwrap() == before, "a damaged journal was changed");
    });
    replay(&sealed.directory).succeed();
}
