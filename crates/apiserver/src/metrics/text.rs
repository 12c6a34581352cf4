//! Prometheus' text form.

use std::fmt::{Display, Write as _};

/// The content type of the text form.
pub(crate) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is written so far.
#[derive(Debug, Default)]
pub(crate) struct Text {
    out: String,
    /// The family whose samples follow.
    name: &'static str,
}

/// The type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by bounds.
    Histogram,
}

/// The labels of a sample: name and value.
pub(crate) type Labels<'a> = &'a [(&'static str, &'a str)];

impl Text {
    /// Begins a family.
    pub(crate) fn family(&mut self, form: Form, name: &'static str, help: &str) {
        let form = match form {
            Form::Counter => "counter",
            Form::Gauge => "gauge",
            Form::Histogram => "histogram",
        };
        self.name = name;
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {form}");
    }

    /// A sample of the family.
    pub(crate) fn sample(&mut self, labels: Labels<'_>, value: impl Display) {
        self.line("", labels, None, value);
    }

    /// A family with one sample that has no labels.
    pub(crate) fn single(&mut self, form: Form, name: &'static str, help: &str, value: impl Display) {
        self.family(form, name, help);
        self.sample(&[], value);
    }

    /// A bucket of a histogram: how many were at most `bound`.
    pub(crate) fn bucket(&mut self, labels: Labels<'_>, bound: f64, count: u64) {
        let bound = if bound.is_infinite() { "+Inf".to_owned() } else { bound.to_string() };
        self.line("_bucket", labels, Some(&bound), count);
    }

    /// The sum and number of what a histogram has seen.
    pub(crate) fn total(&mut self, labels: Labels<'_>, sum: f64, count: u64) {
        self.line("_sum", labels, None, sum);
        self.line("_count", labels, None, count);
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, bound: Option<&str>, value: impl Display) {
        let _ = write!(self.out, "{}{suffix}", self.name);
        let mut before = '{';
        for (name, value) in labels.iter().copied().chain(bound.map(|bound| ("le", bound))) {
            let _ = write!(self.out, "{before}{name}=\"");
            escape(&mut self.out, value);
            self.out.push('"');
            before = ',';
        }
        let _ = writeln!(self.out, "{} {value}", if before == ',' { "}" } else { "" });
    }

    /// The whole.
    pub(crate) fn finish(self) -> String {
        self.out
    }
}

fn escape(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Histogram;

    #[test]
    fn samples() {
        let mut text = Text::default();
        text.single(Form::Gauge, "a", "One.", 1.5);
        text.family(Form::Counter, "b_total", "Two.");
        text.sample(&[("x", "q\"\\\n"), ("y", "")], 3);
        text.family(Form::Histogram, "c", "Three.");
        let histogram = Histogram::new(&[0.5, 2.0]);
        [0.5, 0.25, 1.0, 9.0].into_iter().for_each(|seen| histogram.observe(seen));
        histogram.write(&mut text, &[("z", "1")]);
        let want = "# HELP a One.\n# TYPE a gauge\na 1.5\n# HELP b_total Two.\n# TYPE b_total counter\n\
            b_total{x=\"q\\\"\\\\\\n\",y=\"\"} 3\n# HELP c Three.\n# TYPE c histogram\nc_bucket{z=\"1\",le=\"0.5\"} 2\n\
            c_bucket{z=\"1\",le=\"2\"} 3\nc_bucket{z=\"1\",le=\"+Inf\"} 4\nc_sum{z=\"1\"} 10.75\nc_count{z=\"1\"} 4\n";
        assert_eq!(text.finish(), want);
    }
}
