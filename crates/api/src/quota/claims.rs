//! PersistentVolumeClaims: how many there are and how much they ask for, in all and by storage class.

use serde_json::Value;

use super::{Scope, one};
use crate::amounts::Amounts;
use crate::quantity::Quantity;

const STORAGE: &str = "requests.storage";
const COUNT: &str = "persistentvolumeclaims";
/// Stands between a class and what of it is counted: `fast.storageclass.storage.k8s.io/requests.storage`.
const OF_CLASS: &str = ".storageclass.storage.k8s.io/";
/// Where the class stood before there was a field for it.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

pub(super) fn is_counted_as(name: &str) -> bool {
    let counted = |name: &str| name == STORAGE || name == COUNT;
    counted(name) || name.split_once(OF_CLASS).is_some_and(|(_, what)| counted(what))
}

pub(super) fn usage(claim: &Value) -> Amounts {
    let amount = |place: &str| claim.pointer(place)?.as_str()?.parse::<Quantity>().ok();
    let requested = amount("/spec/resources/requests/storage").map(|requested| {
        let allocated = amount("/status/allocatedResources/storage").unwrap_or(Quantity::ZERO);
        whole(requested.max(allocated))
    });
    let mut used = Amounts::from([(COUNT.to_owned(), one())]);
    used.extend(requested.map(|amount| (STORAGE.to_owned(), amount)));
    let annotated = claim["metadata"]["annotations"][CLASS_ANNOTATION].as_str();
    let class = annotated.or(claim["spec"]["storageClassName"].as_str()).unwrap_or_default();
    if !class.is_empty() {
        let of_class = used.iter().map(|(name, amount)| (format!("{class}{OF_CLASS}{name}"), *amount));
        let of_class: Amounts = of_class.collect();
        used.extend(of_class);
    }
    used
}

/// Fractions of a byte count as one.
fn whole(amount: Quantity) -> Quantity {
    let rounded = Quantity::from_units(amount.value());
    if rounded == amount { amount } else { rounded }
}

pub(super) fn is_in(claim: &Value, scope: &Scope) -> bool {
    if scope.name != "VolumeAttributesClass" {
        return false;
    }
    let places = [
        "/spec/volumeAttributesClassName",
        "/status/currentVolumeAttributesClassName",
        "/status/modifyVolumeStatus/targetVolumeAttributesClassName",
    ];
    let classes = places.iter().filter_map(|place| claim.pointer(place)?.as_str()).filter(|class| !class.is_empty());
    scope.takes(&classes.collect::<Vec<_>>())
}
