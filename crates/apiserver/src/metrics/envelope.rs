//! What `/metrics` says of the KMS plugins that seal the store.

use std::sync::Arc;

use sampan_store::sealed::{Figures, Kms, Latencies, Use, Used};

use super::text::{Form, Text};

/// Upstream's label for the server itself; ours has no identity of its own.
const SERVER: (&str, &str) = ("apiserver_id_hash", "");

/// Writes the figures of all plugins; nothing if there are none.
pub(super) fn write(plugins: &[Arc<Kms>], text: &mut Text) {
    if plugins.is_empty() {
        return;
    }
    let plugins: Vec<(&str, Figures)> = plugins.iter().map(|kms| (kms.name(), kms.figures())).collect();
    calls(&plugins, text);
    let (family, help) = (
        "apiserver_envelope_encryption_dek_source_cache_size",
        "Number of records in data encryption key (DEK) source cache. On a restart, this value is an approximation of the number of decrypt RPC calls the server will make to the KMS plugin.",
    );
    text.family(Form::Gauge, family, help);
    for (name, figures) in &plugins {
        text.sample(&[("provider_name", name)], figures.seeds);
    }
    let (family, help) = (
        "apiserver_envelope_encryption_invalid_key_id_from_status_total",
        "Number of times an invalid keyID is returned by the Status RPC call split by error.",
    );
    text.family(Form::Counter, family, help);
    for (name, figures) in &plugins {
        for (error, times) in &figures.invalid_ids {
            text.sample(&[("error", error), ("provider_name", name)], times);
        }
    }
    keys(&plugins, text);
}

fn calls(plugins: &[(&str, Figures)], text: &mut Text) {
    let (family, help) = (
        "apiserver_envelope_encryption_kms_operations_latency_seconds",
        "KMS operation duration with gRPC error code status total.",
    );
    text.family(Form::Histogram, family, help);
    for (name, figures) in plugins {
        for ((method, code), Latencies { counts, sum_s }) in &figures.calls {
            let method = format!("/v2.KeyManagementService/{method}");
            let labels = [("grpc_status_code", *code), ("method_name", &method), ("provider_name", name)];
            let mut count = 0;
            for (bucket, more) in counts.iter().enumerate() {
                count += more;
                let is_last = bucket + 1 == counts.len();
                text.bucket(&labels, if is_last { f64::INFINITY } else { Latencies::bound_s(bucket) }, count);
            }
            text.total(&labels, *sum_s, count);
        }
    }
}

fn keys(plugins: &[(&str, Figures)], text: &mut Text) {
    let now_s = sampan_clock::now().as_millisecond() as f64 / 1000.0;
    let last = |used: &Used| now_s - used.last.elapsed().as_secs_f64();
    let mut family = |form, name, help, kinds: &[Use], value: &dyn Fn(&Used) -> f64| {
        text.family(form, name, help);
        for (provider, figures) in plugins {
            for ((kind, hash), used) in figures.keys.iter().filter(|((kind, _), _)| kinds.contains(kind)) {
                let usual = [SERVER, ("key_id_hash", hash), ("provider_name", provider)];
                let labels: Vec<_> = usual.into_iter().chain(transformation(*kind)).collect();
                text.sample(&labels, value(used));
            }
        }
    };
    let values = [Use::FromStorage, Use::ToStorage];
    family(
        Form::Counter,
        "apiserver_envelope_encryption_key_id_hash_total",
        "Number of times a keyID is used split by transformation type, provider, and apiserver identity.",
        &values,
        &|used| used.times as f64,
    );
    family(
        Form::Gauge,
        "apiserver_envelope_encryption_key_id_hash_last_timestamp_seconds",
        "The last time in seconds when a keyID was used.",
        &values,
        &last,
    );
    family(
        Form::Gauge,
        "apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds",
        "The last time in seconds when a keyID was returned by the Status RPC call.",
        &[Use::Status],
        &last,
    );
}

fn transformation(kind: Use) -> Option<(&'static str, &'static str)> {
    match kind {
        Use::FromStorage => Some(("transformation_type", "from_storage")),
        Use::ToStorage => Some(("transformation_type", "to_storage")),
        Use::Status => None,
    }
}
