//! Making sure that a container's image is on the node, as its pull policy says.

mod garbage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::{Pod, Secret};
use parking_lot::Mutex;
use sampan_cri::v1::{AuthConfig, Image, PodSandboxConfig};
use serde::Deserialize;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::config::env::Objects;
use crate::config::security::ImageUser;
use crate::cri::Runtime;
use crate::{Error, spec};

/// Pulls at the same time; further ones wait.
const PARALLEL_PULLS: usize = 4;

/// An image on the node.
#[derive(Clone, Debug)]
pub(crate) struct Ready {
    /// How the runtime identifies it.
    pub(crate) reference: String,
    pub(crate) user: ImageUser,
    /// What the event says.
    pub(crate) message: String,
}

/// Why an image is not there: a waiting reason and its message.
#[derive(Clone, Debug)]
pub(crate) struct Unavailable {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    /// What the `Failed` event says.
    pub(crate) event: String,
}

/// The node's images.
#[derive(Clone)]
pub(crate) struct Images {
    runtime: Runtime,
    pulls: Arc<Semaphore>,
    /// Rings after each pull, and after images were removed.
    pulled: Arc<Notify>,
    uses: Arc<Mutex<garbage::Uses>>,
}

/// What an image is wanted for.
pub(crate) struct Wish<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) image: &'a str,
    /// When it is pulled, if that is said.
    pub(crate) policy: Option<&'a str>,
    pub(crate) sandbox_config: &'a PodSandboxConfig,
    /// Where pull secrets are.
    pub(crate) objects: &'a dyn Objects,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    Always,
    IfNotPresent,
    Never,
}

impl Images {
    /// The images of `runtime`.
    pub(crate) fn new(runtime: Runtime) -> Self {
        Self { runtime, pulls: Arc::new(Semaphore::new(PARALLEL_PULLS)), pulled: Arc::default(), uses: Arc::default() }
    }

    /// Waits until images have come or gone since the last time this was called.
    pub(crate) async fn wait_for_change(&self) {
        self.pulled.notified().await;
    }

    /// Has the image on the node, pulling it if its policy says so. `on_pull` is called before a pull.
    pub(crate) async fn ensure(&self, wish: &Wish<'_>, on_pull: impl FnOnce(&str)) -> Result<Ready, Unavailable> {
        let ready = self.have(wish, on_pull).await?;
        self.uses.lock().note(&ready.reference, Instant::now());
        Ok(ready)
    }

    async fn have(&self, wish: &Wish<'_>, on_pull: impl FnOnce(&str)) -> Result<Ready, Unavailable> {
        let image = wish.image;
        let policy = policy(wish.policy, image);
        let present = self.runtime.image(image).await.map_err(|error| inspect_failed(image, &error))?;
        match (present, policy) {
            (Some(present), Policy::IfNotPresent | Policy::Never) => {
                let text =
                    format!("Container image \"{image}\" already present on machine and can be accessed by the pod");
                Ok(ready(present, text))
            }
            (None, Policy::Never) => Err(never(image)),
            (_, Policy::Always) | (None, Policy::IfNotPresent) => {
                on_pull(&format!("Pulling image \"{image}\""));
                self.pull(wish, image).await.map_err(|error| pull_failed(image, &error))
            }
        }
    }

    async fn pull(&self, wish: &Wish<'_>, image: &str) -> Result<Ready, Error> {
        let asked = Instant::now();
        let _permit = self.pulls.acquire().await.map_err(|_| Error::Missing("the kubelet is stopping".to_owned()))?;
        let begun = Instant::now();
        let mut result = Err(Error::Missing(format!("image \"{image}\" not found")));
        for auth in credentials(wish, image) {
            result = self.runtime.pull(image, auth, wish.sandbox_config.clone()).await;
            if result.is_ok() {
                break;
            }
        }
        let reference = result?;
        self.pulled.notify_one();
        let (pulling, waiting) = (begun.elapsed(), asked.elapsed());
        let found = match self.runtime.image(&reference).await? {
            Some(found) => Some(found),
            None => self.runtime.image(image).await?,
        };
        let found = found.ok_or_else(|| Error::Missing(format!("image \"{image}\" is gone after its pull")))?;
        let text = format!(
            "Successfully pulled image \"{image}\" in {} ({} including waiting). Image size: {} bytes.",
            seconds(pulling),
            seconds(waiting),
            found.size
        );
        Ok(ready(found, text))
    }
}

fn seconds(duration: Duration) -> String {
    if duration.as_secs() == 0 {
        format!("{}ms", duration.as_millis())
    } else {
        format!("{:.3}s", duration.as_secs_f64())
    }
}

fn ready(image: Image, message: String) -> Ready {
    let user = ImageUser { uid: image.uid.map(|uid| uid.value), name: image.username };
    Ready { reference: image.id, user, message }
}

fn never(image: &str) -> Unavailable {
    let message = format!("Container image \"{image}\" is not present with pull policy of Never");
    Unavailable { reason: "ErrImageNeverPull", event: message.clone(), message }
}

fn pull_failed(image: &str, error: &Error) -> Unavailable {
    let message = error.to_string();
    Unavailable { reason: "ErrImagePull", event: format!("Failed to pull image \"{image}\": {message}"), message }
}

fn inspect_failed(image: &str, error: &Error) -> Unavailable {
    let message = format!("Failed to inspect image \"{image}\": {error}");
    Unavailable { reason: "ImageInspectError", event: message.clone(), message }
}

/// The policy, or its default: Always for `latest`.
fn policy(wish: Option<&str>, image: &str) -> Policy {
    match wish {
        Some("Always") => Policy::Always,
        Some("IfNotPresent") => Policy::IfNotPresent,
        Some("Never") => Policy::Never,
        _ => {
            let name = image.rsplit('/').next().unwrap_or(image);
            let pinned = image.contains('@') || name.split_once(':').is_some_and(|(_, tag)| tag != "latest");
            if pinned { Policy::IfNotPresent } else { Policy::Always }
        }
    }
}

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

/// What to try: the pull secrets for the image's registry, those that name it most closely first; or none at all if there
/// is none.
fn credentials(wish: &Wish<'_>, image: &str) -> Vec<Option<AuthConfig>> {
    let names = spec::of(wish.pod).image_pull_secrets.iter().flatten().map(|reference| &reference.name);
    let secrets = names.filter_map(|name| wish.objects.secret(name));
    let known = secrets.flat_map(|secret| auths(&secret));
    let mut matching: Vec<_> = known.filter(|(server, _)| serves(server, image)).collect();
    // Longer names sort behind their beginnings, and patterns before names.
    matching.sort_by(|(one, _), (other, _)| bare(other).cmp(bare(one)));
    if matching.is_empty() {
        return vec![None];
    }
    matching.into_iter().map(|(server, auth)| Some(auth_config(server, auth))).collect()
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
    let (first, rest) = image.split_once('/').unwrap_or(("docker.io", image));
    let (registry, repository) = match first.contains(['.', ':']) || first == "localhost" {
        true => (first, rest),
        false => ("docker.io", image),
    };
    let (host, path) = bare(server).split_once('/').unwrap_or((bare(server), ""));
    let host = if matches!(host, "index.docker.io" | "registry-1.docker.io") { "docker.io" } else { host };
    let official = if registry == "docker.io" && !repository.contains('/') { "library/" } else { "" };
    is_host(host, registry) && format!("{official}{repository}").starts_with(path)
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
    use serde_json::json;

    use super::*;

    #[test]
    fn the_policy_defaults_by_tag() {
        for (wish, image, want) in [
            (None, "busybox", Policy::Always),
            (None, "busybox:latest", Policy::Always),
            (None, "busybox:1.36", Policy::IfNotPresent),
            (None, "localhost:5000/busybox", Policy::Always),
            (None, "localhost:5000/busybox:1", Policy::IfNotPresent),
            (None, "busybox@sha256:00", Policy::IfNotPresent),
            (Some("Never"), "busybox", Policy::Never),
            (Some("IfNotPresent"), "busybox", Policy::IfNotPresent),
        ] {
            assert_eq!(policy(wish, image), want, "{image}");
        }
    }

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
        let tried = |image: &str| -> Vec<Option<String>> {
            let secrets = json!([{"name": "new"}, {"name": "old"}]);
            let pod = json!({"spec": {"containers": [], "imagePullSecrets": secrets}});
            let (pod, sandbox_config) = (serde_json::from_value(pod).unwrap(), PodSandboxConfig::default());
            let wish = Wish { pod: &pod, image, policy: None, sandbox_config: &sandbox_config, objects: &Fixed };
            credentials(&wish, image).into_iter().map(|auth| auth.map(|auth| auth.username)).collect()
        };
        let users = |names: &[&str]| names.iter().map(|name| Some((*name).to_owned())).collect::<Vec<_>>();
        assert_eq!(tried("ghcr.io/team/app:1"), users(&["team", "all", "any"]));
        assert_eq!(tried("ghcr.io/others/app"), users(&["all", "any"]));
        assert_eq!(tried("busybox"), users(&["any"]));
        assert_eq!(tried("localhost:5000/app"), [None]);
    }
}
