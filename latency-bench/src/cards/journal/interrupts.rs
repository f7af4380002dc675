//! Which core serves the interrupts of devices: a thread that must not be disturbed is put on another.

use std::fs;

/// Interrupts of devices that a core has served since the machine started; 0 where the kernel does not tell.
pub(super) fn of_devices(core: usize) -> u64 {
    fs::read_to_string("/proc/interrupts").map_or(0, |table| count(&table, core))
}

/// Rows of devices are numbered, those of the processors themselves (timers, calls from one to another) have letters.
fn count(table: &str, core: usize) -> u64 {
    let mut lines = table.lines();
    let name = format!("CPU{core}");
    let Some(column) = lines.next().and_then(|head| head.split_whitespace().position(|word| word == name)) else {
        return 0;
    };
    let of_row = |row: &str| {
        let (number, counts) = row.split_once(':')?;
        number.trim().parse::<u32>().ok()?;
        counts.split_whitespace().nth(column)?.parse::<u64>().ok()
    };
    lines.filter_map(of_row).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "            CPU0       CPU3       \n  36:         10   38059142   PCI-MSIX-0000:00:02.0   1-edge   virtio1-req.0\n  \
                         41:      11890          1   PCI-MSIX-0000:00:04.0   1-edge   virtio3-rx\n LOC:        700        800   Local timer interrupts\n ERR:          0\n";

    #[test]
    fn devices_are_counted_and_timers_are_not() {
        assert_eq!(count(TABLE, 0), 11_900);
        assert_eq!(count(TABLE, 3), 38_059_143, "columns go by the core's number");
        assert_eq!(count(TABLE, 1), 0, "a core that is off has no column");
        assert_eq!(count("", 0), 0);
    }
}
