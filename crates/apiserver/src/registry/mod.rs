//! The one registry through which every kind runs: the same steps for all, with the kind's own rules at each.
//!
//! A write is a pure draft (`(object now) -> Draft`) that [`Registry::transact`] carries out: it reads, drafts, has the
//! draft admitted and validated, writes on the condition that nothing has changed, and begins again if something has.
//! So create, update, patch, apply and delete differ only in their draft.
//!
//! ```text
//! body -> decode -> draft: metadata -> default -> managedFields
//!           ^                              |
//!           |        plan: mutating admission -> rules -> claims -> validate -> validating admission
//!           |                                                                            |
//!           +----------------- someone else wrote in between ---------- store <----------+
//! ```

mod attempt;
mod binding;
mod budget;
pub(crate) mod conditions;
mod conversions;
mod convert;
mod create;
mod delete;
mod eviction;
mod finalize;
mod heartbeat;
mod list;
mod managed;
pub(crate) mod metadata;
mod patch;
mod read;
mod scale;
mod turns;
mod update;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use sampan_api::kind::{Kind, KindRef};
use sampan_api::status::Status;
use sampan_store::{Entry, Outcome, Revision, Store, Write};
use serde_json::Value;

pub(crate) use self::attempt::{Attempt, Done, Effect, FieldValidation};
use self::conversions::Conversions;
pub(crate) use self::delete::{DeleteOptions, success, terminating};
use self::heartbeat::is_heartbeat;
pub(crate) use self::patch::{Patch, PatchForm};
pub(crate) use self::read::{converted, serve, view_of};
pub(crate) use self::scale::{named as named_scale, scale_of};
use self::turns::Turns;
use crate::admission::{Policies, Webhooks};
use crate::cache::{Cache, PREFIX, encode, unavailable};
use crate::catalog::Catalog;
use crate::resources::{Claim, Resources};
use crate::rights::Rights;
use crate::webhook;

/// How often a plan is made anew because someone else wrote in between.
const MAX_TRIES: usize = 16;

/// The registry.
pub(crate) struct Registry {
    /// Where everything is read.
    pub(crate) cache: Arc<Cache>,
    /// The kinds that are served.
    pub(crate) catalog: Catalog,
    /// Who may what.
    pub(crate) rights: Arc<Rights>,
    /// Calls webhooks of every sort.
    pub(crate) caller: Arc<webhook::Client>,
    /// The webhooks of admission.
    pub(crate) webhooks: Webhooks,
    /// The policies of admission.
    pub(crate) policies: Policies,
    store: Arc<dyn Store>,
    resources: Resources,
    turns: Turns,
    conversions: Conversions,
}

/// What a write makes of one object, before admission.
pub(crate) enum Draft {
    /// Nothing: it is as wanted.
    Keep,
    /// This new object.
    Create(Value),
    /// The same, for somebody who asked for a change.
    CreateInstead(Value),
    /// This in place of the object.
    Update(Value),
    /// The object with the replicas of this Scale.
    Scale {
        scale: Value,
        /// The account of the object's fields, where an apply has kept it already.
        account: Option<Value>,
    },
    /// The Namespace with these finalizers.
    Finalize(Value),
    /// Its removal.
    Delete(DeleteOptions),
    /// What has been admitted in another form already.
    Admitted(Plan),
}

/// What is to be done to one object.
pub(crate) enum Plan {
    /// Nothing: it is as wanted.
    Keep,
    /// Store this, with what was claimed for it.
    Put(Value, Option<Claim>),
    /// Remove it; this is how it is shown for the last time.
    Remove(Value),
}

/// An object as a plan starts from it.
struct Current {
    object: Value,
    revision: Revision,
}

impl Registry {
    /// A registry over `store`, of which `cache` is the cache.
    pub(crate) fn new(
        cache: Arc<Cache>,
        store: Arc<dyn Store>,
        rights: Arc<Rights>,
        resources: Resources,
        catalog: Catalog,
    ) -> Self {
        let caller = Arc::new(webhook::Client::new(Arc::new(webhook::Services::new(Arc::clone(&cache)))));
        Self {
            cache,
            catalog,
            rights,
            webhooks: Webhooks::new(Arc::clone(&caller)),
            caller,
            policies: Policies::default(),
            store,
            resources,
            turns: Turns::default(),
            conversions: Conversions::default(),
        }
    }

    /// Reads the object, asks `draft` what to make of it, does what comes of that; again when someone else wrote in
    /// between.
    ///
    /// It begins from what is in memory: should that be old, the store takes no write that rests on it. What ends
    /// without a write (a refusal, a change that changes nothing) has nothing to stop it, so it counts only if nothing
    /// newer was there when it was decided. A dry run never writes.
    pub(crate) async fn transact(
        &self,
        attempt: &Attempt,
        draft: impl Fn(Option<&Value>) -> Result<Draft, Status> + Send + Sync,
    ) -> Result<Done, Status> {
        attempt.check_stored()?;
        if attempt.dry_run {
            self.cache.fresh().await?;
            return self.transact_from_memory(attempt, &draft).await;
        }
        let reached = self.cache.reached();
        let outcome = self.transact_from_memory(attempt, &draft).await;
        if is_decided_by_store(&outcome) || self.cache.fresh().await? == reached {
            return outcome;
        }
        self.transact_from_memory(attempt, &draft).await
    }

    async fn transact_from_memory(
        &self,
        attempt: &Attempt,
        draft: &(impl Fn(Option<&Value>) -> Result<Draft, Status> + Send + Sync),
    ) -> Result<Done, Status> {
        let found = self.cache.room(&attempt.kind)?.get(&attempt.key());
        let mut current = match found {
            None => None,
            Some(object) => {
                Some(Current { revision: object.revision, object: self.served(&attempt.kind, object.value()).await? })
            }
        };
        let mut turn = None;
        for _ in 0..MAX_TRIES {
            let now = current.as_ref().map(|current| &current.object);
            let mut next = self.plan(attempt, draft(now)?, now).await?;
            if !self.secure(attempt, &mut next).await? {
                continue;
            }
            match self.carry_out(attempt, next, current.as_ref()).await? {
                Ok(done) => return Ok(done),
                Err(None) => current = None,
                Err(Some(entry)) => current = Some(self.read_entry(&attempt.kind, &entry).await?),
            }
            // Whoever lost once waits for its turn, so that many writers of one object do not starve each other.
            if turn.is_none() {
                turn = Some(self.turns.of((attempt.kind.storage, attempt.key())).await);
            }
        }
        Err(Status::modified(attempt.resource(), &attempt.name))
    }

    /// What comes of a draft when admission and validation have had their say.
    async fn plan(&self, attempt: &Attempt, draft: Draft, now: Option<&Value>) -> Result<Plan, Status> {
        match (draft, now) {
            (Draft::Keep, _) => Ok(Plan::Keep),
            (Draft::Admitted(plan), _) => Ok(plan),
            (Draft::Create(object), _) => self.plan_create(attempt, object).await,
            (Draft::CreateInstead(object), _) => {
                self.check_may_create(attempt).await?;
                self.plan_create(attempt, object).await
            }
            (Draft::Update(new), Some(old)) => self.plan_update(attempt, new, old).await,
            (Draft::Scale { scale, account }, Some(old)) => self.plan_scale(attempt, scale, account, old).await,
            (Draft::Finalize(new), Some(old)) => self.plan_finalize(attempt, new, old).await,
            (Draft::Delete(options), Some(old)) => self.plan_delete(attempt, &options, old).await,
            (_, None) => Err(attempt.not_found()),
        }
    }

    /// Puts what a plan has claimed where other servers see it; false if one of them was faster.
    async fn secure(&self, attempt: &Attempt, plan: &mut Plan) -> Result<bool, Status> {
        match plan {
            Plan::Put(_, Some(claim)) if !attempt.dry_run => self.resources.secure(claim, attempt.now).await,
            _ => Ok(true),
        }
    }

    /// Carries out a plan. `Err` holds the object as someone else has left it.
    async fn carry_out(
        &self,
        attempt: &Attempt,
        plan: Plan,
        current: Option<&Current>,
    ) -> Result<Result<Done, Option<Entry>>, Status> {
        let key = store_key(&attempt.kind, &attempt.key());
        let (write, mut object, effect, claim) = match (plan, current) {
            (Plan::Keep, Some(current)) => return Ok(Ok(done(current.object.clone(), Effect::Nothing))),
            (Plan::Keep | Plan::Remove(_), None) => return Err(attempt.not_found()),
            (Plan::Put(object, claim), None) => {
                let value = stored(&attempt.kind, self.storable(&attempt.kind, &object).await?);
                (Write::Create { key, value }, object, Effect::Created, claim)
            }
            (Plan::Put(object, claim), Some(current)) => {
                let value = stored(&attempt.kind, self.storable(&attempt.kind, &object).await?);
                let expected = current.revision;
                let write = match is_heartbeat(&attempt.kind, &current.object, &object) {
                    true => Write::Renew { key, value, expected },
                    false => Write::Update { key, value, expected },
                };
                (write, object, Effect::Updated, claim)
            }
            (Plan::Remove(object), Some(current)) => {
                (Write::Delete { key, expected: current.revision }, object, Effect::Removed, None)
            }
        };
        if attempt.dry_run {
            return Ok(Ok(done(object, effect)));
        }
        let claim = claim.map(Claim::written);
        match self.store.write(write).await.map_err(|e| unavailable(&e))? {
            Outcome::Unmet(entry) => {
                if let Some(claim) = claim {
                    self.resources.give_back(claim).await;
                }
                Ok(Err(entry))
            }
            Outcome::Done(revision) => {
                self.resources.settle(attempt, &object, effect, claim).await;
                // Whoever hears of it may count on it at once: a right that was given, a namespace that was made.
                // Should the cache be late, it is durable all the same.
                drop(self.cache.reach(revision).await);
                object["metadata"]["resourceVersion"] = revision.to_string().into();
                Ok(Ok(done(object, effect)))
            }
        }
    }

    async fn read_entry(&self, kind: &KindRef, entry: &Entry) -> Result<Current, Status> {
        let mut object: Value = serde_json::from_slice(&entry.value).map_err(|error| {
            tracing::error!(%error, kind = kind.kind, "a stored object cannot be read");
            Status::internal("a stored object cannot be read")
        })?;
        object["metadata"]["resourceVersion"] = entry.modified.to_string().into();
        Ok(Current { object: self.served(kind, object).await?, revision: entry.modified })
    }
}

/// Whether the store has had the last word: it took the write, or failed, and then nobody knows whether it did.
fn is_decided_by_store(outcome: &Result<Done, Status>) -> bool {
    match outcome {
        Ok(done) => done.effect != Effect::Nothing,
        Err(status) => status.code >= 500,
    }
}

fn done(object: Value, effect: Effect) -> Done {
    Done { object, effect }
}

/// The stored bytes of an object in its kind's own form.
fn stored(kind: &KindRef, mut object: Cow<'_, Value>) -> Bytes {
    if view_of(kind).is_some() {
        kind.rules().stored_form(object.to_mut());
    }
    encode(&object)
}

fn store_key(kind: &Kind, key: &str) -> Bytes {
    format!("{PREFIX}{}/{key}", kind.storage).into()
}

/// The built-in kind of a group, for the API server's own writes and look-ups.
pub(crate) fn built_in(group: &str, kind: &str) -> Result<&'static Kind, Status> {
    let found = sampan_api::kinds::ALL.iter().copied().find(|k| k.kind == kind && k.group == group);
    found.ok_or_else(|| Status::internal(&format!("the kind {kind} is not built in")))
}
