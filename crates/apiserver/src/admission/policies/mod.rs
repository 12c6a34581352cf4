//! Validating- and MutatingAdmissionPolicy: which of them a request concerns, with which parameters, and what they say.
//!
//! A policy is in force where a binding puts it in force. Policies and bindings are read from the cache and compiled
//! once per change, so one is in force for every request that begins after its write was acknowledged. Nobody is asked
//! about policies themselves: a bad one could never be mended.
//!
//! `scope` is what a policy or binding is about, `params` what a binding hands over, `subject` what expressions see;
//! `validating` and `mutating` ask the policies.

mod mutating;
mod params;
mod scope;
mod subject;
mod validating;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use sampan_api::kind::KindRef;
use sampan_api::policy::Policy;
use sampan_api::status::Status;
use sampan_store::Revision;
use serde_json::Value;

pub(super) use self::mutating::mutate;
use self::scope::MatchResources;
pub(super) use self::subject::{Requester, Subject, conditions_hold};
pub(super) use self::validating::validate;
use super::Request;
use crate::cache::{Cache, Filter};
use crate::registry::Registry;

/// The group of policies, bindings and webhooks.
const GROUP: &str = "admissionregistration.k8s.io";
/// The groups of the reviews, which are questions and change nothing.
const REVIEWS: [&str; 2] = ["authentication.k8s.io", "authorization.k8s.io"];

/// The policies in force.
pub(crate) struct Policies {
    validating: Configured,
    mutating: Configured,
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            validating: Configured::new("validatingadmissionpolicies", "validatingadmissionpolicybindings"),
            mutating: Configured::new("mutatingadmissionpolicies", "mutatingadmissionpolicybindings"),
        }
    }
}

/// A policy with what puts it in force.
pub(super) struct Hook {
    policy: Policy,
    about: MatchResources,
    bindings: Vec<Binding>,
}

/// A binding.
struct Binding {
    name: String,
    about: Option<MatchResources>,
    /// `paramRef`, or null.
    param_ref: Value,
    /// `validationActions`
    actions: Vec<String>,
}

/// The compiled policies, and the revisions of policies and bindings that they are of.
type Read = ([Revision; 2], Arc<Vec<Hook>>);

/// The policies of one sort, compiled once per change.
struct Configured {
    policies: &'static str,
    bindings: &'static str,
    read: Mutex<Option<Read>>,
}

impl Configured {
    fn new(policies: &'static str, bindings: &'static str) -> Self {
        Self { policies, bindings, read: Mutex::new(None) }
    }

    /// The policies now, by name, each with its bindings by name.
    fn now(&self, cache: &Cache) -> Arc<Vec<Hook>> {
        let (Some(policies), Some(bindings)) = (cache.stored(self.policies), cache.stored(self.bindings)) else {
            return Arc::default();
        };
        let mut read = self.read.lock();
        let revisions = [policies.revision(), bindings.revision()];
        if let Some((known, hooks)) = read.as_ref()
            && *known == revisions
        {
            return Arc::clone(hooks);
        }
        let (stored, policies_revision) = policies.snapshot(&Filter::default());
        let (bound, bindings_revision) = bindings.snapshot(&Filter::default());
        let mut by_policy: HashMap<String, Vec<Binding>> = HashMap::new();
        for binding in bound {
            let binding = binding.value();
            let policy = binding["spec"]["policyName"].as_str().unwrap_or_default().to_owned();
            by_policy.entry(policy).or_default().push(Binding::of(&binding));
        }
        let hook = |object: Arc<crate::cache::Object>| {
            let bindings = by_policy.remove(&*object.name)?;
            let policy = Policy::compile(&object.value());
            Some(Hook { about: MatchResources::of(&policy.constraints), policy, bindings })
        };
        let hooks: Arc<Vec<Hook>> = Arc::new(stored.into_iter().filter_map(hook).collect());
        *read = Some(([policies_revision, bindings_revision], Arc::clone(&hooks)));
        hooks
    }
}

impl Binding {
    fn of(binding: &Value) -> Self {
        let spec = &binding["spec"];
        let actions = spec["validationActions"].as_array().into_iter().flatten();
        Self {
            name: binding["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            about: Some(&spec["matchResources"]).filter(|about| about.is_object()).map(MatchResources::of),
            param_ref: spec["paramRef"].clone(),
            actions: actions.filter_map(Value::as_str).map(str::to_owned).collect(),
        }
    }
}

/// One policy asked through one binding with one parameter object.
struct Invocation<'h> {
    policy: &'h Policy,
    binding: &'h Binding,
    /// The parameters, or null.
    params: Value,
    /// The form in which the policy sees the request.
    seen: KindRef,
}

/// Why a policy could not be asked.
struct Misconfigured<'h> {
    policy: &'h Policy,
    /// `None` if the policy itself is at fault.
    binding: Option<&'h Binding>,
    why: String,
}

/// Who is to be asked about a request, in order.
type Turn<'h> = Result<Invocation<'h>, Misconfigured<'h>>;

fn is_exempt(request: &Request<'_>) -> bool {
    let group = request.attempt.kind.group;
    request.attempt.own || group == GROUP || REVIEWS.contains(&group)
}

/// All turns that a request gives.
fn turns<'h>(hooks: &'h [Hook], registry: &Registry, request: &Request<'_>, new: &Value) -> Vec<Turn<'h>> {
    let mut turns = Vec::new();
    for hook in hooks {
        match hook.about.concerns(registry, request, new) {
            Ok(None) => {}
            Ok(Some(seen)) => {
                for binding in &hook.bindings {
                    let all = params_of(hook, binding, registry, request, new);
                    turns.extend(turns_of(hook, binding, all, &seen));
                }
            }
            Err(status) => {
                let why = format!("failed to configure policy: {}", status.message);
                turns.push(Err(Misconfigured { policy: &hook.policy, binding: None, why }));
            }
        }
    }
    turns
}

/// The parameters with which a binding applies to the request, one turn each; none if it is not about it.
fn params_of(
    hook: &Hook,
    binding: &Binding,
    registry: &Registry,
    request: &Request<'_>,
    new: &Value,
) -> Result<Vec<Value>, String> {
    let concerned = match &binding.about {
        None => Ok(true),
        Some(about) => about.concerns_binding(registry, request, new),
    };
    match concerned {
        Ok(false) => Ok(Vec::new()),
        Ok(true) => params::collect(&hook.policy, &binding.param_ref, registry, request),
        Err(status) => Err(status.message),
    }
}

fn turns_of<'h>(
    hook: &'h Hook,
    binding: &'h Binding,
    params: Result<Vec<Value>, String>,
    seen: &KindRef,
) -> Vec<Turn<'h>> {
    match params {
        Ok(all) => {
            let turn = |params| Ok(Invocation { policy: &hook.policy, binding, params, seen: seen.clone() });
            all.into_iter().map(turn).collect()
        }
        Err(why) => {
            let why = format!("failed to configure binding: {why}");
            vec![Err(Misconfigured { policy: &hook.policy, binding: Some(binding), why })]
        }
    }
}

/// The namespace of a request, for expressions; null for what is in none, and for namespaces themselves.
pub(super) fn namespace_of(registry: &Registry, request: &Request<'_>) -> Result<Value, Status> {
    let attempt = request.attempt;
    if attempt.namespace.is_empty() || (attempt.kind.group.is_empty() && attempt.kind.plural == "namespaces") {
        return Ok(Value::Null);
    }
    let found = registry.peek("", "Namespace", "", &attempt.namespace);
    found.ok_or_else(|| {
        Status::not_found(sampan_api::status::Resource { group: "", name: "namespaces" }, &attempt.namespace)
    })
}
