//! Mirror Pods: what the API server shows of static Pods. The kubelet makes one for each, with a status that follows,
//! and makes it again when someone deletes it; the static Pod itself heeds its file alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node as NodeObject, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Api;
use kube::api::{DeleteParams, PostParams, Preconditions};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::node::Node;
use crate::static_pods::{CONFIG_HASH, StaticPods};
use crate::{Error, spec};

const CONFIG_MIRROR: &str = "kubernetes.io/config.mirror";
/// After a failure it is tried again.
const RETRY: Duration = Duration::from_secs(3);

/// The mirrors of this node's static Pods.
#[derive(Default)]
pub(crate) struct Mirrors {
    state: Mutex<State>,
    bell: Notify,
}

#[derive(Default)]
struct State {
    /// The static Pods, once it is known which there are.
    statics: Option<StaticPods>,
    /// What the API server has, by the mirror's uid.
    known: BTreeMap<String, Arc<Pod>>,
}

/// One thing to do so that mirrors are as they should be.
#[derive(Debug, PartialEq)]
enum Step {
    Create(Arc<Pod>),
    Delete(Arc<Pod>),
}

/// Whether `pod` is the mirror of a static Pod.
pub(crate) fn is_mirror(pod: &Pod) -> bool {
    annotation(pod, CONFIG_MIRROR).is_some()
}

fn annotation<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    pod.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

impl Mirrors {
    /// These are the static Pods now.
    pub(crate) fn set(&self, statics: &StaticPods) {
        self.state.lock().statics = Some(statics.clone());
        self.bell.notify_one();
    }

    /// The API server has this mirror. Gives the uid of the static Pod that it shows.
    pub(crate) fn applied(&self, mirror: &Arc<Pod>) -> Option<String> {
        self.state.lock().known.insert(spec::uid(mirror).to_owned(), Arc::clone(mirror));
        self.bell.notify_one();
        annotation(mirror, CONFIG_MIRROR).map(str::to_owned)
    }

    /// The API server has this mirror no more.
    pub(crate) fn removed(&self, mirror: &Pod) {
        self.state.lock().known.remove(spec::uid(mirror));
        self.bell.notify_one();
    }

    /// The mirror of the static Pod `uid`, if it may be written to.
    pub(crate) fn of(&self, uid: &str) -> Option<Arc<Pod>> {
        let state = self.state.lock();
        let is = |mirror: &&Arc<Pod>| annotation(mirror, CONFIG_MIRROR) == Some(uid) && !is_going(mirror);
        state.known.values().find(is).cloned()
    }

    /// Before it is known which static Pods there are: the mirrors of those that ran.
    pub(crate) fn of_unread(&self) -> Vec<Arc<Pod>> {
        let state = self.state.lock();
        let ran = |mirror: &&Arc<Pod>| spec::status(mirror).start_time.is_some();
        state.known.values().filter(ran).filter(|_| state.statics.is_none()).cloned().collect()
    }

    /// Keeps mirrors as they should be, for as long as it is let.
    pub(crate) async fn keep(&self, node: &Node) {
        loop {
            let steps = {
                let state = self.state.lock();
                state.statics.as_ref().map(|statics| steps(statics, &state.known)).unwrap_or_default()
            };
            let mut failed = false;
            for step in steps {
                if let Err(error) = carry_out(node, &step).await {
                    tracing::debug!(%error, "mirror Pod");
                    failed = true;
                }
            }
            if failed {
                tokio::time::sleep(RETRY).await;
            } else {
                self.bell.notified().await;
            }
        }
    }
}

/// A static Pod with the status that its mirror has.
pub(crate) fn mirrored(pod: &Pod, mirror: &Pod) -> Pod {
    let mut pod = Pod { status: mirror.status.clone(), ..pod.clone() };
    pod.metadata.resource_version.clone_from(&mirror.metadata.resource_version);
    pod.metadata.generation = mirror.metadata.generation;
    pod
}

fn is_going(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// What is to be done: mirrors that show no static Pod, or are being deleted, go; then static Pods without one get it.
fn steps(statics: &StaticPods, known: &BTreeMap<String, Arc<Pod>>) -> Vec<Step> {
    let shows = |mirror: &Pod, uid: &str| annotation(mirror, CONFIG_MIRROR) == Some(uid);
    let fits = |mirror: &&Arc<Pod>| !is_going(mirror) && statics.keys().any(|uid| shows(mirror, uid));
    let gone = known.values().filter(|mirror| !fits(mirror)).map(|mirror| Step::Delete(Arc::clone(mirror)));
    let named =
        |one: &Pod, other: &Pod| (spec::namespace(one), spec::name(one)) == (spec::namespace(other), spec::name(other));
    let missing = statics.values().filter(|pod| !known.values().any(|mirror| named(mirror, pod)));
    gone.chain(missing.map(|pod| Step::Create(Arc::clone(pod)))).collect()
}

async fn carry_out(node: &Node, step: &Step) -> Result<(), Error> {
    let (Step::Create(pod) | Step::Delete(pod)) = step;
    let api = Api::<Pod>::namespaced(node.client.clone(), spec::namespace(pod));
    let answer = match step {
        Step::Create(pod) => {
            let owner = Api::<NodeObject>::all(node.client.clone()).get(&node.options.node_name).await;
            let owner = owner.map_err(Error::api("reading the node"))?;
            api.create(&PostParams::default(), &mirror(pod, &owner)).await.map(drop)
        }
        Step::Delete(mirror) => {
            let preconditions = Preconditions { uid: mirror.metadata.uid.clone(), resource_version: None };
            let how = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default().grace_period(0) };
            api.delete(spec::name(mirror), &how).await.map(drop)
        }
    };
    match answer {
        // Gone or there already: the watch tells.
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        answer => answer.map_err(Error::api("keeping a mirror Pod")),
    }
}

/// The object that shows the static Pod `pod` of the node `owner`.
fn mirror(pod: &Pod, owner: &NodeObject) -> Pod {
    let mut mirror = Pod { status: None, ..pod.clone() };
    let hash = annotation(pod, CONFIG_HASH).unwrap_or_default().to_owned();
    mirror.metadata.annotations.get_or_insert_default().insert(CONFIG_MIRROR.to_owned(), hash);
    mirror.metadata.uid = None;
    mirror.metadata.owner_references = Some(vec![OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: owner.metadata.name.clone().unwrap_or_default(),
        uid: owner.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: None,
    }]);
    mirror
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, uid: &str, shows: Option<&str>, going: bool) -> (String, Arc<Pod>) {
        let mut object = json!({"metadata": {"name": name, "namespace": "ns", "uid": uid, "annotations": {}}});
        if let Some(shows) = shows {
            object["metadata"]["annotations"][CONFIG_MIRROR] = json!(shows);
        }
        if going {
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        (uid.to_owned(), Arc::new(serde_json::from_value(object).unwrap()))
    }

    /// `want` has `+name` for a creation and `-name` for a deletion.
    fn check(statics: &[(String, Arc<Pod>)], known: &[(String, Arc<Pod>)], want: &str) {
        let steps = steps(&statics.iter().cloned().collect(), &known.iter().cloned().collect());
        let words = steps.iter().map(|step| match step {
            Step::Create(pod) => format!("+{}", spec::name(pod)),
            Step::Delete(pod) => format!("-{}", spec::name(pod)),
        });
        assert_eq!(words.collect::<Vec<_>>().join(" "), want);
    }

    #[test]
    fn mirrors_follow_static_pods() {
        let web = || [pod("web", "h1", None, false)];
        check(&web(), &[], "+web");
        check(&web(), &[pod("web", "u", Some("h1"), false)], "");
        check(&web(), &[pod("web", "u", Some("h0"), false)], "-web");
        check(&web(), &[pod("web", "u", Some("h1"), true)], "-web");
        check(&[], &[pod("web", "u", Some("h1"), false)], "-web");
    }
}
