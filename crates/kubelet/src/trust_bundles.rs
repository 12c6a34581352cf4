//! The ClusterTrustBundles of the cluster, which Pods may have as files: all of them are watched from the first Pod that
//! uses one, since a Pod may choose them by signer and labels.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::certificates::v1::ClusterTrustBundle;
use k8s_openapi::api::core::v1::{ClusterTrustBundleProjection, Pod};
use kube::runtime::watcher;
use kube::{Api, Client};
use parking_lot::Mutex;
use sampan_api::selector::Selector;
use sampan_client::{Informer, Tasks};

use crate::sources::OnChange;
use crate::{Error, spec};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// See the module.
pub(crate) struct TrustBundles {
    client: Client,
    tasks: Tasks,
    informer: Mutex<Option<Informer<ClusterTrustBundle>>>,
    /// Who wants to know of changes, by Pod uid.
    holders: Arc<Mutex<HashMap<String, OnChange>>>,
}

/// Whether `pod` has a trust bundle in one of its volumes.
pub(crate) fn used_by(pod: &Pod) -> bool {
    let volumes = spec::of(pod).volumes.iter().flatten();
    let mut sources = volumes.filter_map(|volume| volume.projected.as_ref()?.sources.as_ref()).flatten();
    sources.any(|source| source.cluster_trust_bundle.is_some())
}

impl TrustBundles {
    /// Nothing is watched yet.
    pub(crate) fn new(client: &Client, tasks: &Tasks) -> Self {
        Self { client: client.clone(), tasks: tasks.clone(), informer: Mutex::default(), holders: Arc::default() }
    }

    /// Tells the Pod `uid` of changes from now on.
    pub(crate) fn hold(&self, uid: &str, on_change: &OnChange) {
        self.holders.lock().insert(uid.to_owned(), Arc::clone(on_change));
        let mut informer = self.informer.lock();
        if informer.is_none() {
            let started = Informer::start(Api::all(self.client.clone()), watcher::Config::default(), &self.tasks);
            let told = Arc::clone(&self.holders);
            started.on_change(move |_| {
                let holders: Vec<OnChange> = told.lock().values().cloned().collect();
                holders.iter().for_each(|on_change| on_change());
            });
            *informer = Some(started);
        }
    }

    /// The Pod `uid` needs to know no more.
    pub(crate) fn release(&self, uid: &str) {
        self.holders.lock().remove(uid);
    }

    /// Waits until all have been looked for once.
    pub(crate) async fn synced(&self) {
        let informer = self.informer.lock().clone();
        if let Some(informer) = informer {
            informer.synced().await;
        }
    }

    /// The certificates that `projection` chooses.
    pub(crate) fn choose(&self, projection: &ClusterTrustBundleProjection) -> Result<String, Error> {
        let all = self.informer.lock().as_ref().map(Informer::list).unwrap_or_default();
        choose(&all, projection)
    }
}

fn choose(all: &[Arc<ClusterTrustBundle>], projection: &ClusterTrustBundleProjection) -> Result<String, Error> {
    let optional = projection.optional == Some(true);
    let (chosen, missing): (Vec<&Arc<ClusterTrustBundle>>, String) = match &projection.name {
        Some(name) => (
            all.iter().filter(|bundle| bundle.metadata.name.as_ref() == Some(name)).collect(),
            format!("clustertrustbundle.certificates.k8s.io \"{name}\" not found"),
        ),
        None => (
            of_signer(all, projection)?,
            "combination of signerName and labelSelector matched zero ClusterTrustBundles".to_owned(),
        ),
    };
    if chosen.is_empty() && !optional {
        return Err(Error::Missing(missing));
    }
    let certificates: BTreeSet<&str> =
        chosen.iter().flat_map(|bundle| certificates(&bundle.spec.trust_bundle)).collect();
    Ok(certificates.into_iter().map(|certificate| format!("{certificate}\n")).collect())
}

fn of_signer<'a>(
    all: &'a [Arc<ClusterTrustBundle>],
    projection: &ClusterTrustBundleProjection,
) -> Result<Vec<&'a Arc<ClusterTrustBundle>>, Error> {
    let wrong = |error: String| Error::Config(format!("bad label selector: {error}"));
    // Without a selector none is chosen; an empty one chooses all of the signer.
    let selector = serde_json::to_value(&projection.label_selector).map_err(|error| wrong(error.to_string()))?;
    let selector = Selector::from_object(&selector).map_err(|error| wrong(error.to_string()))?;
    let is = |bundle: &&Arc<ClusterTrustBundle>| {
        let labels = serde_json::to_value(&bundle.metadata.labels).unwrap_or_default();
        bundle.spec.signer_name == projection.signer_name && selector.matches(&labels)
    };
    Ok(all.iter().filter(is).collect())
}

/// The certificates of a PEM text, without what stands between them.
pub(crate) fn certificates(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(BEGIN).filter_map(move |(at, _)| {
        let rest = &text[at..];
        Some(&rest[..rest.find(END)? + END.len()])
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(projection: Value, want: Result<&str, &str>) {
        let pem = |name: &str| format!("{BEGIN}\n{name}\n{END}\n");
        let bundle = |name: &str, signer: &str, labels: Value, text: String| {
            let spec = json!({"signerName": signer, "trustBundle": text});
            let object = json!({"metadata": {"name": name, "labels": labels}, "spec": spec});
            Arc::new(serde_json::from_value::<ClusterTrustBundle>(object).unwrap())
        };
        let all = [
            bundle("one", "", json!({}), format!("# a root\n{}", pem("A"))),
            bundle("s:1", "s/s", json!({"v": "1"}), pem("B") + &pem("A")),
            bundle("s:2", "s/s", json!({"v": "2"}), pem("C") + &pem("B")),
        ];
        let mut projection = projection;
        projection["path"] = json!("ca.crt");
        let chosen = choose(&all, &serde_json::from_value(projection.clone()).unwrap());
        let names = |text: String| text.lines().filter(|line| !line.starts_with('-')).collect::<String>();
        let got = chosen.map(names).map_err(|error| error.to_string());
        assert_eq!(got, want.map(str::to_owned).map_err(str::to_owned), "{projection}");
    }

    #[test]
    fn bundles_are_chosen_by_name_or_signer_and_labels() {
        check(json!({"name": "one"}), Ok("A"));
        check(json!({"name": "nope"}), Err("clustertrustbundle.certificates.k8s.io \"nope\" not found"));
        check(json!({"name": "nope", "optional": true}), Ok(""));
        check(json!({"signerName": "s/s", "labelSelector": {}}), Ok("ABC"));
        check(json!({"signerName": "s/s", "labelSelector": {"matchLabels": {"v": "2"}}}), Ok("BC"));
        let none = "combination of signerName and labelSelector matched zero ClusterTrustBundles";
        check(json!({"signerName": "s/s"}), Err(none));
        check(json!({"signerName": "t/t", "labelSelector": {}}), Err(none));
    }
}
