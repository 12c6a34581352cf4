//! `kube-public/cluster-info` signed with every bootstrap token that may sign: whoever is to join knows a token, and by it
//! that the authority in the ConfigMap is the cluster's own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::PostParams;
use kube::runtime::watcher;
use kube::{Api, Client};
use sampan_client::{Informer, Key, WorkQueue};

use crate::bootstrap_tokens::left;
use crate::runner::{self, Reconcile};
use crate::{Context, Error};

const NAMESPACE: &str = "kube-public";
const NAME: &str = "cluster-info";
/// What is signed.
const KUBECONFIG: &str = "kubeconfig";
/// A signature stands under this and the token's id.
const SIGNATURE: &str = "jws-kubeconfig-";
const TOKEN_TYPE: &str = "bootstrap.kubernetes.io/token";
const TOKEN_PREFIX: &str = "bootstrap-token-";

/// Signs a text with a bootstrap token, by its id and secret: a JSON Web Signature with its payload left out.
pub type SignText = Arc<dyn Fn(&str, &str, &str) -> String + Send + Sync>;

struct Controller {
    client: Client,
    info: Informer<ConfigMap>,
    secrets: Informer<Secret>,
    sign: SignText,
}

/// Starts the controller.
pub(crate) fn start(context: Context, sign: SignText) {
    let queue = WorkQueue::new(&context.tasks);
    let named = watcher::Config::default().fields(&format!("metadata.name={NAME}"));
    let info = Informer::start(Api::namespaced(context.client.clone(), NAMESPACE), named, &context.tasks);
    let tokens = watcher::Config::default().fields(&format!("type={TOKEN_TYPE}"));
    let secrets = Informer::start(Api::namespaced(context.client.clone(), "kube-system"), tokens, &context.tasks);
    let (by_info, by_secret) = (queue.clone(), queue.clone());
    info.on_change(move |_| by_info.add(Key::new(NAMESPACE, NAME)));
    secrets.on_change(move |_| by_secret.add(Key::new(NAMESPACE, NAME)));
    let controller = Arc::new(Controller { client: context.client, info, secrets, sign });
    let tasks = context.tasks.clone();
    context.tasks.spawn(async move {
        controller.info.synced().await;
        controller.secrets.synced().await;
        runner::run("bootstrap-signer", controller, &queue, 1, &tasks);
    });
}

/// The signatures that a ConfigMap should have, and when the first of them is no longer right.
fn plan(
    kubeconfig: Option<&String>,
    tokens: &[Arc<Secret>],
    now: Timestamp,
    sign: &dyn Fn(&str, &str, &str) -> String,
) -> (BTreeMap<String, String>, Option<Duration>) {
    let (mut signatures, mut wake) = (BTreeMap::new(), None::<Duration>);
    for token in tokens {
        let (Some(kubeconfig), Some((id, secret))) = (kubeconfig, signer(token)) else { continue };
        match left(token, now) {
            Some(Duration::ZERO) => continue,
            Some(left) => wake = Some(wake.map_or(left, |wake| wake.min(left))),
            None => {}
        }
        signatures.insert(format!("{SIGNATURE}{id}"), sign(id, secret, kubeconfig));
    }
    (signatures, wake)
}

/// The id and secret of a token that may sign.
fn signer(token: &Secret) -> Option<(&str, &str)> {
    let text = |key: &str| std::str::from_utf8(&token.data.as_ref()?.get(key)?.0).ok();
    let (id, secret) = (text("token-id")?, text("token-secret")?);
    let own = token.metadata.name.as_deref()?.strip_prefix(TOKEN_PREFIX)? == id;
    (own && !secret.is_empty() && text("usage-bootstrap-signing")? == "true").then_some((id, secret))
}

#[async_trait]
impl Reconcile for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, Error> {
        let Some(info) = self.info.get(key) else { return Ok(None) };
        let mut map = (*info).clone();
        let data = map.data.get_or_insert_default();
        let tokens = self.secrets.list();
        let (signatures, wake) = plan(data.get(KUBECONFIG), &tokens, sampan_clock::now(), &*self.sign);
        let mut wanted: BTreeMap<String, String> = data.clone();
        wanted.retain(|key, _| !key.starts_with(SIGNATURE));
        wanted.extend(signatures);
        if *data != wanted {
            *data = wanted;
            let api = Api::<ConfigMap>::namespaced(self.client.clone(), &key.namespace);
            api.replace(&key.name, &PostParams::default(), &map).await.map_err(Error::api("signing cluster-info"))?;
        }
        Ok(wake)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    fn token(id: &str, changes: &[(&str, &str)]) -> Arc<Secret> {
        let mut data: BTreeMap<String, ByteString> = BTreeMap::new();
        let usual = [("token-id", id), ("token-secret", "secret"), ("usage-bootstrap-signing", "true")];
        for (key, value) in usual.iter().chain(changes) {
            data.insert((*key).to_owned(), ByteString(value.as_bytes().to_vec()));
        }
        let mut secret = Secret { data: Some(data), ..Secret::default() };
        secret.metadata.name = Some(format!("{TOKEN_PREFIX}{id}"));
        Arc::new(secret)
    }

    #[track_caller]
    fn check(tokens: &[Arc<Secret>], want: &[(&str, &str)], wake: Option<u64>) {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let sign = |id: &str, secret: &str, text: &str| format!("{id} {secret} {text}");
        let got = plan(Some(&"config".to_owned()), tokens, now, &sign);
        let want = want.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        assert_eq!(got, (want, wake.map(Duration::from_secs)));
    }

    #[test]
    fn tokens_sign_while_they_may() {
        check(&[], &[], None);
        let a = ("jws-kubeconfig-aaaaaa", "aaaaaa secret config");
        check(&[token("aaaaaa", &[])], &[a], None);
        let ends = |at| token("bbbbbb", &[("expiration", at)]);
        let b = ("jws-kubeconfig-bbbbbb", "bbbbbb secret config");
        check(&[token("aaaaaa", &[]), ends("2026-01-01T00:01:00Z")], &[a, b], Some(60));
        check(&[ends("2026-01-01T00:00:00Z")], &[], None);
        check(&[token("aaaaaa", &[("usage-bootstrap-signing", "false")])], &[], None);
        check(&[token("aaaaaa", &[("token-id", "cccccc")])], &[], None);
        let sign = |_: &str, _: &str, _: &str| String::new();
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(plan(None, &[token("aaaaaa", &[])], now, &sign), (BTreeMap::new(), None));
    }
}
