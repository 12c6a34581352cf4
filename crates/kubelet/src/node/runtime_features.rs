//! What the container runtime says it can do, as a whole and with each of its handlers: told in the node's status, and
//! held against what Pods ask for. Pure.

use k8s_openapi::api::core::v1::{NodeFeatures, NodeRuntimeHandler, NodeRuntimeHandlerFeatures, Pod};
use sampan_cri::v1::{RuntimeHandler, StatusResponse};

use crate::{Error, spec};

/// What the runtime can do. A runtime that tells nothing of it can do none of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RuntimeFeatures {
    /// Sorted by name; "" is the one that Pods without a class have.
    handlers: Vec<Handler>,
    /// Whether groups can be kept to those that a Pod names; nothing if the runtime does not say.
    strict_groups: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Handler {
    name: String,
    recursive_read_only: bool,
    user_namespaces: bool,
}

impl Handler {
    fn of(told: &RuntimeHandler) -> Self {
        Self {
            name: told.name.clone(),
            recursive_read_only: told.features.is_some_and(|features| features.recursive_read_only_mounts),
            user_namespaces: told.features.is_some_and(|features| features.user_namespaces),
        }
    }
}

impl RuntimeFeatures {
    /// What the runtime's status tells.
    pub(crate) fn of(status: &StatusResponse) -> Self {
        let mut handlers: Vec<Handler> = status.runtime_handlers.iter().map(Handler::of).collect();
        handlers.sort_by(|a, b| a.name.cmp(&b.name));
        Self { handlers, strict_groups: status.features.map(|features| features.supplemental_groups_policy) }
    }

    /// The handlers, as the node's status lists them.
    pub(super) fn handlers(&self) -> Vec<NodeRuntimeHandler> {
        let handlers = self.handlers.iter().map(|handler| NodeRuntimeHandler {
            name: Some(handler.name.clone()),
            features: Some(NodeRuntimeHandlerFeatures {
                recursive_read_only_mounts: Some(handler.recursive_read_only),
                user_namespaces: Some(handler.user_namespaces),
            }),
        });
        handlers.collect()
    }

    /// What concerns all handlers, as the node's status says it.
    pub(super) fn of_node(&self) -> Option<NodeFeatures> {
        self.strict_groups.map(|strict| NodeFeatures { supplemental_groups_policy: Some(strict) })
    }

    /// Whether containers of `handler` can have mounts that nobody writes to, however deep.
    pub(crate) fn recursive_read_only(&self, handler: &str) -> bool {
        self.handler(handler).is_some_and(|known| known.recursive_read_only)
    }

    /// An error, in upstream's words, if Pods of `handler` cannot have users of their own.
    pub(crate) fn check_users(&self, handler: &str) -> Result<(), Error> {
        let who = match handler {
            "" => "runtime".to_owned(),
            _ => format!("RuntimeClass handler {handler:?}"),
        };
        let why = match self.handler(handler) {
            Some(known) if known.user_namespaces => return Ok(()),
            Some(_) => String::new(),
            None => format!(": the handler {handler:?} is not known"),
        };
        Err(Error::Config(format!("can't set `hostUsers: false`, {who} does not support user namespaces{why}")))
    }

    /// Why the Pod is not taken: reason and message. Who wants no groups but those that it names must not get others.
    pub(crate) fn refusal(&self, pod: &Pod) -> Option<(String, String)> {
        let policy = spec::of(pod).security_context.as_ref()?.supplemental_groups_policy.as_deref()?;
        let refused = policy == "Strict" && self.strict_groups != Some(true);
        let message = "Pod was rejected: SupplementalGroupsPolicy=Strict is not supported in this node";
        refused.then(|| ("SupplementalGroupsPolicyNotSupported".to_owned(), message.to_owned()))
    }

    fn handler(&self, name: &str) -> Option<&Handler> {
        self.handlers.iter().find(|handler| handler.name == name)
    }
}

#[cfg(test)]
mod tests {
    use sampan_cri::v1::{RuntimeFeatures as Told, RuntimeHandlerFeatures};
    use serde_json::json;

    use super::*;

    /// A runtime with a handler that can do everything, one that can do nothing, and one that says nothing.
    fn features() -> RuntimeFeatures {
        let able = |able| RuntimeHandlerFeatures { recursive_read_only_mounts: able, user_namespaces: able };
        let handler = |name: &str, features| RuntimeHandler { name: name.to_owned(), features };
        let handlers = vec![handler("weak", Some(able(false))), handler("mute", None), handler("", Some(able(true)))];
        let told = Told { supplemental_groups_policy: true, ..Told::default() };
        let status = StatusResponse { runtime_handlers: handlers, features: Some(told), ..StatusResponse::default() };
        RuntimeFeatures::of(&status)
    }

    #[test]
    fn the_node_tells_of_every_handler() {
        let want = |name: &str, able: bool| json!({"name": name, "features": {"recursiveReadOnlyMounts": able, "userNamespaces": able}});
        let told = serde_json::to_value(features().handlers()).unwrap();
        assert_eq!(told, json!([want("", true), want("mute", false), want("weak", false)]));
        assert_eq!(serde_json::to_value(features().of_node()).unwrap(), json!({"supplementalGroupsPolicy": true}));
        assert_eq!(RuntimeFeatures::of(&StatusResponse::default()).of_node(), None);
    }

    #[test]
    fn a_handler_does_what_it_says_and_no_more() {
        let check = |handler: &str, recursive: bool, users: Result<(), &str>| {
            assert_eq!(features().recursive_read_only(handler), recursive, "{handler:?}");
            let got = features().check_users(handler).map_err(|error| error.to_string());
            assert_eq!(got, users.map_err(str::to_owned));
        };
        check("", true, Ok(()));
        check(
            "weak",
            false,
            Err("can't set `hostUsers: false`, RuntimeClass handler \"weak\" does not support user namespaces"),
        );
        let unknown = "can't set `hostUsers: false`, RuntimeClass handler \"none\" does not support user namespaces: \
            the handler \"none\" is not known";
        check("none", false, Err(unknown));
    }

    #[test]
    fn groups_are_strict_only_where_they_can_be() {
        let check = |features: &RuntimeFeatures, policy: Option<&str>, refused: bool| {
            let security = json!({"supplementalGroupsPolicy": policy});
            let pod = json!({"spec": {"containers": [], "securityContext": security}});
            assert_eq!(features.refusal(&serde_json::from_value(pod).unwrap()).is_some(), refused, "{policy:?}");
        };
        check(&features(), Some("Strict"), false);
        check(&RuntimeFeatures::default(), Some("Strict"), true);
        check(&RuntimeFeatures::default(), Some("Merge"), false);
        check(&RuntimeFeatures::default(), None, false);
    }
}
