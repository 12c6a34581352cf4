//! Where a container mounts volumes.

use std::collections::{HashMap, HashSet};

use super::volumes::{Volumes, relative};
use crate::validation::cursor::Cursor;
use crate::validation::volume_sources::no_backsteps;

/// `volumeMounts`
pub(super) fn mounts(container: &Cursor<'_>, volumes: &Volumes<'_>) {
    let devices = by_name(&container.get("volumeDevices"), "devicePath");
    let privileged = container.get("securityContext").get("privileged").is_true();
    let mut paths = HashSet::new();
    for mount in container.get("volumeMounts").items() {
        let (name, path) = (mount.get("name"), mount.get("mountPath"));
        name.must();
        if !volumes.contains_key(name.text()) {
            name.not_found();
        }
        path.must();
        if !paths.insert(path.text()) {
            path.invalid("must be unique");
        }
        if devices.contains_key(name.text()) {
            name.invalid("must not already exist in volumeDevices");
        }
        if devices.values().any(|device| *device == path.text()) {
            path.invalid("must not already exist as a path in volumeDevices");
        }
        sub_paths(&mount);
        propagation(&mount, privileged);
        recursive_read_only(&mount);
    }
}

/// `volumeDevices`
pub(super) fn devices(container: &Cursor<'_>, volumes: &Volumes<'_>) {
    let mounts = by_name(&container.get("volumeMounts"), "mountPath");
    let (mut names, mut paths) = (HashSet::new(), HashSet::new());
    for device in container.get("volumeDevices").items() {
        let (name, path) = (device.get("name"), device.get("devicePath"));
        if name.must() && !names.insert(name.text()) {
            name.invalid("must be unique");
        }
        match volumes.get(name.text()) {
            None => name.not_found(),
            Some(volume) if !volume.get("persistentVolumeClaim").is_set() && !volume.get("ephemeral").is_set() => {
                name.invalid("can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode");
            }
            Some(_) => {}
        }
        path.must();
        if !paths.insert(path.text()) {
            path.invalid("must be unique");
        }
        if path.text().split('/').any(|part| part == "..") {
            path.invalid("can not contain backsteps ('..')");
        }
        if mounts.contains_key(name.text()) {
            name.invalid("must not already exist in volumeMounts");
        }
        if mounts.values().any(|mount| *mount == path.text()) {
            path.invalid("must not already exist as a path in volumeMounts");
        }
    }
}

fn by_name<'a>(list: &Cursor<'a>, path: &str) -> HashMap<&'a str, &'a str> {
    list.items().map(|item| (item.get("name").text(), item.get(path).text())).collect()
}

fn sub_paths(mount: &Cursor<'_>) {
    let (path, expression) = (mount.get("subPath"), mount.get("subPathExpr"));
    if !path.is_empty() && !expression.is_empty() {
        expression.invalid("subPathExpr and subPath are mutually exclusive");
    }
    for path in [path, expression] {
        relative(&path);
        no_backsteps(&path);
    }
}

fn propagation(mount: &Cursor<'_>, privileged: bool) {
    let propagation = mount.get("mountPropagation");
    propagation.may_be_one_of(&["Bidirectional", "HostToContainer", "None"]);
    if propagation.text() == "Bidirectional" && !privileged {
        propagation.forbidden("Bidirectional mount propagation is available only to privileged containers");
    }
}

fn recursive_read_only(mount: &Cursor<'_>) {
    let recursive = mount.get("recursiveReadOnly");
    recursive.may_be_one_of(&["Disabled", "Enabled", "IfPossible"]);
    if !matches!(recursive.text(), "Enabled" | "IfPossible") {
        return;
    }
    if !mount.get("readOnly").is_true() {
        recursive.forbidden("may only be specified when readOnly is true");
    }
    if !matches!(mount.get("mountPropagation").text(), "" | "None") {
        recursive.forbidden("may only be specified when mountPropagation is None or not specified");
    }
}
