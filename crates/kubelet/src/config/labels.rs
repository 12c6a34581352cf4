//! The labels and annotations by which sandboxes and containers are found again: upstream's names, so that other
//! tools (and a kubelet of another make) recognise them, and two annotations of our own.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::{Container, Pod};
use sha2::{Digest, Sha256};

use crate::machine::Start;
use crate::spec;

pub(crate) const POD_NAME: &str = "io.kubernetes.pod.name";
pub(crate) const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
pub(crate) const POD_UID: &str = "io.kubernetes.pod.uid";
pub(crate) const CONTAINER_NAME: &str = "io.kubernetes.container.name";

pub(crate) const HASH: &str = "io.kubernetes.container.hash";
pub(crate) const TERMINATION_PATH: &str = "io.kubernetes.container.terminationMessagePath";
pub(crate) const TERMINATION_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
pub(crate) const POD_GRACE: &str = "io.kubernetes.pod.terminationGracePeriod";
pub(crate) const RESTART_DELAY: &str = "sampan.io/restart-delay-seconds";
pub(crate) const ROUND: &str = "sampan.io/restart-round";
const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
const CONFIG_SOURCE: &str = "kubernetes.io/config.source";

/// Labels of a sandbox: the Pod's, and who the Pod is.
pub(crate) fn of_sandbox(pod: &Pod) -> HashMap<String, String> {
    let own = pod.metadata.labels.iter().flatten().map(|(key, value)| (key.clone(), value.clone()));
    own.chain(identity(pod)).collect()
}

/// Annotations of a sandbox: the Pod's, and where it came from.
pub(crate) fn annotations_of_sandbox(pod: &Pod) -> HashMap<String, String> {
    let own: BTreeMap<String, String> = pod.metadata.annotations.clone().unwrap_or_default();
    let source = (CONFIG_SOURCE.to_owned(), "api".to_owned());
    let grace = (POD_GRACE.to_owned(), spec::grace_s(pod).to_string());
    own.into_iter().chain([source, grace]).collect()
}

/// Labels of a container.
pub(crate) fn of_container(pod: &Pod, container: &Container) -> HashMap<String, String> {
    identity(pod).into_iter().chain([(CONTAINER_NAME.to_owned(), container.name.clone())]).collect()
}

/// Annotations of a container: what is needed to judge it after a restart of the kubelet.
pub(crate) fn annotations_of_container(pod: &Pod, container: &Container, start: &Start) -> HashMap<String, String> {
    [
        (HASH, hash(container)),
        (RESTART_COUNT, start.attempt.to_string()),
        (RESTART_DELAY, start.restart_delay_s.to_string()),
        (ROUND, start.round.to_string()),
        (TERMINATION_PATH, termination_path(container).to_owned()),
        (TERMINATION_POLICY, container.termination_message_policy.clone().unwrap_or_else(|| "File".to_owned())),
        (POD_GRACE, spec::grace_s(pod).to_string()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

/// Where the container writes its last words.
pub(crate) fn termination_path(container: &Container) -> &str {
    container.termination_message_path.as_deref().unwrap_or("/dev/termination-log")
}

/// Digest of what may change in a running Pod and needs a new container when it does: its image.
pub(crate) fn hash(container: &Container) -> String {
    let image = container.image.as_deref().unwrap_or_default();
    hex::encode(&Sha256::digest(format!("{}\n{image}", container.name))[..8])
}

fn identity(pod: &Pod) -> [(String, String); 3] {
    [(POD_NAME, spec::name(pod)), (POD_NAMESPACE, spec::namespace(pod)), (POD_UID, spec::uid(pod))]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
}
