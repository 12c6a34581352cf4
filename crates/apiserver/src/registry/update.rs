//! Update: a whole object replaces another, through the main resource or `status`.

use sampan_api::field::{Error, Path};
use sampan_api::status::Status;
use serde_json::Value;

use super::create::draft_create_instead;
use super::managed::How;
use super::{Attempt, Done, Draft, Plan, Registry, managed, metadata};
use crate::admission::{self, Request};
use crate::resources::Claim;

impl Registry {
    /// Replaces an object by `new`.
    pub(crate) async fn update(&self, attempt: &Attempt, mut new: Value) -> Result<Done, Status> {
        metadata::place(attempt, &mut new)?;
        let done = self
            .transact(attempt, |current| match current {
                Some(old) => {
                    check_says_version(attempt, &new)?;
                    check_version(attempt, &new, old)?;
                    draft_update(attempt, new.clone(), old, How::Update)
                }
                None if creates(attempt, &new) => draft_create_instead(attempt, new.clone(), How::Update),
                None => Err(attempt.not_found()),
            })
            .await?;
        if attempt.subresource.is_empty() {
            attempt.notes.warn_all(attempt.kind.rules().warnings(&done.object));
        }
        Ok(done)
    }

    /// The steps of an update behind its draft, whichever way that was made.
    pub(super) async fn plan_update(&self, attempt: &Attempt, mut new: Value, old: &Value) -> Result<Plan, Status> {
        let request = Request::update(attempt, old);
        admission::mutate(self, &request, &mut new).await?;
        let claim = self.prepare(attempt, &mut new, old)?;
        self.validate(attempt, &new, Some(old))?;
        admission::validate(self, &request, &new).await?;
        if unchanged(&new, old) {
            return Ok(Plan::Keep);
        }
        if ready_to_go(attempt, &new) {
            return Ok(Plan::Remove(new));
        }
        Ok(Plan::Put(new, claim))
    }

    /// Takes over from `old` what this path may not change, whoever has changed it.
    pub(super) fn prepare(&self, attempt: &Attempt, new: &mut Value, old: &Value) -> Result<Option<Claim>, Status> {
        let rules = attempt.kind.rules();
        metadata::update(new, old);
        match attempt.subresource {
            "status" => {
                rules.prepare_status(new, old);
                keep_metadata(new, old);
            }
            "ephemeralcontainers" => keep_all_but(new, old, take_ephemeral),
            "resize" => keep_all_but(new, old, take_resources),
            "" => rules.prepare_update(new, old),
            view => {
                rules.prepare_view(view, new, old);
                keep_metadata(new, old);
            }
        }
        rules.note_writer(new, Some(old), &attempt.writer());
        let claim = self.resources.claim(attempt, new, Some(old))?;
        metadata::grow_generation(&attempt.kind, new, old);
        Ok(claim)
    }
}

/// The draft of a change, whichever way `new` was made.
pub(super) fn draft_update(attempt: &Attempt, mut new: Value, old: &Value, how: How) -> Result<Draft, Status> {
    metadata::update(&mut new, old);
    attempt.kind.rules().default(&mut new);
    managed::updated(attempt, &mut new, old, how)?;
    Ok(Draft::Update(new))
}

/// Whether an update to `new`, of which there is nothing yet, creates it.
fn creates(attempt: &Attempt, new: &Value) -> bool {
    attempt.subresource.is_empty()
        && attempt.kind.rules().updates_create()
        && metadata::text(new, "resourceVersion").is_empty()
        && metadata::text(new, "uid").is_empty()
}

/// Updates of some kinds must say which version they replace.
fn check_says_version(attempt: &Attempt, new: &Value) -> Result<(), Status> {
    if !attempt.kind.rules().updates_say_version() || !matches!(metadata::text(new, "resourceVersion"), "" | "0") {
        return Ok(());
    }
    let path = Path::new("metadata").child("resourceVersion");
    let fault = Error::invalid(&path, 0, "must be specified for an update");
    // As upstream: the resource stands where other refusals have the kind.
    Err(Status::invalid(attempt.resource(), &attempt.name, &[fault]))
}

/// The version that the client has seen, if it says one, must be the one that is there.
pub(super) fn check_version(attempt: &Attempt, new: &Value, old: &Value) -> Result<(), Status> {
    let seen = metadata::text(new, "resourceVersion");
    if !matches!(seen, "" | "0") && seen != metadata::text(old, "resourceVersion") {
        return Err(Status::modified(attempt.resource(), &attempt.name));
    }
    let (uid, there) = (metadata::text(new, "uid"), metadata::text(old, "uid"));
    if !uid.is_empty() && uid != there {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {there}");
        return Err(Status::conflict(attempt.resource(), &attempt.name, &why));
    }
    Ok(())
}

/// Through `status`, of the metadata only what tells nothing of the object's wishes may change.
fn keep_metadata(new: &mut Value, old: &Value) {
    let mut kept = old["metadata"].clone();
    for name in ["labels", "annotations", "finalizers", "ownerReferences", "managedFields"] {
        match new["metadata"].get(name) {
            Some(value) => kept[name] = value.clone(),
            None => drop(kept.as_object_mut().and_then(|kept| kept.remove(name))),
        }
    }
    new["metadata"] = kept;
}

/// Through some subresources of Pods nothing changes but what `take` takes over from what was sent.
fn keep_all_but(new: &mut Value, old: &Value, take: fn(&mut Value, &mut Value)) {
    let mut sent = std::mem::replace(new, old.clone());
    take(new, &mut sent);
    let fields = sent["metadata"]["managedFields"].take();
    if !fields.is_null() {
        new["metadata"]["managedFields"] = fields;
    }
}

fn take_ephemeral(pod: &mut Value, sent: &mut Value) {
    let Some(spec) = pod["spec"].as_object_mut() else { return };
    match sent["spec"]["ephemeralContainers"].take() {
        // That nothing is sent must be seen where removals are refused.
        Value::Null => drop(spec.remove("ephemeralContainers")),
        ephemeral => drop(spec.insert("ephemeralContainers".to_owned(), ephemeral)),
    }
}

/// Takes over the resources of the containers, by their names, and those of the Pod as a whole.
fn take_resources(pod: &mut Value, sent: &mut Value) {
    // Who does not know of them sends none.
    let whole = sent["spec"]["resources"].take();
    if !whole.is_null() {
        pod["spec"]["resources"] = whole;
    }
    for list in ["containers", "initContainers"] {
        let sent = sent["spec"][list].take();
        let sent = sent.as_array().map(Vec::as_slice).unwrap_or_default();
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            if let Some(resized) = sent.iter().find(|sent| sent["name"] == container["name"]) {
                container["resources"] = resized["resources"].clone();
            }
        }
    }
    sampan_api::kinds::default_whole(pod);
}

/// Whether nothing but the times in managedFields differs.
pub(super) fn unchanged(new: &Value, old: &Value) -> bool {
    same_but(new, old, "metadata", |new, old| {
        same_but(new, old, "managedFields", |new, old| match (new, old) {
            (Value::Array(new), Value::Array(old)) if new.len() == old.len() => {
                new.iter().zip(old).all(|(new, old)| same_but(new, old, "time", |_, _| true))
            }
            _ => new == old,
        })
    })
}

/// Whether two objects are the same in all fields, of which `field` is judged by `same`; missing is null there.
fn same_but(new: &Value, old: &Value, field: &str, same: impl Fn(&Value, &Value) -> bool) -> bool {
    let (Value::Object(new_fields), Value::Object(old_fields)) = (new, old) else { return new == old };
    let others = |(name, _): &(&String, &Value)| *name != field;
    let (new_others, old_others) = (new_fields.iter().filter(others), old_fields.iter().filter(others));
    same(&new[field], &old[field]) && new_others.eq(old_others)
}

/// Whether nothing holds an object back any more whose deletion has begun.
pub(super) fn ready_to_go(attempt: &Attempt, object: &Value) -> bool {
    metadata::is_deleting(object)
        && metadata::finalizers(object).is_empty()
        && object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
        && !attempt.kind.rules().is_held_back(object)
}
