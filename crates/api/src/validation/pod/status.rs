//! What a kubelet may report about a Pod.

use serde_json::Value;

use super::restart;
use crate::field::Error;
use crate::kinds::read;
use crate::validation::cursor::{Cursor, check};
use crate::validation::{addresses, names};

/// The faults of a change of status.
pub(crate) fn status_update(new: &Value, old: &Value) -> Vec<Error> {
    check(new, |pod| {
        let (spec, status) = (pod.get("spec"), pod.get("status"));
        let nominated = status.get("nominatedNodeName");
        if nominated.value() != &old["status"]["nominatedNodeName"] {
            nominated.may_follow(names::subdomain);
        }
        let restart_policy = spec.get("restartPolicy").text();
        if !restart::may_restart_all(&spec) {
            for (list, containers, policy) in [
                ("containerStatuses", "containers", restart_policy),
                ("initContainerStatuses", "initContainers", restart_policy),
                ("ephemeralContainerStatuses", "ephemeralContainers", "Never"),
            ] {
                stays_terminated(&status.get(list), &old["status"][list], &spec.get(containers), policy);
            }
        }
        for field in ["podIPs", "hostIPs"] {
            let known: Vec<&str> =
                read::list(&old["status"], &format!("/{field}")).iter().map(|ip| read::text(ip, "/ip")).collect();
            for address in status.get(field).items() {
                address.get("ip").follows(addresses::unless_known(addresses::ip, &known));
            }
        }
    })
}

/// A container that has ended and may not be restarted cannot run again.
fn stays_terminated(new: &Cursor<'_>, old: &Value, containers: &Cursor<'_>, pod_policy: &str) {
    for (index, before) in old.as_array().into_iter().flatten().enumerate() {
        let ended = &before["state"]["terminated"];
        let name = before["name"].as_str().unwrap_or_default();
        let container = containers.items().find(|container| container.get("name").text() == name);
        let code = ended["exitCode"].as_i64().unwrap_or_default();
        let restarts = container.is_some_and(|container| restart::restarts(&container, pod_policy, code));
        if !ended.is_object() || restarts {
            continue;
        }
        let revived =
            |status: &Cursor<'_>| status.get("name").text() == name && !status.get("state").get("terminated").is_set();
        if new.items().any(|status| revived(&status)) {
            new.index(index).get("state").forbidden("may not be transitioned to non-terminated state");
        }
    }
}
