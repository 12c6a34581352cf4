//! Patch: the object as it is, changed as the client says; and server-side apply.

use bytes::Bytes;
use sampan_api::patch::{self, Form};
use sampan_api::status::Status;

use super::create::draft_create_instead;
use super::managed::How;
use super::update::{check_version, draft_update};
use super::{Attempt, Done, Registry, managed, metadata};

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
    pub(crate) async fn patch(&self, attempt: &Attempt, patch: &Patch) -> Result<Done, Status> {
        if let PatchForm::Apply { force } = patch.form {
            return self.apply(attempt, patch, force).await;
        }
        let (form, model) = (patch.plain_form()?, attempt.kind.model()?);
        let done = self
            .transact(attempt, |current| {
                let old = current.ok_or_else(|| attempt.not_found())?;
                let (mut new, warnings) = patch::patched(form, old, &patch.body, model, attempt.validation)?;
                attempt.notes.warn_all(warnings);
                metadata::place(attempt, &mut new)?;
                check_version(attempt, &new, old)?;
                draft_update(attempt, new, old, How::Update)
            })
            .await?;
        warn(attempt, &done);
        Ok(done)
    }

    async fn apply(&self, attempt: &Attempt, patch: &Patch, force: bool) -> Result<Done, Status> {
        let (mut applied, warnings) = attempt.kind.model()?.decode_applied(&patch.body, attempt.validation)?;
        attempt.notes.warn_all(warnings);
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
                    Some(old) => draft_update(attempt, merged, old, How::Applied),
                    None => draft_create_instead(attempt, merged, How::Applied),
                }
            })
            .await?;
        warn(attempt, &done);
        Ok(done)
    }
}

/// Notes what the kind warns of.
fn warn(attempt: &Attempt, done: &Done) {
    if attempt.subresource.is_empty() {
        attempt.notes.warn_all(attempt.kind.rules().warnings(&done.object));
    }
}
