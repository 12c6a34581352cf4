//! What Pods may show to registries: their pull secrets, in Docker's two forms.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use sampan_cri::v1::AuthConfig;
use serde::Deserialize;

use super::access::Proof;
use super::{Wish, names};
use crate::spec;

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: Auths,
}

/// What is known of registries, or parts of them, by their names.
type Auths = BTreeMap<String, DockerAuth>;

#[derive(Default, Deserialize)]
#[serde(default)]
struct DockerAuth {
    username: String,
    password: String,
    auth: String,
    #[serde(rename = "identitytoken")]
    identity_token: String,
}

/// What a Pod may show to a registry.
#[derive(Clone, Debug)]
pub(super) struct Credential {
    /// As the runtime wants it.
    pub(super) auth: AuthConfig,
    /// What is remembered of it.
    pub(super) proof: Proof,
}

/// What the pull secrets of a Pod say about the image's registry, what names it most closely first.
pub(super) fn credentials(wish: &Wish<'_>) -> Vec<Credential> {
    let names = spec::of(wish.pod).image_pull_secrets.iter().flatten().map(|reference| &reference.name);
    let secrets = names.filter_map(|name| wish.objects.secret(name));
    let known = secrets.flat_map(|secret| {
        let of = Arc::clone(&secret);
        auths(&secret).into_iter().map(move |(server, auth)| (server, auth, Arc::clone(&of)))
    });
    let mut matching: Vec<_> = known.filter(|(server, _, _)| serves(server, wish.image)).collect();
    // Longer names sort behind their beginnings, and patterns before names.
    matching.sort_by(|(one, _, _), (other, _, _)| bare(other).cmp(bare(one)));
    let credential = |(server, auth, secret): (String, DockerAuth, Arc<Secret>)| {
        let auth = auth_config(server, auth);
        Credential { proof: Proof::of(&secret.metadata, &auth), auth }
    };
    matching.into_iter().map(credential).collect()
}

/// What a secret of either type knows.
fn auths(secret: &Secret) -> Auths {
    let data = |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map(|value| value.0.as_slice());
    let new = data(".dockerconfigjson").and_then(|json| serde_json::from_slice::<DockerConfig>(json).ok());
    let old = || data(".dockercfg").and_then(|json| serde_json::from_slice::<Auths>(json).ok());
    new.map(|config| config.auths).or_else(old).unwrap_or_default()
}

fn auth_config(server: String, auth: DockerAuth) -> AuthConfig {
    let decoded = STANDARD.decode(&auth.auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let (username, password) = match decoded.as_deref().and_then(|pair| pair.split_once(':')) {
        Some((username, password)) if auth.username.is_empty() => (username.to_owned(), password.to_owned()),
        _ => (auth.username, auth.password),
    };
    AuthConfig {
        username,
        password,
        server_address: server,
        identity_token: auth.identity_token,
        ..AuthConfig::default()
    }
}

/// A registry's name in a pull secret without what does not matter.
fn bare(server: &str) -> &str {
    let server = server.trim_start_matches("https://").trim_start_matches("http://");
    server.trim_end_matches('/').trim_end_matches("/v1").trim_end_matches("/v2")
}

/// Whether the registry `server` of a pull secret, or the part of one, is that of `image`. A `*` in its name stands for
/// anything but a dot.
fn serves(server: &str, image: &str) -> bool {
    let (registry, repository) = names::split(image);
    let (host, path) = bare(server).split_once('/').unwrap_or((bare(server), ""));
    let host = if matches!(host, "index.docker.io" | "registry-1.docker.io") { "docker.io" } else { host };
    is_host(host, registry) && repository.starts_with(path)
}

/// Whether the pattern `host`, port and all, is that of `registry`.
fn is_host(host: &str, registry: &str) -> bool {
    let parts = |text: &str| -> (Vec<String>, String) {
        let (name, port) = text.split_once(':').unwrap_or((text, ""));
        (name.split('.').map(str::to_owned).collect(), port.to_owned())
    };
    let ((patterns, wanted_port), (labels, port)) = (parts(host), parts(registry));
    let fits = patterns.iter().zip(&labels).all(|(pattern, label)| is_like(pattern, label));
    fits && patterns.len() == labels.len() && wanted_port == port
}

/// Whether `text` is `pattern`, in which each `*` stands for any characters.
fn is_like(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let (between, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    // The first place where a piece fits leaves most for the others.
    for piece in between.split('*') {
        let Some(at) = text.find(piece) else { return false };
        text = &text[at + piece.len()..];
    }
    text.ends_with(end)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use k8s_openapi::api::core::v1::{ClusterTrustBundleProjection, ConfigMap};
    use sampan_cri::v1::PodSandboxConfig;
    use serde_json::json;

    use super::*;
    use crate::Error;
    use crate::config::env::Objects;

    #[test]
    fn secrets_serve_their_own_registry_only() {
        assert!(serves("https://index.docker.io/v1/", "busybox"));
        assert!(serves("docker.io", "library/busybox:1"));
        assert!(serves("ghcr.io", "ghcr.io/a/b"));
        assert!(serves("ghcr.io/a", "ghcr.io/a/b"));
        assert!(serves("ghcr.io/a/b", "ghcr.io/a/b:1"));
        assert!(!serves("ghcr.io/a", "ghcr.io/b"));
        assert!(serves("docker.io/library", "busybox:1"));
        assert!(serves("*.registry.io", "one.registry.io/a"));
        assert!(serves("prefix*.registry.io:5000/a", "prefix-1.registry.io:5000/a/b"));
        assert!(!serves("*.registry.io", "registry.io/a"));
        assert!(!serves("*.registry.io", "two.one.registry.io/a"));
        assert!(!serves("*.registry.io", "one.registry.io:5000/a"));
        assert!(!serves("*", "one.registry.io/a"));
        assert!(
            serves("a*b*c.io", "a1bb2c.io/a") && !serves("a*b*c.io", "a1c2b.io/a") && !serves("ab*b.io", "ab.io/a")
        );
        // Not every way to divide the name is tried.
        assert!(!serves(&format!("{}b.io", "a*".repeat(20)), &format!("{}.io/a", "a".repeat(60))));
        assert!(!serves("ghcr.io", "busybox"));
        assert!(!serves("ghcr.io", "evil.example/ghcr.io/b"));
    }

    #[test]
    fn pull_secrets_of_both_types_are_tried_by_how_closely_they_name_the_image() {
        struct Fixed;
        impl Objects for Fixed {
            fn config_map(&self, _: &str) -> Option<Arc<ConfigMap>> {
                None
            }
            fn secret(&self, name: &str) -> Option<Arc<Secret>> {
                let user = |name: &str| json!({"auth": STANDARD.encode(format!("{name}:secret"))});
                let data = match name {
                    "new" => json!({"auths": {"*.io": user("any"), "ghcr.io": user("all"), "quay.io": user("other")}}),
                    _ => json!({"https://ghcr.io/team/": user("team")}),
                };
                let key = if name == "new" { ".dockerconfigjson" } else { ".dockercfg" };
                let data = [(key.to_owned(), ByteString(data.to_string().into_bytes()))].into();
                Some(Arc::new(Secret { data: Some(data), ..Secret::default() }))
            }
            fn trust_bundle(&self, _: &ClusterTrustBundleProjection) -> Result<String, Error> {
                Err(Error::Missing("none".to_owned()))
            }
        }
        let tried = |image: &str| -> Vec<String> {
            let secrets = json!([{"name": "new"}, {"name": "old"}]);
            let pod = json!({"spec": {"containers": [], "imagePullSecrets": secrets}});
            let (pod, sandbox_config) = (serde_json::from_value(pod).unwrap(), PodSandboxConfig::default());
            let wish = Wish { pod: &pod, image, policy: None, sandbox_config: &sandbox_config, objects: &Fixed };
            credentials(&wish).into_iter().map(|known| known.auth.username).collect()
        };
        assert_eq!(tried("ghcr.io/team/app:1"), ["team", "all", "any"]);
        assert_eq!(tried("ghcr.io/others/app"), ["all", "any"]);
        assert_eq!(tried("busybox"), ["any"]);
        assert_eq!(tried("localhost:5000/app"), [""; 0]);
    }
}
