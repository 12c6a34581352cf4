//! All Pods of this node: who has a worker, what reaches it, and what the kubelet's HTTPS API may know.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Weak};

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use parking_lot::Mutex;
use sampan_client::Tasks;
use sampan_cri::v1::PodSandbox;
use tokio::sync::watch;

use crate::config::paths::PodPaths;
use crate::config::{apparmor, labels, sysctls};
use crate::eviction;
use crate::machine::Cut;
use crate::node::{Active, Fit, Node, Offer, Refusal, fit, refusal};
use crate::seen::Instance;
use crate::server;
use crate::static_pods::{StaticPods, is_static};
use crate::worker::{Inbox, Room, Shown, Standing, Worker};
use crate::{mirrors, shutdown, spec, volumes};

type Inboxes = HashMap<String, Arc<Inbox>>;

/// The Pods of this node, by uid.
pub(crate) struct PodTable {
    node: Arc<Node>,
    tasks: Tasks,
    inboxes: Mutex<Inboxes>,
    /// The static Pods that there are to be.
    statics: Mutex<StaticPods>,
    changes: Arc<watch::Sender<u64>>,
}

impl PodTable {
    /// No Pods yet; workers run in `tasks`.
    pub(crate) fn new(node: &Arc<Node>, tasks: &Tasks) -> Arc<Self> {
        Arc::new(Self {
            node: Arc::clone(node),
            tasks: tasks.clone(),
            inboxes: Mutex::default(),
            statics: Mutex::default(),
            changes: Arc::new(watch::Sender::new(0)),
        })
    }

    /// A Pod is there or has changed.
    pub(crate) fn apply(self: &Arc<Self>, pod: &Arc<Pod>) {
        if mirrors::is_mirror(pod) {
            let shown = self.node.mirrors.applied(pod).and_then(|uid| self.inboxes.lock().get(&uid).cloned());
            if let Some(inbox) = shown {
                inbox.put(Arc::clone(pod));
            }
            return;
        }
        let known = self.inboxes.lock().get(spec::uid(pod)).cloned();
        match known {
            Some(inbox) => inbox.put(Arc::clone(pod)),
            None => self.start(Arc::clone(pod), false),
        }
    }

    /// A Pod is gone from the API server.
    pub(crate) fn remove(&self, pod: &Pod) {
        if mirrors::is_mirror(pod) {
            return self.node.mirrors.removed(pod);
        }
        if let Some(inbox) = self.inboxes.lock().get(spec::uid(pod)) {
            inbox.remove();
        }
    }

    /// The static Pods are these now.
    pub(crate) fn set_static(self: &Arc<Self>, pods: &StaticPods) {
        self.node.mirrors.set(pods);
        self.statics.lock().clone_from(pods);
        let known: Vec<Arc<Inbox>> = self.inboxes.lock().values().cloned().collect();
        for gone in known.iter().filter(|inbox| is_static(&inbox.pod()) && !pods.contains_key(inbox.uid())) {
            gone.remove();
        }
        self.start_static();
    }

    /// Starts the static Pods that nothing stands in the way of any more.
    fn start_static(self: &Arc<Self>) {
        // Held to the end: of two who look at the same time, one starts a Pod.
        let statics = self.statics.lock();
        if statics.is_empty() {
            return;
        }
        let known = |inbox: &Arc<Inbox>| Known { pod: inbox.pod(), removed: inbox.removed() };
        let known: Vec<Known> = self.inboxes.lock().values().map(known).collect();
        for pod in startable(&statics, &known) {
            let uid = spec::uid(&pod).to_owned();
            // What its mirror says of a Pod counts: one that ran before is not judged again.
            let mirror = self.node.mirrors.of(&uid);
            let as_shown = mirror.map(|mirror| Arc::new(mirrors::mirrored(&pod, &mirror)));
            self.start(as_shown.unwrap_or(pod), false);
            // The mirror may have come just now, when nobody was there to be told.
            let started = self.inboxes.lock().get(&uid).cloned();
            if let (Some(inbox), Some(mirror)) = (started, self.node.mirrors.of(&uid)) {
                inbox.put(mirror);
            }
        }
    }

    /// The runtime has told of the Pod `uid`.
    pub(crate) fn runtime_changed(&self, uid: &str) {
        if let Some(inbox) = self.inboxes.lock().get(uid) {
            inbox.runtime_changed();
        }
    }

    /// Ends the Pod `uid`, as the node must; whether there is such a Pod.
    pub(crate) fn cut(&self, uid: &str, cut: Cut) -> bool {
        let inbox = self.inboxes.lock().get(uid).cloned();
        inbox.map(|inbox| inbox.cut(cut)).is_some()
    }

    /// Has what is left of the containers of Pods that are over removed; the uids of those Pods.
    pub(crate) fn discard_dead(&self) -> Vec<String> {
        let inboxes: Vec<Arc<Inbox>> = self.inboxes.lock().values().cloned().collect();
        let is_dead = |inbox: &Arc<Inbox>| {
            let Shown { pod, seen } = inbox.shown();
            let ended = spec::is_over(&pod) && pod.metadata.deletion_timestamp.is_none();
            ended && !seen.containers.is_empty() && !seen.containers.iter().any(Instance::alive)
        };
        let dead = inboxes.iter().filter(|inbox| is_dead(inbox)).map(|inbox| {
            inbox.discard();
            inbox.uid().to_owned()
        });
        dead.collect()
    }

    /// Whether nothing is left of the containers of these Pods.
    pub(crate) fn hold_no_container(&self, uids: &[String]) -> bool {
        let inboxes = self.inboxes.lock();
        let mut known = uids.iter().filter_map(|uid| inboxes.get(uid));
        known.all(|inbox| inbox.shown().seen.containers.is_empty())
    }

    /// The runtime may have something new of any Pod.
    pub(crate) fn all_changed(&self) {
        self.inboxes.lock().values().for_each(|inbox| inbox.runtime_changed());
    }

    /// Has what the runtime and the disk have of unknown Pods removed. Those of `statics` are known, if not here yet.
    pub(crate) fn remove_orphans(self: &Arc<Self>, of_runtime: &HashMap<String, Arc<Pod>>, statics: &StaticPods) {
        let options = &self.node.options;
        let on_disk = volumes::orphans(&options.root_dir).into_iter().map(|uid| {
            let (namespace, name) = named_by_logs(&options.log_dir, &uid).unwrap_or_default();
            (uid.clone(), Arc::new(stand_in(&uid, &namespace, &name)))
        });
        let all = of_runtime.iter().map(|(uid, pod)| (uid.clone(), Arc::clone(pod))).chain(on_disk);
        for (uid, pod) in all {
            if !self.inboxes.lock().contains_key(&uid) && !statics.contains_key(&uid) {
                tracing::info!(pod = %spec::describe(&pod), "removing what is left of a Pod that no longer exists");
                self.start(pod, true);
            }
        }
    }

    fn start(self: &Arc<Self>, pod: Arc<Pod>, removed: bool) {
        let uid = spec::uid(&pod).to_owned();
        // Held until the Pod has its place, if it gets one: what is left is given once.
        let mut inboxes = self.inboxes.lock();
        if inboxes.contains_key(&uid) {
            // Somebody else has started it since it was looked for: a Pod has one worker.
            return;
        }
        let refusal = if removed { None } else { self.refusal(&pod, &inboxes) };
        let standing = match &refusal {
            _ if removed => Standing::Removed,
            Some(_) => Standing::Refused,
            None => Standing::Taken,
        };
        let inbox = Arc::new(Inbox::new(pod, standing, &self.changes));
        inboxes.insert(uid.clone(), Arc::clone(&inbox));
        drop(inboxes);
        let worker = Worker::new(&self.node, inbox, refusal, Arc::new(Beside(Arc::downgrade(self))));
        let table = Arc::clone(self);
        self.tasks.spawn(async move {
            worker.run().await;
            table.inboxes.lock().remove(&uid);
            table.start_static();
        });
    }

    /// Why the Pod is not taken. One that has been taken before is not judged again; of a static Pod its mirror tells.
    fn refusal(&self, pod: &Pod, inboxes: &Inboxes) -> Option<Refusal> {
        let node = &self.node;
        if spec::status(pod).start_time.is_some() {
            return None;
        }
        if *node.shutting_down.borrow() {
            return Some(shutdown::refusal().into());
        }
        let refused = eviction::refusal(pod, &node.pressures.borrow())
            .or_else(|| sysctls::refusal(pod, &node.options.allowed_unsafe_sysctls))
            .or_else(|| apparmor::refusal(pod, node.has_apparmor))
            .or_else(|| node.runtime_features.borrow().refusal(pod));
        refused.map(Refusal::from).or_else(|| refusal(pod, &self.beside(pod, inboxes), &node.offer()))
    }

    /// What the Pods beside `pod` have of the node: those that the scheduler counts too. One that is gone from the API
    /// server may still be taken down here, but its place has been given away; one that was refused never had any. When
    /// the kubelet has just started, static Pods run that it does not know yet.
    fn beside(&self, pod: &Pod, inboxes: &Inboxes) -> Active {
        let others = inboxes.values().filter(|inbox| inbox.is_taken() && inbox.uid() != spec::uid(pod));
        let others = others.map(|inbox| inbox.shown().pod);
        let all: Vec<Arc<Pod>> = others.chain(self.node.mirrors.of_unread()).collect();
        Active::of(all.iter().map(AsRef::as_ref))
    }

    fn shown(&self) -> Vec<Shown> {
        self.inboxes.lock().values().map(|inbox| inbox.shown()).collect()
    }

    fn entry(&self, shown: Shown) -> server::PodEntry {
        let paths = PodPaths::of(&shown.pod, &self.node.options.root_dir, &self.node.options.log_dir);
        let names: std::collections::BTreeSet<&str> = shown.seen.containers.iter().map(|c| c.name.as_str()).collect();
        let containers = names.into_iter().map(|name| {
            let mut instances = shown.seen.containers.iter().filter(|container| container.name == name).map(instance);
            let current = instances.next();
            // While the next one is waited for, the last one is the current one and the one before as well.
            let previous = if waits(&shown.pod, name) { current.clone() } else { instances.next() };
            server::Container { name: name.to_owned(), current, previous }
        });
        server::PodEntry {
            containers: containers.collect(),
            sandbox: shown.seen.sandboxes.first().map(|sandbox| sandbox.id.clone()),
            log_directory: paths.logs,
            pod: shown.pod,
        }
    }
}

/// What the Pods of a table leave to one of them.
struct Beside(Weak<PodTable>);

impl Room for Beside {
    fn fit(&self, pod: &Pod) -> Fit {
        let Some(table) = self.0.upgrade() else { return Fit::Now };
        let others = table.beside(pod, &table.inboxes.lock());
        fit(pod, &others, &table.node.capacity.allocatable)
    }

    fn take(&self, pod: &Pod, offer: &Offer) -> Option<Refusal> {
        let table = self.0.upgrade()?;
        let inboxes = table.inboxes.lock();
        let refused = refusal(pod, &table.beside(pod, &inboxes), offer);
        if let (None, Some(inbox)) = (&refused, inboxes.get(spec::uid(pod))) {
            inbox.take();
        }
        refused
    }
}

/// A Pod that has a worker.
struct Known {
    pod: Arc<Pod>,
    /// Whether it is only taken down.
    removed: bool,
}

/// Those of `statics` to be started beside the Pods that are `known` here: whatever has a static Pod's name goes first,
/// be it another version of it or what is left of the same one.
fn startable(statics: &StaticPods, known: &[Known]) -> Vec<Arc<Pod>> {
    let named = |pod: &Arc<Pod>| (spec::namespace(pod).to_owned(), spec::name(pod).to_owned());
    // Of an orphan nobody knows whether it was static.
    let in_the_way = known.iter().filter(|known| known.removed || is_static(&known.pod));
    let mut taken: HashSet<_> = in_the_way.map(|known| named(&known.pod)).collect();
    let there: HashSet<&str> = known.iter().map(|known| spec::uid(&known.pod)).collect();
    let free = statics.values().filter(|pod| !there.contains(spec::uid(pod)));
    free.filter(|pod| taken.insert(named(pod))).cloned().collect()
}

/// A Pod of which only its sandbox is known, as an object: enough to take it down.
pub(crate) fn from_sandbox(sandbox: &PodSandbox, containers: &[String]) -> Pod {
    let label = |key: &str| sandbox.labels.get(key).cloned().unwrap_or_default();
    let mut pod = stand_in(&label(labels::POD_UID), &label(labels::POD_NAMESPACE), &label(labels::POD_NAME));
    let named = containers.iter().map(|name| Container { name: name.clone(), ..Container::default() });
    pod.spec = Some(PodSpec {
        containers: named.collect(),
        termination_grace_period_seconds: sandbox
            .annotations
            .get(labels::POD_GRACE)
            .and_then(|grace| grace.parse().ok()),
        ..PodSpec::default()
    });
    pod
}

fn stand_in(uid: &str, namespace: &str, name: &str) -> Pod {
    Pod {
        metadata: ObjectMeta {
            uid: Some(uid.to_owned()),
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        ..Pod::default()
    }
}

/// Namespace and name of a Pod, from its log directory.
fn named_by_logs(log_dir: &Path, uid: &str) -> Option<(String, String)> {
    let entries = std::fs::read_dir(log_dir).ok()?.flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).find_map(|entry| {
        let (rest, of) = entry.rsplit_once('_')?;
        let (namespace, name) = rest.split_once('_')?;
        (of == uid).then(|| (namespace.to_owned(), name.to_owned()))
    })
}

impl server::Pods for PodTable {
    fn list(&self) -> Vec<Arc<Pod>> {
        self.shown().into_iter().map(|shown| shown.pod).collect()
    }

    fn entries(&self) -> Vec<server::PodEntry> {
        self.shown().into_iter().map(|shown| self.entry(shown)).collect()
    }

    fn find(&self, namespace: &str, name: &str) -> Option<server::PodEntry> {
        let found = self
            .shown()
            .into_iter()
            .filter(|shown| spec::namespace(&shown.pod) == namespace && spec::name(&shown.pod) == name);
        // While a Pod is taken down, its namesake may run already: the newer one is meant.
        let shown = found.max_by_key(|shown| shown.pod.metadata.creation_timestamp.clone())?;
        Some(self.entry(shown))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// Whether the container `name` waits to be started again.
fn waits(pod: &Pod, name: &str) -> bool {
    let statuses = pod
        .status
        .iter()
        .flat_map(|status| status.container_statuses.iter().chain(&status.init_container_statuses).flatten());
    let status = statuses.into_iter().find(|status| status.name == name);
    let waiting = status.and_then(|status| status.state.as_ref()).is_some_and(|state| state.waiting.is_some());
    waiting && status.is_some_and(|status| status.last_state.is_some())
}

fn instance(instance: &Instance) -> server::Instance {
    server::Instance { id: instance.id.clone(), log: instance.log_path.clone().into(), running: instance.running() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_file(uid: &str, name: &str) -> Pod {
        let mut pod = stand_in(uid, "default", name);
        pod.metadata.annotations = Some([("kubernetes.io/config.source".to_owned(), "file".to_owned())].into());
        pod
    }

    #[test]
    fn static_pods_wait_for_what_has_their_uid_or_name() {
        let statics: StaticPods = [("u".to_owned(), Arc::new(of_file("u", "p")))].into();
        let check = |pod: Pod, removed: bool, starts: bool| {
            let known = [Known { pod: Arc::new(pod), removed }];
            assert_eq!(startable(&statics, &known).len(), usize::from(starts), "{:?}", known[0].pod.metadata);
        };
        check(of_file("u", "p"), false, false); // It runs.
        check(of_file("v", "p"), false, false); // Another version of it runs.
        check(of_file("v", "q"), false, true);
        check(stand_in("u", "default", "p"), true, false); // Its own remains are taken down.
        check(stand_in("v", "default", "p"), true, false); // Those of another version are.
        check(stand_in("v", "default", "p"), false, true); // A Pod of the API server is no matter of its.
        check(stand_in("u", "", ""), true, false); // Of its remains only the uid is known.
    }
}
