//! Money: an exact amount with its currency. Amounts are whole millionths of the unit, so that
//! prices of three decimals (bulk goods) and their sums stay exact.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Millionths in one unit of currency.
pub const MICROS: i64 = 1_000_000;

/// Why a text is not an amount or a currency.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not a decimal number such as `1234.50`.
    #[error("{text:?} is not an amount: write digits with a point, such as 1234.50")]
    Amount {
        /// What stood there, cut to 64 characters.
        text: String,
    },
    /// Not three letters.
    #[error("{text:?} is not a currency: write its three letters (ISO 4217), such as PEN")]
    Currency {
        /// What stood there, cut to 64 characters.
        text: String,
    },
}

/// A currency by its three ISO 4217 letters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

impl Currency {
    /// Peruvian sol.
    pub const PEN: Self = Self(*b"PEN");
    /// Pound sterling.
    pub const GBP: Self = Self(*b"GBP");
    /// United States dollar.
    pub const USD: Self = Self(*b"USD");

    /// Reads three ASCII letters of either case.
    ///
    /// # Errors
    /// [`MoneyError::Currency`] with the text.
    pub fn parse(text: &str) -> Result<Self, MoneyError> {
        match *text.trim().as_bytes() {
            [a, b, c] if [a, b, c].iter().all(u8::is_ascii_alphabetic) => {
                Ok(Self([a, b, c].map(|letter| letter.to_ascii_uppercase())))
            }
            _ => Err(MoneyError::Currency { text: text.chars().take(64).collect() }),
        }
    }

    /// The three letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("three ASCII letters")
    }
}

impl TryFrom<String> for Currency {
    type Error = MoneyError;
    fn try_from(text: String) -> Result<Self, MoneyError> {
        Self::parse(&text)
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> String {
        currency.as_str().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An exact amount of one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    /// Millionths of the unit; negative for what is given back.
    pub micros: i64,
    /// Which money.
    pub currency: Currency,
}

impl Money {
    /// An amount of `currency` from millionths.
    pub fn from_micros(micros: i64, currency: Currency) -> Self {
        Self { micros, currency }
    }

    /// Reads `1234.5`, `-3`, `0.001`: digits, one point, up to six decimals.
    ///
    /// # Errors
    /// [`MoneyError::Amount`] with the text, also for NaN, exponents and amounts beyond 9 × 10¹².
    pub fn parse(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        match parse_micros(text.trim()) {
            Some(micros) => Ok(Self { micros, currency }),
            None => Err(MoneyError::Amount { text: text.chars().take(64).collect() }),
        }
    }

    /// The amount in units, for models and features (not for sums of money).
    #[expect(clippy::cast_precision_loss, reason = "a feature needs no more than 53 bits")]
    pub fn units(self) -> f64 {
        self.micros as f64 / MICROS as f64
    }
}

fn parse_micros(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let (kept, beyond) = fraction.split_at(fraction.len().min(6));
    if beyond.bytes().any(|b| b != b'0') {
        return None;
    }
    let units: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let kept_digits = kept.bytes().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    let fraction_micros = kept_digits * 10_i64.pow(6 - kept.len() as u32);
    let micros = units.checked_mul(MICROS)?.checked_add(fraction_micros)?;
    Some(if negative { -micros } else { micros })
}

/// `S/ 1,234.50` for soles, `GBP 2.55` for other currencies; at least two decimals.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.micros < 0 { "-" } else { "" };
        let micros = self.micros.unsigned_abs();
        let (units, fraction) = (micros / 1_000_000, micros % 1_000_000);
        let decimals = format!("{fraction:06}");
        let decimals = decimals.trim_end_matches('0');
        let symbol = match self.currency {
            Currency::PEN => "S/",
            ref other => other.as_str(),
        };
        write!(f, "{sign}{symbol} {}.{decimals:0<2}", with_thousands(units))
    }
}

fn with_thousands(units: u64) -> String {
    let digits = units.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn soles_are_written_as_in_peru() {
        let price = Money::parse("1234.5", Currency::PEN).unwrap();
        assert_eq!(price.to_string(), "S/ 1,234.50");
        assert_eq!(Money::parse("0.001", Currency::GBP).unwrap().to_string(), "GBP 0.001");
        assert_eq!(Money::parse("-11062.06", Currency::GBP).unwrap().to_string(), "-GBP 11,062.06");
    }

    #[test]
    fn what_is_not_an_amount_is_refused() {
        for text in ["", ".", "-", "NaN", "inf", "1e5", "1,5", "1.0000001", "99999999999999"] {
            assert!(Money::parse(text, Currency::PEN).is_err(), "{text}");
        }
        assert!(Currency::parse("SOLES").is_err());
        assert_eq!(Currency::parse("pen"), Ok(Currency::PEN));
    }

    proptest! {
        #[test]
        fn amounts_are_exact(micros in -9_000_000_000_000_000_i64..9_000_000_000_000_000) {
            let sign = if micros < 0 { "-" } else { "" };
            let text = format!("{sign}{}.{:06}", micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
            prop_assert_eq!(Money::parse(&text, Currency::PEN).unwrap().micros, micros);
        }
    }
}
