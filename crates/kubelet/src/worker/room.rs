//! What all other Pods leave to one.

use k8s_openapi::api::core::v1::Pod;

use crate::node::{Fit, Offer, Refusal};

/// The node's room, as whoever knows all Pods sees it.
pub(crate) trait Room: Send + Sync {
    /// Whether the node can give `pod`, which it runs, what it wishes.
    fn fit(&self, pod: &Pod) -> Fit;

    /// Judges `pod`, which was refused, once more by what the node is now. If there is nothing against it any more, it
    /// has its place.
    fn take(&self, pod: &Pod, offer: &Offer) -> Option<Refusal>;
}
