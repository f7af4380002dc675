//! The negative controls: each defence is taken out in turn, and the seeded runs, or a test made for it, have to miss it.

use super::Random;
use super::disk::{Death, Disk};
use super::outputs;
use super::runs::{Broken, broken, event, state};
use crate::checkpoint::{Checkpoints, boundaries_on, store_on};
use crate::defence::{Defence, without};
use crate::format::SegmentHeader;
use crate::options::{Metadata, Options, SyncPolicy};
use crate::reader::Reader;
use crate::repair::repair_on;
use crate::seek::Start;
use crate::stream::Stream;
use crate::verify::verify_on;
use crate::writer::Writer;
use std::sync::atomic::{AtomicUsize, Ordering};
use tickcore_book::Sequence;

/// Seeds within which each control has to be caught.
const CONTROL_SEEDS: u64 = 30_000;

/// What the seeded runs miss.
const DEFENCES: &[Defence] = &[
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
    Defence::DurablePlaces,
    Defence::OutputsGoOn,
    Defence::OutputsCovered,
    Defence::FooterBeforeCut,
    Defence::ShortWrites,
    Defence::DiskNotCache,
    Defence::ReleaseBeforeRemoval,
    Defence::CopyBeforeRemoval,
    Defence::CopyBeforeCut,
    Defence::DurableCopyBeforeCut,
    Defence::CheckpointBeforeName,
    Defence::CheckpointName,
    Defence::CheckpointChecksum,
    Defence::KeptForCheckpoint,
];

/// Seeds that broke late-found ones lately, tried first: what the seeds do moves with each change of the writer.
const KNOWN_SEEDS: &[(Defence, u64)] = &[(Defence::DurablePlaces, 3_173), (Defence::DurableCopyBeforeCut, 2_184)];

/// The first seed that breaks without this defence, and how.
fn first_broken(defence: Defence) -> Option<(u64, Broken)> {
    // A run that only hangs shows nothing of what the defence is for.
    let is_hanging = |how: &Broken| how.contains("waits for ever") || how.contains("no progress");
    let find = |seed| {
        let how = without(Some(defence), || broken(seed)).filter(|how| !is_hanging(how))?;
        // Nor does one that breaks with the defence in place.
        broken(seed).is_none().then_some((seed, how))
    };
    let mut known = KNOWN_SEEDS.iter().filter(|known| known.0 == defence).map(|known| known.1).chain(0..CONTROL_SEEDS);
    known.find_map(find)
}

#[test]
fn every_defence_that_is_taken_out_is_missed() {
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let next = AtomicUsize::new(0);
    let run = || {
        let mut unnoticed = Vec::new();
        while let Some(&defence) = DEFENCES.get(next.fetch_add(1, Ordering::Relaxed)) {
            match first_broken(defence) {
                Some((seed, how)) => eprintln!("without {defence:?}: seed {seed}: {how}"),
                None => unnoticed.push(defence),
            }
        }
        unnoticed
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let unnoticed: Vec<Defence> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    std::panic::set_hook(previous);
    assert!(unnoticed.is_empty(), "nobody misses {unnoticed:?} in {CONTROL_SEEDS} seeds");
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

/// The first frame of a segment is damaged, a later segment shows that it was durable, and the repair dies after each of its
/// operations in turn. Whoever recovers then must not take what is there for a torn tail.
#[test]
fn a_repair_that_dies_leaves_no_torn_tail() {
    let small = Options {
        segment_bytes: 8 * 4096,
        frame_bytes: 4096,
        staging_bytes: 64 << 10,
        // The frames of a segment say nothing of each other.
        sync: SyncPolicy::None,
        ..Options::default()
    };
    // Whether the last frame of the damaged segment is still somewhere, and whether the repair came to its end.
    let die_after = |operations: u64| {
        let disk = Disk::new(Random::new(1));
        let medium = disk.medium();
        let mut writer = Writer::create_on(&medium, small.clone(), Metadata::default(), |storage| storage).unwrap();
        for number in 1..=800 {
            while writer.room() == 0 {
                writer.poll().unwrap();
            }
            writer.append(Sequence(number), &event(number)).unwrap();
        }
        writer.finish().unwrap();
        let name = "segment-000001.tcj";
        let contents = disk.state().contents();
        assert!(contents.len() > 2, "later segments show what was durable");
        let [first, .., last] = &outputs::frames(&contents[name])[..] else { panic!("a segment of several frames") };
        let file = medium.open(name, crate::medium::Access::Write).unwrap();
        file.write_all_at(&[0; 64], first.offset as u64 + 64).unwrap();
        // As it was before the writer came to trim it: its footer is lost, too.
        file.write_all_at(&[0; 4096], contents[name].len() as u64 - 4096).unwrap();
        file.set_length(SegmentHeader::read(&contents[name]).unwrap().prepared_bytes).unwrap();
        file.sync().unwrap();
        disk.die_after(operations);
        let is_done = repair_on(&medium, |_| ()).is_ok();
        disk.state().crash(Death::Process, false);
        let _ = crate::recovery::recover_locked(&medium);
        let holds = |bytes: &Vec<u8>| bytes.get(last.offset..).is_some_and(|rest| rest.starts_with(last.bytes));
        (disk.state().contents().values().any(holds), is_done)
    };
    let is_kept_always = || {
        (0..1_000)
            .map(die_after)
            .scan(false, |is_over, (is_kept, is_done)| (!core::mem::replace(is_over, is_done)).then_some(is_kept))
            .all(|is_kept| is_kept)
    };
    assert!(is_kept_always());
    assert!(!without(Some(Defence::SealBeforeAside), is_kept_always), "the control");
}
