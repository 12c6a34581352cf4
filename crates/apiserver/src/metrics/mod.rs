//! `/metrics`: what the server does and what it takes, in Prometheus' text form, under upstream's names.
//!
//! What is counted request by request is in [`Requests`] and in [`crate::flowcontrol`]; everything else is asked for when
//! someone wants to see it.

mod clients;
mod envelope;
mod histogram;
mod process;
mod requests;
mod text;

use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use self::clients::Clients;
pub(crate) use self::histogram::Histogram;
pub(crate) use self::requests::{Open, Requests};
pub(crate) use self::text::{Form, Labels, MEDIA_TYPE, Text};
use crate::cache::Cache;
use crate::server::Server;

/// The counters that belong to nothing else.
#[derive(Default)]
pub(crate) struct Metrics {
    /// By request.
    pub(crate) requests: Requests,
    /// Those of this process.
    pub(crate) clients: Clients,
    /// Connections whose TLS handshake failed.
    pub(crate) handshake_errors: AtomicU64,
}

/// Everything, as text.
pub(crate) fn scrape(server: &Server) -> String {
    let mut text = Text::default();
    server.metrics.requests.write(&mut text);
    server.metrics.clients.write(&server.advertised.to_string(), &mut text);
    server.flow_control.write_metrics(&mut text);
    objects(&server.registry.cache, &mut text);
    envelope::write(server.health.kms(), &mut text);
    text.single(
        Form::Counter,
        "apiserver_tls_handshake_errors_total",
        "Number of requests dropped with 'TLS handshake error from' error",
        server.metrics.handshake_errors.load(Ordering::Relaxed),
    );
    build(&server.version, &mut text);
    process::write(&mut text);
    text.finish()
}

fn objects(cache: &Cache, text: &mut Text) {
    let rooms = cache.rooms();
    text.family(Form::Gauge, "apiserver_resource_objects", "Number of stored objects at the time of last check split by kind. In case of a fetching error, the value will be -1.");
    for room in &rooms {
        text.sample(&[("group", room.kind.group), ("resource", room.kind.plural)], room.len());
    }
    text.family(Form::Gauge, "apiserver_storage_objects", "[DEPRECATED, consider using apiserver_resource_objects instead] Number of stored objects at the time of last check split by kind. In case of a fetching error, the value will be -1.");
    for room in &rooms {
        let resource = match room.kind.group {
            "" => room.kind.plural.to_owned(),
            group => format!("{}.{group}", room.kind.plural),
        };
        text.sample(&[("resource", &resource)], room.len());
    }
    text.family(
        Form::Gauge,
        "apiserver_registered_watchers",
        "Number of currently registered watchers for a given resources",
    );
    for room in rooms.iter().filter(|room| room.watchers() > 0) {
        let labels = [("group", room.kind.group), ("kind", room.kind.kind), ("version", room.kind.version)];
        text.sample(&labels, room.watchers());
    }
}

fn build(version: &crate::version::Version, text: &mut Text) {
    text.family(Form::Gauge, "kubernetes_build_info", "A metric with a constant '1' value labeled by major, minor, git version, git commit, git tree state, build date, Go version, and compiler from which Kubernetes was built, and platform on which it is running.");
    let document = version.document();
    let label = |(name, field): (&'static str, &str)| (name, document[field].as_str().unwrap_or_default());
    let labels = [
        ("build_date", "buildDate"),
        ("compiler", "compiler"),
        ("git_commit", "gitCommit"),
        ("git_tree_state", "gitTreeState"),
        ("git_version", "gitVersion"),
        ("go_version", "goVersion"),
        ("major", "major"),
        ("minor", "minor"),
        ("platform", "platform"),
    ];
    text.sample(&labels.map(label), 1);
}
