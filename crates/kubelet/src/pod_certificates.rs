//! Certificates of Pods: a key is made here, a signer somewhere is asked for a certificate of it, and both become files.
//!
//! ```text
//!   wanted: key -> PodCertificateRequest -> (signer) -> Issued: files, until beginRefreshAt; then anew, with a new key
//!                                                   -> Denied, Failed: the Pod never gets it
//! ```
//! Keys and requests are remembered by this kubelet alone: the next one asks anew. Start at [`PodCertificates`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{PodCertificateRequest, PodCertificateRequestSpec};
use k8s_openapi::api::core::v1::{Node, Pod, PodCertificateProjection, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::PostParams;
use kube::runtime::watcher;
use kube::{Api, Client};
use parking_lot::Mutex;
use sampan_auth::certificate_request::StubRequest;
use sampan_client::{Change, Informer, Key, Tasks};
use tokio::sync::watch;

use crate::sources::OnChange;
use crate::trust_bundles::certificates;
use crate::{Error, spec};

/// Most signers answer at once: so long is waited before the Pod is told that there is no certificate yet.
const PATIENCE: Duration = Duration::from_secs(5);
/// While a new certificate is waited for, the old one is looked after this often.
const RENEWAL: SignedDuration = SignedDuration::from_mins(1);

/// Which certificate: of which Pod, for which source of which volume.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) uid: String,
    pub(crate) volume: String,
    pub(crate) source: usize,
}

/// A key and its certificates, both PEM. It has no `Debug`: it must not get into a log.
#[derive(Clone)]
pub(crate) struct Credential {
    pub(crate) key_pem: String,
    pub(crate) chain_pem: String,
    pub(crate) renew_at: Timestamp,
}

/// What is known of one certificate.
#[derive(Default)]
struct Known {
    issued: Option<Credential>,
    /// What was asked for and not answered: the request, and its key.
    asked: Option<(Key, String)>,
    /// Why there will be none.
    refused: Option<String>,
}

impl Known {
    /// Takes the answer to what was asked for. Nothing if `request` is no longer that: then its key is gone too.
    fn take(&mut self, request: &PodCertificateRequest, now: Timestamp) -> Option<Result<Credential, Error>> {
        let (_, key_pem) = self.asked.take_if(|(asked, _)| *asked == Key::of(request))?;
        Some(match outcome(request, now) {
            Ok((chain_pem, renew_at)) => {
                let credential = Credential { key_pem, chain_pem, renew_at };
                self.issued = Some(credential.clone());
                Ok(credential)
            }
            Err(why) => {
                self.refused = Some(why.clone());
                Err(Error::Config(why))
            }
        })
    }

    /// What there is while an answer is waited for.
    fn meanwhile(&self, now: Timestamp) -> Result<Credential, Error> {
        let renew_at = now.checked_add(RENEWAL).unwrap_or(now);
        let old = self.issued.clone().map(|old| Credential { renew_at, ..old });
        old.ok_or_else(|| Error::Missing("the certificate has not been issued yet".to_owned()))
    }
}

/// See the module.
pub(crate) struct PodCertificates {
    client: Client,
    tasks: Tasks,
    node_name: String,
    known: Arc<Mutex<HashMap<Place, Known>>>,
    informer: Mutex<Option<Informer<PodCertificateRequest>>>,
    /// Who wants to know of answers, by Pod uid.
    holders: Arc<Mutex<HashMap<String, OnChange>>>,
    /// Ticks with every answer.
    answers: Arc<watch::Sender<u64>>,
}

/// Whether `pod` has a certificate in one of its volumes.
pub(crate) fn used_by(pod: &Pod) -> bool {
    let volumes = spec::of(pod).volumes.iter().flatten();
    let mut sources = volumes.filter_map(|volume| volume.projected.as_ref()?.sources.as_ref()).flatten();
    sources.any(|source| source.pod_certificate.is_some())
}

impl PodCertificates {
    /// Nothing is asked for yet.
    pub(crate) fn new(client: &Client, node_name: &str, tasks: &Tasks) -> Self {
        Self {
            client: client.clone(),
            tasks: tasks.clone(),
            node_name: node_name.to_owned(),
            known: Arc::default(),
            informer: Mutex::default(),
            holders: Arc::default(),
            answers: Arc::new(watch::Sender::new(0)),
        }
    }

    /// Tells the Pod `uid` of answers from now on.
    pub(crate) fn hold(&self, uid: &str, on_change: &OnChange) {
        self.holders.lock().insert(uid.to_owned(), Arc::clone(on_change));
        let mut informer = self.informer.lock();
        if informer.is_none() {
            let own = watcher::Config::default().fields(&format!("spec.nodeName={}", self.node_name));
            let started = Informer::start(Api::all(self.client.clone()), own, &self.tasks);
            let (told, known, answers) = (self.holders.clone(), self.known.clone(), self.answers.clone());
            started.on_change(move |change: &Change<PodCertificateRequest>| {
                if let Change::Deleted(request) = change {
                    forget(&known, &Key::of(&**request));
                }
                answers.send_modify(|tick| *tick = tick.wrapping_add(1));
                let holder = told.lock().get(&change.object().spec.pod_uid).cloned();
                if let Some(on_change) = holder {
                    on_change();
                }
            });
            *informer = Some(started);
        }
    }

    /// Forgets the Pod `uid`.
    pub(crate) fn release(&self, uid: &str) {
        self.holders.lock().remove(uid);
        self.known.lock().retain(|place, _| place.uid != uid);
    }

    /// The certificate that `projection` asks for. While there is none yet, an error says so.
    pub(crate) async fn credential(
        &self,
        pod: &Pod,
        place: &Place,
        projection: &PodCertificateProjection,
    ) -> Result<Credential, Error> {
        let now = sampan_clock::now();
        if let Some(known) = self.settled(place, now) {
            return known;
        }
        if self.known.lock().get(place).is_none_or(|known| known.asked.is_none()) {
            let asked = self.ask(pod, projection).await?;
            self.known.lock().entry(place.clone()).or_default().asked = Some(asked);
        }
        let request = self.answered(place).await;
        let mut all = self.known.lock();
        let known = all.entry(place.clone()).or_default();
        let answer = request.and_then(|request| known.take(&request, now));
        answer.unwrap_or_else(|| known.meanwhile(now))
    }

    /// What needs no asking.
    fn settled(&self, place: &Place, now: Timestamp) -> Option<Result<Credential, Error>> {
        let all = self.known.lock();
        let known = all.get(place)?;
        if let Some(issued) = known.issued.as_ref().filter(|issued| issued.renew_at > now) {
            return Some(Ok(issued.clone()));
        }
        known.refused.clone().map(|why| Err(Error::Config(why)))
    }

    /// Makes a key and asks for a certificate of it.
    async fn ask(&self, pod: &Pod, projection: &PodCertificateProjection) -> Result<(Key, String), Error> {
        let namespace = spec::namespace(pod);
        let account = spec::of(pod).service_account_name.clone().filter(|name| !name.is_empty());
        let account = account.unwrap_or_else(|| "default".to_owned());
        let (accounts, nodes) = (Api::<ServiceAccount>::namespaced(self.client.clone(), namespace), self.nodes());
        let (account_object, node) = tokio::try_join!(accounts.get(&account), nodes.get(&self.node_name))
            .map_err(Error::api("asking for a certificate"))?;
        let stub = StubRequest::generate(&projection.key_type).map_err(|error| Error::Config(error.to_string()))?;
        let request = PodCertificateRequest {
            metadata: ObjectMeta {
                generate_name: Some(format!("req-{}-", spec::name(pod))),
                namespace: Some(namespace.to_owned()),
                owner_references: Some(vec![owner(pod)]),
                ..ObjectMeta::default()
            },
            spec: PodCertificateRequestSpec {
                max_expiration_seconds: projection.max_expiration_seconds,
                node_name: self.node_name.clone(),
                node_uid: node.metadata.uid.unwrap_or_default(),
                pod_name: spec::name(pod).to_owned(),
                pod_uid: spec::uid(pod).to_owned(),
                service_account_name: account,
                service_account_uid: account_object.metadata.uid.unwrap_or_default(),
                signer_name: projection.signer_name.clone(),
                stub_pkc_s10_request: ByteString(stub.request_der),
                unverified_user_annotations: projection.user_annotations.clone(),
            },
            status: None,
        };
        let api = Api::<PodCertificateRequest>::namespaced(self.client.clone(), namespace);
        let made = api.create(&PostParams::default(), &request).await;
        let made = made.map_err(Error::api("asking for a certificate"))?;
        Ok((Key::of(&made), stub.key_pem))
    }

    fn nodes(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    /// The request as it was answered; nothing if that takes long.
    async fn answered(&self, place: &Place) -> Option<Arc<PodCertificateRequest>> {
        let key = self.known.lock().get(place)?.asked.as_ref()?.0.clone();
        let informer = self.informer.lock().clone()?;
        let mut answers = self.answers.subscribe();
        let answer = async {
            loop {
                if let Some(request) = informer.get(&key).filter(|request| end(request).is_some()) {
                    return Some(request);
                }
                answers.changed().await.ok()?;
            }
        };
        tokio::time::timeout(PATIENCE, answer).await.ok().flatten()
    }
}

/// A request that is gone will not be answered: it is to be asked anew.
fn forget(known: &Mutex<HashMap<Place, Known>>, request: &Key) {
    for known in known.lock().values_mut() {
        known.asked.take_if(|(asked, _)| asked == request);
    }
}

fn owner(pod: &Pod) -> OwnerReference {
    OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        name: spec::name(pod).to_owned(),
        uid: spec::uid(pod).to_owned(),
        ..OwnerReference::default()
    }
}

/// How the request has ended, with the reason and message of that.
fn end(request: &PodCertificateRequest) -> Option<(&str, String)> {
    let conditions = request.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut ended = conditions.filter(|c| c.status == "True" && matches!(&*c.type_, "Issued" | "Denied" | "Failed"));
    let condition = ended.next()?;
    Some((&condition.type_, format!("{:?}: {:?}", condition.reason, condition.message)))
}

/// The chain that was issued and when to ask for the next one, or why there is none.
fn outcome(request: &PodCertificateRequest, now: Timestamp) -> Result<(String, Timestamp), String> {
    let name = format!(
        "{}/{}",
        request.metadata.namespace.as_deref().unwrap_or_default(),
        request.metadata.name.as_deref().unwrap_or_default()
    );
    let status = request.status.clone().unwrap_or_default();
    match end(request) {
        Some(("Issued", _)) => {
            let chain = status.certificate_chain.unwrap_or_default();
            let chain = certificates(&chain).map(|certificate| format!("{certificate}\n")).collect();
            let refresh = status.begin_refresh_at.map(|at| at.0);
            Ok((chain, refresh.unwrap_or_else(|| now.checked_add(SignedDuration::from_hours(1)).unwrap_or(now))))
        }
        Some((how, why)) => Err(format!("PodCertificateRequest {name:?} was {}: {why}", how.to_lowercase())),
        None => Err(format!("PodCertificateRequest {name:?} has no answer")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request(status: &Value) -> PodCertificateRequest {
        let spec = json!({"nodeName": "n", "nodeUID": "nu", "podName": "p", "podUID": "pu", "serviceAccountName": "s",
            "serviceAccountUID": "su", "signerName": "a.test/b", "stubPKCS10Request": ""});
        let request = json!({"metadata": {"name": "req-p-1", "namespace": "ns"}, "spec": spec, "status": status});
        serde_json::from_value(request).unwrap()
    }

    #[track_caller]
    fn check(status: Value, want: Result<(&str, &str), &str>) {
        let request = request(&status);
        let got = outcome(&request, Timestamp::UNIX_EPOCH).map(|(chain, at)| (chain, at.to_string()));
        let want = want.map(|(chain, at)| (chain.to_owned(), at.to_owned())).map_err(str::to_owned);
        assert_eq!(got, want, "{status}");
    }

    #[test]
    fn a_request_is_issued_or_refused() {
        let condition = |kind: &str| {
            json!([{"type": kind, "status": "True", "reason": "Because", "message": "so it is",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}])
        };
        let pem = |name: &str| format!("-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n");
        let chain = format!("said: {}between{}", pem("A"), pem("B"));
        check(
            json!({"conditions": condition("Issued"), "certificateChain": chain, "beginRefreshAt": "2026-01-02T00:00:00Z"}),
            Ok((&(pem("A") + &pem("B")), "2026-01-02T00:00:00Z")),
        );
        let why = "PodCertificateRequest \"ns/req-p-1\" was denied: \"Because\": \"so it is\"";
        check(json!({"conditions": condition("Denied")}), Err(why));
        check(json!({"conditions": condition("Failed")}), Err(&why.replace("denied", "failed")));
        check(json!({}), Err("PodCertificateRequest \"ns/req-p-1\" has no answer"));
    }

    #[test]
    fn an_answer_is_taken_with_the_key_of_its_request() {
        let issued = json!({"conditions": [{"type": "Issued", "status": "True", "reason": "Because",
            "message": "so it is", "lastTransitionTime": "2026-01-01T00:00:00Z"}], "certificateChain": ""});
        let request = request(&issued);
        let keys = |asked: Option<(&str, &str)>| {
            let asked = asked.map(|(name, key)| (Key::new("ns", name), key.to_owned()));
            let mut known = Known { asked, ..Known::default() };
            let taken = known.take(&request, Timestamp::UNIX_EPOCH);
            let key = |credential: Credential| credential.key_pem;
            (taken.map(|answer| answer.map(key).unwrap()), known.issued.map(key))
        };
        let key = Some("key".to_owned());
        assert_eq!(keys(Some(("req-p-1", "key"))), (key.clone(), key));
        // It was deleted, and maybe another one was asked for, before its answer was taken.
        assert_eq!(keys(None), (None, None));
        assert_eq!(keys(Some(("req-p-2", "key"))), (None, None));
    }
}
