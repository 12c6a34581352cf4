//! Secrets of the type `kubernetes.io/service-account-token` get the token of the ServiceAccount that they name, and go
//! when it does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::runtime::watcher;
use kube::{Api, Client};
use sampan_client::{Informer, Key, WorkQueue};

use crate::error::allow_missing;
use crate::runner::{self, Reconcile};
use crate::{Context, Error};

const SECRET_TYPE: &str = "kubernetes.io/service-account-token";
/// The annotations that say whose token it is.
const ACCOUNT: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";

/// The keys of such a Secret's data.
const TOKEN: &str = "token";
const NAMESPACE: &str = "namespace";
const CA: &str = "ca.crt";

/// Signs the token that lies in a Secret: (namespace, account, its UID, the Secret's name). An error says why not.
pub type SignToken = Arc<dyn Fn(&str, &str, &str, &str) -> Result<String, String> + Send + Sync>;

struct Controller {
    client: Client,
    secrets: Informer<Secret>,
    accounts: Informer<ServiceAccount>,
    ca_pem: String,
    sign: SignToken,
}

/// Starts the controller. `shared` reads and writes: Secrets are the controller manager's own affair.
pub(crate) fn start(context: &Context, shared: Client, ca_pem: &str, sign: SignToken) {
    let queue = WorkQueue::new(&context.tasks);
    let config = watcher::Config::default().fields(&format!("type={SECRET_TYPE}"));
    let secrets = Informer::<Secret>::start(Api::all(shared.clone()), config, &context.tasks);
    let accounts = context.informers.all::<ServiceAccount>();
    let changed = queue.clone();
    secrets.on_change(move |change| changed.add(Key::of(&**change.object())));
    let (touched, known) = (queue.clone(), secrets.clone());
    accounts.on_change(move |change| {
        let account = Key::of(&**change.object());
        let of_account = |secret: &Arc<Secret>| account_of(secret).is_some_and(|key| key == account);
        known.list().iter().filter(|secret| of_account(secret)).for_each(|secret| touched.add(Key::of(&**secret)));
    });
    let controller = Arc::new(Controller { client: shared, secrets, accounts, ca_pem: ca_pem.to_owned(), sign });
    let tasks = context.tasks.clone();
    context.tasks.spawn(async move {
        controller.secrets.synced().await;
        controller.accounts.synced().await;
        runner::run("serviceaccount-token-controller", controller, &queue, 1, &tasks);
    });
}

/// The ServiceAccount that a Secret names.
fn account_of(secret: &Secret) -> Option<Key> {
    let name = secret.metadata.annotations.as_ref()?.get(ACCOUNT)?;
    Some(Key::new(secret.metadata.namespace.as_deref().unwrap_or_default(), name))
}

/// What a Secret needs.
#[derive(Debug, PartialEq)]
enum Next {
    Nothing,
    Delete,
    Fill,
}

fn next(secret: &Secret, account: Option<&ServiceAccount>, ca_pem: &str) -> Next {
    let said = secret.metadata.annotations.as_ref().and_then(|all| all.get(ACCOUNT_UID));
    let uid = account.and_then(|account| account.metadata.uid.as_ref());
    if uid.is_none() || said.is_some_and(|said| !said.is_empty() && Some(said) != uid) {
        return Next::Delete;
    }
    let complete = [TOKEN, NAMESPACE].into_iter().all(|key| !data(secret, key).is_empty());
    if said.is_some() && complete && data(secret, CA) == ca_pem.as_bytes() { Next::Nothing } else { Next::Fill }
}

fn data<'a>(secret: &'a Secret, key: &str) -> &'a [u8] {
    secret.data.as_ref().and_then(|data| data.get(key)).map_or(&[], |value| &value.0)
}

#[async_trait]
impl Reconcile for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, Error> {
        let Some(secret) = self.secrets.get(key) else { return Ok(None) };
        let Some(named) = account_of(&secret) else { return Ok(None) };
        let mut account = self.accounts.get(&named).map(|account| (*account).clone());
        if next(&secret, account.as_ref(), &self.ca_pem) == Next::Delete {
            // One watch may be behind the other: a Secret that was made right after its account must not go.
            account = self.current(&named).await?;
        }
        match next(&secret, account.as_ref(), &self.ca_pem) {
            Next::Nothing => {}
            Next::Delete => self.delete(key, &secret).await?,
            Next::Fill => self.fill(key, (*secret).clone(), account.as_ref()).await?,
        }
        Ok(None)
    }
}

impl Controller {
    /// The account as the API server has it at this moment.
    async fn current(&self, account: &Key) -> Result<Option<ServiceAccount>, Error> {
        let api = Api::<ServiceAccount>::namespaced(self.client.clone(), &account.namespace);
        api.get_opt(&account.name).await.map_err(Error::api("reading the ServiceAccount of a token"))
    }

    async fn delete(&self, key: &Key, secret: &Secret) -> Result<(), Error> {
        let preconditions = Preconditions { uid: secret.metadata.uid.clone(), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let api = Api::<Secret>::namespaced(self.client.clone(), &key.namespace);
        allow_missing(api.delete(&key.name, &params).await)
            .map(drop)
            .map_err(Error::api("deleting the token of a ServiceAccount that is gone"))
    }

    async fn fill(&self, key: &Key, mut secret: Secret, account: Option<&ServiceAccount>) -> Result<(), Error> {
        let Some(meta) = account.map(|account| &account.metadata) else { return Ok(()) };
        let (name, uid) = (meta.name.as_deref().unwrap_or_default(), meta.uid.as_deref().unwrap_or_default());
        let mut wanted = BTreeMap::from([(NAMESPACE, key.namespace.clone()), (CA, self.ca_pem.clone())]);
        // A token that is there stays: it is in use.
        if data(&secret, TOKEN).is_empty() {
            let token = (self.sign)(&key.namespace, name, uid, &key.name);
            wanted.insert(TOKEN, token.map_err(|why| Error::Invalid { key: key.clone(), why })?);
        }
        secret.metadata.annotations.get_or_insert_default().insert(ACCOUNT_UID.to_owned(), uid.to_owned());
        let wanted = wanted.into_iter().map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes())));
        secret.data.get_or_insert_default().extend(wanted);
        let api = Api::<Secret>::namespaced(self.client.clone(), &key.namespace);
        allow_missing(api.replace(&key.name, &PostParams::default(), &secret).await)
            .map(drop)
            .map_err(Error::api("giving a Secret its token"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(annotations: &Value, data: &Value, account: Option<&str>, want: &Next) {
        let secret = json!({"metadata": {"name": "s", "annotations": annotations}, "data": data});
        let account =
            account.map(|uid| serde_json::from_value(json!({"metadata": {"name": "a", "uid": uid}})).unwrap());
        assert_eq!(next(&serde_json::from_value(secret).unwrap(), account.as_ref(), "ca"), *want);
    }

    #[test]
    fn a_token_lives_and_dies_with_its_account() {
        let (new, filled) = (json!({ACCOUNT: "a"}), json!({ACCOUNT: "a", ACCOUNT_UID: "1"}));
        let data = json!({"token": "YQ==", "namespace": "YQ==", "ca.crt": "Y2E="});
        let former = json!({"token": "YQ==", "namespace": "YQ==", "ca.crt": "b2xk"});
        check(&new, &json!({}), Some("1"), &Next::Fill);
        check(&filled, &data, Some("1"), &Next::Nothing);
        check(&filled, &json!({"token": "YQ=="}), Some("1"), &Next::Fill);
        check(&filled, &former, Some("1"), &Next::Fill);
        check(&filled, &data, Some("2"), &Next::Delete);
        check(&filled, &data, None, &Next::Delete);
    }
}
