//! From a `Website` to a Deployment, and back to its status. What is made is owned, and goes with it; one thing is left
//! behind on purpose, by a finalizer: the note of websites that are gone.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{AttachParams, ListParams, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::finalizer::{Event, finalizer};
use kube::{Api, Client, Resource as _, ResourceExt};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use super::MANAGER;
use super::website::{Website, WebsiteStatus};

const FINALIZER: &str = "example.com/note";
const PORT: u16 = 8080;
const RETRY: Duration = Duration::from_secs(1);

/// What reconciling needs.
pub(crate) struct Context {
    pub(crate) client: Client,
}

/// Why a website is not as it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The API said no.
    #[error(transparent)]
    Kube(#[from] kube::Error),
    /// A connection to a Pod broke.
    #[error("talking to the Pod: {0}")]
    Io(#[from] std::io::Error),
    /// The finalizer could not be set or removed, or what it stands for failed.
    #[error("finalizing: {0}")]
    Finalizer(#[source] Box<kube::runtime::finalizer::Error<Error>>),
}

/// Brings one website to what it should be.
pub(crate) async fn reconcile(website: Arc<Website>, context: Arc<Context>) -> Result<Action, Error> {
    let websites: Api<Website> = Api::namespaced(context.client.clone(), &website.namespace().unwrap_or_default());
    let done = finalizer(&websites, FINALIZER, website, |event| async {
        match event {
            Event::Apply(website) => apply(&website, &context.client).await,
            Event::Cleanup(website) => note_end(&website, &context.client).await,
        }
    });
    done.await.map_err(|error| Error::Finalizer(Box::new(error)))
}

/// After a failure.
pub(crate) fn try_again(_: Arc<Website>, _: &Error, _: Arc<Context>) -> Action {
    Action::requeue(RETRY)
}

async fn apply(website: &Website, client: &Client) -> Result<Action, Error> {
    let (name, namespace) = (website.name_any(), website.namespace().unwrap_or_default());
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    let ours = PatchParams::apply(MANAGER).force();
    let deployment = deployments.patch(&name, &ours, &Patch::Apply(&deployment(website))).await?;
    let replicas = deployment.status.and_then(|status| status.ready_replicas).unwrap_or_default();
    let mut status = WebsiteStatus { replicas, ..WebsiteStatus::default() };
    if replicas > 0 {
        (status.serves, status.file) = look(&name, Api::namespaced(client.clone(), &namespace)).await?;
    }
    if website.status.as_ref() != Some(&status) {
        let websites: Api<Website> = Api::namespaced(client.clone(), &namespace);
        websites.patch_status(&name, &PatchParams::default(), &Patch::Merge(json!({ "status": status }))).await?;
    }
    // A new page reaches the Pods without any event that this controller sees.
    let seen = status.serves.as_deref() == Some(&website.spec.page) || website.spec.replicas == Some(0);
    Ok(if seen { Action::await_change() } else { Action::requeue(RETRY) })
}

fn deployment(website: &Website) -> Value {
    let name = website.name_any();
    let command = format!("mkdir -p /www && printf %s \"$PAGE\" > /www/index.html && exec httpd -f -p {PORT} -h /www");
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": name, "ownerReferences": [website.controller_owner_ref(&())] },
        "spec": {
            "replicas": website.spec.replicas,
            "selector": { "matchLabels": { "website": name } },
            "template": {
                "metadata": { "labels": { "website": name } },
                "spec": { "terminationGracePeriodSeconds": 0, "containers": [{
                    "name": "web", "image": "busybox", "imagePullPolicy": "IfNotPresent",
                    "command": ["sh", "-c", command],
                    "env": [{ "name": "PAGE", "value": website.spec.page }],
                    "readinessProbe": { "tcpSocket": { "port": PORT }, "periodSeconds": 1 },
                }] },
            },
        },
    })
}

/// Asks a ready Pod of the newest page, through port-forward and through exec. Nothing while there is none.
async fn look(name: &str, pods: Api<Pod>) -> Result<(Option<String>, Option<String>), Error> {
    let list = pods.list(&ListParams::default().labels(&format!("website={name}"))).await?;
    let ready = |pod: &&Pod| {
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        pod.metadata.deletion_timestamp.is_none()
            && conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    let newest = list.items.iter().filter(ready).max_by_key(|pod| pod.metadata.creation_timestamp.clone());
    let Some(pod) = newest.map(ResourceExt::name_any) else { return Ok((None, None)) };

    let mut forward = pods.portforward(&pod, &[PORT]).await?;
    let Some(mut stream) = forward.take_stream(PORT) else { return Ok((None, None)) };
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let answer = text(&mut stream).await?;
    drop(stream);
    let served = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());

    let mut process = pods.exec(&pod, ["cat", "/www/index.html"], &AttachParams::default().stderr(false)).await?;
    let file = match process.stdout() {
        Some(mut stdout) => Some(text(&mut stdout).await?),
        None => None,
    };
    Ok((served, file))
}

async fn text(from: &mut (impl AsyncRead + Unpin)) -> Result<String, Error> {
    let mut text = String::new();
    from.read_to_string(&mut text).await?;
    Ok(text)
}

/// Notes in a ConfigMap that the website was there.
async fn note_end(website: &Website, client: &Client) -> Result<Action, Error> {
    let notes: Api<ConfigMap> = Api::namespaced(client.clone(), &website.namespace().unwrap_or_default());
    let note = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "gone" },
        "data": { website.name_any(): website.spec.page },
    });
    // Each website's note is a field with an owner of its own: another's end does not take it away.
    let owner = PatchParams::apply(&format!("{MANAGER}-{}", website.name_any())).force();
    notes.patch("gone", &owner, &Patch::Apply(&note)).await?;
    Ok(Action::await_change())
}
