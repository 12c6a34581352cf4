//! Manifests and indexes, OCI's and Docker's: what they hold, and that they are what they say. Pure.
//!
//! A document that could be read as both (CVE-2021-41190), or that is served as one and calls itself the other, is
//! refused: two readers must never see two images under one digest.

use std::collections::HashMap;

use serde::Deserialize;

use super::reference::is_digest;

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// What is understood, in the form of an `Accept` header.
pub(super) const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";

const CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
/// A layer's type is one of these, and how it is compressed.
const LAYERS: [&str; 4] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
];
const COMPRESSIONS: [&str; 5] = ["", "+gzip", "+zstd", ".gzip", ".zstd"];

/// The overlay takes 500 layers and the kernel one page of names; no image has this many.
const MAX_LAYERS: usize = 256;

const NAME_ANNOTATIONS: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

/// Something named by its digest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) digest: String,
    #[serde(default)]
    pub(super) size: u64,
    #[serde(default)]
    annotations: Option<HashMap<String, String>>,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

impl Descriptor {
    /// The name that an archive gives to what this describes.
    pub(super) fn name(&self) -> Option<&String> {
        let annotations = self.annotations.as_ref()?;
        NAME_ANNOTATIONS.iter().find_map(|key| annotations.get(*key))
    }

    /// Whether it is for this machine; what does not say is.
    pub(super) fn is_for_us(&self) -> bool {
        self.platform.as_ref().is_none_or(|platform| platform.os == "linux" && platform.architecture == architecture())
    }
}

/// One image: a configuration and layers, lowest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
}

/// What a document turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Document {
    Image(Manifest),
    /// One image a platform.
    Index(Vec<Descriptor>),
}

/// The fields of both.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    #[serde(default)]
    media_type: String,
    schema_version: Option<u32>,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    /// Only in the first schema, which names layers without their sizes and is signed by nobody's key.
    fs_layers: Option<serde::de::IgnoredAny>,
}

/// Reads a document that came as `served` (a media type; empty where nobody said). Errors are words for people.
pub(super) fn parse(text: &[u8], served: &str) -> Result<Document, String> {
    let fields: Fields = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let served = served.split(';').next().unwrap_or_default().trim();
    if fields.fs_layers.is_some() || fields.schema_version == Some(1) {
        return Err("it is of Docker's first schema, which nothing supports any more".to_owned());
    }
    let document = match fields {
        Fields { manifests: None, config: Some(config), layers: Some(layers), .. } => {
            Document::Image(Manifest { config, layers })
        }
        Fields { manifests: Some(manifests), config: None, layers: None, .. } => Document::Index(manifests),
        _ => return Err("it is neither an image manifest nor an index".to_owned()),
    };
    let types = match document {
        Document::Image(_) => [OCI_MANIFEST, DOCKER_MANIFEST],
        Document::Index(_) => [OCI_INDEX, DOCKER_LIST],
    };
    for claimed in [served, &fields.media_type].into_iter().filter(|claimed| !claimed.is_empty()) {
        if !types.contains(&claimed) {
            return Err(format!("it does not have the form of its media type {claimed}"));
        }
    }
    Ok(document)
}

impl Manifest {
    /// Whether a registry's manifest describes a container image within bounds; the sum of its layers, in bytes.
    pub(super) fn check(&self) -> Result<u64, String> {
        if !CONFIGS.contains(&&*self.config.media_type) {
            return Err(format!("it is not a container image, its configuration is {:?}", self.config.media_type));
        }
        // Digests become parts of URLs and names of files.
        if let Some(wrong) = self.layers.iter().chain([&self.config]).find(|own| !is_digest(&own.digest)) {
            return Err(format!("{:?} is not a sha256 digest", wrong.digest));
        }
        if self.layers.len() > MAX_LAYERS {
            return Err(format!("it has {} layers, more than {MAX_LAYERS}", self.layers.len()));
        }
        match self.layers.iter().find(|layer| !is_layer(&layer.media_type)) {
            Some(layer) => Err(format!("unsupported layer media type {:?}", layer.media_type)),
            None => Ok(self.layers.iter().fold(0, |sum: u64, layer| sum.saturating_add(layer.size))),
        }
    }
}

fn is_layer(media_type: &str) -> bool {
    LAYERS.iter().any(|kind| media_type.strip_prefix(kind).is_some_and(|rest| COMPRESSIONS.contains(&rest)))
}

/// This machine's architecture as images name it.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: &str = r#""config":{"digest":"c"},"layers":[]"#;
    const INDEX: &str = r#""manifests":[]"#;

    #[test]
    fn a_document_is_what_it_says() {
        let check = |fields: String, served: &str, fine: bool| {
            let outcome = parse(format!("{{{fields}}}").as_bytes(), served);
            assert_eq!(outcome.is_ok(), fine, "{fields} as {served}: {outcome:?}");
        };
        let typed = |kind: &str, fields: &str| format!(r#""mediaType":"{kind}",{fields}"#);
        check(IMAGE.to_owned(), "", true);
        check(INDEX.to_owned(), OCI_INDEX, true);
        check(
            typed(DOCKER_MANIFEST, IMAGE),
            "application/vnd.docker.distribution.manifest.v2+json; charset=utf-8",
            true,
        );
        check(IMAGE.to_owned(), OCI_INDEX, false);
        check(typed(OCI_INDEX, IMAGE), OCI_MANIFEST, false);
        check(typed(OCI_INDEX, IMAGE), "", false);
        check(format!("{IMAGE},{INDEX}"), "", false);
        check(INDEX.to_owned(), "text/html", false);
        check(r#""schemaVersion":1,"fsLayers":[]"#.to_owned(), "", false);
    }

    #[test]
    fn only_container_images_are_pulled() {
        let check = |config: &str, layer: &str, fine: bool| {
            let digest = format!("sha256:{}", "a".repeat(64));
            let descriptor = |kind: &str| Descriptor {
                media_type: kind.to_owned(),
                digest: digest.clone(),
                size: 7,
                ..Descriptor::default()
            };
            let manifest = Manifest { config: descriptor(config), layers: vec![descriptor(layer); 2] };
            assert_eq!(manifest.check().ok(), fine.then_some(14), "{config} {layer}");
        };
        check(CONFIGS[0], "application/vnd.oci.image.layer.v1.tar+zstd", true);
        check(CONFIGS[1], "application/vnd.docker.image.rootfs.diff.tar.gzip", true);
        check(CONFIGS[0], "application/vnd.oci.image.layer.v1.tar+encrypted", false);
        check("application/vnd.cncf.helm.config.v1+json", LAYERS[0], false);
        let layer = Descriptor { media_type: LAYERS[0].to_owned(), digest: "../x".to_owned(), ..Descriptor::default() };
        let config = Descriptor { media_type: CONFIGS[0].to_owned(), digest: "sha256:1".to_owned(), ..layer.clone() };
        assert!(Manifest { config, layers: vec![layer] }.check().is_err());
    }
}
