//! Schedules of CronJobs: five fields, or a word like `@daily`; faults are worded as the library words them that
//! upstream uses.

/// A field: the numbers it may have, and names for them.
struct Field {
    min: u64,
    max: u64,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { min: 0, max: 59, names: &[] },
    Field { min: 0, max: 23, names: &[] },
    Field { min: 1, max: 31, names: &[] },
    Field {
        min: 1,
        max: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    Field { min: 0, max: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];

const WORDS: &[&str] = &["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];

/// What is wrong with a schedule, if anything is.
pub(crate) fn faults(schedule: &str) -> Option<String> {
    check(schedule).err()
}

fn check(schedule: &str) -> Result<(), String> {
    if schedule.is_empty() {
        return Err("empty spec string".to_owned());
    }
    let zoned = schedule.starts_with("TZ=") || schedule.starts_with("CRON_TZ=");
    let schedule = if zoned { schedule.split_once(' ').map_or("", |(_, rest)| rest.trim()) } else { schedule };
    if schedule.starts_with('@') {
        return word(schedule);
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    for (text, field) in fields.iter().zip(&FIELDS) {
        text.split(',').filter(|part| !part.is_empty()).try_for_each(|part| range(part, field))?;
    }
    Ok(())
}

fn word(schedule: &str) -> Result<(), String> {
    if WORDS.contains(&schedule) {
        return Ok(());
    }
    match schedule.strip_prefix("@every ") {
        Some(duration) if is_duration(duration) => Ok(()),
        Some(duration) => Err(format!("failed to parse duration {schedule}: time: invalid duration \"{duration}\"")),
        None => Err(format!("unrecognized descriptor: {schedule}")),
    }
}

/// Whether this is a duration as Go writes them: `1h30m`.
fn is_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    let mut parts = 0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let unit = rest[number..].find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len() - number);
        let digits = &rest[..number];
        let known = matches!(&rest[number..number + unit], "ns" | "us" | "µs" | "μs" | "ms" | "s" | "m" | "h");
        if !digits.bytes().any(|b| b.is_ascii_digit()) || digits.matches('.').count() > 1 || !known {
            return false;
        }
        rest = &rest[number + unit..];
        parts += 1;
    }
    parts > 0
}

/// `number`, `number-number` or `*`, each with a `/step`.
fn range(text: &str, field: &Field) -> Result<(), String> {
    let parts: Vec<&str> = text.split('/').collect();
    let limits: Vec<&str> = parts[0].split('-').collect();
    let single = limits.len() == 1;
    let (start, mut end) = match limits[..] {
        ["*" | "?", ..] => (field.min, field.max),
        [only] => number_or_name(only, field).map(|number| (number, number))?,
        [first, last] => (number_or_name(first, field)?, number_or_name(last, field)?),
        _ => return Err(format!("too many hyphens: {text}")),
    };
    let step = match parts[..] {
        [_] => 1,
        [_, step] => {
            if single {
                end = field.max;
            }
            number(step)?
        }
        _ => return Err(format!("too many slashes: {text}")),
    };
    let Field { min, max, .. } = field;
    match () {
        () if start < *min => Err(format!("beginning of range ({start}) below minimum ({min}): {text}")),
        () if end > *max => Err(format!("end of range ({end}) above maximum ({max}): {text}")),
        () if start > end => Err(format!("beginning of range ({start}) beyond end of range ({end}): {text}")),
        () if step == 0 => Err(format!("step of range should be a positive number: {text}")),
        () => Ok(()),
    }
}

fn number_or_name(text: &str, field: &Field) -> Result<u64, String> {
    match field.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
        Some(position) => Ok(field.min + position as u64),
        None => number(text),
    }
}

fn number(text: &str) -> Result<u64, String> {
    match text.parse::<i64>() {
        Err(_) => Err(format!("failed to parse int from {text}: strconv.Atoi: parsing \"{text}\": invalid syntax")),
        Ok(number) => u64::try_from(number).map_err(|_| format!("negative number ({number}) not allowed: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::faults;

    #[test]
    fn good_schedules() {
        for schedule in
            ["* * * * *", "*/15 0-5 1,15 JAN-mar mon", "@daily", "@every 1h30m", "5/10 * ? * *", "TZ=UTC 0 0 * * *"]
        {
            assert_eq!(faults(schedule), None, "{schedule}");
        }
    }

    #[test]
    fn faults_are_worded_as_upstreams() {
        for (schedule, want) in [
            ("", "empty spec string"),
            ("a b", "expected exactly 5 fields, found 2: [a b]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("5-3 * * * *", "beginning of range (5) beyond end of range (3): 5-3"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("1/2/3 * * * *", "too many slashes: 1/2/3"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"),
            ("@never", "unrecognized descriptor: @never"),
            ("@every x", "failed to parse duration @every x: time: invalid duration \"x\""),
        ] {
            assert_eq!(faults(schedule).as_deref(), Some(want), "{schedule}");
        }
    }
}
