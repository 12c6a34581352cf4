//! Bootstrap tokens that have expired are deleted: at the moment they do, not when someone looks.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Preconditions};
use kube::runtime::watcher;
use kube::{Api, Client};
use sampan_client::{Informer, Key, WorkQueue};

use crate::error::allow_missing;
use crate::runner::{self, Reconcile};
use crate::{Context, Error};

const NAMESPACE: &str = "kube-system";
const SECRET_TYPE: &str = "bootstrap.kubernetes.io/token";

struct Controller {
    client: Client,
    secrets: Informer<Secret>,
}

/// Starts the controller.
pub(crate) fn start(context: Context) {
    let queue = WorkQueue::new(&context.tasks);
    let api = Api::namespaced(context.client.clone(), NAMESPACE);
    let config = watcher::Config::default().fields(&format!("type={SECRET_TYPE}"));
    let secrets = Informer::<Secret>::start(api, config, &context.tasks);
    let changed = queue.clone();
    secrets.on_change(move |change| changed.add(Key::of(&**change.object())));
    let controller = Arc::new(Controller { client: context.client, secrets });
    let tasks = context.tasks.clone();
    context.tasks.spawn(async move {
        controller.secrets.synced().await;
        runner::run("token-cleaner", controller, &queue, 1, &tasks);
    });
}

/// How long a token still has: zero when it is over, `None` if it does not end. An end that cannot be read is past.
pub(crate) fn left(secret: &Secret, now: Timestamp) -> Option<Duration> {
    let end = secret.data.as_ref()?.get("expiration")?;
    let end = std::str::from_utf8(&end.0).ok().and_then(|text| text.parse::<Timestamp>().ok());
    Some(end.and_then(|end| Duration::try_from(end - now).ok()).unwrap_or_default())
}

#[async_trait]
impl Reconcile for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, Error> {
        let Some(secret) = self.secrets.get(key) else { return Ok(None) };
        match left(&secret, sampan_clock::now()) {
            Some(Duration::ZERO) => {}
            rest => return Ok(rest),
        }
        let preconditions = Preconditions { uid: secret.metadata.uid.clone(), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let api = Api::<Secret>::namespaced(self.client.clone(), &key.namespace);
        let deleted = allow_missing(api.delete(&key.name, &params).await);
        deleted.map(|_| None).map_err(Error::api("deleting a bootstrap token that has expired"))
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    #[test]
    fn tokens_end_when_they_say() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let check = |expiration: Option<&str>, want: Option<u64>| {
            let data = expiration.map(|text| [("expiration".to_owned(), ByteString(text.into()))].into());
            let secret = Secret { data, ..Secret::default() };
            assert_eq!(left(&secret, now), want.map(Duration::from_secs), "{expiration:?}");
        };
        check(None, None);
        check(Some("2026-01-01T00:01:00Z"), Some(60));
        check(Some("2026-01-01T00:00:00Z"), Some(0));
        check(Some("2025-01-01T00:00:00Z"), Some(0));
        check(Some("tomorrow"), Some(0));
    }
}
