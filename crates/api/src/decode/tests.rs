use proptest::prelude::*;
use serde_json::{Value, json};

use super::{FieldValidation, Format, object, patched};
use crate::schema::{Definition, of_kind};

fn definition(kind: &str) -> &'static Definition {
    ["", "apps", "coordination.k8s.io"].iter().find_map(|group| of_kind(group, "v1", kind)).unwrap()
}

fn strict(kind: &str, body: &str) -> Result<Value, String> {
    object(body.as_bytes(), Format::Json, definition(kind), FieldValidation::Strict)
        .map(|(value, _)| value)
        .map_err(|status| status.message)
}

#[track_caller]
fn refused(kind: &str, body: &str, want: &str) {
    let want = format!("{kind} in version \"v1\" cannot be handled as a {kind}: {want}");
    assert_eq!(strict(kind, body), Err(want));
}

#[track_caller]
fn becomes(kind: &str, body: Value, want: Value) {
    let mut got = strict(kind, &body.to_string()).unwrap();
    let fields = got.as_object_mut().unwrap();
    fields.remove("apiVersion");
    fields.remove("kind");
    assert_eq!(got, want);
}

#[test]
fn strict_faults_are_told_together_in_order() {
    refused(
        "Deployment",
        r#"{"spec":{"foo":1,"replicas":1,"replicas":2,"template":{"spec":{"containers":[{"name":"a"},{"imagee":"b"}]}}}}"#,
        "strict decoding error: unknown field \"spec.foo\", duplicate field \"spec.replicas\", \
         unknown field \"spec.template.spec.containers[1].imagee\"",
    );
    refused(
        "Pod",
        r#"{"metadata":{"labels":{"a":"1","a":"2"}}}"#,
        r#"strict decoding error: duplicate field "metadata.labels.a""#,
    );
}

#[test]
fn warn_drops_and_tells_ignore_only_drops() {
    let body = br#"{"spec":{"foo":1,"replicas":1,"replicas":2}}"#;
    let want = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 2}});
    let warn = object(body, Format::Json, definition("Deployment"), FieldValidation::Warn);
    let warnings = vec!["unknown field \"spec.foo\"".to_owned(), "duplicate field \"spec.replicas\"".to_owned()];
    assert_eq!(warn, Ok((want.clone(), warnings)));
    assert_eq!(object(body, Format::Json, definition("Deployment"), FieldValidation::Ignore), Ok((want, vec![])));
}

#[test]
fn wrong_types_are_worded_as_go_words_them() {
    for (kind, body, want) in [
        (
            "Deployment",
            r#"{"spec":{"replicas":"3"}}"#,
            "string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            "Deployment",
            r#"{"spec":{"replicas":1.5}}"#,
            "number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            "Deployment",
            r#"{"spec":{"replicas":2147483648}}"#,
            "number 2147483648 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        ("Deployment", r#"{"spec":[]}"#, "array into Go struct field Deployment.spec of type v1.DeploymentSpec"),
        (
            "Pod",
            r#"{"spec":{"containers":{}}}"#,
            "object into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            "Pod",
            r#"{"spec":{"containers":[{"image":1}]}}"#,
            "number into Go struct field Container.spec.containers.image of type string",
        ),
        (
            "Pod",
            r#"{"metadata":{"labels":{"a":1}}}"#,
            "number into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            "Pod",
            r#"{"spec":{"hostNetwork":"true"}}"#,
            "string into Go struct field PodSpec.spec.hostNetwork of type bool",
        ),
        ("Service", r#"{"spec":{"ports":[{"targetPort":true}]}}"#, "bool into Go value of type int32"),
        (
            "Pod",
            r#"{"spec":{"activeDeadlineSeconds":9223372036854775808}}"#,
            "number 9223372036854775808 into Go struct field PodSpec.spec.activeDeadlineSeconds of type int64",
        ),
    ] {
        refused(kind, body, &format!("json: cannot unmarshal {want}"));
    }
}

#[test]
fn contents_are_checked() {
    refused("Secret", r#"{"data":{"a":"!"}}"#, "illegal base64 data at input byte 0");
    assert!(strict("Secret", r#"{"data":{"a":[256]}}"#).unwrap_err().contains("cannot unmarshal number 256"));
    refused(
        "Pod",
        r#"{"spec":{"containers":[{"resources":{"limits":{"cpu":"1x"}}}]}}"#,
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    );
    refused(
        "Pod",
        r#"{"metadata":{"creationTimestamp":"noon"}}"#,
        r#"parsing time "noon" as "2006-01-02T15:04:05Z07:00": cannot parse "noon" as "2006""#,
    );
}

#[test]
fn values_become_canonical() {
    becomes("Secret", json!({"data": {"a": [104, 105]}}), json!({"data": {"a": "aGk="}}));
    becomes(
        "Pod",
        json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "0.5", "memory": "1024Mi"}}}]}}),
        json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "500m", "memory": "1Gi"}}}]}}),
    );
    becomes(
        "Pod",
        json!({"metadata": {"creationTimestamp": "2024-05-01T12:00:00.9+02:00"}}),
        json!({"metadata": {"creationTimestamp": "2024-05-01T10:00:00Z"}}),
    );
    becomes(
        "Lease",
        json!({"spec": {"renewTime": "2024-05-01T10:00:00Z"}}),
        json!({"spec": {"renewTime": "2024-05-01T10:00:00.000000Z"}}),
    );
}

#[test]
fn nulls_are_as_in_go() {
    becomes(
        "Pod",
        json!({"metadata": {"creationTimestamp": null, "labels": {"a": null}}, "spec": {"containers": null}, "status": {}}),
        json!({"metadata": {"labels": {"a": ""}}, "spec": {}, "status": {}}),
    );
    becomes(
        "Pod",
        json!({"spec": {"containers": [null, {"args": [null], "env": []}], "nodeSelector": {}}}),
        json!({"spec": {"containers": [{}, {"args": [""]}]}}),
    );
}

#[test]
fn broken_bodies() {
    for (body, want) in [
        ("", "(<empty>)"),
        ("{", "({)"),
        ("[1]", "(5b315d)"),
        (r#"{"spec":{"replicas":1e400}}"#, "number out of range"),
        (r#"{"a":1} x"#, "trailing characters"),
    ] {
        let message = strict("Deployment", body).unwrap_err();
        assert!(message.starts_with("the object provided is unrecognized (must be of type Deployment): "), "{message}");
        assert!(message.contains(want), "{message}");
    }
    let deep = "[".repeat(100_000);
    assert!(strict("Pod", &deep).unwrap_err().contains("recursion limit"));
    let bad_utf8 = object(b"{\"kind\":\"\xff\"}", Format::Json, definition("Pod"), FieldValidation::Ignore);
    assert_eq!(bad_utf8.unwrap_err().code, 400);
}

#[test]
fn depth_is_bounded_where_the_schema_does_not() {
    let nested = |depth: usize| (0..depth).fold(json!({}), |inner, _| json!({"x": inner}));
    let revision = of_kind("apps", "v1", "ControllerRevision").unwrap();
    let decode = |depth| patched(json!({"revision": 1, "data": nested(depth)}), revision, FieldValidation::Strict);
    assert!(decode(50).is_ok());
    assert!(decode(100).unwrap_err().message.ends_with("exceeded max depth"));
}

#[test]
fn other_kinds_are_refused() {
    for (body, want) in [
        (
            r#"{"apiVersion":"apps/v2","kind":"Deployment"}"#,
            "the API version in the data (apps/v2) does not match the expected API version (apps/v1)",
        ),
        (
            r#"{"apiVersion":"v1","kind":"Foo"}"#,
            "Foo in version \"v1\" cannot be handled as a Deployment: no kind \"Foo\" is registered for version \"v1\" in scheme \"sampan\"",
        ),
    ] {
        assert_eq!(strict("Deployment", body).unwrap_err(), want);
    }
}

#[test]
fn some_kinds_are_taken_under_other_versions() {
    for (group, kind, sent) in [("", "DeleteOptions", "apps/v1"), ("policy", "Eviction", "policy/v1beta1")] {
        let body = json!({"apiVersion": sent, "kind": kind}).to_string();
        let definition = of_kind(group, "v1", kind).unwrap();
        assert!(object(body.as_bytes(), Format::Json, definition, FieldValidation::Strict).is_ok(), "{kind}");
    }
}

#[test]
fn yaml_is_read_and_its_bombs_are_not() {
    let yaml = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {1: x}}\nspec:\n  containers:\n  - &c {name: a}\n  - *c\n";
    let (value, _) = object(yaml.as_bytes(), Format::Yaml, definition("Pod"), FieldValidation::Strict).unwrap();
    assert_eq!(value["spec"]["containers"], json!([{"name": "a"}, {"name": "a"}]));
    assert_eq!(value["metadata"]["labels"], json!({"1": "x"}));

    let mut bomb = format!("a0: &a0 {}\n", "x".repeat(1000));
    for level in 1..10 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    let status = object(bomb.as_bytes(), Format::Yaml, definition("Pod"), FieldValidation::Ignore).unwrap_err();
    assert_eq!(status.code, 400);
}

#[test]
fn patched_objects_blame_the_patch() {
    let status = patched(json!({"spec": {"foo": 1}}), definition("Deployment"), FieldValidation::Strict).unwrap_err();
    assert_eq!(
        status.message,
        r#" "" is invalid: patch: Invalid value: "{\"spec\":{\"foo\":1}}": strict decoding error: unknown field "spec.foo""#
    );
}

proptest! {
    /// A number is the one that was sent, to its last bit, however many digits say it.
    #[test]
    fn numbers_are_read_exactly(number in proptest::num::f64::NORMAL, digits in 17_usize..80) {
        for text in [format!("{number:e}"), format!("{number:.digits$e}")] {
            let (value, _) = super::any(text.as_bytes(), Format::Json).unwrap();
            prop_assert_eq!(value.as_f64(), text.parse().ok());
        }
    }
}

proptest! {
    #[test]
    fn never_panics(body in r#"[{}\[\]:,"a-c0-9.eE\-\\\n &*]{0,80}"#) {
        for format in [Format::Json, Format::Yaml] {
            let _ = object(body.as_bytes(), format, definition("Pod"), FieldValidation::Strict);
        }
    }
}
