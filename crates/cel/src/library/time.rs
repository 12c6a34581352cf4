//! Durations and timestamps: reading them, and their parts.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

use super::{Library, Ran};
use crate::value::Value;

/// The parts of timestamps and durations.
pub(crate) static LIBRARY: Library = Library {
    declarations: "
    getFullYear timestamp_to_year timestamp.() -> int
    getFullYear timestamp_to_year_with_tz timestamp.(string) -> int
    getMonth timestamp_to_month timestamp.() -> int
    getMonth timestamp_to_month_with_tz timestamp.(string) -> int
    getDayOfYear timestamp_to_day_of_year timestamp.() -> int
    getDayOfYear timestamp_to_day_of_year_with_tz timestamp.(string) -> int
    getDayOfMonth timestamp_to_day_of_month timestamp.() -> int
    getDayOfMonth timestamp_to_day_of_month_with_tz timestamp.(string) -> int
    getDate timestamp_to_day_of_month_1_based timestamp.() -> int
    getDate timestamp_to_day_of_month_1_based_with_tz timestamp.(string) -> int
    getDayOfWeek timestamp_to_day_of_week timestamp.() -> int
    getDayOfWeek timestamp_to_day_of_week_with_tz timestamp.(string) -> int
    getHours timestamp_to_hours timestamp.() -> int
    getHours timestamp_to_hours_with_tz timestamp.(string) -> int
    getHours duration_to_hours duration.() -> int
    getMinutes timestamp_to_minutes timestamp.() -> int
    getMinutes timestamp_to_minutes_with_tz timestamp.(string) -> int
    getMinutes duration_to_minutes duration.() -> int
    getSeconds timestamp_to_seconds timestamp.() -> int
    getSeconds timestamp_to_seconds_tz timestamp.(string) -> int
    getSeconds duration_to_seconds duration.() -> int
    getMilliseconds timestamp_to_milliseconds timestamp.() -> int
    getMilliseconds timestamp_to_milliseconds_with_tz timestamp.(string) -> int
    getMilliseconds duration_to_milliseconds duration.() -> int
",
    run,
};

const NANOS: i64 = 1_000_000_000;

/// Units of durations in nanoseconds, longer names before their prefixes.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("\u{b5}s", 1e3),
    ("\u{3bc}s", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 6e10),
    ("h", 3.6e12),
];

fn run<'a>(function: &str, args: &[Value<'a>]) -> Ran<'a> {
    match args {
        [Value::Duration(nanos)] => {
            let unit = match function {
                "getHours" => 3600 * NANOS,
                "getMinutes" => 60 * NANOS,
                "getSeconds" => NANOS,
                "getMilliseconds" => NANOS / 1000,
                _ => return None,
            };
            Some(Ok(Value::Int(nanos / unit)))
        }
        [Value::Timestamp(moment)] => part(function, *moment, TimeZone::UTC).map(|part| Ok(Value::Int(part))),
        [Value::Timestamp(moment), Value::String(zone)] => {
            let Some(zone) = self::zone(zone) else { return Some(Err(format!("unknown time zone {}", &**zone))) };
            part(function, *moment, zone).map(|part| Ok(Value::Int(part)))
        }
        _ => None,
    }
}

fn part(function: &str, moment: Timestamp, zone: TimeZone) -> Option<i64> {
    let local = moment.to_zoned(zone);
    Some(match function {
        "getFullYear" => local.year().into(),
        "getMonth" => i64::from(local.month()) - 1,
        "getDayOfYear" => i64::from(local.day_of_year()) - 1,
        "getDayOfMonth" => i64::from(local.day()) - 1,
        "getDate" => local.day().into(),
        "getDayOfWeek" => local.weekday().to_sunday_zero_offset().into(),
        "getHours" => local.hour().into(),
        "getMinutes" => local.minute().into(),
        "getSeconds" => local.second().into(),
        "getMilliseconds" => local.millisecond().into(),
        _ => return None,
    })
}

/// `Europe/Berlin`, `+01:00`, `-02:30`
fn zone(name: &str) -> Option<TimeZone> {
    let Some((hours, minutes)) = name.split_once(':') else { return TimeZone::get(name).ok() };
    let sign = if hours.starts_with('-') { -1 } else { 1 };
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    if hours.abs() > 23 || !(0..60).contains(&minutes) {
        return None;
    }
    Offset::from_seconds(hours * 3600 + sign * minutes * 60).ok().map(TimeZone::fixed)
}

pub(super) fn to_duration<'a>(value: &Value<'a>) -> Ran<'a> {
    match value {
        Value::Duration(_) => Some(Ok(value.clone())),
        Value::String(text) => Some(
            parse_duration(text)
                .map(Value::Duration)
                .ok_or_else(|| "type conversion error from 'string' to 'google.protobuf.Duration'".to_owned()),
        ),
        _ => None,
    }
}

pub(super) fn to_timestamp<'a>(value: &Value<'a>) -> Ran<'a> {
    let cannot = |from: &str| format!("type conversion error from '{from}' to 'google.protobuf.Timestamp'");
    match value {
        Value::Timestamp(_) => Some(Ok(value.clone())),
        Value::Int(seconds) => {
            Some(Timestamp::from_second(*seconds).map(Value::Timestamp).map_err(|_| "timestamp overflow".to_owned()))
        }
        Value::String(text) => Some(parse_timestamp(text).map(Value::Timestamp).ok_or_else(|| cannot("string"))),
        _ => None,
    }
}

/// `1h30m`, `-1.5s`, `0`: as Go reads durations.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let (unit, after) = UNITS.iter().find_map(|(name, unit)| Some((*unit, rest[end..].strip_prefix(name)?)))?;
        total += number * unit;
        rest = after;
    }
    (total < i64::MAX as f64).then_some((sign * total) as i64)
}

/// RFC 3339 between the years 1 and 9999.
pub(crate) fn parse_timestamp(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    if bytes.len() < 20 || !text.is_ascii() || bytes[4] != b'-' || !matches!(bytes[10], b'T' | b't') {
        return None;
    }
    text.parse().ok()
}

/// `2006-01-02`
pub(crate) fn parse_date(text: &str) -> Option<Timestamp> {
    let date: jiff::civil::Date = text.parse().ok().filter(|_| text.len() == 10)?;
    date.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}
