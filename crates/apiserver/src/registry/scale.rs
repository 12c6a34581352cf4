//! `scale`: the number of replicas of a kind that has some, as an object of its own.

use sampan_api::kind::KindRef;
use sampan_api::status::{Resource, Status};
use serde_json::{Map, Value, json};

use super::managed::How;
use super::update::{check_version, unchanged};
use super::{Attempt, Done, Draft, Plan, Registry, managed, metadata};
use crate::admission::{self, Request};

impl Registry {
    /// Replaces the number of replicas by what `change` makes of the Scale as it is.
    pub(crate) async fn update_scale(
        &self,
        attempt: &Attempt,
        change: impl Fn(Value) -> Result<Value, Status> + Send + Sync,
    ) -> Result<Done, Status> {
        let mut done = self
            .transact(attempt, |current| {
                let old = current.ok_or_else(|| attempt.not_found())?;
                let scale = change(scale_of(&attempt.kind, old)?)?;
                check_version(attempt, &scale, old)?;
                Ok(Draft::Scale { scale, account: None })
            })
            .await?;
        done.object = scale_of(&attempt.kind, &done.object)?;
        Ok(done)
    }

    /// Applies `applied`, a Scale of which only the number of replicas may be owned.
    pub(crate) async fn apply_scale(&self, attempt: &Attempt, applied: &Value, force: bool) -> Result<Done, Status> {
        let mut done = self
            .transact(attempt, |current| {
                let old = current.ok_or_else(|| attempt.not_found())?;
                check_version(attempt, applied, old)?;
                let mut config = json!({
                    "apiVersion": attempt.kind.api_version(), "kind": attempt.kind.kind,
                    "metadata": { "name": attempt.name, "namespace": attempt.namespace },
                });
                if let Some(replicas) = applied["spec"]["replicas"].as_i64() {
                    config["spec"] = json!({});
                    set_replicas(attempt, &mut config, replicas)?;
                }
                let mut merged = managed::applied(attempt, Some(old), &config, force)?;
                let account = Some(merged["metadata"]["managedFields"].take());
                Ok(Draft::Scale { scale: scale_of(&attempt.kind, &merged)?, account })
            })
            .await?;
        done.object = scale_of(&attempt.kind, &done.object)?;
        Ok(done)
    }

    /// The steps behind the draft: what is admitted is the Scale, what is stored the object.
    pub(super) async fn plan_scale(
        &self,
        attempt: &Attempt,
        mut scale: Value,
        account: Option<Value>,
        old: &Value,
    ) -> Result<Plan, Status> {
        let before = scale_of(&attempt.kind, old)?;
        let request = Request::update(attempt, &before);
        admission::mutate(self, &request, &mut scale).await?;
        check(attempt, &scale)?;
        let main = Attempt { subresource: "", ..attempt.clone() };
        let mut new = old.clone();
        set_replicas(attempt, &mut new, scale["spec"]["replicas"].as_i64().unwrap_or(0))?;
        match account {
            Some(account) => new["metadata"]["managedFields"] = account,
            None => managed::updated(&main, &mut new, old, How::Scale)?,
        }
        let claim = self.prepare(&main, &mut new, old)?;
        self.validate(&main, &new, Some(old))?;
        admission::validate(self, &request, &scale_of(&attempt.kind, &new)?).await?;
        Ok(if unchanged(&new, old) { Plan::Keep } else { Plan::Put(new, claim) })
    }
}

fn check(attempt: &Attempt, scale: &Value) -> Result<(), Status> {
    let faults = sampan_api::validation::scale(scale);
    if faults.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(Resource { group: "autoscaling", name: "Scale" }, &attempt.name, &faults))
}

fn set_replicas(attempt: &Attempt, object: &mut Value, replicas: i64) -> Result<(), Status> {
    let Some(scale) = attempt.kind.custom().and_then(|custom| custom.scale.as_ref()) else {
        object["spec"]["replicas"] = replicas.into();
        return Ok(());
    };
    if scale.set(object, replicas) { Ok(()) } else { Err(Status::internal("the object has no place for its replicas")) }
}

/// The Scale of an object.
pub(crate) fn scale_of(kind: &KindRef, object: &Value) -> Result<Value, Status> {
    let mut meta = Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object["metadata"].get(field) {
            meta.insert(field.to_owned(), value.clone());
        }
    }
    let [spec, status] = match kind.custom().and_then(|custom| custom.scale.as_ref()) {
        Some(scale) => scale.of(object).map_err(|why| Status::internal(&why))?,
        None => [
            json!({ "replicas": object["spec"]["replicas"].as_i64().unwrap_or(0) }),
            json!({
                "replicas": object["status"]["replicas"].as_i64().unwrap_or(0),
                "selector": selector_text(&object["spec"]["selector"]),
            }),
        ],
    };
    Ok(json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": meta, "spec": spec, "status": status,
    }))
}

/// A label selector in its one-line form; that of a ReplicationController is labels alone.
fn selector_text(selector: &Value) -> String {
    let plain = selector["matchLabels"].is_null() && selector["matchExpressions"].is_null();
    let labels = if plain { selector } else { &selector["matchLabels"] };
    let labels = labels.as_object().into_iter().flatten();
    let mut terms: Vec<String> =
        labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = expression["key"].as_str().unwrap_or_default();
        let values = expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let values = values.collect::<Vec<_>>().join(",");
        terms.push(match expression["operator"].as_str() {
            Some("In") => format!("{key} in ({values})"),
            Some("NotIn") => format!("{key} notin ({values})"),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    terms.join(",")
}

/// The Scale as it came, with the namespace and name of the request, which it may not contradict.
pub(crate) fn named(attempt: &Attempt, mut scale: Value) -> Result<Value, Status> {
    metadata::place(attempt, &mut scale)?;
    Ok(scale)
}
