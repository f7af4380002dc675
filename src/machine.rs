//! What an engine ran on: every report carries it, since no figure means anything without.

use std::fs;

/// Model name of the processor as the kernel gives it, or the architecture.
pub fn cpu_model() -> String {
    let from_kernel = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    from_kernel.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// Bytes of this process's memory that stand on huge pages now; 0 where the kernel does not tell.
pub fn huge_page_bytes() -> u64 {
    let Ok(text) = fs::read_to_string("/proc/self/smaps_rollup") else { return 0 };
    let kilobytes = text
        .lines()
        .find_map(|line| line.strip_prefix("AnonHugePages:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|number| number.trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// How long the calling thread has been ready to run while another one had its core, by the kernel's account since the thread
/// began; `None` where the kernel keeps none. Reads a file: for before and after a loop.
pub(crate) fn run_delay_ns() -> Option<u64> {
    fs::read_to_string("/proc/thread-self/schedstat").ok()?.split_whitespace().nth(1)?.parse().ok()
}
