//! Where a volume's data is: the sources that Pods and PersistentVolumes share.
//!
//! Most of them belong to storage systems whose drivers have moved out of Kubernetes; what is left of each is which
//! of its fields must be there.

use super::cursor::Cursor;
use super::names;

/// A CSI driver's name may have this many bytes.
const DRIVER_BYTES: usize = 63;
const HOST_PATH_TYPES: &[&str] =
    &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

/// Sources by kind, with the fields that must be there.
const REQUIRED: &[(&str, &[&str])] = &[
    ("gcePersistentDisk", &["pdName"]),
    ("awsElasticBlockStore", &["volumeID"]),
    ("glusterfs", &["endpoints", "path"]),
    ("rbd", &["monitors", "image"]),
    ("quobyte", &["registry", "volume"]),
    ("cephfs", &["monitors"]),
    ("iscsi", &["targetPortal", "iqn"]),
    ("cinder", &["volumeID"]),
    ("flexVolume", &["driver"]),
    ("azureFile", &["secretName", "shareName"]),
    ("vsphereVolume", &["volumePath"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
    ("storageos", &["volumeName"]),
    ("local", &["path"]),
];

/// A source of this kind; kinds that only Pods have are not looked at.
pub(crate) fn of_kind(kind: &str, source: &Cursor<'_>) {
    for field in REQUIRED.iter().filter(|(name, _)| *name == kind).flat_map(|(_, fields)| *fields) {
        source.get(field).must();
    }
    match kind {
        "hostPath" => host_path(source),
        "nfs" => nfs(source),
        "csi" => driver(&source.get("driver")),
        "local" => no_backsteps(&source.get("path")),
        "gcePersistentDisk" | "awsElasticBlockStore" => source.get("partition").in_range(0..=255),
        "iscsi" => source.get("lun").in_range(0..=255),
        "fc" => fibre_channel(source),
        "flocker" => flocker(source),
        "flexVolume" => flex_options(&source.get("options")),
        _ => {}
    }
}

/// The name of a CSI driver.
pub(crate) fn driver(name: &Cursor<'_>) {
    name.must();
    if name.text().len() > DRIVER_BYTES {
        name.too_long(DRIVER_BYTES);
    }
    name.follows(|name| names::subdomain(&name.to_lowercase()));
}

fn host_path(source: &Cursor<'_>) {
    let path = source.get("path");
    if path.must() {
        no_backsteps(&path);
        source.get("type").may_be_one_of(HOST_PATH_TYPES);
    }
}

fn nfs(source: &Cursor<'_>) {
    source.get("server").must();
    let path = source.get("path");
    path.must();
    if !path.text().starts_with('/') {
        path.invalid_as(path.text(), "must be an absolute path");
    }
}

fn fibre_channel(source: &Cursor<'_>) {
    let (targets, ids) = (source.get("targetWWNs"), source.get("wwids"));
    match (targets.is_empty(), ids.is_empty()) {
        (true, true) => targets.required("must specify either targetWWNs or wwids, but not both"),
        (false, false) => targets.invalid("targetWWNs and wwids can not be specified simultaneously"),
        (true, false) => {}
        (false, true) if source.get("lun").is_set() => source.get("lun").in_range(0..=255),
        (false, true) => source.get("lun").required("lun is required if targetWWNs is specified"),
    }
}

fn flocker(source: &Cursor<'_>) {
    let (name, id) = (source.get("datasetName"), source.get("datasetUUID"));
    if name.is_empty() && id.is_empty() {
        source.required("one of datasetName and datasetUUID is required");
    }
    if !name.is_empty() && !id.is_empty() {
        source.invalid_as("resource", "datasetName and datasetUUID can not be specified simultaneously");
    }
    if name.text().contains('/') {
        name.invalid("must not contain '/'");
    }
}

/// Options that a user gives may not look like those that the kubelet gives.
fn flex_options(options: &Cursor<'_>) {
    for (key, option) in options.entries() {
        let domain = format!(".{}", key.split('/').next().unwrap_or_default().to_lowercase());
        if domain.ends_with(".kubernetes.io") || domain.ends_with(".k8s.io") {
            option.invalid_as(key, "kubernetes.io and k8s.io namespaces are reserved");
        }
    }
}

/// The path may not climb.
pub(crate) fn no_backsteps(path: &Cursor<'_>) {
    if path.text().split('/').any(|part| part == "..") {
        path.invalid("must not contain '..'");
    }
}
