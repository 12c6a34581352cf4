//! A kubelet's `/metrics/resource`, read: the text form of Prometheus, of which five families matter here.

use std::collections::BTreeMap;

/// What one container, or a node, had used when it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counters {
    /// When the kubelet looked, in milliseconds since 1970.
    pub(super) at_ms: i64,
    /// CPU time since the start.
    pub(super) cpu_s: Option<f64>,
    pub(super) memory_bytes: Option<u64>,
    /// When it was started, in seconds since 1970; not known of nodes.
    pub(super) started_s: Option<f64>,
}

/// Namespace and name of a Pod, name of a container.
pub(super) type Name = (String, String, String);

/// All that one kubelet told.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Reading {
    pub(super) node: Counters,
    pub(super) containers: BTreeMap<Name, Counters>,
}

impl Reading {
    /// Reads what a kubelet answered at `now_ms`; lines without a time of their own are as of then. What is not
    /// understood is left out.
    pub(super) fn parse(text: &str, now_ms: i64) -> Self {
        let mut reading = Self::default();
        for sample in text.lines().filter(|line| !line.starts_with('#')).filter_map(Sample::parse) {
            let Some((scope, what)) = sample.name.split_once('_') else { continue };
            let counters = match scope {
                "node" => &mut reading.node,
                "container" => {
                    let name = (sample.label("namespace"), sample.label("pod"), sample.label("container"));
                    reading.containers.entry(name).or_default()
                }
                _ => continue,
            };
            match what {
                "cpu_usage_seconds_total" => counters.cpu_s = Some(sample.value),
                "memory_working_set_bytes" => counters.memory_bytes = Some(sample.value as u64),
                "start_time_seconds" => counters.started_s = Some(sample.value),
                _ => continue,
            }
            if what != "start_time_seconds" {
                counters.at_ms = sample.at_ms.unwrap_or(now_ms);
            }
        }
        reading
    }
}

/// `name{label="value",...} value time`
struct Sample<'t> {
    name: &'t str,
    labels: Vec<(&'t str, String)>,
    value: f64,
    at_ms: Option<i64>,
}

impl<'t> Sample<'t> {
    fn parse(line: &'t str) -> Option<Self> {
        let end = line.find(['{', ' '])?;
        let (name, rest) = line.split_at(end);
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => labels(rest)?,
            None => (Vec::new(), rest),
        };
        let mut words = rest.split_whitespace();
        let value = words.next()?.parse().ok()?;
        Some(Self { name, labels, value, at_ms: words.next().and_then(|time| time.parse().ok()) })
    }

    fn label(&self, name: &str) -> String {
        self.labels.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone()).unwrap_or_default()
    }
}

/// The labels up to `}`, and what follows.
fn labels(mut text: &str) -> Option<(Vec<(&str, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, rest) = text.split_once("=\"")?;
        let (value, rest) = quoted(rest)?;
        labels.push((name.trim(), value));
        text = rest.strip_prefix(',').unwrap_or(rest);
    }
}

/// A label's value up to its closing quote, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match letters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubelets_text_is_read() {
        let text = r#"# HELP container_cpu_usage_seconds_total [STABLE] ...
container_cpu_usage_seconds_total{container="c",namespace="n",pod="a\"b"} 4.710169 1700000000123
container_memory_working_set_bytes{container="c",namespace="n",pod="a\"b"} 1.253376e+06
container_start_time_seconds{container="c",namespace="n",pod="a\"b"} 1.69e+09
container_swap_usage_bytes{container="c",namespace="n",pod="a\"b"} 5 1
pod_cpu_usage_seconds_total{namespace="n",pod="p"} 9 1
node_cpu_usage_seconds_total 12 1700000000500
resource_scrape_error 0
broken{a="b" 1
"#;
        let reading = Reading::parse(text, 7);
        let name = ("n".to_owned(), "a\"b".to_owned(), "c".to_owned());
        let container =
            Counters { at_ms: 7, cpu_s: Some(4.710169), memory_bytes: Some(1_253_376), started_s: Some(1.69e9) };
        assert_eq!(reading.containers, [(name, container)].into());
        assert_eq!(reading.node, Counters { at_ms: 1_700_000_000_500, cpu_s: Some(12.0), ..Counters::default() });
    }
}
