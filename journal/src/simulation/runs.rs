//! Seeded runs: a journal is written, dies, is recovered, read and written on, and each promise is checked on the way.

use super::Random;
use super::disk::{Death, Disk, Faults};
use super::outputs::{self, CORES, Outputs};
use crate::checkpoint::{CheckpointMark, Checkpoints, boundaries_on, headers, store_on};
use crate::compact::compact_on;
use crate::directory::Catalog;
use crate::fault::{OpenError, ReadError};
use crate::helper::Helper;
use crate::options::{Metadata, Options, Retention, SyncPolicy};
use crate::reader::{Reader, Tail};
use crate::recovery::RecoverError;
use crate::repair::repair_on;
use crate::seek::Start;
use crate::stream::{INPUT_STREAM, Stream};
use crate::verify::verify_on;
use crate::writer::{AppendError, CreateError, ResumeError, Writer};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use tickcore_book::{Event, InstrumentId, Kind, OrderId, Sequence, TimestampNs};

/// Seeds of a usual test run; `TICKCORE_JOURNAL_SEEDS` asks for more, `TICKCORE_JOURNAL_SEED` for a single one.
const SEEDS: u64 = 2_000;
/// Turns after which a helper that does every job at once has none left.
const JOBS_TURNS: u32 = 40;
/// Turns within which a writer on a medium that is alive gets anything done.
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

pub(super) fn event(number: u64) -> Event {
    // Times go back now and then, as clocks do.
    let time = if number.is_multiple_of(97) { number / 2 } else { number };
    let mut event = Event::new(Kind::Add, InstrumentId(number as u32 % 5 + 1), TimestampNs(time));
    event.order_id = OrderId(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    event.reference = !number;
    event
}

/// What a checkpoint of this sequence holds.
pub(super) fn state(sequence: u64) -> Vec<u8> {
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
    outputs: Outputs,
    /// Sequence of the newest checkpoint that was said to be stored.
    checkpoint: u64,
    mark: CheckpointMark,
    /// Whether the writer at hand knows of checkpoints that are made beside it.
    has_mark: bool,
}

/// What a run was about to check when the journal broke its word.
pub(super) type Broken = String;

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
            outputs: Outputs::default(),
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
        self.outputs.taken = self.random.below(u64::from(CORES) + 1) as u16;
        let blocks = 4 + u64::from(self.outputs.taken) + self.random.below(8);
        Options {
            segment_bytes: u64::from(frame_bytes) + 4096 * (2 + self.random.below(8)),
            frame_bytes,
            staging_bytes: frame_bytes as usize * blocks as usize,
            output_streams: self.outputs.taken,
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
            self.outputs.lose_written();
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
                    self.outputs = Outputs::default();
                    self.mark = CheckpointMark::default();
                    return Ok(None);
                }
                // It was never begun, and nothing of it was promised.
                Err(ResumeError::Recover(RecoverError::Open(OpenError::NotAJournal { .. }))) if self.written == 0 => {
                    *is_created = false;
                    self.appended = 0;
                    self.outputs = Outputs::default();
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
            self.outputs.take_recovered(&recovery)?;
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
                outputs::mark(&mut writer, &mut self.random);
                match writer.append(sequence, &event(sequence.0)) {
                    Ok(()) => self.appended += 1,
                    Err(AppendError::Full | AppendError::Failed(_)) => break,
                    Err(error) => return Err(error.to_string()),
                }
            }
            self.outputs.append(&mut writer, &mut self.random)?;
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
            self.drain(&mut writer)?;
        }
        // Drained first, so that a writer that gets nowhere is seen to, and does not hang the test.
        if self.random.chance(30)
            && self.drain(&mut writer)?
            && self.drain_jobs(&mut writer)?
            && let Ok(watermarks) = writer.finish()
        {
            if watermarks.durable.0 != self.appended && !self.disk.is_dead() {
                return Err(format!("finished at {}, with {} appended", watermarks.durable, self.appended));
            }
            (self.written, self.durable) = (watermarks.written.0, watermarks.durable.0);
            self.outputs.finish();
        }
        Ok(())
    }

    /// Polls until all is written. `false` when the writer failed first.
    fn drain(&mut self, writer: &mut Writer) -> Result<bool, Broken> {
        for _ in 0..TURNS_MAX {
            if writer.written().0 == self.appended && self.outputs.are_written(writer) {
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
        self.outputs.note(writer)?;
        Ok(is_well)
    }

    /// Reads from the start, as far as it goes.
    fn read(&self) -> Result<(u64, Option<ReadError>, Tail), OpenError> {
        self.read_from(0)
    }

    /// Reads from some record on. Returns the last, how it ended, and where.
    fn read_from(&self, mut last: u64) -> Result<(u64, Option<ReadError>, Tail), OpenError> {
        let mut reader = Reader::open_on(&self.disk.medium(), Stream::INPUTS, outputs::start_behind(last))?;
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
                    outputs::check_marks(&reader);
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
    fn read_along(&mut self) -> Result<(), Broken> {
        let core = self.random.below(CORES.into()) as u16;
        self.outputs.read_along(&self.disk.medium(), core, || self.disk.is_dead())?;
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
        self.outputs.check_whole(&self.disk.medium(), &mut self.random)?;
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
        let before = self.disk.state().contents();
        let Some((name, from, to)) = self.disk.state().damage() else { return Ok(()) };
        let (checkpoints, _) = headers(self.disk.medium().as_ref()).map_err(|error| error.to_string())?;
        let stated = checkpoints.last().map_or(0, |newest| newest.sequence);
        let (claim, claimed_place) = self.disk.state().highest_claim();
        let claim = claim.max(stated);
        let output_claims = outputs::lasts_before(claimed_place, &before);
        // What is said of outputs is worth it where they can be read, and nothing where that ends with an error.
        let falls_short = |medium| {
            let read = outputs::read_all(&medium);
            let falls_short =
                read.iter().zip(&output_claims).any(|(read, claim)| read.is_some_and(|last| last < *claim));
            falls_short.then(|| format!("{read:?} of the outputs, {output_claims:?} are stated"))
        };
        let place = format!("{name} damaged from {from} to {to}, durable to {}", self.durable);
        let verified = verify_on(&self.disk.medium(), |_| ());
        let is_intact = verified.as_ref().is_ok_and(|report| report.is_intact());
        let read = self.read();
        if is_intact && !matches!(&read, Ok((last, None, _)) if *last >= claim) {
            return Err(format!("{place}: verify finds nothing, reading gives {read:?}, {claim} is stated"));
        }
        if let Some(how) = falls_short(self.disk.medium()) {
            return Err(format!("{place}: reading gives {how}"));
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
        if let Some(how) = falls_short(self.disk.medium()) {
            return Err(format!("{place}: after recovery reading gives {how}"));
        }
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
        let (claim, claimed_place) = self.disk.state().highest_claim();
        let claim = claim.max(readable);
        let readable_outputs = outputs::read_all(&self.disk.medium());
        for attempt in 0.. {
            if attempt < 4 && self.random.chance(60) {
                let operations = self.random.below(150);
                self.disk.die_after(operations);
            }
            let repaired = repair_on(&self.disk.medium(), |_| ());
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
                    self.outputs.take_repaired(&recovery);
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
        let read_outputs = outputs::read_all(&self.disk.medium());
        if read_outputs.iter().zip(&readable_outputs).any(|(after, before)| after < before) {
            return Err(format!(
                "{readable_outputs:?} outputs were readable before the repair, {read_outputs:?} after it"
            ));
        }
        self.outputs.check_whole(&self.disk.medium(), &mut self.random)?;
        let first = self.first().map_err(|error| error.to_string())?;
        let first_segment = Catalog::load(&self.disk.medium()).map_err(|error| error.to_string())?.first.0;
        let after = self.disk.state().contents();
        let cuts = outputs::Cuts::of(&before);
        for (name, bytes) in outputs::segments(&before) {
            for frame in outputs::frames(bytes) {
                let (last, offset, frame_bytes) = (frame.header.last_sequence(), frame.offset, frame.bytes);
                let is_kept = |bytes: &Vec<u8>| bytes.get(offset..offset + frame_bytes.len()) == Some(frame_bytes);
                // Retention has released what comes before the first, and what no structure calls durable may stand in a torn
                // tail, which recovery cuts.
                let is_promised = if frame.header.stream == INPUT_STREAM {
                    (first..=claim).contains(&last)
                } else {
                    frame.header.segment >= first_segment && frame.place() < claimed_place
                };
                if is_promised && !cuts.has(&frame.header) && !after.values().any(is_kept) {
                    return Err(format!("the frame of {name} at {offset}, to {last}, is nowhere after the repair"));
                }
            }
        }
        Ok(true)
    }
}

/// Runs a seed and says how it broke, if it did.
pub(super) fn broken(seed: u64) -> Option<Broken> {
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
