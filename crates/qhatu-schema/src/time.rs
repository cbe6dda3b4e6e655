//! Instants and days. An instant is milliseconds since 1970-01-01T00:00Z; a day is a day in Lima.
//!
//! Peru has kept UTC−5 without daylight saving since April 1994 (IANA tz database, `America/Lima`),
//! so a Lima day is arithmetic and not a look-up. Instants before that date would be up to an hour
//! off; no shop's log reaches so far back.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::clock;
pub use crate::clock::DateOrder;

/// Milliseconds in a day.
pub const DAY_MS: i64 = 86_400_000;

/// What Lima's clocks show less than UTC, in milliseconds.
pub const LIMA_BEHIND_UTC_MS: i64 = 5 * 3_600_000;

/// Why a text is not a point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Neither a date with time, nor a date, nor a number of seconds or milliseconds.
    #[error(
        "{text:?} is not a time: write 2026-11-24T18:30:00-05:00, 2026-11-24 18:30:00 (local) or Unix seconds"
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

/// Where clocks show local time: a fixed distance from UTC.
///
/// Written as `America/Lima` (the default), `UTC`, or an offset such as `+01:00`. Places that change their
/// clocks in summer have no name here: of the shops of Peru none does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone {
    /// What its clocks show more than UTC, in milliseconds.
    ahead_ms: i64,
}

impl Zone {
    /// Lima, five hours behind UTC.
    pub const LIMA: Self = Self { ahead_ms: -LIMA_BEHIND_UTC_MS };
    /// Greenwich.
    pub const UTC: Self = Self { ahead_ms: 0 };

    /// The instant at which this zone's clocks show what UTC's show at `shown`.
    #[must_use]
    pub fn instant(self, shown: Timestamp) -> Timestamp {
        shown.plus_millis(-self.ahead_ms)
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self::LIMA
    }
}

/// Why a text names no zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no time zone: write America/Lima, UTC, or the distance from UTC, such as -05:00")]
pub struct ZoneError {
    /// What stood there, cut to 64 characters.
    pub text: String,
}

impl TryFrom<String> for Zone {
    type Error = ZoneError;
    fn try_from(text: String) -> Result<Self, ZoneError> {
        match text.as_str() {
            "America/Lima" => Ok(Self::LIMA),
            "UTC" | "Z" => Ok(Self::UTC),
            offset => match clock::offset_ms(offset.as_bytes()) {
                Some(ahead_ms) => Ok(Self { ahead_ms }),
                None => Err(ZoneError { text: cut(&text) }),
            },
        }
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> String {
        let minutes = zone.ahead_ms / 60_000;
        match zone {
            Zone::LIMA => "America/Lima".to_owned(),
            Zone::UTC => "UTC".to_owned(),
            _ => {
                let sign = if minutes < 0 { '-' } else { '+' };
                format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
            }
        }
    }
}

/// A point in time, to the millisecond, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(i64);

/// 9999-12-30T22:00:00Z in milliseconds: the last that `jiff` writes, for in no zone is it a day of the year 10000.
const LAST_MS: i64 = 253_402_207_200_000;

impl Timestamp {
    /// 1970-01-01T00:00Z.
    pub const EPOCH: Self = Self(0);
    /// The last instant that can be written, 9999-12-30T22:00:00Z.
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
    /// Lima's (`2026-11-24 18:30:00`, `2026-11-24`), or a number: Unix seconds of nine to eleven
    /// digits, milliseconds up to fourteen, microseconds (as GA4 writes) above.
    ///
    /// # Errors
    /// [`TimeError`] with the text when it is none of these.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        Self::parse_in(text, Zone::LIMA, DateOrder::YearFirst)
    }

    /// As [`Timestamp::parse`], with local times taken as those of `zone`; `order` also lets dates be
    /// written with strokes (`24/11/2026 18:30`).
    ///
    /// # Errors
    /// [`TimeError`] with the text when it is no time.
    pub fn parse_in(text: &str, zone: Zone, order: DateOrder) -> Result<Self, TimeError> {
        let text = text.trim();
        let ms = clock::read(text.as_bytes(), zone.ahead_ms, order)
            .or_else(|| parse_number(text))
            .or_else(|| text.parse::<jiff::Timestamp>().ok().map(|t| t.as_millisecond()))
            .or_else(|| parse_civil(text, zone))
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
        // A year, a day count of a spreadsheet, 20261124: no seconds of this century.
        0..=8 => None,
        9..=11 => {
            let seconds: f64 = text.parse().ok()?;
            #[expect(clippy::cast_possible_truncation, reason = "at most eleven digits of seconds")]
            let ms = (seconds * 1_000.0).round() as i64;
            Some(ms)
        }
        12..=14 => Some(number),
        _ => Some(number / 1_000),
    }
}

fn parse_civil(text: &str, zone: Zone) -> Option<i64> {
    let civil = text.parse::<jiff::civil::DateTime>().ok()?;
    let utc = jiff::tz::Offset::UTC.to_timestamp(civil).ok()?;
    Some(utc.as_millisecond() - zone.ahead_ms)
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

/// Days from 1970 to 9999 and some more.
const DAYS_MOST: i32 = 3_000_000;

/// `2026-11-24`, as in the lake's partitions.
impl fmt::Display for LimaDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A day before the first of 1970, as the first hours of that day in UTC are in Lima, has a name of its own too.
        let days = jiff::Span::new().days(self.0.clamp(-DAYS_MOST, DAYS_MOST));
        write!(f, "{}", jiff::civil::date(1970, 1, 1).saturating_add(days))
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
    fn the_first_hours_of_1970_are_of_the_day_before_in_lima() {
        let (before, after) = (Timestamp::EPOCH, Timestamp::from_millis(LIMA_BEHIND_UTC_MS));
        assert_eq!([before, after].map(|time| time.lima_day().to_string()), ["1969-12-31", "1970-01-01"]);
        assert_eq!(LimaDay::parse("1969-12-31"), Ok(before.lima_day()));
        assert_eq!(Timestamp::MAX.lima_day().to_string(), "9999-12-30");
        assert!(!LimaDay(i32::MIN).to_string().is_empty());
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
    fn local_times_are_those_of_the_zone_and_the_order() {
        let london = Zone::try_from("+01:00".to_owned()).unwrap();
        let read = |text: &str, zone, order| Timestamp::parse_in(text, zone, order).unwrap().to_string();
        assert_eq!(read("2026-06-01 09:00:00", london, DateOrder::YearFirst), "2026-06-01T08:00:00Z");
        assert_eq!(read("2026-06-01T09:00:00Z", london, DateOrder::YearFirst), "2026-06-01T09:00:00Z");
        assert_eq!(read("24/11/2026 18:30", Zone::LIMA, DateOrder::DayFirst), "2026-11-24T23:30:00Z");
        assert_eq!(read("11/24/2026", Zone::UTC, DateOrder::MonthFirst), "2026-11-24T00:00:00Z");
        assert_eq!(read("2019-10-01 00:00:00 UTC", Zone::LIMA, DateOrder::YearFirst), "2019-10-01T00:00:00Z");
        assert!(Timestamp::parse("24/11/2026").is_err(), "which is day and which month is not guessed");
        for zone in [Zone::LIMA, Zone::UTC, london] {
            assert_eq!(Zone::try_from(String::from(zone)), Ok(zone));
        }
        assert!(Zone::try_from("Europe/London".to_owned()).is_err());
    }

    #[test]
    fn the_first_and_the_last_instant_are_written_and_what_lies_beyond_is_refused() {
        for (time, text) in
            [(Timestamp::EPOCH, "1970-01-01T00:00:00Z"), (Timestamp::MAX, "9999-12-30T22:00:00Z")]
        {
            assert_eq!(time.to_string(), text);
            assert_eq!(Timestamp::parse(text), Ok(time));
            assert!(!time.lima_day().to_string().is_empty());
        }
        assert_eq!(Timestamp::from_millis(i64::MAX), Timestamp::MAX);
        assert!(matches!(Timestamp::parse("9999-12-31T23:59:59Z"), Err(TimeError::OutOfRange { .. })));
    }

    #[test]
    fn what_is_not_a_time_is_refused_with_the_text() {
        for text in [
            "",
            "yesterday",
            "2026-13-01",
            "NaN",
            "inf",
            "12.",
            "2026-02-30 10:00:00",
            "-5",
            "2026",
            "45987.77",
        ] {
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
