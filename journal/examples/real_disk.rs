//! Writes journals on a disk that is about to be cut off, filled or frozen, makes what a power cut would have left of it, and
//! checks that. Driven by `tests/real_disk/run.sh`, which says what is promised and how to run it.

#[path = "../tests/common/mod.rs"]
mod common;

use common::{event, metadata};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tickcore_book::Sequence;
use tickcore_journal::{Options, Reader, Writer, recover, verify};

type Failure = Box<dyn std::error::Error>;

const USAGE: &str =
    "usage: real_disk write DIR seconds=N rate=N [marks=FILE log=FILE] [early=yes] [segment=MIB] [staging=MIB]
       real_disk cut LOG marks=FILE image=FILE bytes=N seed=N
       real_disk check DIR watermark=N";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [verb, place, rest @ ..] = arguments.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let named: Named<'_> = Named(rest.iter().filter_map(|argument| argument.split_once('=')).collect());
    let result = match verb.as_str() {
        "write" => write(Path::new(place), &named),
        "cut" => cut(Path::new(place), &named),
        "check" => check(Path::new(place), &named),
        _ => Err(USAGE.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// Arguments by name.
struct Named<'a>(HashMap<&'a str, &'a str>);

impl Named<'_> {
    fn number(&self, name: &str) -> Result<u64, Failure> {
        Ok(self.0.get(name).ok_or_else(|| format!("{name}= is missing; {USAGE}"))?.parse()?)
    }

    fn path(&self, name: &str) -> Result<&Path, Failure> {
        self.0.get(name).map(Path::new).ok_or_else(|| format!("{name}= is missing; {USAGE}").into())
    }
}

/// Writes records at a rate, creating or resuming the journal. Notes what was called durable together with the length of the
/// block log at that moment: whatever is cut behind that length has to have it. With `early`, the control, it calls durable
/// what it has only appended.
fn write(directory: &Path, named: &Named<'_>) -> Result<(), Failure> {
    let duration = Duration::from_secs(named.number("seconds")?);
    let rate = named.number("rate")?;
    let is_early = named.0.contains_key("early");
    let log = named.path("log").ok().map(File::open).transpose()?;
    let mib = |name, absent| named.number(name).unwrap_or(absent) << 20;
    let options =
        Options { segment_bytes: mib("segment", 1), staging_bytes: mib("staging", 64) as usize, ..Options::default() };
    let mut writer = if directory.join("status").exists() {
        Writer::resume(directory, options)?.0
    } else {
        Writer::create(directory, options, metadata())?
    };
    println!("writing by {}", writer.backend());
    let first = writer.next_sequence().0;
    let mut marks = Vec::new();
    let (mut longest_call, mut longest_gap) = (Duration::ZERO, Duration::ZERO);
    let (mut last, mut last_at) = (0, Instant::now());
    let mut warning = None;
    let start = Instant::now();
    let failure = loop {
        let elapsed = start.elapsed();
        if elapsed >= duration {
            break None;
        }
        let due = first + (elapsed.as_micros() as u64).saturating_mul(rate) / 1_000_000;
        let before = Instant::now();
        let count = (due.saturating_sub(writer.next_sequence().0) as usize).min(writer.room()).min(1024);
        for _ in 0..count {
            let sequence = writer.next_sequence();
            writer.append(sequence, &event(sequence.0))?;
        }
        if let Err(failure) = writer.poll() {
            break Some(failure);
        }
        longest_call = longest_call.max(before.elapsed());
        if warning.is_none() && writer.warning().is_some() {
            warning = writer.warning().cloned();
        }
        let durable = if is_early { writer.next_sequence().0 - 1 } else { writer.durable().0 };
        if durable > last {
            longest_gap = longest_gap.max(last_at.elapsed());
            (last, last_at) = (durable, Instant::now());
            if let Some(log) = &log {
                marks.push(format!("{} {durable}\n", log.metadata()?.len()));
            }
        }
        std::thread::sleep(Duration::from_micros(20));
    };
    if let Ok(path) = named.path("marks") {
        fs::write(path, marks.concat())?;
    }
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    println!("longest call {:.1} ms, longest time without progress {:.1} ms", ms(longest_call), ms(longest_gap));
    if let Some(warning) = warning {
        println!("warned: {warning}");
    }
    match failure {
        None => println!("durable to {}", writer.finish()?.durable),
        Some(failure) => {
            println!("durable to {}", writer.durable());
            println!("failed: {failure}");
        }
    }
    Ok(())
}

/// A request in a log of block writes (the format of dm-log-writes, version 1).
struct Entry {
    sector: u64,
    data: Vec<u8>,
    is_flush: bool,
    /// Where the log goes on behind it.
    end: u64,
}

const LOG_MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const DISCARD: u64 = 4;

fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|word| word.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// All whole entries of a log.
fn entries(log: &Path) -> Result<Vec<Entry>, Failure> {
    let mut file = File::open(log)?;
    let mut head = [0; 512];
    file.read_exact(&mut head)?;
    let sector_bytes = word(&head, 24) & 0xFFFF_FFFF;
    if word(&head, 0) != LOG_MAGIC || sector_bytes == 0 {
        return Err("no log of block writes".into());
    }
    let mut entries = Vec::new();
    let mut at = sector_bytes;
    loop {
        let mut header = vec![0; sector_bytes as usize];
        file.seek(SeekFrom::Start(at))?;
        if file.read_exact(&mut header).is_err() {
            break;
        }
        let [sector, sectors, flags] = [0, 8, 16].map(|place| word(&header, place));
        // Nothing was written behind here when the daemon was killed.
        if sectors == 0 && flags & FLUSH == 0 {
            break;
        }
        let length = if flags & DISCARD == 0 { sectors * sector_bytes } else { 0 };
        let mut data = vec![0; length as usize];
        if file.read_exact(&mut data).is_err() {
            break;
        }
        at += sector_bytes + length;
        entries.push(Entry { sector: sector * sector_bytes, data, is_flush: flags & FLUSH != 0, end: at });
    }
    Ok(entries)
}

fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let word = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

/// Makes the image that a power cut at a random place of the log would have left, and prints what was called durable by then.
/// What the last flush before the cut covers is all there; of what came behind it each sector is, or is not.
fn cut(log: &Path, named: &Named<'_>) -> Result<(), Failure> {
    let entries = entries(log)?;
    let marks: Vec<(u64, u64)> = fs::read_to_string(named.path("marks")?)?
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(length, durable)| Ok((length.parse()?, durable.parse()?)))
        .collect::<Result<_, std::num::ParseIntError>>()?;
    let (first, _) = *marks.first().ok_or("nothing was called durable")?;
    let begin = entries.iter().position(|entry| entry.end >= first).ok_or("the log ends before the first mark")?;
    let mut state = named.number("seed")?;
    let end = begin + (random(&mut state) % (entries.len() - begin) as u64) as usize + 1;
    let flushed = entries[..end].iter().rposition(|entry| entry.is_flush).map_or(0, |place| place + 1);
    let image = File::create(named.path("image")?)?;
    image.set_len(named.number("bytes")?)?;
    for entry in &entries[..flushed] {
        image.write_all_at(&entry.data, entry.sector)?;
    }
    for entry in &entries[flushed..end] {
        for (sector, offset) in entry.data.chunks(512).zip((entry.sector..).step_by(512)) {
            if random(&mut state).is_multiple_of(2) {
                image.write_all_at(sector, offset)?;
            }
        }
    }
    let position = entries[end - 1].end;
    let watermark = marks.iter().rfind(|(length, _)| *length <= position).map_or(0, |(_, durable)| *durable);
    println!("{watermark}");
    std::io::stderr().write_all(
        format!("cut behind request {end} of {}, {} of them not flushed\n", entries.len(), end - flushed).as_bytes(),
    )?;
    Ok(())
}

/// Recovers the journal and checks every byte of it, every record, and that no durable one is missing.
fn check(directory: &Path, named: &Named<'_>) -> Result<(), Failure> {
    let watermark = Sequence(named.number("watermark")?);
    let recovery = recover(directory)?;
    if recovery.last_sequence < watermark {
        return Err(
            format!("BROKEN: {} records came back, {watermark} were called durable", recovery.last_sequence).into()
        );
    }
    let report = verify(directory, |_| ())?;
    if !report.is_intact() {
        return Err(format!("BROKEN: damaged: {:?}", report.damages).into());
    }
    let mut reader = Reader::open(directory)?;
    let last = common::read_on(&mut reader, 1);
    if Sequence(last) != recovery.last_sequence {
        return Err(format!("BROKEN: {last} records are read, {} were recovered", recovery.last_sequence).into());
    }
    println!("{last} records, {watermark} had been called durable");
    Ok(())
}
