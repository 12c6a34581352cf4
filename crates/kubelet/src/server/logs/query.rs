//! The query of a log request, as `PodLogOptions` are written in a URL.

use jiff::{SignedDuration, Timestamp};

use super::line::{Filter, Output};

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LogQuery {
    /// Wait for more until the container ends.
    pub(super) follow: bool,
    /// The log of the instance before.
    pub(super) previous: bool,
    /// Only so many lines from the end.
    pub(super) tail: Option<u64>,
    /// Which lines, and how they look.
    pub(super) filter: Filter,
}

impl LogQuery {
    /// Reads the parameters; the error is for the client. Unknown ones are ignored.
    pub(super) fn parse(parameters: &[(String, String)], now: Timestamp) -> Result<Self, String> {
        let mut query = Self::default();
        for (name, value) in parameters {
            match name.as_str() {
                "follow" => query.follow = flag(name, value)?,
                "previous" => query.previous = flag(name, value)?,
                "timestamps" => query.filter.timestamps = flag(name, value)?,
                "tailLines" => query.tail = Some(number(name, value)?),
                "limitBytes" => query.filter.remaining = Some(positive(name, value)?),
                "sinceSeconds" => query.since(seconds_ago(positive(name, value)?, now)),
                "sinceTime" => {
                    let time = value.parse().map_err(|error| format!("{name}: {value:?} is no time: {error}"))?;
                    query.since(time);
                }
                "stream" => query.filter.only = output(value)?,
                _ => {}
            }
        }
        Ok(query)
    }

    /// The later one counts.
    fn since(&mut self, time: Timestamp) {
        self.filter.since = self.filter.since.max(Some(time));
    }
}

fn flag(name: &str, value: &str) -> Result<bool, String> {
    match value {
        "true" | "1" | "" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(format!("{name}: {value:?} is neither true nor false")),
    }
}

fn number(name: &str, value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("{name}: must be greater than or equal to 0"))
}

fn positive(name: &str, value: &str) -> Result<u64, String> {
    number(name, value).ok().filter(|number| *number > 0).ok_or_else(|| format!("{name}: must be greater than 0"))
}

/// Before all time, if that many seconds never were.
fn seconds_ago(seconds: u64, now: Timestamp) -> Timestamp {
    let ago = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
    now.checked_sub(ago).unwrap_or(Timestamp::MIN)
}

fn output(value: &str) -> Result<Option<Output>, String> {
    match value {
        "Stdout" => Ok(Some(Output::Stdout)),
        "Stderr" => Ok(Some(Output::Stderr)),
        "All" | "" => Ok(None),
        _ => Err(format!("stream: Unsupported value: {value:?}: supported values: \"All\", \"Stderr\", \"Stdout\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<LogQuery, String> {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let pairs: Vec<_> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        LogQuery::parse(&pairs, "2026-01-01T00:01:00Z".parse().expect("time"))
    }

    fn since(query: &str) -> String {
        parse(query).expect(query).filter.since.expect("since").to_string()
    }

    #[test]
    fn queries() {
        assert_eq!(parse(""), Ok(LogQuery::default()));
        let got =
            parse("follow=true&previous=1&tailLines=0&limitBytes=7&timestamps=true&stream=Stderr&x=y").expect("valid");
        assert!(got.follow && got.previous && got.filter.timestamps);
        assert_eq!((got.tail, got.filter.remaining, got.filter.only), (Some(0), Some(7), Some(Output::Stderr)));
        assert_eq!(since("sinceSeconds=10"), "2026-01-01T00:00:50Z");
        assert_eq!(since("sinceTime=2026-01-01T00:00:59Z&sinceSeconds=10"), "2026-01-01T00:00:59Z");
        assert_eq!(since("sinceSeconds=18446744073709551615"), Timestamp::MIN.to_string());
    }

    #[test]
    fn bad_queries() {
        let check = |query: &str, want: &str| assert_eq!(parse(query).expect_err(query), want);
        check("tailLines=-1", "tailLines: must be greater than or equal to 0");
        check("limitBytes=0", "limitBytes: must be greater than 0");
        check("sinceSeconds=x", "sinceSeconds: must be greater than 0");
        check("follow=maybe", "follow: \"maybe\" is neither true nor false");
        check("stream=x", "stream: Unsupported value: \"x\": supported values: \"All\", \"Stderr\", \"Stdout\"");
    }
}
