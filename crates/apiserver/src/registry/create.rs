//! Create: from a decoded body to a stored object.

use sampan_api::kind::Scope;
use sampan_api::status::Status;
use sampan_api::validation;
use sampan_auth::{Attributes, Decision};
use serde_json::Value;

use super::managed::How;
use super::{Attempt, Done, Draft, Plan, Registry, managed, metadata};
use crate::admission::{self, Request};
use crate::authorization;

/// How many generated names are tried before the client has to.
const NAME_TRIES: usize = 8;

impl Registry {
    /// Creates an object. Without a name one is generated from `generateName`.
    pub(crate) async fn create(&self, attempt: &Attempt, mut object: Value) -> Result<Done, Status> {
        metadata::place(attempt, &mut object)?;
        if !metadata::text(&object, "resourceVersion").is_empty() {
            return Err(Status::bad_request("resourceVersion should not be set on objects to be created"));
        }
        let name = metadata::text(&object, "name").to_owned();
        let base = metadata::text(&object, "generateName").to_owned();
        if !name.is_empty() || base.is_empty() {
            return self.create_named(&attempt.named(&name), &object).await;
        }
        let mut last = None;
        for _ in 0..NAME_TRIES {
            let named = attempt.named(&metadata::generate_name(&base));
            let attempt = Attempt { generated_from: base.clone(), ..named };
            match self.create_named(&attempt, &object).await {
                Err(status) if status.reason == "AlreadyExists" => last = Some(status),
                other => return other,
            }
        }
        Err(last.unwrap_or_else(|| Status::internal("no name could be generated")))
    }

    async fn create_named(&self, attempt: &Attempt, object: &Value) -> Result<Done, Status> {
        let exists = || Status::already_exists(attempt.resource(), &attempt.name);
        let done = self
            .transact(attempt, |current| match current {
                Some(_) => Err(exists()),
                None => draft_create(attempt, object.clone(), How::Update),
            })
            .await?;
        attempt.notes.warn_all(attempt.kind.rules().warnings(&done.object));
        Ok(done)
    }

    /// 403 unless whoever asked to change an object that is not there may create it.
    pub(super) async fn check_may_create(&self, attempt: &Attempt) -> Result<(), Status> {
        if attempt.own {
            return Ok(());
        }
        let what = Attributes {
            verb: "create".to_owned(),
            group: attempt.kind.group.to_owned(),
            version: attempt.kind.version.to_owned(),
            resource: attempt.kind.plural.to_owned(),
            subresource: attempt.subresource.to_owned(),
            namespace: attempt.namespace.clone(),
            name: attempt.name.clone(),
            ..Attributes::default()
        };
        match self.rights.decide(&attempt.identity, &what).await {
            Decision::Allow(_) => Ok(()),
            Decision::Deny(reason) | Decision::NoOpinion(reason) => {
                Err(authorization::refusal(&attempt.identity, &what, true, &reason))
            }
        }
    }

    /// The steps of a create behind its draft.
    pub(super) async fn plan_create(&self, attempt: &Attempt, mut object: Value) -> Result<Plan, Status> {
        let request = Request::create(attempt);
        admission::mutate(self, &request, &mut object).await?;
        metadata::fill(attempt, &mut object);
        attempt.notes.warn_all(attempt.kind.rules().warnings_as_sent(&object));
        attempt.kind.rules().prepare_create(&mut object);
        attempt.kind.rules().note_writer(&mut object, None, &attempt.writer());
        let claim = self.resources.claim(attempt, &mut object, None)?;
        self.validate(attempt, &object, None)?;
        admission::validate(self, &request, &object).await?;
        Ok(Plan::Put(object, claim))
    }

    /// 422 with all faults of the object, and of the change from `old`.
    pub(super) fn validate(&self, attempt: &Attempt, new: &Value, old: Option<&Value>) -> Result<(), Status> {
        let rules = attempt.kind.rules();
        let faults = match (old, attempt.subresource) {
            (None, _) => {
                [validation::metadata(&attempt.kind, new), rules.validate(new), rules.validate_create(new)].concat()
            }
            (Some(old), "status") => {
                [validation::metadata_update(&attempt.kind, new, old), rules.validate_status(new, old)].concat()
            }
            (Some(old), "ephemeralcontainers") => validation::ephemeral_containers_update(new, old),
            (Some(old), "resize") => validation::resize_update(new, old),
            (Some(old), "") => [
                validation::metadata_update(&attempt.kind, new, old),
                rules.validate(new),
                rules.validate_update(new, old),
            ]
            .concat(),
            (Some(old), view) => {
                [validation::metadata_update(&attempt.kind, new, old), rules.validate_view(view, new, old)].concat()
            }
        };
        if faults.is_empty() {
            return Ok(());
        }
        Err(Status::invalid(attempt.group_kind(), &attempt.name, &faults))
    }
}

/// The draft of a new object for somebody who asked for a change, and may have no right to create.
pub(super) fn draft_create_instead(attempt: &Attempt, object: Value, how: How) -> Result<Draft, Status> {
    created(attempt, object, how).map(Draft::CreateInstead)
}

/// The draft of a new object.
fn draft_create(attempt: &Attempt, object: Value, how: How) -> Result<Draft, Status> {
    created(attempt, object, how).map(Draft::Create)
}

/// The new object before admission. What admission and allocation add later belongs to nobody.
fn created(attempt: &Attempt, mut object: Value, how: How) -> Result<Value, Status> {
    if attempt.kind.scope == Scope::Namespaced && attempt.namespace.is_empty() {
        return Err(Status::bad_request("an empty namespace may not be set during creation"));
    }
    metadata::wipe(&mut object);
    attempt.kind.rules().default(&mut object);
    managed::created(attempt, &mut object, how)?;
    Ok(object)
}
