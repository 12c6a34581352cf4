//! What is mounted into a container: its volumes, and the files the kubelet keeps for every Pod.

use std::collections::BTreeMap;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Container, VolumeMount};
use sampan_cri::v1::{ImageSpec, Mount, MountPropagation};

use super::env::{self, Env};
use super::expand::expand;
use crate::Error;

/// A volume that has been set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Where it is on the node.
    pub(crate) path: PathBuf,
    /// Nobody may write to it, whatever a container asks for.
    pub(crate) read_only: bool,
    /// It is an image, which the runtime mounts by itself; there is no path then.
    pub(crate) image: bool,
}

/// Where a volume mount of a container comes from, before sub-paths are resolved on disk.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wish {
    pub(crate) volume: String,
    pub(crate) place: Place,
    /// Relative path inside the volume; empty for all of it.
    pub(crate) sub_path: String,
    pub(crate) mount: VolumeMount,
    /// Nothing below it can be written to either.
    pub(crate) recursive_read_only: bool,
}

/// What the mounts of a container are made from.
pub(crate) struct Inputs<'a> {
    pub(crate) places: &'a BTreeMap<String, Place>,
    pub(crate) env: &'a Env,
    /// Whether the runtime can mount recursively read-only.
    pub(crate) recursive_read_only: bool,
}

/// Whether anything of `container` is to be mounted recursively read-only.
pub(crate) fn ask_for_recursion(container: &Container) -> bool {
    container.volume_mounts.iter().flatten().any(|mount| recursion(mount).is_some())
}

/// The mount's recursive read-only mode, if it asks for one.
fn recursion(mount: &VolumeMount) -> Option<&str> {
    mount.recursive_read_only.as_deref().filter(|mode| *mode != "Disabled")
}

/// Whether `mount` is made recursively read-only by a runtime that can do so, or cannot: upstream's errors.
fn is_recursive(mount: &VolumeMount, can: bool) -> Result<bool, Error> {
    let Some(mode) = recursion(mount) else { return Ok(false) };
    let propagation = mount.mount_propagation.as_deref().filter(|propagation| *propagation != "None");
    let why_not = match (mode, propagation) {
        _ if mount.read_only != Some(true) => "it is not read-only".to_owned(),
        (_, Some(propagation)) => format!("it is not compatible with propagation {propagation:?}"),
        ("IfPossible", None) => return Ok(can),
        _ if can => return Ok(true),
        _ => "it is not supported by the runtime".to_owned(),
    };
    let name = &mount.name;
    let text = format!("volume {name:?} requested recursive read-only mode, but {why_not}");
    Err(Error::Config(format!("failed to resolve recursive read-only mode: {text}")))
}

/// The volume mounts of `container`, each with its volume's place.
pub(crate) fn wishes(container: &Container, inputs: &Inputs<'_>) -> Result<Vec<Wish>, Error> {
    let mounts = container.volume_mounts.as_deref().unwrap_or_default();
    mounts
        .iter()
        .map(|mount| {
            let place = inputs.places.get(&mount.name).cloned().ok_or_else(|| {
                Error::Config(format!(
                    "cannot find volume \"{}\" to mount into container \"{}\"",
                    mount.name, container.name
                ))
            })?;
            Ok(Wish {
                volume: mount.name.clone(),
                sub_path: sub_path(mount, inputs.env)?,
                mount: mount.clone(),
                recursive_read_only: is_recursive(mount, inputs.recursive_read_only)?,
                place,
            })
        })
        .collect()
}

fn sub_path(mount: &VolumeMount, env: &Env) -> Result<String, Error> {
    let Some(expression) = mount.sub_path_expr.as_deref().filter(|expression| !expression.is_empty()) else {
        return Ok(mount.sub_path.clone().unwrap_or_default());
    };
    let missing = std::cell::RefCell::new(None);
    let variables = env::by_name(env);
    let expanded = expand(expression, |name| {
        let found = variables.get(name).copied();
        if found.is_none_or(str::is_empty) {
            missing.replace(Some(name.to_owned()));
        }
        found
    })?;
    match missing.into_inner() {
        Some(name) => Err(Error::Config(format!("missing value for {name}"))),
        None => Ok(expanded),
    }
}

/// The CRI mount of `wish` from `host_path`, its place with the sub-path resolved.
pub(crate) fn volume_mount(wish: &Wish, host_path: PathBuf) -> Mount {
    let propagation = match wish.mount.mount_propagation.as_deref() {
        Some("HostToContainer") => MountPropagation::PropagationHostToContainer,
        Some("Bidirectional") => MountPropagation::PropagationBidirectional,
        _ => MountPropagation::PropagationPrivate,
    };
    let readonly = wish.place.read_only || wish.mount.read_only == Some(true);
    Mount {
        container_path: absolute(&wish.mount.mount_path),
        host_path: host_path.to_string_lossy().into_owned(),
        readonly,
        propagation: propagation.into(),
        recursive_read_only: wish.recursive_read_only,
        ..Mount::default()
    }
}

/// The CRI mount of `wish` from the image that the runtime knows as `reference`.
pub(crate) fn image_mount(wish: &Wish, reference: &str) -> Mount {
    Mount {
        container_path: absolute(&wish.mount.mount_path),
        readonly: true,
        recursive_read_only: wish.recursive_read_only,
        image: Some(ImageSpec { image: reference.to_owned(), ..ImageSpec::default() }),
        image_sub_path: wish.sub_path.clone(),
        ..Mount::default()
    }
}

/// A file of the kubelet's at `container_path`, unless the container mounts something there itself.
pub(crate) fn managed_file(container: &Container, container_path: &str, host_path: PathBuf) -> Option<Mount> {
    let mounts = container.volume_mounts.as_deref().unwrap_or_default();
    let own = mounts.iter().any(|mount| absolute(&mount.mount_path) == container_path);
    let read_only = container.security_context.as_ref().is_some_and(|own| own.read_only_root_filesystem == Some(true));
    (!own).then(|| Mount {
        container_path: container_path.to_owned(),
        host_path: host_path.to_string_lossy().into_owned(),
        readonly: read_only && container_path.starts_with("/etc/"),
        ..Mount::default()
    })
}

/// `path` as the runtime is told it.
pub(crate) fn absolute(path: &str) -> String {
    let trimmed = path.trim_end_matches('/');
    if trimmed.starts_with('/') { trimmed.to_owned() } else { format!("/{trimmed}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn recursive_read_only_is_what_the_runtime_can_do() {
        let check = |mount: serde_json::Value, can: bool, want: Result<bool, &str>| {
            let mut mount = mount;
            mount["name"] = json!("v");
            mount["mountPath"] = json!("/v");
            let got = is_recursive(&serde_json::from_value(mount.clone()).unwrap(), can);
            let text = |why| {
                let what =
                    "failed to resolve recursive read-only mode: volume \"v\" requested recursive read-only mode";
                format!("{what}, but {why}")
            };
            assert_eq!(got.map_err(|error| error.to_string()), want.map_err(text), "{mount}");
        };
        let asks = |mode: &str| json!({"readOnly": true, "recursiveReadOnly": mode});
        check(json!({"readOnly": true}), true, Ok(false));
        check(asks("Disabled"), true, Ok(false));
        check(asks("IfPossible"), true, Ok(true));
        check(asks("IfPossible"), false, Ok(false));
        check(asks("Enabled"), true, Ok(true));
        check(asks("Enabled"), false, Err("it is not supported by the runtime"));
        check(json!({"recursiveReadOnly": "IfPossible"}), true, Err("it is not read-only"));
        let mut follows = asks("Enabled");
        follows["mountPropagation"] = json!("None");
        check(follows.clone(), true, Ok(true));
        follows["mountPropagation"] = json!("HostToContainer");
        check(follows, true, Err("it is not compatible with propagation \"HostToContainer\""));
    }
}
