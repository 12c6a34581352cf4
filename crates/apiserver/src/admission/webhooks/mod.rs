//! Mutating and validating webhooks: who is asked about a request, and what becomes of the answers.
//!
//! Mutating ones are asked one after the other, by the names of their configurations; each sees what the ones before it
//! changed. Validating ones are asked all at once. Configurations are read from the cache, so one is in force for every
//! request that begins after its write was acknowledged. Nobody is asked about the configurations of admission
//! themselves: a bad one could never be mended.
//!
//! `hook` is one webhook as configured, `review` the words spoken with it, `rounds` who is asked twice.

mod hook;
mod review;
mod rounds;

use std::sync::Arc;

use parking_lot::Mutex;
use sampan_api::decode::{self, FieldValidation, Format};
use sampan_api::kind::KindRef;
use sampan_api::patch;
use sampan_api::schema;
use sampan_api::status::Status;
use sampan_store::Revision;
use serde_json::{Value, json};

use self::hook::Hook;
use self::review::{Question, Verdict};
pub(crate) use self::rounds::Rounds;
use super::Request;
use super::matching::{Target, seen_as, selects_namespace, selects_object};
use super::policies::{Requester, Subject, conditions_hold, namespace_of};
use crate::cache::{Cache, Filter};
use crate::registry::{Registry, converted};
use crate::webhook::Client;

/// The group whose kinds no webhook sees.
const EXEMPT: &str = "admissionregistration.k8s.io";

/// The configured webhooks, and the way to them.
pub(crate) struct Webhooks {
    client: Arc<Client>,
    mutating: Configured,
    validating: Configured,
}

impl Webhooks {
    /// Webhooks that are called through `client`.
    pub(crate) fn new(client: Arc<Client>) -> Self {
        Self {
            client,
            mutating: Configured::new("mutatingwebhookconfigurations"),
            validating: Configured::new("validatingwebhookconfigurations"),
        }
    }
}

/// The webhooks of all configurations of one sort, read once per change.
struct Configured {
    storage: &'static str,
    read: Mutex<Option<(Revision, Arc<Vec<Hook>>)>>,
}

impl Configured {
    fn new(storage: &'static str) -> Self {
        Self { storage, read: Mutex::new(None) }
    }

    fn now(&self, cache: &Cache) -> Arc<Vec<Hook>> {
        let Some(room) = cache.stored(self.storage) else { return Arc::default() };
        let mut read = self.read.lock();
        if let Some((revision, hooks)) = read.as_ref()
            && *revision == room.revision()
        {
            return Arc::clone(hooks);
        }
        let (objects, revision) = room.snapshot(&Filter::default());
        let hooks = Arc::new(objects.iter().flat_map(|object| Hook::all_of(&object.value())).collect());
        *read = Some((revision, Arc::clone(&hooks)));
        hooks
    }
}

/// Why a webhook does not let something pass.
enum Failure {
    /// It could not be asked, or its answer is none.
    Call(String),
    /// It says no, or what it says makes no sense here.
    No(Status),
}

/// The mutating webhooks' part of a round.
pub(crate) async fn mutate(
    registry: &Registry,
    request: &Request<'_>,
    new: &mut Value,
    rounds: &mut Rounds,
) -> Result<(), Status> {
    let hooks = registry.webhooks.mutating.now(&registry.cache);
    if hooks.is_empty() || is_exempt(request) {
        return Ok(());
    }
    rounds.begin(new);
    for (index, hook) in hooks.iter().enumerate() {
        let Some(seen) = concerned(hook, registry, request, new)? else { continue };
        if !rounds.calls(hook.id()) {
            continue;
        }
        let place = format!("round_{}_index_{index}", rounds.number());
        let changed = match mutate_by(hook, registry, request, &seen, new).await {
            Ok(changed) => changed,
            Err(failure) => {
                pass_over(hook, request, failure, "mutation", &place)?;
                false
            }
        };
        note_mutation(hook, request, changed, &place);
        rounds.asked(hook.id(), changed, hook.reinvocable);
    }
    rounds.end(new);
    Ok(())
}

/// The validating webhooks.
pub(crate) async fn validate(registry: &Registry, request: &Request<'_>, new: &Value) -> Result<(), Status> {
    let hooks = registry.webhooks.validating.now(&registry.cache);
    if hooks.is_empty() || is_exempt(request) {
        return Ok(());
    }
    let mut asked = Vec::new();
    for (index, hook) in hooks.iter().enumerate() {
        if let Some(seen) = concerned(hook, registry, request, new)? {
            asked.push(async move {
                match ask(hook, registry, request, &seen, new).await {
                    Ok(_) => Ok(()),
                    Err(failure) => pass_over(hook, request, failure, "validating", &format!("round_0_index_{index}")),
                }
            });
        }
    }
    futures::future::join_all(asked).await.into_iter().collect()
}

fn is_exempt(request: &Request<'_>) -> bool {
    request.attempt.own || request.attempt.kind.group == EXEMPT
}

/// The kind in whose form a webhook wants to see the request; `None` if it does not concern it.
fn concerned(hook: &Hook, registry: &Registry, request: &Request<'_>, new: &Value) -> Result<Option<KindRef>, Status> {
    let matches = |target: &Target<'_>| hook.rules.iter().any(|rule| rule.matches(request.operation, target));
    let Some(seen) = seen_as(registry, request, hook.equivalent, matches) else { return Ok(None) };
    if !selects_object(&hook.objects, request, new) || !selects_namespace(&hook.namespaces, registry, request, new)? {
        return Ok(None);
    }
    Ok(holds(hook, registry, request, new, &seen)?.then_some(seen))
}

/// Whether the hook's match conditions are true. What cannot be evaluated refuses the request, or passes over the hook.
fn holds(hook: &Hook, registry: &Registry, request: &Request<'_>, new: &Value, seen: &KindRef) -> Result<bool, Status> {
    if hook.conditions.is_empty() {
        return Ok(true);
    }
    let (object, old) = forms(request, seen, new);
    let namespace = namespace_of(registry, request)?;
    let subject = Subject {
        object: &object,
        old: &old,
        request: request.described(seen),
        namespace: &namespace,
        params: &Value::Null,
        rights: Requester { rights: &registry.rights, identity: &request.attempt.identity },
    };
    match conditions_hold(&hook.conditions, &subject.bindings(&[])) {
        Ok(holds) => Ok(holds),
        Err(why) if hook.ignores_failures => {
            tracing::warn!(webhook = hook.name, why, "a webhook's match conditions cannot be evaluated");
            Ok(false)
        }
        Err(why) => Err(request.attempt.forbidden(&why)),
    }
}

/// Passes over a webhook that failed, if it may be; otherwise the failure is the request's.
fn pass_over(hook: &Hook, request: &Request<'_>, failure: Failure, sort: &str, place: &str) -> Result<(), Status> {
    let why = match failure {
        Failure::No(status) => return Err(status),
        Failure::Call(why) => format!("failed calling webhook {:?}: {why}", hook.name),
    };
    tracing::warn!(webhook = hook.name, why, ignored = hook.ignores_failures, "a webhook could not be called");
    if !hook.ignores_failures {
        return Err(Status::internal(&why));
    }
    let key = format!("failed-open.{sort}.webhook.admission.k8s.io/{place}");
    request.attempt.notes.annotate(key, hook.name.as_str());
    Ok(())
}

fn note_mutation(hook: &Hook, request: &Request<'_>, changed: bool, place: &str) {
    let said = json!({ "configuration": hook.configuration, "webhook": hook.name, "mutated": changed });
    request.attempt.notes.annotate(format!("mutation.webhook.admission.k8s.io/{place}"), said.to_string());
}

/// Asks a mutating webhook and does what it says; whether that changed anything.
async fn mutate_by(
    hook: &Hook,
    registry: &Registry,
    request: &Request<'_>,
    seen: &KindRef,
    new: &mut Value,
) -> Result<bool, Failure> {
    let verdict = ask(hook, registry, request, seen, new).await?;
    let patch: Value = match verdict.patch.as_slice() {
        [] => return Ok(false),
        bytes => serde_json::from_slice(bytes)
            .map_err(|error| Failure::Call(format!("received undecodable patch in webhook response: {error}")))?,
    };
    if patch.as_array().is_some_and(Vec::is_empty) {
        return Ok(false);
    }
    if new.is_null() {
        return Err(Failure::No(Status::internal(&format!(
            "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
            hook.name
        ))));
    }
    let patched =
        patched(request, seen, new, patch).map_err(|status| Failure::No(Status::internal(&status.message)))?;
    let changed = patched != *new;
    *new = patched;
    Ok(changed)
}

/// The object after a patch to the form that the webhook saw: without what its kind does not have, and with defaults
/// for what was added.
fn patched(request: &Request<'_>, seen: &KindRef, new: &Value, patch: Value) -> Result<Value, Status> {
    let kind = &request.attempt.kind;
    let itself = request.gvk_seen(seen) == (seen.group, seen.version, seen.kind);
    if !itself {
        let patched = patch::json::patch(new, patch)?;
        let (group, version, word) = request.gvk();
        return match schema::of_kind(group, version, word) {
            None => Ok(patched),
            Some(definition) => reread(&patched, definition),
        };
    }
    let patched = patch::json::patch(&converted(new, kind, seen), patch)?;
    let mut patched = match (seen.custom(), schema::definition(seen.schema)) {
        (Some(custom), _) => custom.patched(patched, FieldValidation::Ignore)?.0,
        (None, Some(definition)) => reread(&patched, definition)?,
        (None, None) => patched,
    };
    patched = converted(&patched, seen, kind);
    kind.rules().default(&mut patched);
    Ok(patched)
}

/// The object as its type knows it: what the type does not have is dropped, as upstream does.
pub(in crate::admission) fn reread(object: &Value, definition: &'static schema::Definition) -> Result<Value, Status> {
    let text = object.to_string();
    decode::object(text.as_bytes(), Format::Json, definition, FieldValidation::Ignore).map(|(object, _)| object)
}

/// Asks a webhook. Its warnings and annotations are noted, whatever it says.
async fn ask(
    hook: &Hook,
    registry: &Registry,
    request: &Request<'_>,
    seen: &KindRef,
    new: &Value,
) -> Result<Verdict, Failure> {
    if request.attempt.dry_run && !hook.dry_runs {
        let why = format!("admission webhook {:?} does not support dry run", hook.name);
        return Err(Failure::No(Status::bad_request(why)));
    }
    let version = hook.version.ok_or_else(|| {
        Failure::Call(
            "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)"
                .to_owned(),
        )
    })?;
    let place = hook.place.as_ref().map_err(|why| Failure::Call(format!("could not get REST client: {why}")))?;
    let (object, old) = forms(request, seen, new);
    let uid = uuid::Uuid::new_v4().to_string();
    let question = Question { request, seen, object: &object, old: &old, version, uid: &uid };
    let answer = registry.webhooks.client.post(place, &question.document(), hook.timeout).await;
    let answer = answer.map_err(|error| Failure::Call(format!("failed to call webhook: {error}")))?;
    let verdict = review::verdict(&answer, version, &uid, hook.mutating)
        .map_err(|why| Failure::Call(format!("received invalid webhook response: {why}")))?;
    let notes = &request.attempt.notes;
    verdict.annotations.iter().for_each(|(key, value)| notes.annotate(format!("{}/{key}", hook.name), value.as_str()));
    notes.warn_all(verdict.warnings.iter().cloned());
    if verdict.allowed { Ok(verdict) } else { Err(Failure::No(review::denied(&hook.name, &verdict.result))) }
}

/// The object and the one before it, as the webhook wants to see them.
fn forms(request: &Request<'_>, seen: &KindRef, new: &Value) -> (Value, Value) {
    let kind = &request.attempt.kind;
    let old = request.old.cloned().unwrap_or_default();
    if request.gvk_seen(seen) != (seen.group, seen.version, seen.kind) {
        return (new.clone(), old);
    }
    (converted(new, kind, seen), converted(&old, kind, seen))
}
