//! Seeded runs: a journal is written, dies, is recovered, read and written on, and each promise is checked on the way.

use super::Random;
use super::disk::{Death, Disk, Faults};
use crate::checkpoint::{CheckpointMark, Checkpoints, boundaries_on, headers, store_on};
use crate::compact::compact_on;
use crate::defence::{Defence, without};
use crate::fault::{OpenError, ReadError};
use crate::format::{BLOCK_BYTES, FRAME_HEADER_BYTES, FrameHeader, SegmentHeader};
use crate::helper::Helper;
use crate::options::{Metadata, Options, Retention, SyncPolicy};
use crate::reader::{Reader, Tail};
use crate::recovery::RecoverError;
use crate::repair::repair_on;
use crate::seek::Start;
use crate::stream::Stream;
use crate::verify::verify_on;
use crate::writer::{AppendError, CreateError, ResumeError, Writer};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use tickcore_book::{Event, InstrumentId, Kind, OrderId, Sequence, TimestampNs};

/// Seeds of a usual test run; `TICKCORE_JOURNAL_SEEDS` asks for more, `TICKCORE_JOURNAL_SEED` for a single one.
const SEEDS: u64 = 2_000;
/// Seeds within which each control has to be caught.
const CONTROL_SEEDS: u64 = 30_000;
/// Turns within which a writer on a medium that is alive gets anything done.
/// Turns after which a helper that does every job at once has none left.
const JOBS_TURNS: u32 = 40;
const TURNS_MAX: u32 = 5_000;

/// What the medium may do in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Character {
    /// What `docs/JOURNAL.md` assumes: everything comes back, and nothing is ever called damaged.
    AsAssumed,
    /// Writes under way at a crash may also go to a wrong place: then the journal may be refused, but never be wrong.
    Misdirecting,
    /// What was durable is damaged: it is found, or what is given is right all the same.
    Damaging,
}

fn event(number: u64) -> Event {
    // Times go back now and then, as clocks do.
    let time = if number.is_multiple_of(97) { number / 2 } else { number };
    let mut event = Event::new(Kind::Add, InstrumentId(number as u32 % 5 + 1), TimestampNs(time));
    event.order_id = OrderId(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    event.reference = !number;
    event
}

/// What a checkpoint of this sequence holds.
fn state(sequence: u64) -> Vec<u8> {
    let mut random = Random::new(sequence);
    let length = random.below(20_000);
    (0..length).map(|_| random.next() as u8).collect()
}

struct Run {
    disk: Disk,
    random: Random,
    /// The helper of the writer at hand, which works when the run lets it.
    helper: Option<Helper>,
    character: Character,
    /// Records that were appended, in whatever run: those above what recovery found were lost and are appended again.
    appended: u64,
    /// What must come back after the process died, and after the machine did.
    written: u64,
    durable: u64,
    /// Sequence of the newest checkpoint that was said to be stored.
    checkpoint: u64,
    mark: CheckpointMark,
    /// Whether the writer at hand knows of checkpoints that are made beside it.
    has_mark: bool,
}

/// What a run was about to check when the journal broke its word.
type Broken = String;

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let character = match random.below(10) {
            0 | 1 => Character::Damaging,
            2 => Character::Misdirecting,
            _ => Character::AsAssumed,
        };
        let disk = Disk::new(Random::new(random.next()));
        Self {
            disk,
            random,
            helper: None,
            character,
            appended: 0,
            written: 0,
            durable: 0,
            checkpoint: 0,
            mark: CheckpointMark::default(),
            has_mark: false,
        }
    }

    fn options(&mut self) -> Options {
        let (helper, handle) = Helper::new(u64::MAX, None);
        self.helper = self.random.chance(50).then_some(helper);
        let retention = if self.random.chance(30) {
            Retention {
                segments_max: Some(self.random.below(5)),
                bytes_max: Some(self.random.below(200_000)),
                age_max: self.random.chance(30).then(|| Duration::from_nanos(self.random.below(2_000))),
            }
        } else {
            Retention::default()
        };
        self.has_mark = self.random.chance(50);
        let frame_bytes = 4096 * (1 + self.random.below(3)) as u32;
        Options {
            segment_bytes: u64::from(frame_bytes) + 4096 * (2 + self.random.below(8)),
            frame_bytes,
            staging_bytes: frame_bytes as usize * (4 + self.random.below(8) as usize),
            writes_in_flight: 1 + self.random.below(6) as u32,
            linger: Duration::from_micros(self.random.below(2) * 30),
            sync: match self.random.below(10) {
                0 => SyncPolicy::None,
                1 => SyncPolicy::Every(Duration::from_micros(self.random.below(200))),
                2 => SyncPolicy::EveryBytes(self.random.below(40_000)),
                _ => SyncPolicy::EveryGroup,
            },
            retention,
            checkpoints: self.has_mark.then(|| self.mark.clone()),
            helper: self.helper.is_some().then_some(handle),
            prepared_ahead: Duration::from_micros(self.random.below(300)),
            index_interval_bytes: if self.random.chance(50) { 8192 } else { 1 << 20 },
            ..Options::default()
        }
    }

    fn faults(&mut self) -> Faults {
        let mut percent =
            |often: u64, most: u64| if self.random.chance(often) { self.random.below(most) + 1 } else { 0 };
        Faults {
            short_writes: percent(30, 30),
            write_errors: percent(10, 3),
            sync_errors: percent(15, 5),
            full: percent(10, 30),
            stalls: percent(30, 20),
            is_lasting: percent(50, 1) > 0,
        }
    }

    fn run(mut self) -> Result<(), Broken> {
        let rounds = 1 + self.random.below(4);
        let mut is_created = false;
        for _ in 0..rounds {
            if self.random.chance(60) {
                let most = if self.random.chance(50) { 60 } else { 400 };
                let operations = self.random.below(most);
                self.disk.die_after(operations);
            }
            let Some(writer) = self.open(&mut is_created)? else { continue };
            let faults = self.faults();
            self.disk.state().faults = faults;
            self.write(writer)?;
            if self.random.chance(20) && !self.disk.is_dead() {
                self.store_checkpoint();
            }
            if self.random.chance(25) && is_created && !self.disk.is_dead() {
                self.disk.state().faults = Faults::default();
                if self.random.chance(60) {
                    let operations = self.random.below(150);
                    self.disk.die_after(operations);
                }
                let compacted = compact_on(&self.disk.medium(), 1, |_, _| ());
                if let Err(error) = compacted
                    && !self.disk.is_dead()
                    && self.character == Character::AsAssumed
                {
                    return Err(format!("compacting: {error}"));
                }
            }
            if self.crash() && self.character == Character::Damaging {
                return self.check_damaged();
            }
        }
        if !is_created {
            return Ok(());
        }
        match self.open(&mut is_created)? {
            Some(writer) => drop(writer),
            None if self.character == Character::Misdirecting => return Ok(()),
            None => return Err("a journal was not resumed".to_owned()),
        }
        self.check_whole()
    }

    /// Dies in one way or the other. `true` when it was the machine.
    fn crash(&mut self) -> bool {
        let is_machine = self.random.chance(60);
        let has_lost = self.disk.state().has_lost;
        let death = if is_machine { Death::Machine } else { Death::Process };
        self.disk.state().crash(death, self.character == Character::Misdirecting);
        if is_machine || has_lost {
            self.written = self.durable;
        }
        is_machine
    }

    /// Creates or resumes the journal, dying on the way or not. `None` when it died before it was created.
    fn open(&mut self, is_created: &mut bool) -> Result<Option<Writer>, Broken> {
        let medium = self.disk.medium();
        for attempt in 0.. {
            let options = self.options();
            if !*is_created {
                match Writer::create_on(&medium, options.clone(), Metadata::default(), |storage| storage) {
                    Ok(writer) => {
                        *is_created = true;
                        return Ok(Some(writer));
                    }
                    Err(CreateError::NotEmpty { .. }) => *is_created = true,
                    Err(_) if self.disk.is_dead() => {
                        self.crash();
                        return Ok(None);
                    }
                    Err(error) => return Err(format!("creating: {error}")),
                }
            }
            let resumed = Writer::resume_on(&medium, options);
            if self.disk.is_dead() {
                drop(resumed);
                self.crash();
                if attempt < 3 && self.random.chance(50) {
                    let operations = self.random.below(100);
                    self.disk.die_after(operations);
                }
                continue;
            }
            let (writer, recovery) = match resumed {
                Ok(resumed) => resumed,
                Err(ResumeError::Recover(RecoverError::Open(OpenError::Damaged(damage))))
                    if self.character == Character::Misdirecting =>
                {
                    // Refused, aloud. What can be repaired is gone on with.
                    if self.repair()? {
                        continue;
                    }
                    let _ = damage;
                    *is_created = false;
                    self.disk = Disk::new(Random::new(self.random.next()));
                    (self.appended, self.written, self.durable, self.checkpoint) = (0, 0, 0, 0);
                    self.mark = CheckpointMark::default();
                    return Ok(None);
                }
                // It was never begun, and nothing of it was promised.
                Err(ResumeError::Recover(RecoverError::Open(OpenError::NotAJournal { .. }))) if self.written == 0 => {
                    *is_created = false;
                    self.appended = 0;
                    continue;
                }
                Err(error) => return Err(format!("resuming: {error}")),
            };
            let last = recovery.last_sequence.0;
            if last < self.written {
                return Err(format!("{last} records came back, {} had been promised", self.written));
            }
            if last > self.appended {
                return Err(format!("{last} records came back, only {} were appended", self.appended));
            }
            if writer.durable().0 != last || writer.next_sequence().0 != last + 1 {
                return Err(format!("the writer goes on at {}, not behind {last}", writer.next_sequence()));
            }
            (self.appended, self.written, self.durable) = (last, last, last);
            self.check_checkpoints()?;
            return Ok(Some(writer));
        }
        unreachable!("the loop ends by itself")
    }

    fn write(&mut self, mut writer: Writer) -> Result<(), Broken> {
        let batches = self.random.below(60);
        for _ in 0..batches {
            let count = if self.random.chance(50) { self.random.below(300) } else { self.random.below(8) };
            for _ in 0..count {
                let sequence = Sequence(self.appended + 1);
                match writer.append(sequence, &event(sequence.0)) {
                    Ok(()) => self.appended += 1,
                    Err(AppendError::Full | AppendError::Failed(_)) => break,
                    Err(error) => return Err(error.to_string()),
                }
            }
            for _ in 0..self.random.below(4) {
                self.poll(&mut writer)?;
            }
            if self.random.chance(8) && !self.disk.is_dead() {
                self.read_along()?;
            }
            if self.has_mark && self.random.chance(10) && !self.disk.is_dead() {
                self.store_checkpoint();
            }
        }
        if self.random.chance(50) {
            self.drain(&mut writer, |writer, last| writer.written().0 == last)?;
        }
        // Drained first, so that a writer that gets nowhere is seen to, and does not hang the test.
        if self.random.chance(30)
            && self.drain(&mut writer, |writer, last| writer.written().0 == last)?
            && self.drain_jobs(&mut writer)?
            && let Ok(watermarks) = writer.finish()
        {
            if watermarks.durable.0 != self.appended && !self.disk.is_dead() {
                return Err(format!("finished at {}, with {} appended", watermarks.durable, self.appended));
            }
            (self.written, self.durable) = (watermarks.written.0, watermarks.durable.0);
        }
        Ok(())
    }

    /// Polls until `is_done`, given the last record. `false` when the writer failed first.
    fn drain(&mut self, writer: &mut Writer, is_done: impl Fn(&Writer, u64) -> bool) -> Result<bool, Broken> {
        for _ in 0..TURNS_MAX {
            if is_done(writer, self.appended) {
                return Ok(true);
            }
            if !self.poll(writer)? {
                return Ok(false);
            }
        }
        Err("the writer makes no progress on a medium that works".to_owned())
    }

    /// Lets the helper come to its end, which finishing would wait for. `false` when the writer failed first.
    fn drain_jobs(&mut self, writer: &mut Writer) -> Result<bool, Broken> {
        for _ in 0..JOBS_TURNS {
            if !self.poll(writer)? {
                return Ok(false);
            }
            while self.helper.as_mut().is_some_and(|helper| helper.step(false) == Some(true)) {}
        }
        self.helper = None;
        Ok(true)
    }

    /// Polls once and notes what was promised. `false` once the writer has failed.
    fn poll(&mut self, writer: &mut Writer) -> Result<bool, Broken> {
        if let Some(helper) = &mut self.helper
            && self.random.chance(40)
        {
            let _ = helper.step(false);
        }
        let is_well = writer.poll().is_ok() && writer.wait(Duration::from_micros(10)).is_ok();
        let found = writer.watermarks();
        if found.durable > found.written || found.written.0 > self.appended {
            return Err(format!("impossible watermarks {found:?} with {} appended", self.appended));
        }
        if found.written.0 < self.written || found.durable.0 < self.durable {
            return Err(format!("watermarks went back to {found:?} from {} and {}", self.written, self.durable));
        }
        (self.written, self.durable) = (found.written.0, found.durable.0);
        Ok(is_well)
    }

    /// Reads from the start, as far as it goes.
    fn read(&self) -> Result<(u64, Option<ReadError>, Tail), OpenError> {
        self.read_from(0)
    }

    /// Reads from some record on. Returns the last, how it ended, and where.
    fn read_from(&self, mut last: u64) -> Result<(u64, Option<ReadError>, Tail), OpenError> {
        let mut reader = Reader::open_on(&self.disk.medium(), Stream::INPUTS, Start::Sequence(Sequence(last + 1)))?;
        let mut is_first = true;
        last = last.max(self.first()? - 1);
        let error = loop {
            match reader.next_batch() {
                Ok(Some(records)) => {
                    for record in records {
                        // Retention may have let go of what was before.
                        last = if is_first { record.sequence.0.max(last + 1) } else { last + 1 };
                        is_first = false;
                        let is_right = record.sequence == Sequence(last) && record.event == event(last);
                        assert!(is_right, "record {last} is not what was appended: {record:?}");
                    }
                }
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        Ok((last, error, reader.tail().clone()))
    }

    /// The first record that retention left.
    fn first(&self) -> Result<u64, OpenError> {
        Reader::open_on(&self.disk.medium(), Stream::INPUTS, Start::Beginning).map(|reader| reader.next_sequence().0)
    }

    /// A reader beside the writer sees all that is written, and calls nothing damaged.
    fn read_along(&self) -> Result<(), Broken> {
        match self.read() {
            _ if self.disk.is_dead() => Ok(()),
            Ok((last, None, _)) if (self.written..=self.appended).contains(&last) => Ok(()),
            Ok((last, error, tail)) => Err(format!(
                "a reader beside the writer saw {last} of {} written, then {tail:?} and {error:?}",
                self.written
            )),
            Err(error) => Err(format!("a reader beside the writer could not begin: {error}")),
        }
    }

    /// Makes a checkpoint where some sealed segment ends.
    fn store_checkpoint(&mut self) {
        let medium = self.disk.medium();
        let Ok(mut boundaries) = boundaries_on(&medium) else { return };
        boundaries.retain(|boundary| boundary.sequence.0 > self.checkpoint);
        let Some(boundary) = boundaries.get(self.random.below(boundaries.len().max(1) as u64) as usize) else { return };
        if let Ok(stored) = store_on(medium.as_ref(), boundary, &state(boundary.sequence.0), |_| ()) {
            self.checkpoint = boundary.sequence.0;
            self.mark.raise(stored.covered);
        }
    }

    /// The newest checkpoint that was said to be stored is there, or a newer one, whole, with all that comes behind it.
    fn check_checkpoints(&self) -> Result<(), Broken> {
        let opened = Checkpoints::open_on(&self.disk.medium());
        let (newest, opened) = match opened {
            Ok(mut opened) => (opened.take_newest(), Ok(opened)),
            Err(error) => (None, Err(error)),
        };
        if self.disk.is_dead() {
            return Ok(());
        }
        let found = opened.map_err(|error| error.to_string())?;
        let sequence = newest.as_ref().map_or(0, |newest| newest.sequence.0);
        if newest.is_some_and(|newest| newest.state != state(sequence)) {
            return Err(format!("the checkpoint of {sequence} has another state than it was given"));
        }
        if sequence < self.checkpoint && self.character != Character::Damaging {
            let passed_over = found.passed_over();
            return Err(format!("the checkpoint of {} is gone, {sequence} is there: {passed_over:?}", self.checkpoint));
        }
        Ok(())
    }

    fn check_whole(&mut self) -> Result<(), Broken> {
        let report = verify_on(&self.disk.medium(), |_| ()).map_err(|error| error.to_string())?;
        if !report.is_intact() {
            return Err(format!("damage after recovery: {:?}", report.damages));
        }
        match self.read() {
            Ok((last, None, _)) if last == self.appended => {}
            other => return Err(format!("of {} records came back {other:?}", self.appended)),
        }
        let after = self.random.below(self.appended + 1);
        match self.read_from(after) {
            Ok((last, None, _)) if last == self.appended => {}
            other => return Err(format!("of {} records from {after} on came back {other:?}", self.appended)),
        }
        let time = TimestampNs(self.random.below(self.appended + 1));
        let first = self.first().map_err(|error| error.to_string())?;
        let expected = (first..=self.appended).find(|&number| event(number).exchange_time >= time);
        let found = Reader::open_on(&self.disk.medium(), Stream::INPUTS, Start::Time(time))
            .map_err(|error| error.to_string())
            .and_then(|mut reader| match reader.next_batch() {
                Ok(records) => Ok(records.map(|records| records[0].sequence.0)),
                Err(error) => Err(error.to_string()),
            });
        if found != Ok(expected) {
            return Err(format!("the first record at {time} is {expected:?}, found {found:?}"));
        }
        Ok(())
    }

    /// Damages what was durable: nothing wrong may be given, and nothing that any whole structure calls durable be missed
    /// without a word.
    fn check_damaged(&mut self) -> Result<(), Broken> {
        let Some((name, from, to)) = self.disk.state().damage() else { return Ok(()) };
        let (checkpoints, _) = headers(self.disk.medium().as_ref()).map_err(|error| error.to_string())?;
        let stated = checkpoints.last().map_or(0, |newest| newest.sequence);
        let claim = self.disk.state().highest_claim().max(stated);
        let place = format!("{name} damaged from {from} to {to}, durable to {}", self.durable);
        let verified = verify_on(&self.disk.medium(), |_| ());
        let is_intact = verified.as_ref().is_ok_and(|report| report.is_intact());
        let read = self.read();
        if is_intact && !matches!(&read, Ok((last, None, _)) if *last >= claim) {
            return Err(format!("{place}: verify finds nothing, reading gives {read:?}, {claim} is stated"));
        }
        if Checkpoints::open_on(&self.disk.medium()).is_ok() {
            self.check_checkpoints()?;
        }
        let options = self.options();
        let Ok((writer, recovery)) = Writer::resume_on(&self.disk.medium(), options) else {
            self.repair()?;
            return Ok(());
        };
        drop(writer);
        let last = recovery.last_sequence.0;
        match self.read() {
            Ok((read, None, _)) if read == last && last >= claim => Ok(()),
            // A sealed segment is taken at its footer's word by recovery, and found by reading.
            Ok((_, Some(ReadError::Damaged(_)), _)) if last >= claim => self.repair().map(|_| ()),
            other => Err(format!("{place}: {last} records recovered without a word, {other:?}, {claim} is stated")),
        }
    }

    /// Repairs a damaged journal, dying on the way or not. What is read before the damage stays, and every frame that
    /// validates is still somewhere. `false` where it is refused, aloud.
    fn repair(&mut self) -> Result<bool, Broken> {
        let before = self.disk.state().contents();
        let readable = self.read().map_or(0, |(last, ..)| last);
        let claim = self.disk.state().highest_claim().max(readable);
        for attempt in 0.. {
            if attempt < 4 && self.random.chance(60) {
                let operations = self.random.below(150);
                self.disk.die_after(operations);
            }
            let repaired = repair_on(&self.disk.medium());
            if self.disk.is_dead() {
                let death = if self.random.chance(60) { Death::Machine } else { Death::Process };
                self.disk.state().crash(death, false);
                continue;
            }
            self.disk.state().crash(Death::Process, false);
            match repaired {
                Ok((_, recovery)) => {
                    let last = recovery.last_sequence.0;
                    (self.appended, self.written, self.durable) = (last, last, last);
                    break;
                }
                Err(RecoverError::Open(_)) => return Ok(false),
                // A compacted segment is not cut.
                Err(RecoverError::Io { cause, .. }) if cause.kind() == std::io::ErrorKind::Unsupported => {
                    return Ok(false);
                }
                Err(error) => return Err(format!("repairing: {error}")),
            }
        }
        let report = verify_on(&self.disk.medium(), |_| ()).map_err(|error| error.to_string())?;
        if !report.is_intact() {
            return Err(format!("damage after repair: {:?}", report.damages));
        }
        match self.read() {
            Ok((last, None, Tail::Sealed)) if last == self.appended && last >= readable => {}
            other => return Err(format!("{readable} records were readable before the repair, {other:?} are after it")),
        }
        let first = self.first().map_err(|error| error.to_string())?;
        let after = self.disk.state().contents();
        for (name, bytes) in before.iter().filter(|(name, _)| name.ends_with(".tcj")) {
            for (last, offset, frame) in frames(bytes) {
                let is_kept = after.values().any(|bytes| bytes.get(offset..offset + frame.len()) == Some(frame));
                // Retention has released what comes before the first, and what no structure calls durable may stand in a torn
                // tail, which recovery cuts.
                if !is_kept && (first..=claim).contains(&last) {
                    return Err(format!("the frame of {name} at {offset}, to {last}, is nowhere after the repair"));
                }
            }
        }
        Ok(true)
    }
}

/// Every frame of a segment that validates where it stands, with its last sequence.
fn frames(bytes: &[u8]) -> Vec<(u64, usize, &[u8])> {
    let unit = BLOCK_BYTES as usize;
    let Some(Ok(header)) = bytes.get(..unit).map(SegmentHeader::read) else { return Vec::new() };
    let seed = header.identity().seed();
    let mut frames = Vec::new();
    for offset in (unit..bytes.len()).step_by(unit) {
        let Ok(frame) = FrameHeader::read(&bytes[offset..]) else { continue };
        let Some(whole) = bytes.get(offset..offset + frame.frame_bytes as usize) else { continue };
        let is_sound = frame.check_place(header.identity(), offset as u64).is_ok()
            && seed.checksum(&whole[FRAME_HEADER_BYTES..]) == frame.payload_checksum;
        if is_sound {
            frames.push((frame.last_sequence(), offset, whole));
        }
    }
    frames
}

/// Runs a seed and says how it broke, if it did.
fn broken(seed: u64) -> Option<Broken> {
    match catch_unwind(AssertUnwindSafe(|| Run::new(seed).run())) {
        Ok(result) => result.err(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            Some(format!(
                "panic: {}",
                text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
            ))
        }
    }
}

#[test]
fn the_journal_keeps_its_word_whatever_the_medium_does() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.replace('_', "").parse::<u64>().ok());
    let seeds = match number("TICKCORE_JOURNAL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TICKCORE_JOURNAL_SEEDS").unwrap_or(SEEDS),
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let run = |thread: usize| {
            seeds
                .clone()
                .skip(thread)
                .step_by(threads)
                .filter_map(|seed| broken(seed).map(|broken| format!("TICKCORE_JOURNAL_SEED={seed}: {broken}")))
                .take(3)
                .collect::<Vec<_>>()
        };
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run(thread))).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_defence_that_is_taken_out_is_missed() {
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let mut unnoticed = Vec::new();
    for defence in [
        Defence::PayloadChecksum,
        Defence::HeaderChecksum,
        Defence::DurableAfterSync,
        Defence::ThroughBehindDurable,
        Defence::WrittenInOrder,
        Defence::Poison,
        Defence::HeaderBeforeFrames,
        Defence::NameBeforeUse,
        Defence::FooterAfterFrames,
        Defence::DurableClaims,
        Defence::FooterBeforeCut,
        Defence::ShortWrites,
        Defence::DiskNotCache,
        Defence::ReleaseBeforeRemoval,
        Defence::CopyBeforeRemoval,
        Defence::SealBeforeAside,
        Defence::CopyBeforeCut,
        Defence::DurableCopyBeforeCut,
        Defence::CheckpointBeforeName,
        Defence::CheckpointName,
        Defence::CheckpointChecksum,
        Defence::KeptForCheckpoint,
    ] {
        // A run that only hangs shows nothing of what the defence is for.
        let is_hanging = |how: &Broken| how.contains("waits for ever") || how.contains("no progress");
        let find = |seed| broken(seed).filter(|how| !is_hanging(how)).map(|how| (seed, how));
        let caught = without(Some(defence), || (0..CONTROL_SEEDS).find_map(find));
        match caught {
            Some((seed, how)) => eprintln!("without {defence:?}: seed {seed}: {how}"),
            None => unnoticed.push(defence),
        }
    }
    std::panic::set_hook(previous);
    assert!(unnoticed.is_empty(), "nobody misses {unnoticed:?} in {CONTROL_SEEDS} seeds");
}

#[test]
fn a_medium_that_cannot_be_read_is_not_called_no_journal() {
    let disk = Disk::new(Random::new(1));
    let resumed = || Writer::resume_on(&disk.medium(), Options::default()).map(|_| ());
    let absent = resumed();
    assert!(
        matches!(absent, Err(ResumeError::Recover(RecoverError::Open(OpenError::NotAJournal { .. })))),
        "the control: {absent:?}"
    );
    disk.die_after(0);
    let unread = resumed();
    assert!(matches!(unread, Err(ResumeError::Recover(RecoverError::Io { .. }))), "{unread:?}");
}

/// Two runs that went on from copies of one journal write segments of the same names, numbers, epochs and sequences. Only
/// the chain tells that a segment of the one does not follow the other.
#[test]
fn a_segment_of_a_forked_copy_is_told_by_the_chain() {
    let disks = [Disk::new(Random::new(1)), Disk::new(Random::new(1))];
    for (fork, disk) in disks.iter().enumerate() {
        let medium = disk.medium();
        let small =
            Options { segment_bytes: 3 * 4096, frame_bytes: 4096, staging_bytes: 64 << 10, ..Options::default() };
        let mut writer = Writer::create_on(&medium, small, Metadata::default(), |storage| storage).unwrap();
        for number in 1..=400 {
            let mut event = event(number);
            event.reference ^= fork as u64 * u64::from(number > 30);
            while writer.room() == 0 {
                writer.poll().unwrap();
            }
            writer.append(Sequence(number), &event).unwrap();
        }
        writer.finish().unwrap();
    }
    let count = |disk: &Disk| verify_on(&disk.medium(), |_| ()).unwrap().damages.len();
    assert_eq!((count(&disks[0]), count(&disks[1])), (0, 0));
    let [ours, theirs] = disks.map(|disk| disk.medium());
    let name = "segment-000003.tcj";
    let file = theirs.open(name, crate::medium::Access::Read).unwrap();
    let mut bytes = vec![0; file.length().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    ours.open(name, crate::medium::Access::Write).unwrap().write_all_at(&bytes, 0).unwrap();
    let damages = verify_on(&ours, |_| ()).unwrap().damages;
    assert!(damages.iter().any(|damage| matches!(damage.fault, crate::Fault::ChainBroken { .. })), "{damages:?}");
    let damages = without(Some(Defence::Chain), || verify_on(&ours, |_| ()).unwrap().damages);
    assert!(damages.is_empty(), "the control: nothing else tells, {damages:?}");
}

/// A run that was finished, and another behind it whose files somebody lost: what is left ends in good order, and only a
/// checkpoint tells.
#[test]
fn a_checkpoint_tells_that_the_last_segments_are_gone() {
    let disk = Disk::new(Random::new(1));
    let medium = disk.medium();
    let small = Options { segment_bytes: 8 * 4096, frame_bytes: 4096, staging_bytes: 64 << 10, ..Options::default() };
    let append = |writer: &mut Writer, to: u64| {
        for number in writer.next_sequence().0..=to {
            while writer.room() == 0 {
                writer.poll().unwrap();
            }
            writer.append(Sequence(number), &event(number)).unwrap();
        }
    };
    let mut writer = Writer::create_on(&medium, small.clone(), Metadata::default(), |storage| storage).unwrap();
    append(&mut writer, 50);
    writer.finish().unwrap();
    let (mut writer, _) = Writer::resume_on(&medium, small.clone()).unwrap();
    append(&mut writer, 90);
    writer.finish().unwrap();
    let end = *boundaries_on(&medium).unwrap().last().unwrap();
    assert_eq!(end.sequence, Sequence(90));
    store_on(medium.as_ref(), &end, &state(90), |_| ()).unwrap();
    assert!(verify_on(&medium, |_| ()).unwrap().is_intact());
    medium.remove("segment-000002.tcj").unwrap();

    let behind = crate::Fault::BehindCheckpoint { sequence: Sequence(90) };
    let read = || {
        let mut reader = Reader::open_on(&medium, Stream::INPUTS, Start::Beginning).unwrap();
        loop {
            match reader.next_batch() {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(reader.next_sequence()),
                Err(error) => return Err(error.to_string()),
            }
        }
    };
    let is_found = || verify_on(&medium, |_| ()).unwrap().damages.iter().any(|damage| damage.fault == behind);
    assert!(is_found() && read().is_err_and(|error| error.contains("a checkpoint states that records up to 90")));
    let mut checkpoints = Checkpoints::open_on(&medium).unwrap();
    assert_eq!(checkpoints.take_newest(), None, "what is beyond the end is of no use");
    assert!(checkpoints.passed_over()[0].to_string().contains("the journal ends at 50"), "{checkpoints:?}");
    let refused = Writer::resume_on(&medium, small.clone()).err().map(|error| error.to_string());
    assert!(refused.is_some_and(|refused| refused.contains("were durable: put the files")));
    without(Some(Defence::CheckpointClaims), || {
        assert!(!is_found() && read() == Ok(Sequence(51)), "the control: nothing else tells");
    });
}
