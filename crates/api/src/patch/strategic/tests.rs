use proptest::prelude::*;
use serde_json::{Value, json};

use crate::schema::definition;

/// Patches a PodSpec (the fields of a Pod's `spec`).
#[track_caller]
fn spec(live: Value, patch: Value, want: Value) {
    let pod = definition("io.k8s.api.core.v1.Pod").unwrap();
    let got = super::patch(&json!({"spec": live}), json!({"spec": patch}), pod).map_err(|status| status.message);
    assert_eq!(got, Ok(json!({"spec": want})));
}

#[track_caller]
fn fails(live: Value, patch: Value, want: &str) {
    let pod = definition("io.k8s.api.core.v1.Pod").unwrap();
    let got = super::patch(&json!({"spec": live}), json!({"spec": patch}), pod).unwrap_err();
    assert_eq!(got.message, want);
}

#[test]
fn scalars_and_objects_merge() {
    spec(
        json!({"nodeName": "a", "hostname": "h"}),
        json!({"nodeName": "b"}),
        json!({"nodeName": "b", "hostname": "h"}),
    );
    spec(json!({"nodeName": "a", "hostname": "h"}), json!({"nodeName": null}), json!({"hostname": "h"}));
    spec(
        json!({"nodeSelector": {"a": "1"}}),
        json!({"nodeSelector": {"b": "2", "a": null}}),
        json!({"nodeSelector": {"b": "2"}}),
    );
    spec(json!({}), json!({"nodeSelector": {"b": null}}), json!({"nodeSelector": {}}));
}

#[test]
fn lists_merge_by_key() {
    spec(
        json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]}),
        json!({"containers": [{"name": "b", "image": "3"}]}),
        json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "3"}]}),
    );
    spec(
        json!({"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}]}]}),
        json!({"containers": [{"name": "a", "env": [{"name": "Y", "value": "2"}]}]}),
        json!({"containers": [{"name": "a", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}]}]}),
    );
    spec(
        json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "w"}]}]}),
        json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "x"}]}]}),
        json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "x"}]}]}),
    );
}

#[test]
fn lists_without_key_are_replaced() {
    spec(
        json!({"containers": [{"name": "a", "args": ["1", "2"]}], "tolerations": [{"key": "a"}]}),
        json!({"containers": [{"name": "a", "args": ["3"]}], "tolerations": [{"key": "b"}]}),
        json!({"containers": [{"name": "a", "args": ["3"]}], "tolerations": [{"key": "b"}]}),
    );
}

#[test]
fn directives_of_items() {
    spec(
        json!({"containers": [{"name": "a"}, {"name": "b"}]}),
        json!({"containers": [{"name": "a", "$patch": "delete"}]}),
        json!({"containers": [{"name": "b"}]}),
    );
    spec(
        json!({"containers": [{"name": "a"}, {"name": "b"}]}),
        json!({"containers": [{"$patch": "replace"}, {"name": "c", "image": null}]}),
        json!({"containers": [{"name": "c"}]}),
    );
    spec(json!({}), json!({"containers": [{"name": "a", "$patch": "delete"}]}), json!({"containers": []}));
    spec(
        json!({}),
        json!({"containers": [{"$patch": "replace"}, {"name": "a"}]}),
        json!({"containers": [{"name": "a"}]}),
    );
}

#[test]
fn directives_of_objects() {
    spec(
        json!({"securityContext": {"runAsUser": 1, "fsGroup": 2}}),
        json!({"securityContext": {"$patch": "replace", "runAsUser": 3}}),
        json!({"securityContext": {"runAsUser": 3}}),
    );
    spec(
        json!({"securityContext": {"runAsUser": 1}}),
        json!({"securityContext": {"$patch": "delete"}}),
        json!({"securityContext": {}}),
    );
    spec(
        json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
        json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}, "$retainKeys": ["name", "hostPath"]}]}),
        json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}),
    );
}

#[test]
fn element_order() {
    spec(
        json!({"containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}),
        json!({"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}], "containers": [{"name": "a", "image": "x"}]}),
        json!({"containers": [{"name": "b"}, {"name": "c"}, {"name": "a", "image": "x"}]}),
    );
    spec(
        json!({"containers": [{"name": "a"}, {"name": "b"}]}),
        json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}),
        json!({"containers": [{"name": "b"}, {"name": "a"}]}),
    );
    spec(
        json!({"containers": [{"name": "side"}, {"name": "a"}]}),
        json!({"$setElementOrder/containers": [{"name": "a"}, {"name": "new"}], "containers": [{"name": "new"}]}),
        json!({"containers": [{"name": "side"}, {"name": "a"}, {"name": "new"}]}),
    );
}

#[test]
fn lists_of_scalars() {
    let service = definition("io.k8s.api.core.v1.Node").unwrap();
    let live = json!({"metadata": {"finalizers": ["a", "b"]}});
    let add = super::patch(&live, json!({"metadata": {"finalizers": ["c", "a"]}}), service).unwrap();
    assert_eq!(add, json!({"metadata": {"finalizers": ["c", "a", "b"]}}));
    let delete =
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "$setElementOrder/finalizers": ["b"]}});
    assert_eq!(super::patch(&live, delete, service).unwrap(), json!({"metadata": {"finalizers": ["b"]}}));
}

#[test]
fn faults() {
    fails(
        json!({"containers": [{"name": "a"}]}),
        json!({"containers": [{"image": "x"}]}),
        r#"map: {"image":"x"} does not contain declared merge key: name"#,
    );
    fails(json!({}), json!({"$patch": "sing"}), r#"unknown patch type: "sing" in map: {}"#);
    fails(
        json!({"foo": {}}),
        json!({"foo": {"a": 1}}),
        r#"unable to find api field in struct PodSpec for the json field "foo""#,
    );
    fails(json!({}), json!({"$retainKeys": ["a"], "b": 1}), "invalid patch format of retainKeys");
    fails(json!({}), json!({"$setElementOrder/containers": 1}), "invalid patch format of setElementOrder list");
    fails(json!({"containers": [1]}), json!({"containers": [{"name": "a"}]}), "list element types are not identical");
}

proptest! {
    #[test]
    fn never_panics(live in spec_like(), patch in spec_like()) {
        let pod = definition("io.k8s.api.core.v1.Pod").unwrap();
        let _ = super::patch(&json!({"spec": live}), json!({"spec": patch}), pod);
    }
}

fn spec_like() -> impl Strategy<Value = Value> {
    let leaf =
        prop_oneof![Just(Value::Null), Just(json!("replace")), Just(json!("delete")), Just(json!(1)), Just(json!("a"))];
    let names = prop::sample::select(vec![
        "containers",
        "name",
        "env",
        "$patch",
        "$retainKeys",
        "$setElementOrder/containers",
        "volumes",
        "nodeSelector",
        "$deleteFromPrimitiveList/containers",
    ]);
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            prop::collection::btree_map(names.clone().prop_map(str::to_owned), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}
