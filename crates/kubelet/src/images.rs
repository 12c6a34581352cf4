//! Making sure that a container's image is on the node, as its pull policy says.

mod access;
mod credentials;
mod garbage;
mod names;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use sampan_cri::v1::{Image, PodSandboxConfig};
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use self::access::{Ledger, Proof, Verdict};
use self::credentials::credentials;
use crate::Error;
use crate::config::env::Objects;
use crate::config::security::ImageUser;
use crate::cri::Runtime;

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
    /// Who may use what was pulled.
    ledger: Arc<Ledger>,
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
    /// The images of `runtime`; who may use them is remembered in the kubelet's directory `root`.
    pub(crate) fn new(runtime: Runtime, root: &Path) -> Self {
        Self {
            runtime,
            pulls: Arc::new(Semaphore::new(PARALLEL_PULLS)),
            pulled: Arc::default(),
            uses: Arc::default(),
            ledger: Arc::new(Ledger::open(root)),
        }
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
        if let Some(present) = &present
            && policy != Policy::Always
            && self.is_open(wish, present).await
        {
            let text = format!("Container image \"{image}\" already present on machine and can be accessed by the pod");
            return Ok(ready(present.clone(), text));
        }
        if policy == Policy::Never {
            // Also for one that is here, and not for this Pod: that it is here is nobody's business.
            return Err(never(image));
        }
        on_pull(&format!("Pulling image \"{image}\""));
        self.pull(wish, present.as_ref()).await.map_err(|error| pull_failed(image, &error))
    }

    /// Whether the Pod may use the image that is `present` without asking its registry.
    async fn is_open(&self, wish: &Wish<'_>, present: &Image) -> bool {
        let own: Vec<Proof> = credentials(wish).into_iter().map(|credential| credential.proof).collect();
        match self.ledger.verdict(wish.image, present, &own) {
            Verdict::Open => true,
            Verdict::Ask => false,
            Verdict::Proved(proof) => {
                self.note(wish.image, present, Some(proof)).await;
                true
            }
        }
    }

    /// Pulls the image, of whose name one may be `present` already.
    async fn pull(&self, wish: &Wish<'_>, present: Option<&Image>) -> Result<Ready, Error> {
        let asked = Instant::now();
        let _permit = self.pulls.acquire().await.map_err(|_| Error::Missing("the kubelet is stopping".to_owned()))?;
        if present.is_some_and(|present| present.pinned) {
            let (ready, image, proof) = self.fetch(wish, asked).await?;
            if !image.pinned {
                self.note(wish.image, &image, proof).await;
            }
            return Ok(ready);
        }
        let name = wish.image.to_owned();
        let pulling = self.record(move |ledger| ledger.begin(&name)).await?;
        let fetched = self.fetch(wish, asked).await;
        let brought = fetched.as_ref().ok().map(|(_, image, proof)| (image.clone(), proof.clone()));
        let ended = self.record(move |_| pulling.end(brought.as_ref().map(|(image, proof)| (image, proof.as_ref()))));
        if let Err(error) = ended.await {
            tracing::warn!(%error, "who may use an image is not remembered");
        }
        Ok(fetched?.0)
    }

    /// Has the runtime pull; what it brought, and by what.
    async fn fetch(&self, wish: &Wish<'_>, asked: Instant) -> Result<(Ready, Image, Option<Proof>), Error> {
        let (image, begun) = (wish.image, Instant::now());
        let (reference, proof) = self.first_accepted(wish).await?;
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
        Ok((ready(found.clone(), text), found, proof))
    }

    /// Pulls with the credentials of the Pod, one after the other, or with none if it has none for this registry. Answers
    /// the runtime's name of the image, and what was accepted.
    async fn first_accepted(&self, wish: &Wish<'_>) -> Result<(String, Option<Proof>), Error> {
        let pull = |auth| self.runtime.pull(wish.image, auth, wish.sandbox_config.clone());
        let own = credentials(wish);
        if own.is_empty() {
            return Ok((pull(None).await?, None));
        }
        let mut refusal = Error::Missing(format!("image \"{}\" not found", wish.image));
        for credential in own {
            match pull(Some(credential.auth)).await {
                Ok(reference) => return Ok((reference, Some(credential.proof))),
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }

    /// Remembers that the image is for those who show `proof`, or for everybody. Without that, its registry is asked again.
    async fn note(&self, name: &str, image: &Image, proof: Option<Proof>) {
        let (name, image) = (name.to_owned(), image.clone());
        if let Err(error) = self.record(move |ledger| ledger.note(&name, &image, proof.as_ref())).await {
            tracing::warn!(%error, "who may use an image is not remembered");
        }
    }

    /// Changes the records of who may use what, where that may block.
    async fn record<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Arc<Ledger>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let ledger = Arc::clone(&self.ledger);
        let changed = tokio::task::spawn_blocking(move || change(&ledger)).await;
        changed.unwrap_or_else(|_| Err(Error::Missing("the kubelet is stopping".to_owned())))
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

#[cfg(test)]
mod tests {
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
}
