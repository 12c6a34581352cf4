//! What a kubelet may report about a Pod.

use serde_json::Value;

use crate::field::Error;
use crate::validation::cursor::{Cursor, check};
use crate::validation::names;

/// The faults of a change of status.
pub(crate) fn status_update(new: &Value, old: &Value) -> Vec<Error> {
    check(new, |pod| {
        let (spec, status) = (pod.get("spec"), pod.get("status"));
        let nominated = status.get("nominatedNodeName");
        if nominated.value() != &old["status"]["nominatedNodeName"] {
            nominated.may_follow(names::subdomain);
        }
        let restart_policy = spec.get("restartPolicy").text();
        let sidecars: Vec<&str> = spec
            .get("initContainers")
            .items()
            .filter(|container| container.get("restartPolicy").text() == "Always")
            .map(|container| container.get("name").text())
            .collect();
        for (list, policy, exempt) in [
            ("containerStatuses", restart_policy, &[][..]),
            ("initContainerStatuses", restart_policy, &sidecars[..]),
            ("ephemeralContainerStatuses", "Never", &[][..]),
        ] {
            stays_terminated(&status.get(list), &old["status"][list], policy, exempt);
        }
        for field in ["podIPs", "hostIPs"] {
            for address in status.get(field).items() {
                address.get("ip").follows(names::ip);
            }
        }
    })
}

/// A container that has ended and may not be restarted cannot run again.
fn stays_terminated(new: &Cursor<'_>, old: &Value, restart_policy: &str, exempt: &[&str]) {
    if restart_policy == "Always" {
        return;
    }
    for (index, before) in old.as_array().into_iter().flatten().enumerate() {
        let ended = &before["state"]["terminated"];
        let may_restart = restart_policy == "OnFailure" && ended["exitCode"] != 0;
        let name = before["name"].as_str().unwrap_or_default();
        if !ended.is_object() || may_restart || exempt.contains(&name) {
            continue;
        }
        let revived =
            |status: &Cursor<'_>| status.get("name").text() == name && !status.get("state").get("terminated").is_set();
        if new.items().any(|status| revived(&status)) {
            new.index(index).get("state").forbidden("may not be transitioned to non-terminated state");
        }
    }
}
