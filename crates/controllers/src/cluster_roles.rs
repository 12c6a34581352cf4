//! Aggregated ClusterRoles: `admin`, `edit`, `view` and their like hold the rules of all roles with their labels.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
use sampan_client::{Informer, Key, WorkQueue};

use crate::error::allow_missing;
use crate::owners;
use crate::runner::{self, Reconcile};
use crate::{Context, Error};

struct Controller {
    client: Client,
    roles: Informer<ClusterRole>,
}

/// Starts the controller.
pub(crate) fn start(context: Context) {
    let queue = WorkQueue::new(&context.tasks);
    let roles = context.informers.all::<ClusterRole>();
    let (changed, known) = (queue.clone(), roles.clone());
    roles.on_change(move |_| {
        let aggregated = known.list().into_iter().filter(|role| role.aggregation_rule.is_some());
        aggregated.for_each(|role| changed.add(Key::of(&*role)));
    });
    let controller = Arc::new(Controller { client: context.client, roles });
    let tasks = context.tasks.clone();
    context.tasks.spawn(async move {
        controller.roles.synced().await;
        runner::run("clusterrole-aggregation-controller", controller, &queue, 1, &tasks);
    });
}

#[async_trait]
impl Reconcile for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, Error> {
        let Some(role) = self.roles.get(key) else { return Ok(None) };
        let rules = rules(&role, &self.roles.list());
        if role.aggregation_rule.is_none() || role.rules.as_deref().unwrap_or_default() == rules {
            return Ok(None);
        }
        let updated = ClusterRole { rules: Some(rules), ..(*role).clone() };
        let api = Api::<ClusterRole>::all(self.client.clone());
        let written = api.replace(&key.name, &PostParams::default(), &updated).await;
        allow_missing(written).map_err(Error::api("aggregating rules")).map(|_| None)
    }
}

/// The rules of all roles that `role` collects, in the order of the roles' names, each once.
fn rules(role: &ClusterRole, all: &[Arc<ClusterRole>]) -> Vec<PolicyRule> {
    let aggregation = role.aggregation_rule.as_ref();
    let selectors = aggregation.and_then(|rule| rule.cluster_role_selectors.as_deref()).unwrap_or_default();
    let selected = |other: &&Arc<ClusterRole>| {
        other.name_any() != role.name_any()
            && selectors.iter().any(|selector| owners::matches(selector, other.metadata.labels.as_ref()))
    };
    let mut sources: Vec<_> = all.iter().filter(selected).collect();
    sources.sort_by_key(|role| role.name_any());
    let mut rules: Vec<PolicyRule> = Vec::new();
    for rule in sources.into_iter().flat_map(|source| source.rules.iter().flatten()) {
        if !rules.contains(rule) {
            rules.push(rule.clone());
        }
    }
    rules
}
