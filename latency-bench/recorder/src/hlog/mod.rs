//! HdrHistogram's interval log (`.hlog`): a line of text for each interval and stage, its histogram in V2 form.
//!
//! What is written here is read by the public tools, each stage under its tag. What is read here is any log with V2
//! histograms, of other tools too. Values beyond a recorder's range have no place in the form: they are not in the
//! histogram, the line's maximum is still the true one, and a comment says how many they were.

mod payload;
mod read;
mod write;

pub use read::{HlogError, LogInterval, MAX_LOG_BYTES, read_log};
pub use write::{LoggedInterval, write_log};
