//! Interval logs of other tools, read to the results that those tools' own tests state.

use hdrhistogram::Histogram;
use std::fs;
use std::path::{Path, PathBuf};
use tickcore_latency::hlog::{LogInterval, read_log};

/// What the headers of the logs' histograms say.
const LOWEST: u64 = 20_000;
const DIGITS: u8 = 2;

/// Where the logs are, or `None` and a word about it.
fn folder() -> Option<PathBuf> {
    let place = std::env::var_os("TICKCORE_MARKET_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/market-data"), PathBuf::from);
    let folder = place.join("hlog");
    if !folder.is_dir() {
        eprintln!("skipped: {} is not there; TICKCORE_MARKET_DATA says where", folder.display());
        return None;
    }
    Some(folder)
}

fn read(folder: &Path, name: &str) -> Vec<LogInterval> {
    read_log(&fs::read(folder.join(name)).unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// All values in one histogram of three digits, each as the lower end of its bucket: how the tools add histograms up.
fn accumulated<'l>(intervals: impl IntoIterator<Item = &'l LogInterval>) -> Histogram<u64> {
    let mut all = Histogram::new(3).unwrap();
    let layout = Histogram::<u64>::new_with_bounds(LOWEST, u64::MAX / 2, DIGITS).unwrap();
    for bucket in intervals.into_iter().flat_map(|interval| interval.distribution.buckets()) {
        all.record_n(layout.lowest_equivalent(bucket.value_ns), bucket.count).unwrap();
    }
    all
}

#[test]
fn version_2_and_its_1_3_form_have_the_stated_results() {
    let Some(folder) = folder() else { return };
    for name in ["jHiccup-2.0.7S.logV2.hlog", "jHiccup-2.0.7S.logV3.hlog"] {
        let intervals = read(&folder, name);
        let all = accumulated(&intervals);
        assert_eq!(intervals.len(), 62, "{name}");
        assert_eq!(
            (all.len(), all.value_at_quantile(0.999), all.max()),
            (48_761, 1_745_879_039, 1_796_210_687),
            "{name}"
        );
        // Each line's own maximum, in milliseconds, is that of its histogram.
        for interval in intervals {
            let max_ms = interval.distribution.max_ns().unwrap_or(0) as f64 / 1e6;
            assert!(
                (max_ms - interval.max).abs() <= 0.05 + interval.max / 50.0,
                "{name}: {max_ms} and {}",
                interval.max
            );
        }
    }
}

#[test]
fn tags_are_told_apart() {
    let Some(folder) = folder() else { return };
    let intervals = read(&folder, "tagged-Log.logV2.hlog");
    let (tagged, untagged): (Vec<_>, Vec<_>) =
        intervals.iter().partition(|interval| interval.tag.as_deref() == Some("A"));
    assert_eq!((tagged.len(), untagged.len()), (21, 21));
    assert_eq!(accumulated(intervals.iter()).len(), 32_290);
    assert_eq!(accumulated(tagged), accumulated(untagged));
}

#[test]
fn older_versions_are_refused_with_a_reason() {
    let Some(folder) = folder() else { return };
    for name in ["jHiccup-2.0.1.logV0.hlog", "jHiccup-2.0.6.logV1.hlog"] {
        let error = read_log(&fs::read(folder.join(name)).unwrap()).unwrap_err();
        assert!(error.to_string().contains("only version 2 is read"), "{name}: {error}");
    }
}
