//! Columns and cells of tables, as `kubectl get` shows them: ages, label lists, container lists.

use jiff::Timestamp;
use serde_json::Value;

use super::read;
use crate::kind::Column;

/// The first column of nearly every table.
pub(crate) const NAME: Column = Column { name: "Name", kind: "string", format: "name", priority: 0 };
/// The column of [`age`].
pub(crate) const AGE: Column = text("Age");
/// The columns of a kind for which upstream has nothing special; the cells come from [`plain_row`].
pub(crate) const PLAIN: &[Column] = &[NAME, Column { name: "Created At", kind: "date", format: "", priority: 0 }];

/// A column of text.
pub(crate) const fn text(name: &'static str) -> Column {
    Column { name, kind: "string", format: "", priority: 0 }
}

/// A column of numbers.
pub(crate) const fn number(name: &'static str) -> Column {
    Column { name, kind: "integer", format: "", priority: 0 }
}

/// A column of yes and no.
pub(crate) const fn boolean(name: &'static str) -> Column {
    Column { name, kind: "boolean", format: "", priority: 0 }
}

/// A column of text that only `-o wide` shows.
pub(crate) const fn wide(name: &'static str) -> Column {
    Column { name, kind: "string", format: "", priority: 1 }
}

/// The cells of [`PLAIN`].
pub(crate) fn plain_row(object: &Value) -> Vec<Value> {
    vec![name(object), read::text(object, "/metadata/creationTimestamp").into()]
}

/// The object's name.
pub(crate) fn name(object: &Value) -> Value {
    read::text(object, "/metadata/name").into()
}

/// The object's name, and whether one of the annotations makes it the default of its kind.
pub(crate) fn name_or_default(object: &Value, annotations: &[&str]) -> Value {
    let name = read::text(object, "/metadata/name");
    let is_default = annotations.iter().any(|annotation| object["metadata"]["annotations"][annotation] == "true");
    if is_default { format!("{name} (default)").into() } else { name.into() }
}

/// How long the object has existed.
pub(crate) fn age(object: &Value, now: Timestamp) -> Value {
    since(read::text(object, "/metadata/creationTimestamp"), now).into()
}

/// How long ago the RFC 3339 `time` was, `<unknown>` when it is empty.
pub(crate) fn since(time: &str, now: Timestamp) -> String {
    match time.parse::<Timestamp>() {
        Ok(then) => human_duration(now.as_second() - then.as_second()),
        Err(_) => "<unknown>".to_owned(),
    }
}

/// A duration in at most two units, as upstream's `HumanDuration` rounds it: `90s`, `5m30s`, `3h`, `12d`, `2y40d`.
pub(crate) fn human_duration(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if seconds < -1 => "<invalid>".to_owned(),
        () if seconds < 0 => "0s".to_owned(),
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => two_units(minutes, "m", seconds % 60, "s"),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => two_units(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if days < 8 => two_units(days, "d", hours % 24, "h"),
        () if days < 730 => format!("{days}d"),
        () if days < 2920 => two_units(days / 365, "y", days % 365, "d"),
        () => format!("{}y", days / 365),
    }
}

fn two_units(large: i64, large_unit: &str, small: i64, small_unit: &str) -> String {
    if small == 0 { format!("{large}{large_unit}") } else { format!("{large}{large_unit}{small}{small_unit}") }
}

/// Text, or `<none>` when there is none.
pub(crate) fn or_none(text: &str) -> Value {
    read::or(text, "<none>").into()
}

/// Labels as `a=1,b=2`, or `<none>`.
pub(crate) fn labels(object: &Value, pointer: &str) -> Value {
    let Some(labels) = read::map(object, pointer) else { return or_none("") };
    let mut pairs: Vec<_> = labels.iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect();
    pairs.sort();
    or_none(&pairs.join(","))
}

/// A `LabelSelector` as `a=1,b in (2,3)`, or `<none>`.
pub(crate) fn selector(object: &Value, pointer: &str) -> Value {
    let Some(selector) = object.pointer(pointer) else { return or_none("") };
    let equal = read::map(selector, "/matchLabels").into_iter().flatten();
    let equal = equal.map(|(k, v)| (k.as_str(), format!("{k}={}", v.as_str().unwrap_or_default())));
    let expressions = read::list(selector, "/matchExpressions").iter().map(|e| (read::text(e, "/key"), requirement(e)));
    let mut parts: Vec<_> = equal.chain(expressions).collect();
    parts.sort();
    or_none(&parts.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(","))
}

fn requirement(expression: &Value) -> String {
    let key = read::text(expression, "/key");
    let mut values = read::texts(expression, "/values");
    values.sort_unstable();
    let values = values.join(",");
    match read::text(expression, "/operator") {
        "In" => format!("{key} in ({values})"),
        "NotIn" => format!("{key} notin ({values})"),
        "DoesNotExist" => format!("!{key}"),
        _ => key.to_owned(),
    }
}

/// Names and images of a Pod template's containers, each joined by commas.
pub(crate) fn containers_and_images(template: &Value) -> [Value; 2] {
    let containers = read::list(template, "/spec/containers");
    ["/name", "/image"]
        .map(|field| containers.iter().map(|c| read::text(c, field)).collect::<Vec<_>>().join(",").into())
}

/// The first `shown` of the items, joined by commas, and how many more there are: `a,b,c + 2 more...`.
pub(crate) fn with_more(items: &[String], shown: usize) -> String {
    if items.len() <= shown {
        return items.join(",");
    }
    format!("{} + {} more...", items[..shown].join(","), items.len() - shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_upstream_rounds_them() {
        let rows = [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (330, "5m30s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (12_000, "3h20m"),
            (28_800, "8h"),
            (172_800, "2d"),
            (176_400, "2d1h"),
            (691_200, "8d"),
            (63_072_000, "2y"),
            (63_158_400, "2y1d"),
            (252_288_000, "8y"),
        ];
        for (seconds, want) in rows {
            assert_eq!(human_duration(seconds), want, "{seconds} seconds");
        }
    }
}
