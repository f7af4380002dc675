//! Reading an interval log, of this program or another. The bytes are not trusted: whatever they are, the answer is the
//! intervals or an error that names line and offset.

use super::payload;
use crate::base64;
use crate::distribution::Distribution;

/// Largest log that is read. A day of ten stages at an interval a second has about 200 MB.
pub const MAX_LOG_BYTES: u64 = 1 << 30;

/// One line of a log.
#[derive(Clone, Debug, PartialEq)]
pub struct LogInterval {
    /// Its tag, if it has one.
    pub tag: Option<String>,
    /// Start as it stands there: seconds, absolute or from the log's start.
    pub start_s: f64,
    /// Length in seconds.
    pub length_s: f64,
    /// Largest value, in the log's own unit (usually milliseconds).
    pub max: f64,
    /// The histogram; its values are nanoseconds when the program that wrote it recorded those.
    pub distribution: Distribution,
}

/// Why a log was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {line} (offset {offset}): {what}; the file is no HdrHistogram interval log, or was damaged: fetch or write it again"
)]
pub struct HlogError {
    /// Line, from 1.
    pub line: usize,
    /// Where the line begins.
    pub offset: usize,
    /// What is wrong.
    pub what: String,
}

/// The intervals of a log, in the order of its lines. Comments and the legend are passed over.
///
/// # Errors
/// At the first line that is neither, and when there is no interval at all.
pub fn read_log(bytes: &[u8]) -> Result<Vec<LogInterval>, HlogError> {
    let mut intervals = Vec::new();
    let mut offset = 0;
    let mut number = 0;
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        number += 1;
        let text = line.trim_ascii();
        if !text.is_empty() && !text.starts_with(b"#") && !text.starts_with(b"\"StartTimestamp\"") {
            let interval = read_line(text).map_err(|what| HlogError { line: number, offset, what })?;
            intervals.push(interval);
        }
        offset += line.len();
    }
    if intervals.is_empty() {
        return Err(HlogError { line: number, offset, what: "the end, and no interval was found".to_owned() });
    }
    Ok(intervals)
}

fn read_line(line: &[u8]) -> Result<LogInterval, String> {
    let line = core::str::from_utf8(line).map_err(|_| "the line is not text".to_owned())?;
    let (tag, rest) = match line.strip_prefix("Tag=") {
        Some(tagged) => {
            let (tag, rest) = tagged.split_once(',').ok_or("the line ends within its tag")?;
            (Some(tag.to_owned()), rest)
        }
        None => (None, line),
    };
    let columns: Vec<&str> = rest.split(',').collect();
    let [start, length, max, text] = columns[..] else {
        return Err(format!("{} columns where start, length, maximum and histogram should stand", columns.len()));
    };
    let bytes =
        base64::decode(text.as_bytes()).map_err(|place| format!("letter {place} of the histogram is no base64"))?;
    let buckets = payload::decode(&bytes)?;
    let max_ns = buckets.last().map_or(0, |last| last.value_ns);
    let distribution = Distribution::new(buckets, 0, max_ns).map_err(|error| error.to_string())?;
    Ok(LogInterval { tag, start_s: seconds(start)?, length_s: seconds(length)?, max: seconds(max)?, distribution })
}

fn seconds(text: &str) -> Result<f64, String> {
    let number = text.trim().parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| format!("{text:?} is no number from 0"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LINE: &str = "Tag=A,0.127,1.007,2.769,HISTFAAAAEV42pNpmSzMwMCgyAABTBDKT4GBgdnNYMcCBvsPEBEJISEuATEZMQ4uASkhIR4nrxg9v2lMaxhvMekILGZkKmcCAEf2CsI=";

    #[test]
    fn a_line_of_another_tool() {
        let log = read_log(format!("#comment\r\n\"StartTimestamp\",\"x\"\r\n\r\n{LINE}\r\n").as_bytes()).unwrap();
        assert_eq!(log.len(), 1);
        assert_eq!((log[0].tag.as_deref(), log[0].start_s, log[0].length_s), (Some("A"), 0.127, 1.007));
        // Its own maximum is 2.769 ms; the histogram has two digits.
        let max = log[0].distribution.max_ns().unwrap() as f64 / 1e6;
        assert!((2.7..2.8).contains(&max), "{max}");
    }

    #[test]
    fn what_is_wrong_is_placed() {
        for (text, line, offset, words) in [
            ("", 0, 0, "no interval"),
            ("#only comments\n", 1, 15, "no interval"),
            ("#x\nTag=a", 2, 3, "within its tag"),
            ("1,2,3", 1, 0, "3 columns"),
            ("\n\n1,2,3,?", 3, 2, "base64"),
            ("1,2,3,AAAA", 1, 0, "cookie"),
            ("\u{1},\u{2}", 1, 0, "2 columns"),
        ] {
            let error = read_log(text.as_bytes()).unwrap_err();
            assert_eq!((error.line, error.offset), (line, offset), "{error}");
            assert!(error.to_string().contains(words), "{error}");
        }
        let nan = LINE.replace("0.127", "nan");
        assert!(read_log(nan.as_bytes()).unwrap_err().what.contains("no number"));
        assert!(read_log(b"\xff,1,2,3").unwrap_err().what.contains("not text"));
    }

    proptest! {
        #[test]
        fn nothing_panics(place in 0_usize..200, byte in any::<u8>(), cut in 0_usize..200) {
            let mut bytes = LINE.as_bytes().to_vec();
            if let Some(target) = bytes.get_mut(place) {
                *target = byte;
            }
            let _ = read_log(&bytes);
            let _ = read_log(&bytes[..cut.min(bytes.len())]);
        }
    }
}
