use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::*;
use crate::config::service_env;

struct Fixed;

impl Objects for Fixed {
    fn config_map(&self, name: &str) -> Option<Arc<ConfigMap>> {
        let data = [("k".to_owned(), "v".to_owned()), ("log.level".to_owned(), "info".to_owned())].into();
        (name == "cm").then(|| Arc::new(ConfigMap { data: Some(data), ..ConfigMap::default() }))
    }

    fn secret(&self, name: &str) -> Option<Arc<Secret>> {
        let data = [("pw".to_owned(), ByteString(b"s3\xff".to_vec()))].into();
        (name == "sec").then(|| Arc::new(Secret { data: Some(data), ..Secret::default() }))
    }

    fn trust_bundle(&self, _projection: &ClusterTrustBundleProjection) -> Result<String, Error> {
        Err(Error::Missing("no trust bundles here".to_owned()))
    }
}

fn environment_of(container: Value) -> Result<Vec<(String, String)>, String> {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": {"containers": [container]},
    }))
    .unwrap();
    let service: k8s_openapi::api::core::v1::Service = serde_json::from_value(json!({
        "metadata": {"name": "kubernetes", "namespace": "default"},
        "spec": {"clusterIP": "10.43.0.1", "ports": [{"name": "https", "port": 443, "protocol": "TCP"}]},
    }))
    .unwrap();
    let facts = Facts::default();
    let services = service_env::variables(&[Arc::new(service)], "ns", true);
    let written = "A='1'\nB='two words'\n".to_owned();
    let files = [(("v".to_owned(), "a.env".to_owned()), Some(written))].into();
    let sources = Sources { pod: &pod, facts: &facts, objects: &Fixed, files: &files, services };
    let env = environment(&sources, &pod.spec.as_ref().unwrap().containers[0]).map_err(|error| error.to_string())?;
    Ok(env.into_iter().map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned())).collect())
}

/// The environment without the Services' variables, as `NAME=value` words.
fn check(container: Value, want: &str) {
    let env = match environment_of(container) {
        Ok(env) => env,
        Err(error) => return assert_eq!(error, want),
    };
    let own = env.into_iter().filter(|(name, _)| !name.starts_with("KUBERNETES_"));
    let own: Vec<String> = own.map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(own.join(" "), want);
}

#[test]
fn files_give_values_by_key() {
    let of = |path: &str, key: &str, optional: bool| {
        let source = json!({"volumeName": "v", "path": path, "key": key, "optional": optional});
        json!({"name": "c", "env": [{"name": "X", "valueFrom": {"fileKeyRef": source}}, {"name": "Y", "value": "$(X)!"}]})
    };
    check(of("a.env", "B", false), "X=two words Y=two words!");
    check(of("a.env", "C", true), "Y=$(X)!");
    check(of("b.env", "B", true), "Y=$(X)!");
    check(of("a.env", "C", false), "environment variable key \"C\" not found in file \"a.env\"");
    check(of("b.env", "B", false), "environment variable key \"B\" not found in file \"b.env\"");
}

#[test]
fn values_refer_to_what_stands_before() {
    check(
        json!({"name": "c", "env": [
            {"name": "B", "value": "1"}, {"name": "A", "value": "$(B)2$(C)"}, {"name": "C", "value": "$$(B)"}]}),
        "B=1 A=12$(C) C=$(B)",
    );
    check(json!({"name": "c", "env": [{"name": "H", "value": "$(KUBERNETES_SERVICE_HOST)"}]}), "H=10.43.0.1");
}

#[test]
fn a_name_is_listed_once_and_the_last_wins() {
    check(json!({"name": "c", "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}]}), "A=12");
}

#[test]
fn objects_give_all_or_one_key() {
    check(
        json!({"name": "c", "envFrom": [{"prefix": "P_", "configMapRef": {"name": "cm"}}]}),
        "P_k=v P_log.level=info",
    );
    check(
        json!({"name": "c", "envFrom": [{"configMapRef": {"name": "cm"}}], "env": [{"name": "k", "value": "mine"}]}),
        "k=mine log.level=info",
    );
    check(
        json!({"name": "c", "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k"}}}]}),
        "A=v",
    );
    check(
        json!({"name": "c", "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "pw"}}}]}),
        "A=s3\u{fffd}",
    );
}

#[test]
fn what_is_missing_is_named() {
    check(json!({"name": "c", "envFrom": [{"configMapRef": {"name": "x"}}]}), "configmap \"x\" not found");
    check(json!({"name": "c", "envFrom": [{"secretRef": {"name": "x"}}]}), "secret \"x\" not found");
    check(
        json!({"name": "c", "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "z"}}}]}),
        "couldn't find key z in ConfigMap ns/cm",
    );
    check(
        json!({"name": "c", "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "z"}}}]}),
        "couldn't find key z in Secret ns/sec",
    );
}

#[test]
fn optional_sources_may_be_missing() {
    check(json!({"name": "c", "envFrom": [{"configMapRef": {"name": "x", "optional": true}}]}), "");
    check(
        json!({"name": "c", "env": [
            {"name": "A", "valueFrom": {"secretKeyRef": {"name": "x", "key": "z", "optional": true}}},
            {"name": "B", "value": "1"}]}),
        "B=1",
    );
}

#[test]
fn services_have_their_variables() {
    let env: BTreeMap<String, String> = environment_of(json!({"name": "c"})).unwrap().into_iter().collect();
    for (name, want) in [
        ("KUBERNETES_SERVICE_HOST", "10.43.0.1"),
        ("KUBERNETES_SERVICE_PORT", "443"),
        ("KUBERNETES_SERVICE_PORT_HTTPS", "443"),
        ("KUBERNETES_PORT", "tcp://10.43.0.1:443"),
        ("KUBERNETES_PORT_443_TCP", "tcp://10.43.0.1:443"),
        ("KUBERNETES_PORT_443_TCP_PROTO", "tcp"),
        ("KUBERNETES_PORT_443_TCP_PORT", "443"),
        ("KUBERNETES_PORT_443_TCP_ADDR", "10.43.0.1"),
    ] {
        assert_eq!(env.get(name).map(String::as_str), Some(want), "{name}");
    }
}

#[test]
fn an_environment_has_an_end() {
    let mut env = vec![json!({"name": "V0", "value": "0123456789"})];
    env.extend(
        (1..30).map(|level| json!({"name": format!("V{level}"), "value": format!("$(V{})", level - 1).repeat(10)})),
    );
    let fault = "arguments and environment variables are longer than 6 MiB with what they refer to";
    check(json!({"name": "c", "env": env}), fault);
    let large = json!({"name": "LARGE", "value": "x".repeat(4 << 20)});
    check(json!({"name": "c", "env": [large, {"name": "AGAIN", "value": "$(LARGE)"}]}), fault);
}
