//! Volumes of a Pod: exactly one source each.

use std::collections::{HashMap, HashSet};

use super::env::{FILE_FIELDS, field_ref, resource_ref};
use crate::validation::claims::claim_template;
use crate::validation::cursor::Cursor;
use crate::validation::volume_sources::{self, no_backsteps};
use crate::validation::{labels, names, signer_name};

/// The good volumes of a Pod, by name.
pub(super) type Volumes<'a> = HashMap<&'a str, Cursor<'a>>;

const MODE_FAULT: &str = "must be a number between 0 and 0777 (octal), both inclusive";
const MODES: std::ops::RangeInclusive<i64> = 0..=0o777;
/// The bounds of a projected token's life.
const MIN_TOKEN_SECONDS: i64 = 600;
const MAX_TOKEN_SECONDS: i64 = 1 << 32;

/// `volumes` of a spec; answers with those that are in order.
pub(super) fn volumes<'a>(volumes: &Cursor<'a>) -> Volumes<'a> {
    let mut good = Volumes::new();
    for volume in volumes.items() {
        let before = volume.fault_count();
        source(&volume);
        let name = volume.get("name");
        name.must_follow(names::label);
        if good.contains_key(name.text()) {
            name.duplicate();
        }
        if volume.fault_count() == before {
            good.insert(name.text(), volume);
        }
    }
    good
}

fn source(volume: &Cursor<'_>) {
    let mut sources = volume.fields().filter(|(name, source)| *name != "name" && source.is_set());
    match sources.next() {
        Some((kind, source)) => source_of_kind(kind, &source),
        None => volume.required("must specify a volume type"),
    }
    for (_, more) in sources {
        more.forbidden("may not specify more than 1 volume type");
    }
}

fn source_of_kind(kind: &str, source: &Cursor<'_>) {
    match kind {
        "emptyDir" => empty_dir(source),
        "secret" => {
            source.get("secretName").must();
            files(source);
        }
        "configMap" => {
            source.get("name").must();
            files(source);
        }
        "downwardAPI" => {
            mode(&source.get("defaultMode"));
            for file in source.get("items").items() {
                downward_file(&file);
            }
        }
        "projected" => projected(source),
        "persistentVolumeClaim" => {
            source.get("claimName").must();
        }
        "ephemeral" => {
            let template = source.get("volumeClaimTemplate");
            if template.is_set() {
                claim_template(&template);
            } else {
                template.required("");
            }
        }
        "image" => {
            source.get("reference").must();
            source.get("pullPolicy").must_be_one_of(&["Always", "IfNotPresent", "Never"]);
        }
        _ => volume_sources::of_kind(kind, source),
    }
}

fn empty_dir(source: &Cursor<'_>) {
    let limit = source.get("sizeLimit");
    let bad = match super::quantity(&limit) {
        Some(quantity) => quantity.is_negative(),
        None => limit.is_set(),
    };
    if bad {
        limit.forbidden("SizeLimit field must be a valid resource quantity");
    }
}

/// The mode and the chosen keys of a Secret or ConfigMap.
fn files(source: &Cursor<'_>) {
    mode(&source.get("defaultMode"));
    for item in source.get("items").items() {
        key_to_path(&item);
    }
}

fn key_to_path(item: &Cursor<'_>) {
    item.get("key").must();
    let path = item.get("path");
    path.must();
    inside(&path);
    mode(&item.get("mode"));
}

fn downward_file(file: &Cursor<'_>) {
    let path = file.get("path");
    path.must();
    inside(&path);
    let (field, resource) = (file.get("fieldRef"), file.get("resourceFieldRef"));
    match (field.is_set(), resource.is_set()) {
        (true, both) => {
            field_ref(&field, FILE_FIELDS);
            if both {
                file.invalid_as("resource", "fieldRef and resourceFieldRef can not be specified simultaneously");
            }
        }
        (false, true) => {
            resource.get("containerName").must();
            resource_ref(&resource);
        }
        (false, false) => file.required("one of fieldRef and resourceFieldRef is required"),
    }
    mode(&file.get("mode"));
}

fn projected(source: &Cursor<'_>) {
    mode(&source.get("defaultMode"));
    let mut paths = HashSet::new();
    for part in source.get("sources").items() {
        let mut kinds = part.fields().filter(|(_, source)| source.is_set());
        if let Some((kind, projection)) = kinds.next() {
            projection_of_kind(kind, &projection);
            for path in projected_paths(kind, &projection) {
                if !paths.insert(path) {
                    source.invalid_as(path, "conflicting duplicate paths");
                }
            }
        }
        if kinds.next().is_some() {
            part.forbidden("may not specify more than 1 volume type");
        }
    }
}

fn projection_of_kind(kind: &str, projection: &Cursor<'_>) {
    match kind {
        "secret" | "configMap" => {
            projection.get("name").must();
            for item in projection.get("items").items() {
                key_to_path(&item);
            }
        }
        "downwardAPI" => {
            for file in projection.get("items").items() {
                downward_file(&file);
            }
        }
        "serviceAccountToken" => token(projection),
        "clusterTrustBundle" => trust_bundle(projection),
        "podCertificate" => certificate(projection),
        _ => {}
    }
}

fn projected_paths<'a>(kind: &str, projection: &Cursor<'a>) -> Vec<&'a str> {
    let paths = match kind {
        "secret" | "configMap" | "downwardAPI" => {
            projection.get("items").items().map(|item| item.get("path").text()).collect()
        }
        "clusterTrustBundle" => vec![projection.get("path").text()],
        "podCertificate" => CERTIFICATE_PATHS.iter().map(|path| projection.get(path).text()).collect(),
        _ => Vec::new(),
    };
    paths.into_iter().filter(|path| !path.is_empty()).collect()
}

fn token(token: &Cursor<'_>) {
    let seconds = token.get("expirationSeconds");
    match seconds.int() {
        Some(..MIN_TOKEN_SECONDS) => seconds.invalid("may not specify a duration less than 10 minutes"),
        Some(number) if number > MAX_TOKEN_SECONDS => {
            seconds.invalid("may not specify a duration larger than 2^32 seconds");
        }
        _ => {}
    }
    let path = token.get("path");
    if path.must() {
        inside(&path);
    }
}

fn trust_bundle(bundle: &Cursor<'_>) {
    match (bundle.get("name").is_set(), bundle.get("signerName").is_set()) {
        (true, true) => bundle.invalid("only one of name and signerName may be used"),
        (false, false) => bundle.required("either name or signerName must be specified"),
        _ => labels::selector(&bundle.get("labelSelector")),
    }
    let path = bundle.get("path");
    path.must();
    inside(&path);
}

/// The files of a Pod's key and certificate.
const CERTIFICATE_PATHS: [&str; 3] = ["credentialBundlePath", "keyPath", "certificateChainPath"];
/// The keys there are.
const KEY_TYPES: &[&str] = &["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"];
/// How long a certificate may be asked for: an hour to 91 days.
const CERTIFICATE_SECONDS: std::ops::RangeInclusive<i64> = 3600..=7_862_400;

fn certificate(projection: &Cursor<'_>) {
    signer_name(&projection.get("signerName"));
    projection.get("keyType").must_be_one_of(KEY_TYPES);
    let seconds = projection.get("maxExpirationSeconds");
    let (least, most) = (CERTIFICATE_SECONDS.start(), CERTIFICATE_SECONDS.end());
    match seconds.int() {
        Some(number) if number < *least => {
            seconds.invalid(format!("if provided, maxExpirationSeconds must be >= {least}"));
        }
        Some(number) if number > *most => {
            seconds.invalid(format!("if provided, maxExpirationSeconds must be <= {most}"));
        }
        _ => {}
    }
    let paths = CERTIFICATE_PATHS.map(|path| projection.get(path));
    if paths.iter().all(Cursor::is_empty) {
        projection.required("specify at least one of credentialBundlePath, keyPath, and certificateChainPath");
    }
    paths.iter().filter(|path| !path.is_empty()).for_each(inside);
}

fn mode(mode: &Cursor<'_>) {
    if mode.int().is_some_and(|bits| !MODES.contains(&bits)) {
        mode.invalid(MODE_FAULT);
    }
}

/// The path must stay inside its volume, and not look like the links that volumes are made of.
pub(super) fn inside(path: &Cursor<'_>) {
    relative(path);
    no_backsteps(path);
    if path.text().starts_with("..") && !path.text().starts_with("../") {
        path.invalid("must not start with '..'");
    }
}

/// The path may not begin at the root.
pub(super) fn relative(path: &Cursor<'_>) {
    if path.text().starts_with('/') {
        path.invalid("must be a relative path");
    }
}
