//! The text form of Prometheus.

use std::fmt::Write;

/// A metric's name, type and help.
pub(super) struct Family<'a> {
    pub(super) name: &'a str,
    pub(super) kind: &'static str,
    pub(super) help: &'a str,
}

/// One value with its labels, and when it was read if that is not now.
pub(super) struct Sample<'a> {
    pub(super) labels: Vec<(&'static str, &'a str)>,
    pub(super) value: Option<f64>,
    pub(super) time_ns: Option<i64>,
}

/// The text as it grows.
#[derive(Default)]
pub(super) struct Text(String);

impl Text {
    /// Adds a metric: its head, and a line for each value that is known.
    pub(super) fn family<'a>(&mut self, family: Family<'_>, samples: impl IntoIterator<Item = Sample<'a>>) {
        let Family { name, kind, help } = family;
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for sample in samples {
            let Some(value) = sample.value else { continue };
            let labels: Vec<String> =
                sample.labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
            self.0.push_str(name);
            if !labels.is_empty() {
                let _ = write!(self.0, "{{{}}}", labels.join(","));
            }
            let _ = write!(self.0, " {value}");
            if let Some(time_ns) = sample.time_ns {
                let _ = write!(self.0, " {}", time_ns / 1_000_000);
            }
            self.0.push('\n');
        }
    }

    /// Adds a metric that has one value and no labels.
    pub(super) fn single(&mut self, family: Family<'_>, value: f64) {
        self.family(family, [Sample { labels: Vec::new(), value: Some(value), time_ns: None }]);
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// A label's value as Prometheus wants it.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let mut text = Text::default();
        let sample = |value, time_ns| Sample { labels: vec![("a", "x\"y"), ("b", "")], value, time_ns };
        text.family(
            Family { name: "m", kind: "gauge", help: "Help." },
            [sample(Some(1.5), None), sample(None, None), sample(Some(2.0), Some(7_000_000))],
        );
        text.single(Family { name: "one", kind: "counter", help: "One." }, 3.0);
        let want = "# HELP m Help.\n# TYPE m gauge\nm{a=\"x\\\"y\",b=\"\"} 1.5\nm{a=\"x\\\"y\",b=\"\"} 2 7\n\
                    # HELP one One.\n# TYPE one counter\none 3\n";
        assert_eq!(text.finish(), want);
    }
}
