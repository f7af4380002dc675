//! What the disk can do, and who found it.

use super::disk;
use super::fio::{self, NoRates, Rates};
use super::uring::{self, Work};
use std::ffi::OsStr;
use std::path::Path;

/// What the disk could do in one round.
#[derive(Clone, Debug)]
pub(super) struct Limit {
    /// The better of the bench's own loops.
    own: Rates,
    fio: Result<Rates, NoRates>,
    /// Bytes a second written by the own loop that makes new ones, where there is io_uring.
    write_new: Option<f64>,
}

impl Limit {
    /// Measures over the file at `path`, which is left there.
    pub(super) fn measure(fio: &OsStr, path: &Path, bytes: u64) -> anyhow::Result<Self> {
        let threads = Rates { write: disk::write_rate(path, bytes)?, read: disk::read_rate(path, bytes)? };
        // Where it is refused, the threads are what there is.
        let [write, read, write_new] =
            [Work::Write, Work::Read, Work::WriteNew].map(|work| uring::rate(path, bytes, work).ok());
        let better = |threads: f64, ring: Option<f64>| ring.map_or(threads, |ring| ring.max(threads));
        let own = Rates { write: better(threads.write, write), read: better(threads.read, read) };
        Ok(Self { own, fio: fio::rates(fio, path, bytes), write_new })
    }

    /// Bytes a second that can be written of bytes that are new, as those of a journal are.
    pub(super) fn write_new(&self) -> f64 {
        self.write_new.unwrap_or_else(|| self.write())
    }

    /// Bytes a second, the better of both.
    pub(super) fn write(&self) -> f64 {
        self.fio.as_ref().map_or(self.own.write, |fio| fio.write.max(self.own.write))
    }

    /// Bytes a second, the better of both.
    pub(super) fn read(&self) -> f64 {
        self.fio.as_ref().map_or(self.own.read, |fio| fio.read.max(self.own.read))
    }
}

/// A sentence about who found the limits of all rounds.
pub(super) fn note(limits: &[&Limit]) -> String {
    if limits.iter().all(|limit| limit.fio == Err(NoRates::NotInstalled)) {
        return "The limit is the better of the bench's own loops, as fio is not installed.".to_owned();
    }
    let count = |is_fio: fn(&Rates, &Rates) -> bool| {
        limits.iter().filter(|limit| limit.fio.as_ref().is_ok_and(|fio| is_fio(fio, &limit.own))).count()
    };
    let (written, read) = (count(|fio, own| fio.write > own.write), count(|fio, own| fio.read > own.read));
    let mut note = format!(
        "The limit is the better of fio and the bench's own loops: fio in {written} of {} rounds for writing and in {read} for reading, else a loop.",
        limits.len()
    );
    let mut faults = limits.iter().filter_map(|limit| match &limit.fio {
        Err(NoRates::Failed(fault)) => Some(fault),
        Err(NoRates::NotInstalled) | Ok(_) => None,
    });
    if let Some(fault) = faults.next() {
        note.push_str(&format!(" fio failed in {} of them ({fault}).", 1 + faults.count()));
    }
    note
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(fio: Result<Rates, NoRates>) -> Limit {
        Limit { own: Rates { write: 1e9, read: 2e9 }, fio, write_new: None }
    }

    #[test]
    fn the_better_one_counts_for_each_direction() {
        let both = limit(Ok(Rates { write: 1.5e9, read: 1.9e9 }));
        assert_eq!((both.write(), both.read()), (1.5e9, 2e9));
        let alone = limit(Err(NoRates::NotInstalled));
        assert_eq!((alone.write(), alone.read()), (1e9, 2e9));
        let text = note(&[&both, &limit(Ok(Rates { write: 2e9, read: 3e9 }))]);
        assert!(text.contains("fio in 2 of 2 rounds for writing and in 1 for reading"), "{text}");
    }

    #[test]
    fn the_note_says_why_there_is_no_fio() {
        let alone = limit(Err(NoRates::NotInstalled));
        assert!(note(&[&alone, &alone]).contains("not installed"));
        let failed = limit(Err(NoRates::Failed("no engine".to_owned())));
        let text = note(&[&failed, &limit(Ok(Rates { write: 2e9, read: 3e9 })), &failed]);
        assert!(text.contains("fio in 1 of 3") && text.contains("failed in 2 of them (no engine)"), "{text}");
    }

    /// The whole way, with a program in place of fio: a failure leaves the bench's own loop.
    #[test]
    fn a_round_goes_on_without_fio() {
        let directory = tempfile::tempdir().unwrap();
        let raw = directory.path().join("raw");
        for (program, expected) in [("absent-program-for-limits", "not installed"), ("false", "failed in 1")] {
            let found = Limit::measure(program.as_ref(), &raw, 8 << 20).unwrap();
            assert!(found.write() > 0.0 && found.read() > 0.0);
            assert!(note(&[&found]).contains(expected), "{}", note(&[&found]));
        }
    }
}
