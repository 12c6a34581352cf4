//! Amounts with suffixes (`100m`, `1.5Gi`, `1e3`): read, compared, added and written in upstream's canonical form.
//!
//! An amount is a whole number of nanos in 128 bits, so every operation takes constant time; texts beyond that range
//! are refused. Start at [`Quantity::parse`].

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, Neg, Sub};
use std::str::FromStr;

const NANOS: i128 = 1_000_000_000;

/// Longest text that is looked at.
const MAX_TEXT_BYTES: usize = 128;

/// Amounts in binary notation end here, as they do upstream.
const MAX_BINARY_NANOS: i128 = i64::MAX as i128 * NANOS;

/// Suffixes of powers of ten with their exponents, largest first.
const DECIMAL: [(&str, i32); 10] =
    [("E", 18), ("P", 15), ("T", 12), ("G", 9), ("M", 6), ("k", 3), ("", 0), ("m", -3), ("u", -6), ("n", -9)];

/// Suffixes of powers of 1024, smallest first.
const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// An amount of something, with the notation it was written in.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nanos: i128,
    notation: Notation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notation {
    /// `100m`, `5`, `2k`
    Decimal,
    /// `1e3`
    Exponent,
    /// `64Mi`
    Binary,
}

/// Why a text is no quantity, in upstream's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not number and suffix.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// The number is malformed or out of range.
    #[error("unable to parse numeric part of quantity")]
    Number,
    /// No such suffix.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self { nanos: 0, notation: Notation::Decimal };

    /// Reads a quantity. What is finer than a nano is rounded away from zero.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(Error::Number);
        }
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let number_end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(number_end);
        if number.is_empty() || !suffix.bytes().all(|b| b"eEinumkKMGTP+-0123456789".contains(&b)) {
            return Err(Error::Format);
        }
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') {
            return Err(Error::Format);
        }
        if whole.is_empty() && fraction.is_empty() {
            return Err(Error::Number);
        }
        let unit = Unit::parse(suffix)?;
        let nanos = unit.nanos(whole, fraction).ok_or(Error::Number)?;
        let nanos = if unit.notation == Notation::Binary { nanos.min(MAX_BINARY_NANOS) } else { nanos };
        let below_one = nanos > 0 && nanos < NANOS;
        let notation = if unit.notation == Notation::Binary && below_one { Notation::Decimal } else { unit.notation };
        Ok(Self { nanos: if text.starts_with('-') { -nanos } else { nanos }, notation })
    }

    /// The text that stands for the quantity in an object: as it was written if its digits are as many as they need to
    /// be, whatever else it says (`1.500`, `+1`), else in canonical form.
    pub fn canonical(text: &str) -> Result<String, Error> {
        let quantity = Self::parse(text)?;
        Ok(if is_kept(text) { text.to_owned() } else { quantity.to_string() })
    }

    /// This many whole units.
    pub fn from_units(units: i64) -> Self {
        Self { nanos: i128::from(units) * NANOS, notation: Notation::Decimal }
    }

    /// This many thousandths.
    pub fn from_milli(milli: i64) -> Self {
        Self { nanos: i128::from(milli) * (NANOS / 1000), notation: Notation::Decimal }
    }

    /// This many bytes, written with binary suffixes.
    pub fn from_bytes(bytes: i64) -> Self {
        Self { nanos: i128::from(bytes) * NANOS, notation: Notation::Binary }
    }

    /// Whole units, rounded away from zero.
    pub fn value(self) -> i64 {
        saturate(divide_away_from_zero(self.nanos, NANOS))
    }

    /// Thousandths, rounded away from zero.
    pub fn milli_value(self) -> i64 {
        saturate(divide_away_from_zero(self.nanos, NANOS / 1000))
    }

    /// As floating point, which may lose digits.
    pub fn approximate(self) -> f64 {
        self.nanos as f64 / NANOS as f64
    }

    /// Whether it is nothing.
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Whether it is less than nothing.
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }
}

/// What a suffix multiplies by.
struct Unit {
    base: u32,
    exponent: i32,
    notation: Notation,
}

impl Unit {
    fn parse(suffix: &str) -> Result<Self, Error> {
        if let Some((_, exponent)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
            return Ok(Self { base: 10, exponent: *exponent, notation: Notation::Decimal });
        }
        if let Some(power) = BINARY.iter().position(|name| *name == suffix) {
            return Ok(Self { base: 2, exponent: (power as i32 + 1) * 10, notation: Notation::Binary });
        }
        let exponent = suffix.strip_prefix(['e', 'E']).ok_or(Error::Suffix)?;
        let exponent = exponent.parse().map_err(|_| Error::Suffix)?;
        Ok(Self { base: 10, exponent, notation: Notation::Exponent })
    }

    /// `whole.fraction` of this unit in nanos; `None` when out of range.
    fn nanos(&self, whole: &str, fraction: &str) -> Option<i128> {
        let digits = [whole, fraction].concat();
        let digits = digits.trim_start_matches('0');
        let mut nanos: i128 = if digits.is_empty() { return Some(0) } else { digits.parse().ok()? };
        if self.base == 2 {
            nanos = nanos.checked_mul(1_i128 << self.exponent)?;
        }
        let decimal_exponent = if self.base == 10 { self.exponent } else { 0 };
        let shift = decimal_exponent.checked_add(9)?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
        let factor = 10_i128.checked_pow(shift.unsigned_abs());
        match (shift >= 0, factor) {
            (true, factor) => nanos.checked_mul(factor?),
            (false, Some(factor)) => Some(divide_away_from_zero(nanos, factor)),
            (false, None) => Some(1),
        }
    }
}

fn divide_away_from_zero(value: i128, by: i128) -> i128 {
    let quotient = value / by;
    if value % by == 0 { quotient } else { quotient + value.signum() }
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

/// Whether upstream keeps the text of a quantity that it could read quickly.
fn is_kept(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.trim_start_matches('0');
    let Ok(unit) = Unit::parse(suffix) else { return false };
    let (scale, room) = match unit.notation {
        // Upstream counts in an int64, and binary amounts by their bits.
        Notation::Binary if !fraction.is_empty() => return false,
        Notation::Binary => (0, 14 - unit.exponent * 3 / 10),
        _ => (unit.exponent, 18),
    };
    let digits = whole.len() + fraction.len();
    let scale = scale - i32::try_from(fraction.len()).unwrap_or(i32::MAX);
    let shifted = format!("{whole}{fraction}");
    i32::try_from(digits).is_ok_and(|digits| digits <= room)
        && scale >= -9
        && scale % 3 == 0
        && !shifted.ends_with("000")
        && !whole.is_empty()
        && (unit.notation != Notation::Binary || shifted.parse::<u64>().is_ok_and(|number| number % 1024 != 0))
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let small = self.nanos.unsigned_abs() < 1024 * NANOS.unsigned_abs();
        match self.notation {
            // Binary suffixes are for whole units: a part of one is not rounded away.
            Notation::Binary if !small && self.nanos % NANOS == 0 => self.write_binary(f),
            Notation::Exponent => self.write_exponent(f),
            _ => self.write_decimal(f),
        }
    }
}

impl Quantity {
    fn write_binary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut value = self.nanos / NANOS;
        let mut suffix = "";
        for next in BINARY {
            if value % 1024 != 0 {
                break;
            }
            (value, suffix) = (value / 1024, next);
        }
        write!(f, "{value}{suffix}")
    }

    fn write_decimal(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mantissa, exponent) = self.in_thousands(18);
        let suffix = DECIMAL.iter().find(|(_, e)| *e == exponent).map_or("", |(name, _)| name);
        write!(f, "{mantissa}{suffix}")
    }

    fn write_exponent(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.in_thousands(i32::MAX) {
            (mantissa, 0) => write!(f, "{mantissa}"),
            (mantissa, exponent) => write!(f, "{mantissa}e{exponent}"),
        }
    }

    /// Mantissa and exponent with the largest exponent up to `limit` that is a multiple of three and loses nothing.
    fn in_thousands(&self, limit: i32) -> (i128, i32) {
        if self.nanos == 0 {
            return (0, 0);
        }
        let (mut mantissa, mut exponent) = (self.nanos, -9);
        while mantissa % 1000 == 0 && exponent < limit {
            (mantissa, exponent) = (mantissa / 1000, exponent + 3);
        }
        (mantissa, exponent)
    }
}

impl FromStr for Quantity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Add for Quantity {
    type Output = Self;

    /// The sum, in the notation of the left side unless that is zero.
    fn add(self, other: Self) -> Self {
        let notation = if self.is_zero() { other.notation } else { self.notation };
        Self { nanos: self.nanos.saturating_add(other.nanos), notation }
    }
}

impl Neg for Quantity {
    type Output = Self;

    fn neg(self) -> Self {
        Self { nanos: self.nanos.saturating_neg(), ..self }
    }
}

impl Sub for Quantity {
    type Output = Self;

    /// The difference, in the notation of the left side unless that is zero.
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl std::iter::Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
        items.fold(Self::ZERO, Add::add)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Error, Quantity};

    fn check(input: &str, want: &str) {
        let got = Quantity::parse(input).map_or_else(|error| format!("{error:?}"), |quantity| quantity.to_string());
        assert_eq!(got, want, "{input}");
    }

    #[test]
    fn canonical_form() {
        for (input, want) in [
            ("0", "0"),
            ("0Mi", "0"),
            ("-0", "0"),
            ("1", "1"),
            ("+5", "5"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("5.", "5"),
            ("1000", "1k"),
            ("1000000", "1M"),
            ("2048", "2048"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("0.5Mi", "512Ki"),
            ("100Ki", "100Ki"),
            ("1023Ki", "1023Ki"),
            ("512", "512"),
            ("0.5Ki", "512"),
            ("0.1Gi", "107374182400m"),
            ("-1.1Ki", "-1126400m"),
            ("8Ei", "9223372036854775807"),
            ("9223372036854775808Ki", "9223372036854775807"),
            ("1e3", "1e3"),
            ("1E6", "1e6"),
            ("12e2", "1200"),
            ("1e-3", "1e-3"),
            ("100e-1", "10"),
            ("1n", "1n"),
            ("0.1n", "1n"),
            ("1e-400", "1e-9"),
            ("-1.5", "-1500m"),
            ("4E", "4E"),
            ("1e999999999", "Number"),
            ("1e99999999999", "Suffix"),
            ("", "Format"),
            ("Mi", "Format"),
            ("1.2.3", "Format"),
            ("1 Mi", "Format"),
            ("abc", "Format"),
            ("1mi", "Suffix"),
            ("10MB", "Format"),
            ("1K", "Suffix"),
            ("--1", "Format"),
        ] {
            check(input, want);
        }
    }

    #[test]
    fn arithmetic() {
        let q = |text| Quantity::parse(text).unwrap();
        assert_eq!((q("1") + q("500m")).to_string(), "1500m");
        assert_eq!((q("1Gi") - q("512Mi")).to_string(), "512Mi");
        assert_eq!(Quantity::ZERO + q("1Ki"), q("1024"));
        assert!(q("1Gi") > q("1G") && q("100m") < q("0.2"));
        assert_eq!((q("1500m").value(), q("0.1m").milli_value()), (2, 1));
        assert_eq!(q("100E").value(), i64::MAX);
        assert_eq!(Quantity::parse("x"), Err(Error::Format));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[+-]?[0-9.]{0,40}[a-zA-Z]{0,3}[+-]?[0-9]{0,12}") {
            if let Ok(quantity) = Quantity::parse(&text) {
                let again = Quantity::parse(&quantity.to_string());
                prop_assert_eq!(again.map(|q| q.to_string()), Ok(quantity.to_string()));
            }
        }
    }
}
