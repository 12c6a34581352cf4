//! Delete: at once, after a grace period, or when the last finalizer is gone.
//!
//! ```text
//! wanted --grace > 0, or finalizers--> marked (deletionTimestamp) --kubelet, controllers--> removed
//!    +---------------- neither ------------------------------------------------------------^
//! ```

use jiff::{Timestamp, ToSpan};
use sampan_api::field::{Error, Path};
use sampan_api::status::{Cause, Resource, Status};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::update::ready_to_go;
use super::{Attempt, Done, Draft, Plan, Registry, metadata};
use crate::admission::{self, Request};
use crate::cache::{Filter, ListOptions, Refused};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// `DeleteOptions`, from the body or the query.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DeleteOptions {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) grace_period_seconds: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) preconditions: Option<Preconditions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) orphan_dependents: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) propagation_policy: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) dry_run: Vec<String>,
}

/// What must hold of the object.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Preconditions {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) uid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resource_version: Option<String>,
}

impl Registry {
    /// Deletes an object, or begins to.
    pub(crate) async fn delete(&self, attempt: &Attempt, options: &DeleteOptions) -> Result<Done, Status> {
        check_options(options)?;
        if options.propagation_policy.is_none() && options.orphan_dependents.is_none() {
            attempt.notes.warn_all(attempt.kind.rules().orphaning_warning().map(str::to_owned));
        }
        self.transact(attempt, |current| {
            let old = current.ok_or_else(|| attempt.not_found())?;
            check_preconditions(attempt, options, old)?;
            Ok(Draft::Delete(options.clone()))
        })
        .await
    }

    /// The same for what has been admitted as something else: an eviction, of which the object tells as `mark` notes it.
    pub(super) async fn delete_marked(
        &self,
        attempt: &Attempt,
        options: &DeleteOptions,
        mark: impl Fn(&mut Value) + Send + Sync,
    ) -> Result<Done, Status> {
        check_options(options)?;
        self.transact(attempt, |current| {
            let old = current.ok_or_else(|| attempt.not_found())?;
            check_preconditions(attempt, options, old)?;
            let mut marked = old.clone();
            mark(&mut marked);
            Ok(Draft::Admitted(match plan(attempt, options, &marked)? {
                Plan::Keep if marked != *old => Plan::Put(marked, None),
                plan => plan,
            }))
        })
        .await
    }

    /// The steps of a deletion behind its draft.
    pub(super) async fn plan_delete(
        &self,
        attempt: &Attempt,
        options: &DeleteOptions,
        old: &Value,
    ) -> Result<Plan, Status> {
        admission::pass(self, &Request::delete(attempt, options, old), Value::Null).await?;
        plan(attempt, options, old)
    }

    /// Deletes every selected object; answers with those that were there.
    pub(crate) async fn delete_collection(
        &self,
        attempt: &Attempt,
        filter: &Filter,
        list: &ListOptions,
        options: &DeleteOptions,
    ) -> Result<crate::cache::List, Refused> {
        check_options(options)?;
        let found = self.list(&attempt.kind, filter, list).await?;
        for object in &found.objects {
            let one = Attempt { namespace: object.namespace.to_string(), ..attempt.named(&object.name) };
            match self.delete(&one, options).await {
                Err(status) if status.reason != "NotFound" => return Err(status.into()),
                _ => {}
            }
        }
        Ok(found)
    }
}

pub(super) fn check_options(options: &DeleteOptions) -> Result<(), Status> {
    if let Some(other) = options.dry_run.iter().find(|value| *value != "All") {
        let fault = Error::not_supported(&Path::new("dryRun"), other.as_str(), &["All"]);
        return Err(Status::invalid(Resource { group: "meta.k8s.io", name: "DeleteOptions" }, "", &[fault]));
    }
    if options.orphan_dependents.is_some() && options.propagation_policy.is_some() {
        return Err(Status::bad_request(
            "DeleteOptions is invalid: orphanDependents and deletionPropagation cannot be both set",
        ));
    }
    match options.propagation_policy.as_deref() {
        None | Some("Background" | "Foreground" | "Orphan") => Ok(()),
        Some(other) => Err(Status::bad_request(format!(
            "propagationPolicy: Unsupported value: \"{other}\": supported values: \"Background\", \"Foreground\", \"Orphan\""
        ))),
    }
}

fn check_preconditions(attempt: &Attempt, options: &DeleteOptions, old: &Value) -> Result<(), Status> {
    let Some(conditions) = &options.preconditions else { return Ok(()) };
    let checks =
        [("UID", "uid", &conditions.uid), ("ResourceVersion", "resourceVersion", &conditions.resource_version)];
    for (word, field, wanted) in checks {
        let there = metadata::text(old, field);
        if let Some(wanted) = wanted.as_deref().filter(|wanted| *wanted != there) {
            let why = format!("Precondition failed: {word} in precondition: {wanted}, {word} in object meta: {there}");
            return Err(Status::conflict(attempt.resource(), &attempt.name, &why));
        }
    }
    Ok(())
}

/// What the deletion of `old` does now.
fn plan(attempt: &Attempt, options: &DeleteOptions, old: &Value) -> Result<Plan, Status> {
    let mut new = old.clone();
    set_finalizers(attempt, &mut new, options);
    let requested = options.grace_period_seconds;
    let grace = attempt.kind.rules().grace_period_seconds(old, requested).unwrap_or(0).max(0);
    if metadata::is_deleting(old) {
        shorten(&mut new, old, grace, requested.is_some());
    } else {
        mark(&mut new, old, attempt.now, grace);
        attempt.kind.rules().begin_delete(&mut new, &metadata::time(attempt.now));
    }
    if ready_to_go(attempt, &new) {
        return Ok(Plan::Remove(new));
    }
    if new == *old {
        return Ok(Plan::Keep);
    }
    Ok(Plan::Put(new, None))
}

fn mark(new: &mut Value, old: &Value, now: Timestamp, grace: i64) {
    let at = now.checked_add(grace.seconds()).unwrap_or(now);
    let meta = metadata::meta(new);
    meta.insert("deletionTimestamp".into(), metadata::time(at).into());
    meta.insert("deletionGracePeriodSeconds".into(), grace.into());
    if old["metadata"]["generation"].as_i64().is_some_and(|generation| generation > 0) {
        metadata::next_generation(new, old);
    }
}

/// A deletion under way can only be made to end earlier.
fn shorten(new: &mut Value, old: &Value, grace: i64, requested: bool) {
    let before = old["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    if !requested || grace >= before {
        return;
    }
    let at: Option<Timestamp> = metadata::text(old, "deletionTimestamp").parse().ok();
    if let Some(at) = at.and_then(|at| at.checked_sub((before - grace).seconds()).ok()) {
        metadata::meta(new).insert("deletionTimestamp".into(), metadata::time(at).into());
    }
    metadata::meta(new).insert("deletionGracePeriodSeconds".into(), grace.into());
}

/// The propagation policy lives on as a finalizer, for the garbage collector.
fn set_finalizers(attempt: &Attempt, object: &mut Value, options: &DeleteOptions) {
    let stands = metadata::finalizers(object).iter().any(|finalizer| [FOREGROUND, ORPHAN].contains(finalizer));
    let wanted = match (options.propagation_policy.as_deref(), options.orphan_dependents) {
        (Some("Foreground"), _) => Some(FOREGROUND),
        (Some("Orphan"), _) | (None, Some(true)) => Some(ORPHAN),
        (Some(_), _) | (None, Some(false)) => None,
        // Unsaid: a policy that stands already stays.
        (None, None) if stands || !attempt.kind.rules().orphans_by_default() => return,
        (None, None) => Some(ORPHAN),
    };
    let mut finalizers: Vec<String> = metadata::finalizers(object).into_iter().map(str::to_owned).collect();
    finalizers.retain(|f| f != FOREGROUND && f != ORPHAN);
    finalizers.extend(wanted.map(str::to_owned));
    let meta = metadata::meta(object);
    if finalizers.is_empty() {
        meta.remove("finalizers");
    } else {
        meta.insert("finalizers".into(), json!(finalizers));
    }
}

/// The answer to a deletion that removed the object at once.
pub(crate) fn success(attempt: &Attempt, object: &Value) -> Value {
    let mut details =
        json!({ "name": attempt.name, "kind": attempt.kind.plural, "uid": metadata::text(object, "uid") });
    if !attempt.kind.group.is_empty() {
        details["group"] = attempt.kind.group.into();
    }
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details })
}

/// The cause that tells controllers not to retry a create in a namespace that goes away.
pub(crate) fn terminating(namespace: &str) -> Cause {
    Cause {
        reason: "NamespaceTerminating".into(),
        message: format!("namespace {namespace} is being terminated"),
        field: "metadata.namespace".into(),
    }
}
