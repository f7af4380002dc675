//! The writer on a medium that does not behave: slow, unordered, short, full, failing.

use super::*;
use crate::defence::without;
use crate::medium::DirectoryMedium;
use crate::options::Capacities;
use crate::simulation::Random;
use crate::simulation::disk::{Death, Disk};
use crate::{Reader, Tail, recover, verify};
use proptest::prelude::*;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use tickcore_book::{Event, InstrumentId, Kind, TimestampNs};

/// What a [`Faulty`] storage does to operations, chosen by the test while the writer runs.
#[derive(Default)]
struct Plan {
    /// Decides for each operation: `Some` fails it with that error, before it reaches the medium.
    error: Mutex<Option<ErrorRule>>,
    /// Completions are held back while set.
    is_stalled: AtomicBool,
    /// Completions with this token are held back.
    stalled_token: Mutex<Option<Token>>,
    /// Completions come in the opposite order.
    is_reversed: AtomicBool,
    /// Writes of frames of more than one unit do only half.
    is_short: AtomicBool,
    /// Frames may be written through.
    writes_through: AtomicBool,
    /// What was submitted.
    log: Mutex<Vec<Token>>,
}

type ErrorRule = Box<dyn Fn(Token) -> Option<io::ErrorKind> + Send>;

/// A storage that does what a [`Plan`] says, in front of a real one.
struct Faulty {
    inner: Box<dyn Storage>,
    plan: Arc<Plan>,
    held: Vec<Completion>,
}

impl Storage for Faulty {
    /// Not `Portable`, so that frames do not wait for a clock.
    fn backend(&self) -> Backend {
        Backend::IoUring
    }

    fn writes_through(&self) -> bool {
        self.plan.writes_through.load(Ordering::Relaxed)
    }

    fn submit(&mut self, token: Token, operation: Operation) {
        self.plan.log.lock().unwrap().push(token);
        let error = self.plan.error.lock().unwrap().as_ref().and_then(|rule| rule(token));
        match (error, operation) {
            (Some(kind), Operation::Write { block, .. }) => {
                self.held.push(Completion { token, result: Err(kind.into()), block: Some(block) });
            }
            (Some(kind), _) => self.held.push(Completion { token, result: Err(kind.into()), block: None }),
            (None, Operation::Write { file, offset, block, from, to, is_through })
                if self.plan.is_short.load(Ordering::Relaxed) && to - from > 4096 =>
            {
                let to = from + (to - from) / 2 + 100;
                self.inner.submit(token, Operation::Write { file, offset, block, from, to, is_through });
            }
            (None, operation) => self.inner.submit(token, operation),
        }
    }

    fn reap(&mut self, completions: &mut Vec<Completion>) {
        self.inner.reap(&mut self.held);
        if !self.plan.is_stalled.load(Ordering::Relaxed) {
            if self.plan.is_reversed.load(Ordering::Relaxed) {
                self.held.reverse();
            }
            let stalled = *self.plan.stalled_token.lock().unwrap();
            completions.extend(self.held.extract_if(.., |completion| Some(completion.token) != stalled));
        }
    }

    fn dispatch(&mut self) -> io::Result<()> {
        self.inner.dispatch()
    }

    fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        self.inner.wait(timeout)
    }

    fn close(&mut self, file: FileSlot) {
        self.inner.close(file);
    }

    fn remove(&mut self, name: &SegmentName) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn now(&self) -> Duration {
        self.inner.now()
    }
}

fn event(number: u64) -> Event {
    let mut event = Event::new(Kind::Add, InstrumentId(number as u32 % 7 + 1), TimestampNs(number / 3));
    event.reference = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    event
}

fn options() -> Options {
    Options {
        segment_bytes: 64 << 10,
        frame_bytes: 16 << 10,
        staging_bytes: 512 << 10,
        // Synchronous below, so that each test alone decides what completes when. Short writes need the page cache:
        // they end off the alignment that O_DIRECT wants.
        backend: Backend::Portable,
        is_direct: false,
        ..Options::default()
    }
}

struct Rig {
    directory: tempfile::TempDir,
    writer: Writer,
    plan: Arc<Plan>,
}

impl Rig {
    fn new(options: Options) -> Self {
        Self::with(options, Plan::default())
    }

    fn with(options: Options, plan: Plan) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let plan = Arc::new(plan);
        let metadata = Metadata { capacities: Capacities::default(), ..Metadata::default() };
        let medium = DirectoryMedium::at(directory.path());
        let writer = Writer::create_on(&medium, options, metadata, |inner| {
            Box::new(Faulty { inner, plan: Arc::clone(&plan), held: Vec::new() })
        });
        Self { directory, writer: writer.unwrap(), plan }
    }

    fn append(&mut self, count: u64) {
        for _ in 0..count {
            let sequence = self.writer.next_sequence();
            self.writer.append(sequence, &event(sequence.0)).unwrap();
        }
    }

    fn fail(&self, rule: impl Fn(Token) -> Option<io::ErrorKind> + Send + 'static) {
        *self.plan.error.lock().unwrap() = Some(Box::new(rule));
    }

    fn count(&self, token: Token) -> usize {
        self.plan.log.lock().unwrap().iter().filter(|&&found| found == token).count()
    }
}

/// Every record of the journal, each checked to be the one that was appended.
fn read_back(directory: &std::path::Path) -> (u64, Tail) {
    let mut reader = Reader::open(directory).unwrap();
    let mut next = 1;
    while let Some(records) = reader.next_batch().unwrap() {
        for record in records {
            assert_eq!((record.sequence, record.event), (Sequence(next), event(next)));
            next += 1;
        }
    }
    (next - 1, reader.tail().clone())
}

#[test]
fn a_failed_write_poisons_the_writer_for_good() {
    let mut rig = Rig::new(options());
    rig.append(100);
    rig.writer.flush().unwrap();
    rig.append(50);
    rig.fail(|token| matches!(token, Token::Frame(_)).then_some(io::ErrorKind::StorageFull));
    let error = rig.writer.flush().unwrap_err();
    assert_eq!((error.action, error.file.as_str(), error.durable), ("write", "segment-000001.tcj", Sequence(100)));
    assert_eq!(error.offset, 4096 + 8192, "header, then one frame of 100 records");
    assert!(error.to_string().contains("make room"), "{error}");
    // The medium is well again; the writer is not.
    *rig.plan.error.lock().unwrap() = None;
    let operations = rig.plan.log.lock().unwrap().len();
    for _ in 0..3 {
        assert_eq!(rig.writer.poll().unwrap_err().offset, error.offset);
        assert!(matches!(rig.writer.append(Sequence(151), &event(151)), Err(AppendError::Failed(_))));
        assert!(rig.writer.flush().is_err());
    }
    assert_eq!(rig.writer.room(), 0);
    assert_eq!(rig.writer.watermarks(), Watermarks { written: Sequence(100), durable: Sequence(100) });
    assert_eq!(rig.plan.log.lock().unwrap().len(), operations, "nothing is submitted after a failure");
    let status = crate::Status::open(rig.directory.path()).unwrap().read();
    assert_eq!((status.state, status.watermarks.durable), (WriterState::Failed, Sequence(100)));
    assert!(rig.writer.finish().is_err());
    assert_eq!(recover(rig.directory.path()).unwrap().last_sequence, Sequence(100));
}

#[test]
fn a_failed_sync_poisons_the_writer_and_is_not_tried_again() {
    let mut rig = Rig::new(options());
    rig.append(100);
    rig.fail(|token| (token == Token::Group).then_some(io::ErrorKind::Other));
    let error = rig.writer.flush().unwrap_err();
    assert_eq!((error.action, error.durable), ("sync", Sequence(0)));
    *rig.plan.error.lock().unwrap() = None;
    assert!(rig.writer.poll().is_err());
    assert_eq!(rig.count(Token::Group), 1);
    assert_eq!(rig.writer.durable(), Sequence(0));
}

#[test]
fn a_frame_that_is_written_through_needs_no_sync_and_the_next_waits_for_it() {
    let plan = Plan { writes_through: true.into(), ..Plan::default() };
    let mut rig = Rig::with(Options { frame_bytes: 32 << 10, segment_bytes: 256 << 10, ..options() }, plan);
    *rig.plan.stalled_token.lock().unwrap() = Some(Token::Frame(0));
    for _ in 0..3 {
        rig.append(10);
        (0..5).for_each(|_| assert!(rig.writer.poll().is_ok()));
    }
    assert_eq!(rig.count(Token::Frame(1)), 0, "20 records wait for what is under way");
    *rig.plan.stalled_token.lock().unwrap() = None;
    (0..10).for_each(|_| assert!(rig.writer.poll().is_ok()));
    assert_eq!((rig.writer.durable(), rig.count(Token::Frame(1)), rig.count(Token::Group)), (Sequence(30), 1, 0));
}

#[test]
fn every_other_operation_that_fails_poisons_it_too() {
    for (token, action) in [
        (Token::Spare, "prepare"),
        (Token::Header, "write the header of"),
        (Token::HeaderSync, "sync the header of"),
        (Token::Footer, "write the footer of"),
        (Token::FooterSync, "sync the footer of"),
        (Token::Trim, "trim"),
        (Token::TrimSync, "sync the length of"),
    ] {
        let mut rig = Rig::new(options());
        rig.fail(move |found| (found == token).then_some(io::ErrorKind::Other));
        let error = loop {
            rig.append(200);
            if let Err(error) = rig.writer.flush() {
                break error;
            }
            assert!(rig.writer.next_sequence().0 < 10_000, "{token:?} never failed");
        };
        assert_eq!(error.action, action);
        let (durable, written) = (rig.writer.durable().0, rig.writer.written().0);
        drop(rig.writer);
        let recovered = recover(rig.directory.path()).unwrap().last_sequence.0;
        assert!(durable <= recovered && written <= recovered, "{token:?}: {durable}, {written}, {recovered}");
        let report = verify(rig.directory.path(), |_| ()).unwrap();
        assert!(report.is_intact(), "{token:?}: {:?}", report.damages);
        assert_eq!(read_back(rig.directory.path()), (recovered, Tail::Sealed));
    }
}

#[test]
fn a_spare_that_cannot_be_prepared_fails_the_journal_only_when_it_is_needed() {
    let mut rig = Rig::new(options());
    rig.fail(|token| (token == Token::Spare).then_some(io::ErrorKind::StorageFull));
    // Just over half of the segment: the spare is asked for.
    rig.append(700);
    rig.writer.flush().unwrap();
    assert_eq!(rig.count(Token::Spare), 2, "one for the first segment, one that failed");
    assert_eq!(rig.writer.finish().unwrap().durable, Sequence(700));
}

#[test]
fn short_writes_are_completed() {
    let mut rig = Rig::new(options());
    rig.plan.is_short.store(true, Ordering::Relaxed);
    rig.append(3000);
    assert_eq!(rig.writer.finish().unwrap().durable, Sequence(3000));
    let (last, tail) = read_back(rig.directory.path());
    assert_eq!((last, tail), (3000, Tail::Sealed));
    let frames = rig.plan.log.lock().unwrap().iter().filter(|token| matches!(token, Token::Frame(_))).count();
    assert!(frames > 20, "3000 records are 12 full frames, each written in several steps: {frames}");
}

#[test]
fn watermarks_cover_no_record_behind_a_write_that_is_not_done() {
    let mut rig = Rig::new(options());
    rig.plan.is_stalled.store(true, Ordering::Relaxed);
    rig.append(252 * 3);
    rig.writer.poll().unwrap();
    rig.writer.poll().unwrap();
    assert_eq!(rig.writer.written(), Sequence(0));
    assert_eq!(rig.count(Token::Group), 0, "there is nothing to sync");
    rig.plan.is_stalled.store(false, Ordering::Relaxed);
    rig.plan.is_reversed.store(true, Ordering::Relaxed);
    rig.writer.poll().unwrap();
    assert_eq!(rig.writer.written(), Sequence(252 * 3));
    assert_eq!(rig.writer.durable(), Sequence(0), "the sync has only begun");
    rig.writer.poll().unwrap();
    assert_eq!(rig.writer.durable(), Sequence(252 * 3));
}

#[test]
fn written_stops_before_a_hole() {
    let mut rig = Rig::new(options());
    rig.fail(|token| (token == Token::Frame(1)).then_some(io::ErrorKind::Other));
    rig.append(252 * 3);
    assert!(rig.writer.flush().is_err());
    assert!(rig.writer.written() <= Sequence(252), "{}", rig.writer.written());
    drop(rig.writer);
    // The third frame is on the disk, the second is not, and nothing says that they were durable.
    let recovery = recover(rig.directory.path()).unwrap();
    assert_eq!(recovery.last_sequence, Sequence(252));
    assert_eq!(recovery.cut.unwrap().offset, 4096 + (16 << 10));
    assert_eq!(read_back(rig.directory.path()), (252, Tail::Sealed));
}

#[test]
fn a_stalled_disk_fills_the_staging_and_nothing_is_lost() {
    let mut rig = Rig::new(options());
    rig.plan.is_stalled.store(true, Ordering::Relaxed);
    let room = rig.writer.room();
    assert_eq!(room, (512 / 16 - 2) * 252, "all blocks but two, each with room for a header");
    rig.append(room as u64);
    rig.writer.poll().unwrap();
    assert_eq!(rig.writer.room(), 0);
    let next = rig.writer.next_sequence();
    assert!(matches!(rig.writer.append(next, &event(next.0)), Err(AppendError::Full)));
    assert_eq!(rig.writer.next_sequence(), next);
    rig.plan.is_stalled.store(false, Ordering::Relaxed);
    rig.writer.flush().unwrap();
    assert!(rig.writer.room() >= room - 252);
    rig.append(10);
    let last = room as u64 + 10;
    assert_eq!(rig.writer.finish().unwrap().durable, Sequence(last));
    assert_eq!(read_back(rig.directory.path()), (last, Tail::Sealed));
}

#[test]
fn no_frame_comes_into_a_segment_before_its_header_is_durable() {
    for stalled in [Token::Header, Token::HeaderSync] {
        let mut rig = Rig::new(options());
        *rig.plan.stalled_token.lock().unwrap() = Some(stalled);
        // A segment of 64 KiB holds three of these frames.
        rig.append(252 * 4);
        (0..20).for_each(|_| assert!(rig.writer.poll().is_ok()));
        assert_eq!(rig.writer.written(), Sequence(252 * 3));
        assert_eq!(rig.count(Token::Frame(3)) + rig.count(Token::Footer), 0, "{stalled:?} is not done");
        *rig.plan.stalled_token.lock().unwrap() = None;
        (0..20).for_each(|_| assert!(rig.writer.poll().is_ok()));
        assert_eq!((rig.count(Token::Frame(3)), rig.count(Token::Footer)), (1, 1));
        assert_eq!(rig.writer.durable(), Sequence(252 * 4));
    }
}

#[test]
fn frames_of_the_next_segment_wait_for_no_sync_but_are_durable_only_after_those_before() {
    let mut rig = Rig::new(options());
    *rig.plan.stalled_token.lock().unwrap() = Some(Token::Group);
    rig.append(252 * 5);
    (0..20).for_each(|_| assert!(rig.writer.poll().is_ok()));
    assert_eq!((rig.writer.written(), rig.writer.durable()), (Sequence(252 * 5), Sequence(0)));
    assert_eq!(
        (rig.count(Token::Frame(3)), rig.count(Token::Footer)),
        (1, 0),
        "nothing is sealed before it is durable"
    );
    *rig.plan.stalled_token.lock().unwrap() = None;
    rig.writer.poll().unwrap();
    assert!(rig.writer.durable() <= Sequence(252 * 3), "no further than the segment that is left");
    (0..20).for_each(|_| assert!(rig.writer.poll().is_ok()));
    assert_eq!((rig.writer.durable(), rig.count(Token::Footer)), (Sequence(252 * 5), 1));
}

#[test]
fn policies_put_syncs_off_and_a_flush_does_not_wait_for_them() {
    for sync in [SyncPolicy::Every(Duration::from_secs(3600)), SyncPolicy::EveryBytes(1 << 30)] {
        let mut rig = Rig::new(Options { sync, ..options() });
        rig.append(252);
        rig.writer.flush().unwrap();
        assert_eq!(rig.writer.durable(), Sequence(252));
        let syncs = rig.count(Token::Group);
        rig.append(252);
        (0..10).for_each(|_| assert!(rig.writer.poll().is_ok()));
        assert_eq!((rig.writer.written(), rig.writer.durable()), (Sequence(504), Sequence(252)), "{sync:?}");
        assert_eq!(rig.count(Token::Group), syncs);
        assert_eq!(rig.writer.finish().unwrap().durable, Sequence(504));
    }
    let mut rig = Rig::new(Options { sync: SyncPolicy::EveryBytes(20_000), ..options() });
    rig.append(252 * 2);
    (0..10).for_each(|_| assert!(rig.writer.poll().is_ok()));
    assert_eq!(rig.writer.durable(), Sequence(504), "two frames of 16 KiB are more than 20,000 bytes");
}

#[test]
fn a_frame_that_is_closed_early_ends_with_a_whole_unit() {
    let mut rig = Rig::new(options());
    rig.append(230);
    rig.writer.poll().unwrap();
    let stats = rig.writer.stats();
    assert_eq!((stats.record_count, stats.frame_bytes), (188, 3 * 4096), "230 records would pad a fourth unit");
    (0..4).for_each(|_| assert!(rig.writer.poll().is_ok()));
    assert_eq!(rig.writer.durable(), Sequence(230), "the rest waits for one write only");
}

#[test]
fn without_syncs_nothing_is_called_durable_before_the_segment_is_sealed() {
    let mut rig = Rig::new(Options { sync: SyncPolicy::None, ..options() });
    rig.append(100);
    let watermarks = rig.writer.flush().unwrap();
    assert_eq!(watermarks, Watermarks { written: Sequence(100), durable: Sequence(0) });
    assert_eq!(rig.count(Token::Group), 0);
    rig.append(1000);
    rig.writer.flush().unwrap();
    assert!(rig.writer.durable() >= Sequence(100), "the first segment was full");
    assert_eq!(rig.writer.finish().unwrap().durable, Sequence(1100));
}

#[test]
fn a_partial_frame_waits_for_more_records_as_long_as_it_may() {
    let mut rig = Rig::new(Options { linger: Duration::from_secs(3600), ..options() });
    let polls = |rig: &mut Rig| (0..5).for_each(|_| assert!(rig.writer.poll().is_ok()));
    rig.append(59);
    polls(&mut rig);
    assert_eq!(rig.writer.written(), Sequence(0), "59 records and a header leave room in 4096 bytes");
    rig.append(1);
    polls(&mut rig);
    assert_eq!(rig.writer.durable(), Sequence(60), "60 records and a header fill 4096 bytes");
    rig.append(1);
    rig.writer.flush().unwrap();
    assert_eq!(rig.writer.durable(), Sequence(61), "flush does not linger");
}

#[test]
fn sequences_without_a_hole_are_demanded() {
    let mut rig = Rig::new(options());
    rig.append(3);
    for number in [0, 3, 5, u64::MAX] {
        let error = rig.writer.append(Sequence(number), &event(number)).unwrap_err();
        assert!(matches!(error, AppendError::Discontinuous { expected: Sequence(4), found } if found.0 == number));
    }
    rig.append(1);
    assert_eq!(rig.writer.finish().unwrap().durable, Sequence(4));
}

/// A machine that died while a whole segment and the header of the next stood behind one that no sync had covered: they
/// are removed. Recovery is let die after so many operations, in one way or the other, again and again, and is at last let
/// come to its end. `None` when one of them came to its end before.
fn remove_dying(seed: u64, deaths: &[(u64, Death)]) -> Option<Result<(), String>> {
    let disk = Disk::new(Random::new(seed));
    let plan = Arc::new(Plan::default());
    *plan.stalled_token.lock().unwrap() = Some(Token::Group);
    let medium = disk.medium();
    let mut writer = Writer::create_on(&medium, options(), Metadata::default(), |inner| {
        Box::new(Faulty { inner, plan: Arc::clone(&plan), held: Vec::new() })
    })
    .unwrap();
    for number in 1..=252 * 7 {
        writer.append(Sequence(number), &event(number)).unwrap();
    }
    (0..100).for_each(|_| assert!(writer.poll().is_ok()));
    drop(writer);
    disk.state().crash(Death::Machine, false);
    for &(operations, death) in deaths {
        disk.die_after(operations);
        let dying = Writer::resume_on(&medium, options());
        if !disk.is_dead() {
            return None;
        }
        drop(dying);
        disk.state().crash(death, false);
    }
    Some(Writer::resume_on(&medium, options()).map(drop).map_err(|error| error.to_string()))
}

#[test]
fn recovery_that_dies_while_it_removes_files_leaves_no_hole() {
    let find = || (0..20).flat_map(|seed| (20..120).map(move |operations| (seed, [(operations, Death::Machine)])));
    let broken = |(seed, deaths): (u64, [(u64, Death); 1])| remove_dying(seed, &deaths).and_then(Result::err);
    assert_eq!(find().find_map(broken), None);
    let caught = without(Some(Defence::LastFileFirst), || find().find_map(broken));
    assert!(caught.is_some_and(|error| error.contains("missing")), "the control: the other order leaves a hole");
}

/// The first recovery is killed and its machine lives: what it removed is gone to look at, and not yet on the disk. The second
/// seals what is left, and then the machine dies too. (Seed 21,337 of the simulator found it.)
#[test]
fn what_a_killed_recovery_removed_does_not_come_back() {
    let find = || {
        let deaths = |first, second| [(first, Death::Process), (second, Death::Machine)];
        let moments = (20..60).flat_map(move |first| (20..80).map(move |second| deaths(first, second)));
        (0..4).flat_map(move |seed| moments.clone().map(move |deaths| (seed, deaths)))
    };
    let broken = |(seed, deaths): (u64, [(u64, Death); 2])| remove_dying(seed, &deaths).and_then(Result::err);
    assert_eq!(find().find_map(broken), None);
    let caught = without(Some(Defence::NamesBeforeSeal), || find().find_map(broken));
    assert!(
        caught.is_some_and(|error| error.contains("must")),
        "the control: a file comes back behind a sealed segment"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Whatever the pace, the order of completions and the moment of the failure: what was called written is there
    /// after recovery, and nothing else than what was appended.
    #[test]
    fn what_was_written_before_a_failure_is_recovered(
        steps in proptest::collection::vec((1_u64..400, 0_u8..4, any::<bool>(), any::<bool>()), 1..25),
        failing in 1_usize..80,
    ) {
        let mut rig = Rig::new(options());
        let operations = std::sync::atomic::AtomicUsize::new(0);
        rig.fail(move |_| (operations.fetch_add(1, Ordering::Relaxed) == failing).then_some(io::ErrorKind::Other));
        'run: for (count, polls, is_stalled, is_reversed) in steps {
            rig.plan.is_stalled.store(is_stalled, Ordering::Relaxed);
            rig.plan.is_reversed.store(is_reversed, Ordering::Relaxed);
            let count = count.min(rig.writer.room() as u64);
            rig.append(count);
            for _ in 0..polls {
                let before = rig.writer.watermarks();
                let Ok(after) = rig.writer.poll() else { break 'run };
                prop_assert!(before.written <= after.written && before.durable <= after.durable);
                prop_assert!(after.durable <= after.written && after.written < rig.writer.next_sequence());
            }
        }
        let (written, next) = (rig.writer.written().0, rig.writer.next_sequence().0);
        drop(rig.writer);
        let recovered = recover(rig.directory.path()).unwrap().last_sequence.0;
        prop_assert!(written <= recovered && recovered < next, "{written} <= {recovered} < {next}");
        prop_assert_eq!(read_back(rig.directory.path()), (recovered, Tail::Sealed));
        let report = verify(rig.directory.path(), |_| ()).unwrap();
        prop_assert!(report.is_intact(), "{:?}", report.damages);
        // Recovery of what is recovered changes nothing.
        let again = recover(rig.directory.path()).unwrap();
        prop_assert!(again.sealed.is_empty() && again.cut.is_none() && again.removed.is_empty());
    }
}
