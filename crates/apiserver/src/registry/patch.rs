//! Patch: the object as it is, changed as the client says; and server-side apply.

use bytes::Bytes;
use parking_lot::Mutex;
use sampan_api::patch::{self, Form};
use sampan_api::schema::Definition;
use sampan_api::status::Status;
use serde_json::Value;

use super::managed::How;
use super::update::check_version;
use super::{Attempt, Done, Plan, Registry, managed, metadata};

/// The form of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatchForm {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Kubernetes' own, which knows keys of lists.
    Strategic,
    /// Server-side apply.
    Apply {
        /// Whether fields of other managers are taken over.
        force: bool,
    },
}

/// A patch as it came.
pub(crate) struct Patch {
    pub(crate) form: PatchForm,
    pub(crate) body: Bytes,
}

impl Patch {
    /// The form of a patch that is no apply.
    pub(crate) fn plain_form(&self) -> Result<Form, Status> {
        match self.form {
            PatchForm::Json => Ok(Form::Json),
            PatchForm::Merge => Ok(Form::Merge),
            PatchForm::Strategic => Ok(Form::Strategic),
            PatchForm::Apply { .. } => Err(Status::unsupported_media_type(
                "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json",
            )),
        }
    }
}

impl Registry {
    /// Patches an object; an apply may create it.
    pub(crate) async fn patch(
        &self,
        attempt: &Attempt,
        patch: &Patch,
        definition: &'static Definition,
    ) -> Result<Done, Status> {
        if let PatchForm::Apply { force } = patch.form {
            return self.apply(attempt, patch, force, definition).await;
        }
        let form = patch.plain_form()?;
        let warnings = Mutex::new(Vec::new());
        let done = self
            .transact(attempt, |current| {
                let old = current.ok_or_else(|| attempt.not_found())?;
                let (new, told) = patch::patched(form, old, &patch.body, definition, attempt.validation)?;
                *warnings.lock() = told;
                let mut new = new;
                metadata::place(attempt, &mut new)?;
                check_version(attempt, &new, old)?;
                self.plan_update(attempt, new, old, How::Update)
            })
            .await?;
        Ok(with_warnings(attempt, done, warnings.into_inner()))
    }

    async fn apply(
        &self,
        attempt: &Attempt,
        patch: &Patch,
        force: bool,
        definition: &'static Definition,
    ) -> Result<Done, Status> {
        let (mut applied, warnings) = managed::decode_applied(attempt, &patch.body, definition)?;
        metadata::place(attempt, &mut applied)?;
        let done = self
            .transact(attempt, |current| {
                if let Some(old) = current {
                    check_version(attempt, &applied, old)?;
                } else if !attempt.subresource.is_empty() {
                    return Err(attempt.not_found());
                }
                let merged = managed::applied(attempt, current, &applied, force)?;
                match current {
                    Some(old) => self.plan_update(attempt, merged, old, How::Applied),
                    None => self.plan_applied(attempt, &merged),
                }
            })
            .await?;
        Ok(with_warnings(attempt, done, warnings))
    }

    /// A create whose managed fields the apply has noted already.
    fn plan_applied(&self, attempt: &Attempt, merged: &Value) -> Result<Plan, Status> {
        let fields = merged["metadata"]["managedFields"].clone();
        match self.plan_create(attempt, merged)? {
            Plan::Put(mut object, claim) => {
                metadata::meta(&mut object).insert("managedFields".into(), fields);
                Ok(Plan::Put(object, claim))
            }
            plan => Ok(plan),
        }
    }
}

/// Adds what the patch was warned of, and what the kind warns of.
fn with_warnings(attempt: &Attempt, done: Done, mut warnings: Vec<String>) -> Done {
    if attempt.subresource.is_empty() {
        warnings.extend(attempt.kind.rules().warnings(&done.object));
    }
    Done { warnings, ..done }
}
