//! Numbers for people.

/// Nanoseconds with three significant digits, in the unit that keeps them short: `87 ns`, `1.23 µs`, `16.0 ms`, `120 s`.
pub(crate) fn short_ns(ns: f64) -> String {
    let (value, unit) = match ns {
        _ if ns < 999.5 => (ns, "ns"),
        _ if ns < 999.5e3 => (ns / 1e3, "µs"),
        _ if ns < 999.5e6 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    format!("{} {unit}", three_digits(value))
}

/// The same as [`short_ns`] for what may be absent.
pub(crate) fn short_ns_or_dash(ns: Option<u64>) -> String {
    ns.map_or_else(|| "–".to_owned(), |ns| short_ns(ns as f64))
}

/// A number with three significant digits and a suffix for thousands: `950`, `1.20 k`, `8.84 M`.
pub(crate) fn short(number: f64) -> String {
    let size = number.abs();
    let (value, suffix) = match size {
        _ if size < 999.5 => (number, ""),
        _ if size < 999.5e3 => (number / 1e3, " k"),
        _ if size < 999.5e6 => (number / 1e6, " M"),
        _ if size < 999.5e9 => (number / 1e9, " G"),
        _ => (number / 1e12, " T"),
    };
    format!("{}{suffix}", three_digits(value))
}

fn three_digits(value: f64) -> String {
    let size = value.abs();
    if size == size.round() && size < 1_000.0 {
        format!("{value:.0}")
    } else if size < 9.995 {
        format!("{value:.2}")
    } else if size < 99.95 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

/// A number in one of the forms above without zeros at the end of its fraction: `1.5 M` for `1.50 M`.
pub(crate) fn without_zeros(text: &str) -> String {
    let (number, unit) = text.split_once(' ').map_or((text, ""), |(number, _)| (number, &text[number.len()..]));
    let number = if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number };
    format!("{number}{unit}")
}

/// A whole number with commas between groups of three digits.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The power of ten at or below `ns`; that of 1 for 0.
pub(crate) fn decade_ns(ns: u64) -> i32 {
    ns.max(1).ilog10() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanoseconds_are_short() {
        for (ns, text) in [
            (0.0, "0 ns"),
            (87.0, "87 ns"),
            (999.4, "999 ns"),
            (999.6, "1.00 µs"),
            (1_234.0, "1.23 µs"),
            (16_000.0, "16 µs"),
            (16_040.0, "16.0 µs"),
            (2_100_000.0, "2.10 ms"),
            (999_600_000.0, "1.00 s"),
            (120e9, "120 s"),
        ] {
            assert_eq!(short_ns(ns), text);
        }
    }

    #[test]
    fn numbers_are_short_and_grouped() {
        for (number, text) in [(0.0, "0"), (0.123_4, "0.12"), (950.0, "950"), (8_840_063.0, "8.84 M"), (2e12, "2 T")] {
            assert_eq!(short(number), text);
        }
        for (text, shorter) in
            [("1.50 M", "1.5 M"), ("20.0 ns", "20 ns"), ("100", "100"), ("0.20", "0.2"), ("10 ms", "10 ms")]
        {
            assert_eq!(without_zeros(text), shorter);
        }
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!([0, 1, 9, 10, 999, 1_000].map(decade_ns), [0, 0, 0, 1, 2, 3]);
    }
}
