//! Instants and days. An instant is milliseconds since 1970-01-01T00:00Z; a day is a day in Lima.
//!
//! Peru has kept UTC−5 without daylight saving since April 1994 (IANA tz database, `America/Lima`),
//! so a Lima day is arithmetic and not a look-up. Instants before that date would be up to an hour
//! off; no shop's log reaches so far back.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds in a day.
pub const DAY_MS: i64 = 86_400_000;

/// What Lima's clocks show less than UTC, in milliseconds.
pub const LIMA_BEHIND_UTC_MS: i64 = 5 * 3_600_000;

/// Why a text is not a point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Neither a date with time, nor a date, nor a number of seconds or milliseconds.
    #[error(
        "{text:?} is not a time: write 2026-11-24T18:30:00-05:00, 2026-11-24 18:30:00 (Lima) or Unix seconds"
    )]
    Unreadable {
        /// What stood there, cut to 64 characters.
        text: String,
    },
    /// Readable, but outside the years 1970 to 9999.
    #[error("{text:?} lies outside the years 1970 to 9999")]
    OutOfRange {
        /// What stood there, cut to 64 characters.
        text: String,
    },
}

/// A point in time, to the millisecond, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(i64);

/// 9999-12-31T23:59:59.999Z in milliseconds.
const LAST_MS: i64 = 253_402_300_799_999;

impl Timestamp {
    /// 1970-01-01T00:00Z.
    pub const EPOCH: Self = Self(0);
    /// The last instant that can be written, 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = Self(LAST_MS);

    /// From milliseconds since the epoch, kept within the years 1970 to 9999.
    pub fn from_millis(ms: i64) -> Self {
        Self(ms.clamp(0, LAST_MS))
    }

    /// Milliseconds since the epoch.
    pub fn millis(self) -> i64 {
        self.0
    }

    /// The present, by this machine's clock.
    pub fn now() -> Self {
        Self::from_millis(jiff::Timestamp::now().as_millisecond())
    }

    /// The day in Lima on which this instant falls.
    pub fn lima_day(self) -> LimaDay {
        let days = (self.0 - LIMA_BEHIND_UTC_MS).div_euclid(DAY_MS);
        LimaDay(i32::try_from(days).expect("the years 1970 to 9999 fit in 32 bits of days"))
    }

    /// `self` moved by `ms` milliseconds, kept within the years 1970 to 9999.
    #[must_use]
    pub fn plus_millis(self, ms: i64) -> Self {
        Self::from_millis(self.0.saturating_add(ms))
    }

    /// Reads RFC 3339 (`2026-11-24T18:30:00-05:00`), a local time without offset, which is taken as
    /// Lima's (`2026-11-24 18:30:00`, `2026-11-24`), or a number: Unix seconds up to eleven digits,
    /// milliseconds up to fourteen, microseconds (as GA4 writes) above.
    ///
    /// # Errors
    /// [`TimeError`] with the text when it is none of these.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        let text = text.trim();
        let ms = parse_number(text)
            .or_else(|| text.parse::<jiff::Timestamp>().ok().map(|t| t.as_millisecond()))
            .or_else(|| parse_lima_civil(text))
            .ok_or_else(|| TimeError::Unreadable { text: cut(text) })?;
        match ms {
            0..=LAST_MS => Ok(Self(ms)),
            _ => Err(TimeError::OutOfRange { text: cut(text) }),
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}

fn parse_number(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = whole.trim_start_matches('-').len();
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: i64 = whole.parse().ok()?;
    match digits {
        0..=11 => {
            let seconds: f64 = text.parse().ok()?;
            #[expect(clippy::cast_possible_truncation, reason = "at most eleven digits of seconds")]
            let ms = (seconds * 1_000.0).round() as i64;
            Some(ms)
        }
        12..=14 => Some(number),
        _ => Some(number / 1_000),
    }
}

fn parse_lima_civil(text: &str) -> Option<i64> {
    let civil = text.parse::<jiff::civil::DateTime>().ok()?;
    let utc = jiff::tz::Offset::UTC.to_timestamp(civil).ok()?;
    Some(utc.as_millisecond() + LIMA_BEHIND_UTC_MS)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let utc = jiff::Timestamp::from_millisecond(self.0).expect("kept within 1970 to 9999");
        write!(f, "{utc}")
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrNumber;
        impl serde::de::Visitor<'_> for TextOrNumber {
            type Value = Timestamp;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time as RFC 3339 text or as a Unix number")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Timestamp, E> {
                Timestamp::parse(text).map_err(E::custom)
            }
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Timestamp, E> {
                Timestamp::parse(&number.to_string()).map_err(E::custom)
            }
            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Timestamp, E> {
                Timestamp::parse(&number.to_string()).map_err(E::custom)
            }
            fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Timestamp, E> {
                Timestamp::parse(&number.to_string()).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(TextOrNumber)
    }
}

/// A calendar day in Lima, counted from 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LimaDay(pub i32);

impl LimaDay {
    /// The first instant of the day: midnight in Lima, five in the morning UTC.
    pub fn start(self) -> Timestamp {
        Timestamp::from_millis(i64::from(self.0) * DAY_MS + LIMA_BEHIND_UTC_MS)
    }

    /// `self` moved by `days`.
    #[must_use]
    pub fn plus(self, days: i32) -> Self {
        Self(self.0.saturating_add(days))
    }

    /// Reads `2026-11-24`.
    ///
    /// # Errors
    /// [`TimeError`] with the text when it is not a date.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        let date: jiff::civil::Date =
            text.trim().parse().map_err(|_| TimeError::Unreadable { text: cut(text) })?;
        let days = date
            .since(jiff::civil::date(1970, 1, 1))
            .map_err(|_| TimeError::OutOfRange { text: cut(text) })?;
        Ok(Self(days.get_days()))
    }
}

/// `2026-11-24`, as in the lake's partitions.
impl fmt::Display for LimaDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let midnight = Timestamp::from_millis(i64::from(self.0) * DAY_MS);
        let text = midnight.to_string();
        f.write_str(&text[..10])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_lima_day_begins_at_five_utc() {
        let before = Timestamp::parse("2026-11-24T04:59:59.999Z").unwrap();
        let after = Timestamp::parse("2026-11-24T05:00:00Z").unwrap();
        assert_eq!(before.lima_day().to_string(), "2026-11-23");
        assert_eq!(after.lima_day().to_string(), "2026-11-24");
        assert_eq!(after.lima_day().start(), after);
    }

    #[test]
    fn every_way_of_writing_one_instant_is_the_same_instant() {
        let expected = Timestamp::from_millis(1_291_209_960_000);
        for text in [
            "2010-12-01T13:26:00Z",
            "2010-12-01T08:26:00-05:00",
            "2010-12-01 08:26:00",
            "1291209960",
            "1291209960.0",
            "1291209960000",
            "1291209960000000",
        ] {
            assert_eq!(Timestamp::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_time_is_refused_with_the_text() {
        for text in ["", "yesterday", "2026-13-01", "NaN", "inf", "12.", "2026-02-30 10:00:00", "-5"] {
            let error = Timestamp::parse(text).unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn a_date_alone_is_the_start_of_the_lima_day() {
        let day = LimaDay::parse("2011-11-12").unwrap();
        assert_eq!(Timestamp::parse("2011-11-12").unwrap(), day.start());
        assert_eq!(day.to_string(), "2011-11-12");
        assert_eq!(day.plus(28).to_string(), "2011-12-10");
    }

    proptest! {
        #[test]
        fn display_reads_back(ms in 0..LAST_MS) {
            let time = Timestamp::from_millis(ms);
            prop_assert_eq!(Timestamp::parse(&time.to_string()), Ok(time));
            let day = time.lima_day();
            prop_assert!(day.start() <= time || ms < LIMA_BEHIND_UTC_MS);
            prop_assert!(time < day.plus(1).start() || time == Timestamp::MAX);
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = Timestamp::parse(&text);
            let _ = LimaDay::parse(&text);
        }
    }
}
