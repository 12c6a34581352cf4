//! What a plugin can be, and the words plugins and the scheduler speak to each other.
//!
//! A plugin takes part at one or more extension points, each a trait: [`PreEnqueue`] (may this Pod be tried at all?),
//! [`Filter`] (can it run on this node, and what could change a no?), [`Score`] (how well would it run there?).
//! All of them are pure. The ordered list of plugins is [`crate::plugins::ALL`].

use std::borrow::Cow;
use std::sync::Arc;

use crate::cluster::Cluster;
use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// The best score of a node.
pub(crate) const BEST: i64 = 100;

/// Why a node is no place for a Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// In upstream's words; each is counted in the message.
    pub(crate) reasons: Vec<Cow<'static, str>>,
    /// Whether it could become one if other Pods left.
    pub(crate) resolvable: bool,
}

impl Refusal {
    /// The node is no place as long as other Pods are there.
    pub(crate) fn resolvable(reason: &'static str) -> Self {
        Self { reasons: vec![reason.into()], resolvable: true }
    }

    /// The node is no place, whatever Pods are there.
    pub(crate) fn unresolvable(reason: &'static str) -> Self {
        Self { reasons: vec![reason.into()], resolvable: false }
    }
}

/// What a filter says about one node.
pub(crate) type Verdict = Result<(), Refusal>;

/// A filter, made ready for one Pod.
pub(crate) type NodeFilter<'a> = Box<dyn Fn(&NodeInfo) -> Verdict + 'a>;

/// Decides whether a Pod may be tried at all.
pub(crate) trait PreEnqueue: Sync {
    /// Whether `pod` may enter the queue.
    fn admits(&self, pod: &PodInfo) -> bool;
}

/// Decides which nodes a Pod can run on.
pub(crate) trait Filter: Sync {
    /// Names of the only nodes worth a look, when the Pod itself names them.
    fn only(&self, _pod: &PodInfo) -> Option<Vec<String>> {
        None
    }

    /// Works out what all nodes need, and returns the check of one node; `None` when the Pod does not care.
    fn prepare<'a>(&self, pod: &'a PodInfo, cluster: &'a Cluster) -> Option<NodeFilter<'a>>;

    /// Whether `event` could make a node acceptable for a Pod that this plugin kept from it.
    fn could_help(&self, event: &Event<'_>, pod: &PodInfo, cluster: &Cluster) -> bool;
}

/// Prefers some nodes to others.
pub(crate) trait Score: Sync {
    /// A score from 0 to [`BEST`] for each of `nodes`; `None` when they are all the same to the Pod.
    fn score(&self, pod: &PodInfo, cluster: &Cluster, nodes: &[&NodeInfo]) -> Option<Vec<i64>>;
}

/// A rule of the scheduler: where it takes part.
pub(crate) struct Plugin {
    pub(crate) name: &'static str,
    pub(crate) gate: Option<&'static dyn PreEnqueue>,
    pub(crate) filter: Option<&'static dyn Filter>,
    /// With the weight of its score.
    pub(crate) score: Option<(i64, &'static dyn Score)>,
}

/// Something that happened in the cluster and may concern Pods that wait.
pub(crate) enum Event<'a> {
    NodeAdded(&'a NodeInfo),
    NodeChanged {
        old: &'a NodeInfo,
        new: &'a NodeInfo,
    },
    NodeRemoved(&'a NodeInfo),
    /// A Pod came to a node.
    PodPlaced(&'a PodInfo),
    /// A Pod on a node has other labels or asks for other amounts.
    PodChanged {
        old: &'a PodInfo,
        new: &'a PodInfo,
    },
    /// A Pod has ended, was deleted, or did not come to the node it was meant for.
    PodGone(&'a PodInfo),
    /// A namespace is new or has other labels.
    NamespaceChanged,
}

/// A set of plugins, by their places in [`crate::plugins::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PluginSet(u32);

impl PluginSet {
    pub(crate) fn insert(&mut self, index: usize) {
        self.0 |= 1 << index;
    }

    pub(crate) fn contains(self, index: usize) -> bool {
        self.0 & (1 << index) != 0
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Brings raw scores to 0..=[`BEST`], in proportion to the highest.
pub(crate) fn normalize(scores: &mut [i64]) {
    let highest = scores.iter().copied().max().unwrap_or_default();
    if highest > 0 {
        scores.iter_mut().for_each(|score| *score = *score * BEST / highest);
    }
}

/// Brings raw penalties to scores: the highest to 0, none at all to [`BEST`].
pub(crate) fn normalize_reverse(penalties: &mut [i64]) {
    normalize(penalties);
    penalties.iter_mut().for_each(|penalty| *penalty = BEST - *penalty);
}

/// A node that was looked at and refused, and by which plugin.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) node: Arc<str>,
    pub(crate) plugin: usize,
    pub(crate) refusal: Refusal,
}
