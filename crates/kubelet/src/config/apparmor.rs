//! AppArmor: the profile that a container asks for, and Pods that ask for one where none can hold.

use k8s_openapi::api::core::v1::{AppArmorProfile, Container, Pod};

use crate::spec;

/// How profiles were named before there were fields. The API server makes fields of it, but it never sees a static Pod
/// before the node does.
const ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";

/// The profile that a container asks for: by itself, by the annotation for it, or with its Pod.
pub(crate) fn profile(pod: &Pod, container: &Container) -> Option<AppArmorProfile> {
    let own = container.security_context.as_ref().and_then(|context| context.app_armor_profile.clone());
    let of_pod = || spec::of(pod).security_context.as_ref()?.app_armor_profile.clone();
    own.or_else(|| annotated(pod, &container.name)).or_else(of_pod)
}

fn annotated(pod: &Pod, container: &str) -> Option<AppArmorProfile> {
    let value = pod.metadata.annotations.as_ref()?.get(&format!("{ANNOTATION}{container}"))?;
    let (kind, name) = match (value.as_str(), value.strip_prefix("localhost/")) {
        ("runtime/default", _) => ("RuntimeDefault", None),
        ("unconfined", _) => ("Unconfined", None),
        (_, Some(name)) => ("Localhost", Some(name.to_owned())),
        (_, None) => return None,
    };
    Some(AppArmorProfile { type_: kind.to_owned(), localhost_profile: name })
}

/// Why a Pod cannot be confined as it asks: reason and message. `enabled` says whether the kernel could.
pub(crate) fn refusal(pod: &Pod, enabled: bool) -> Option<(String, String)> {
    let confines = |profile: &AppArmorProfile| profile.type_ != "Unconfined";
    let of_pod = spec::of(pod).security_context.as_ref().and_then(|context| context.app_armor_profile.as_ref());
    let of_containers = of_containers(pod);
    if !of_pod.is_some_and(confines) && !of_containers.iter().any(|(_, profile)| confines(profile)) {
        return None;
    }
    let why = match enabled {
        false => "AppArmor is not enabled on the host".to_owned(),
        true => {
            let (name, _) = of_containers.iter().find(|(_, profile)| is_nameless(profile))?;
            format!("invalid empty AppArmor profile name of container {name:?}")
        }
    };
    Some(("AppArmor".to_owned(), format!("Pod was rejected: Cannot enforce AppArmor: {why}")))
}

fn of_containers(pod: &Pod) -> Vec<(String, AppArmorProfile)> {
    let ephemeral: Vec<Container> = spec::ephemeral(pod).collect();
    let containers = spec::containers(pod).map(|(_, container)| container).chain(&ephemeral);
    containers.filter_map(|container| Some((container.name.clone(), profile(pod, container)?))).collect()
}

/// Whether it is one of the node's, but which one is not said.
fn is_nameless(profile: &AppArmorProfile) -> bool {
    profile.type_ == "Localhost" && profile.localhost_profile.as_deref().unwrap_or_default().trim().is_empty()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(annotation: &str, of_pod: Value, own: Value) -> Pod {
        let annotations = match annotation {
            "" => json!({}),
            value => json!({ format!("{ANNOTATION}c"): value }),
        };
        let containers = json!([{"name": "c", "securityContext": {"appArmorProfile": own}}]);
        let spec = json!({"securityContext": {"appArmorProfile": of_pod}, "containers": containers});
        serde_json::from_value(json!({"metadata": {"annotations": annotations}, "spec": spec})).unwrap()
    }

    fn named(name: &str) -> Value {
        json!({"type": "Localhost", "localhostProfile": name})
    }

    #[test]
    fn the_container_comes_before_its_annotation_and_that_before_the_pod() {
        let check = |annotation: &str, of_pod: Value, own: Value, want: &str| {
            let pod = pod(annotation, of_pod, own);
            let got = profile(&pod, &spec::of(&pod).containers[0]);
            let got = got.map(|got| format!("{} {}", got.type_, got.localhost_profile.unwrap_or_default()));
            assert_eq!(got.unwrap_or_default().trim_end(), want);
        };
        check("", Value::Null, Value::Null, "");
        check("", named("p"), Value::Null, "Localhost p");
        check("localhost/a", named("p"), Value::Null, "Localhost a");
        check("localhost/a", named("p"), named("c"), "Localhost c");
        check("runtime/default", named("p"), Value::Null, "RuntimeDefault");
        check("unconfined", named("p"), Value::Null, "Unconfined");
        check("nonsense", named("p"), Value::Null, "Localhost p");
    }

    #[test]
    fn nobody_is_taken_who_would_not_be_confined() {
        let check = |pod: &Pod, enabled: bool, want: Option<&str>| {
            let want = want.map(|why| format!("Pod was rejected: Cannot enforce AppArmor: {why}"));
            assert_eq!(refusal(pod, enabled).map(|(_, message)| message), want);
        };
        let off = Some("AppArmor is not enabled on the host");
        let default = || json!({"type": "RuntimeDefault"});
        let unconfined = || json!({"type": "Unconfined"});
        check(&pod("", Value::Null, Value::Null), false, None);
        check(&pod("", unconfined(), unconfined()), false, None);
        check(&pod("unconfined", Value::Null, Value::Null), false, None);
        check(&pod("", default(), Value::Null), false, off);
        check(&pod("", Value::Null, default()), false, off);
        check(&pod("localhost/a", Value::Null, Value::Null), false, off);
        check(&pod("", default(), named("x")), true, None);
        let empty = "invalid empty AppArmor profile name of container \"c\"";
        check(&pod("localhost/", Value::Null, Value::Null), true, Some(empty));
    }
}
