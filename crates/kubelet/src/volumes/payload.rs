//! What goes into a volume that shows objects: relative paths with their content and mode. Pure.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use k8s_openapi::api::core::v1::{ConfigMap, DownwardAPIVolumeFile, KeyToPath, Secret};

use super::Context;
use crate::Error;
use crate::config::fields;

/// The mode of files when nothing is said.
const DEFAULT_MODE: i32 = 0o644;

/// The files of a volume, by relative path.
pub(super) type Payload = BTreeMap<String, File>;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) data: Vec<u8>,
    pub(super) mode: u32,
    /// Who owns it; root if nothing is said.
    pub(super) owner: Option<u32>,
}

/// How keys become files.
pub(super) struct Selection<'a> {
    pub(super) items: Option<&'a [KeyToPath]>,
    pub(super) default_mode: Option<i32>,
    pub(super) optional: bool,
    /// `configmap` or `secret`: how messages name the object.
    pub(super) kind: &'static str,
}

/// The files of a ConfigMap.
pub(super) fn config_map(context: &Context<'_>, name: &str, selection: &Selection<'_>) -> Result<Payload, Error> {
    let data = context.objects.config_map(name).map(|map| data_of_config_map(&map));
    files(name, data, selection)
}

/// The files of a Secret.
pub(super) fn secret(context: &Context<'_>, name: &str, selection: &Selection<'_>) -> Result<Payload, Error> {
    let data = context.objects.secret(name).map(|secret| data_of_secret(&secret));
    files(name, data, selection)
}

fn data_of_config_map(map: &ConfigMap) -> BTreeMap<String, Vec<u8>> {
    let text = map.data.iter().flatten().map(|(key, value)| (key.clone(), value.clone().into_bytes()));
    let binary = map.binary_data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone()));
    text.chain(binary).collect()
}

fn data_of_secret(secret: &Secret) -> BTreeMap<String, Vec<u8>> {
    secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect()
}

fn files(name: &str, data: Option<BTreeMap<String, Vec<u8>>>, selection: &Selection<'_>) -> Result<Payload, Error> {
    let kind = selection.kind;
    let Some(data) = data else {
        return match selection.optional {
            true => Ok(Payload::new()),
            false => Err(Error::Missing(format!("{kind} \"{name}\" not found"))),
        };
    };
    let mode = mode(None, selection.default_mode);
    let Some(items) = selection.items.filter(|items| !items.is_empty()) else {
        return Ok(data.into_iter().map(|(key, data)| (key, File { data, mode, owner: None })).collect());
    };
    let mut payload = Payload::new();
    for item in items {
        match data.get(&item.key) {
            Some(data) => {
                let mode = self::mode(item.mode, selection.default_mode);
                payload.insert(relative(&item.path)?, File { data: data.clone(), mode, owner: None });
            }
            None if selection.optional => {}
            None => {
                let kind = if kind == "configmap" { "config" } else { kind };
                let text = format!("references non-existent {kind} key: {}", item.key);
                return Err(Error::Missing(text));
            }
        }
    }
    Ok(payload)
}

/// The files of a downward API volume.
pub(super) fn downward(
    context: &Context<'_>,
    items: &[DownwardAPIVolumeFile],
    default_mode: Option<i32>,
) -> Result<Payload, Error> {
    let mut payload = Payload::new();
    for item in items {
        let text = if let Some(selector) = &item.field_ref {
            fields::field(context.pod, context.facts, selector)?
        } else if let Some(selector) = &item.resource_field_ref {
            fields::resource(context.pod, context.facts, selector, None)?
        } else {
            continue;
        };
        let file = File { data: text.into_bytes(), mode: mode(item.mode, default_mode), owner: None };
        payload.insert(relative(&item.path)?, file);
    }
    Ok(payload)
}

/// An item's own mode, else the volume's.
pub(super) fn mode(own: Option<i32>, default: Option<i32>) -> u32 {
    u32::try_from(own.or(default).unwrap_or(DEFAULT_MODE)).unwrap_or(0o644) & 0o777
}

/// A path that stays inside the volume.
pub(super) fn relative(path: &str) -> Result<String, Error> {
    let inside = Path::new(path).components().all(|component| matches!(component, Component::Normal(_)));
    if path.is_empty() || !inside || path.starts_with("..") {
        return Err(Error::Config(format!("invalid path: must be relative and stay inside the volume: {path}")));
    }
    Ok(path.to_owned())
}
