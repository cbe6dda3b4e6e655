//! Dates with a time as most files write them, read byte by byte: an import reads one per row, and a
//! general parser takes ten times as long. What is written otherwise is left to that parser.

use serde::{Deserialize, Serialize};

/// In which order a date is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum DateOrder {
    /// `2026-11-24`, and nothing else.
    #[default]
    #[serde(rename = "ymd")]
    YearFirst,
    /// `24/11/2026` too, as in Peru.
    #[serde(rename = "dmy")]
    DayFirst,
    /// `11/24/2026` too, as in the United States.
    #[serde(rename = "mdy")]
    MonthFirst,
}

/// Milliseconds since 1970 of a date, alone or with a time and an offset; `None` where it is not written
/// so. `ahead_ms` is what the clocks of a time without offset show more than UTC.
pub(crate) fn read(text: &[u8], ahead_ms: i64, order: DateOrder) -> Option<i64> {
    let (days, rest) = date(text, order)?;
    let Some((b' ' | b'T', rest)) = rest.split_first().map(|(first, rest)| (*first, rest)) else {
        return rest.is_empty().then(|| days * 86_400_000 - ahead_ms);
    };
    let (ms, rest) = time(rest)?;
    let offset = if rest.is_empty() { ahead_ms } else { offset_ms(rest)? };
    Some(days * 86_400_000 + ms - offset)
}

/// `Z`, ` UTC`, ` GMT`, `+01:00`, `-0500`, `-05` in milliseconds.
pub(crate) fn offset_ms(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text {
        b"Z" | b" UTC" | b" GMT" => return Some(0),
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits {
        [_, _] => (number(digits)?, 0),
        [hours @ .., b':', _, _] if hours.len() == 2 => (number(hours)?, number(&digits[3..])?),
        [_, _, _, _] => (number(&digits[..2])?, number(&digits[2..])?),
        _ => return None,
    };
    (hours <= 18 && minutes <= 59).then(|| sign * (hours * 60 + minutes) * 60_000)
}

/// Days since 1970, and what stands behind the date.
fn date(text: &[u8], order: DateOrder) -> Option<(i64, &[u8])> {
    if let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, rest @ ..] = text {
        let year = number(&[*y1, *y2, *y3, *y4])?;
        return Some((days(year, number(&[*m1, *m2])?, number(&[*d1, *d2])?)?, rest));
    }
    if order == DateOrder::YearFirst {
        return None;
    }
    let (first, rest) = leading(text, 2)?;
    let (b'/' | b'-' | b'.', rest) = rest.split_first()? else { return None };
    let (second, rest) = leading(rest, 2)?;
    let (b'/' | b'-' | b'.', rest) = rest.split_first()? else { return None };
    let (year, rest) = (number(rest.get(..4)?)?, &rest[4..]);
    let (month, day) = if order == DateOrder::DayFirst { (second, first) } else { (first, second) };
    Some((days(year, month, day)?, rest))
}

/// Milliseconds since midnight of `18:30`, `18:30:00`, `18:30:00.123456`, and what stands behind.
fn time(text: &[u8]) -> Option<(i64, &[u8])> {
    let (hours, rest) = leading(text, 2)?;
    let [b':', m1, m2, rest @ ..] = rest else { return None };
    let minutes = number(&[*m1, *m2])?;
    let (seconds, rest) = match rest {
        [b':', s1, s2, rest @ ..] => (number(&[*s1, *s2])?, rest),
        rest => (0, rest),
    };
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let ms = ((hours * 60 + minutes) * 60 + seconds) * 1000;
    let [b'.', fraction @ ..] = rest else { return Some((ms, rest)) };
    let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || digits > 9 {
        return None;
    }
    let known = fraction[..digits].iter().map(|byte| i64::from(byte - b'0'));
    let thousandths = known.chain([0, 0]).take(3).fold(0, |sum, digit| sum * 10 + digit);
    Some((ms + thousandths, &fraction[digits..]))
}

/// A number of one to `most` digits, and what stands behind.
fn leading(text: &[u8], most: usize) -> Option<(i64, &[u8])> {
    let digits = text.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
    Some((number(&text[..digits])?, &text[digits..]))
}

fn number(digits: &[u8]) -> Option<i64> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| i64::from(byte - b'0'));
    let mut number = None;
    for byte in digits {
        number = Some(number.unwrap_or(0) * 10 + digit(byte)?);
    }
    number
}

/// Days since 1970 of a date of the years 0 to 9999, where there is such a day. (Counting from March, so
/// that the leap day is the last: Howard Hinnant, "chrono-compatible low-level date algorithms".)
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=longest).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn offsets_are_read_in_each_way_of_writing() {
        for (text, ms) in
            [("Z", 0), (" UTC", 0), ("-05:00", -18_000_000), ("+0130", 5_400_000), ("+01", 3_600_000)]
        {
            assert_eq!(offset_ms(text.as_bytes()), Some(ms), "{text}");
        }
        for text in ["", "5", "+5", "+05:0", "+99:00", "UTC", "[UTC]"] {
            assert_eq!(offset_ms(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_the_general_parser_reads(text in "[0-9]{4}-[0-1][0-9]-[0-3][0-9][ T][0-2][0-9]:[0-6][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-](0[0-9]|1[0-8]):[0-5][0-9])?") {
            let zoned = text.parse::<jiff::Timestamp>().ok().map(|time| time.as_millisecond());
            let civil = text.parse::<jiff::civil::DateTime>().ok();
            let civil = civil.and_then(|civil| jiff::tz::Offset::UTC.to_timestamp(civil).ok());
            let expected = zoned.or(civil.map(|time| time.as_millisecond()));
            if let Some(found) = read(text.as_bytes(), 0, DateOrder::YearFirst).filter(|ms| *ms >= 0) {
                prop_assert_eq!(Some(found), expected);
            }
        }

        #[test]
        fn any_bytes_are_read_or_not(text in ".{0,40}") {
            for order in [DateOrder::YearFirst, DateOrder::DayFirst, DateOrder::MonthFirst] {
                let _ = read(text.as_bytes(), 0, order);
            }
        }
    }
}
