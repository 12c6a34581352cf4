//! A Pod's row: how far it is, in one word.

use jiff::Timestamp;
use serde_json::Value;

use super::pod_ip;
use crate::kind::Column;
use crate::kinds::{cells, read};

/// The columns of [`row`].
pub(super) const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::text("Ready"),
    cells::text("Status"),
    cells::text("Restarts"),
    cells::AGE,
    cells::wide("IP"),
    cells::wide("Node"),
    cells::wide("Nominated Node"),
    cells::wide("Readiness Gates"),
];

/// The cells of [`COLUMNS`].
pub(super) fn row(pod: &Value, now: Timestamp) -> Vec<Value> {
    let progress = Progress::of(pod);
    vec![
        cells::name(pod),
        format!("{}/{}", progress.ready, total_containers(pod)).into(),
        status_word(pod, progress.word).into(),
        progress.restarts.cell(now).into(),
        cells::age(pod, now),
        cells::or_none(pod_ip(pod)),
        cells::or_none(read::text(pod, "/spec/nodeName")),
        cells::or_none(read::text(pod, "/status/nominatedNodeName")),
        readiness_gates(pod),
    ]
}

/// A Pod being deleted says so, unless it is over or its node is lost.
fn status_word(pod: &Value, progress: String) -> String {
    let deleting = pod.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null());
    let over = matches!(read::text(pod, "/status/phase"), "Succeeded" | "Failed");
    match read::text(pod, "/status/reason") {
        "NodeLost" if deleting => "Unknown".to_owned(),
        _ if deleting && !over => "Terminating".to_owned(),
        _ => progress,
    }
}

/// Restarts of containers, and when the last of them was.
#[derive(Clone, Copy, Default)]
struct Restarts {
    count: i64,
    last: Option<Timestamp>,
}

impl Restarts {
    fn add(&mut self, container: &Value) {
        self.count += read::int(container, "/restartCount");
        let ended = read::text(container, "/lastState/terminated/finishedAt").parse().ok();
        self.last = self.last.max(ended);
    }

    fn cell(self, now: Timestamp) -> String {
        match self.last {
            Some(last) if self.count != 0 => {
                format!("{} ({} ago)", self.count, cells::human_duration(now.as_second() - last.as_second()))
            }
            _ => self.count.to_string(),
        }
    }
}

/// What a Pod's container statuses amount to.
struct Progress {
    word: String,
    ready: usize,
    restarts: Restarts,
}

impl Progress {
    fn of(pod: &Value) -> Self {
        let init = Init::of(pod);
        if let Some(word) = init.unfinished
            && !read::condition_is_true(pod, "Initialized")
        {
            return Self { word, ready: init.ready, restarts: init.restarts };
        }
        let mut progress = Self { word: phase_word(pod), ready: init.ready, restarts: init.sidecar_restarts };
        let mut running = false;
        for container in read::list(pod, "/status/containerStatuses").iter().rev() {
            progress.restarts.add(container);
            if let Some(word) = stopped_word(&container["state"]) {
                progress.word = word;
            } else if read::flag(container, "/ready") && container["state"]["running"].is_object() {
                running = true;
                progress.ready += 1;
            }
        }
        if progress.word == "Completed" && running {
            let ready = read::condition_is_true(pod, "Ready");
            progress.word = if ready { "Running" } else { "NotReady" }.to_owned();
        }
        progress
    }
}

fn phase_word(pod: &Value) -> String {
    let scheduled = read::find(pod, "/status/conditions", "type", "PodScheduled");
    if scheduled.is_some_and(|condition| condition["reason"] == "SchedulingGated") {
        return "SchedulingGated".to_owned();
    }
    read::or(read::text(pod, "/status/reason"), read::text(pod, "/status/phase")).to_owned()
}

/// Why a container is not running, if it says so.
fn stopped_word(state: &Value) -> Option<String> {
    match read::text(state, "/waiting/reason") {
        "" if state["terminated"].is_object() => Some(terminated_word(&state["terminated"])),
        "" => None,
        reason => Some(reason.to_owned()),
    }
}

fn terminated_word(terminated: &Value) -> String {
    match (read::text(terminated, "/reason"), read::int(terminated, "/signal")) {
        ("", 0) => format!("ExitCode:{}", read::int(terminated, "/exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

/// What the init containers amount to.
#[derive(Default)]
struct Init {
    /// Where they are, unless all are through (or, as sidecars, started).
    unfinished: Option<String>,
    ready: usize,
    restarts: Restarts,
    sidecar_restarts: Restarts,
}

impl Init {
    fn of(pod: &Value) -> Self {
        let mut init = Self::default();
        for (index, container) in read::list(pod, "/status/initContainerStatuses").iter().enumerate() {
            let sidecar = is_sidecar(pod, read::text(container, "/name"));
            init.restarts.add(container);
            if sidecar {
                init.sidecar_restarts.add(container);
            }
            let state = &container["state"];
            if state["terminated"].is_object() && read::int(state, "/terminated/exitCode") == 0 {
                continue;
            }
            if sidecar && read::flag(container, "/started") {
                init.ready += usize::from(read::flag(container, "/ready"));
                continue;
            }
            init.unfinished = Some(init_word(pod, state, index));
            break;
        }
        init
    }
}

fn init_word(pod: &Value, state: &Value, index: usize) -> String {
    match stopped_word(state) {
        Some(word) if word != "PodInitializing" => format!("Init:{word}"),
        _ => format!("Init:{index}/{}", read::list(pod, "/spec/initContainers").len()),
    }
}

fn is_sidecar(pod: &Value, name: &str) -> bool {
    read::find(pod, "/spec/initContainers", "name", name)
        .is_some_and(|container| container["restartPolicy"] == "Always")
}

fn total_containers(pod: &Value) -> usize {
    let sidecars = read::list(pod, "/spec/initContainers").iter().filter(|c| c["restartPolicy"] == "Always");
    read::list(pod, "/spec/containers").len() + sidecars.count()
}

fn readiness_gates(pod: &Value) -> Value {
    let gates = read::list(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return cells::or_none("");
    }
    let open = gates.iter().filter(|gate| read::condition_is_true(pod, read::text(gate, "/conditionType")));
    format!("{}/{}", open.count(), gates.len()).into()
}
