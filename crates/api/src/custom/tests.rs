use serde_json::{Value, json};

use super::{Custom, accept, served};
use crate::decode::{FieldValidation, Format};
use crate::kind::Rules as _;

/// The kind of a definition with this version `v1`.
fn custom(version: &str) -> Custom {
    let mut version: Value = serde_yaml_ng::from_str(version).unwrap();
    version["name"] = "v1".into();
    version["served"] = true.into();
    version["storage"] = true.into();
    let mut definition = json!({ "metadata": { "uid": "1" }, "spec": {
        "group": "example.com", "scope": "Namespaced", "versions": [version],
        "names": { "plural": "crontabs", "singular": "crontab", "kind": "CronTab", "listKind": "CronTabList" },
    } });
    definition["status"] = accept::status(&definition, &[], "2026-01-01T12:00:00Z");
    served(&definition).unwrap().unwrap().stored
}

const PLAIN: &str = "schema: {openAPIV3Schema: {type: object, properties: {
    spec: {type: object, properties: {a: {type: string}, replicas: {type: integer}}}, status: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}";

#[test]
fn bodies_are_pruned_and_it_is_told() {
    let custom = custom(PLAIN);
    let body = br#"{"kind":"CronTab","apiVersion":"example.com/v1","metadata":{"name":"a","foo":1},"spec":{"a":"x","b":1,"a":"y"}}"#;
    let (object, warnings) = custom.decode(body, Format::Json, FieldValidation::Warn).unwrap();
    assert_eq!(object["spec"], json!({"a": "y"}));
    let unknown = ["duplicate field \"spec.a\"", "unknown field \"metadata.foo\"", "unknown field \"spec.b\""];
    assert_eq!(warnings, unknown);
    let refused = custom.decode(body, Format::Json, FieldValidation::Strict).unwrap_err();
    let text = unknown.join(", ");
    let want = format!("CronTab in version \"v1\" cannot be handled as a CronTab: strict decoding error: {text}");
    assert_eq!((refused.code, refused.message), (400, want));
}

#[test]
fn rows_follow_their_paths() {
    let version = format!(
        "{PLAIN}\nadditionalPrinterColumns: [
            {{name: A, type: string, jsonPath: .spec.a}}, {{name: N, type: integer, jsonPath: .spec.replicas}},
            {{name: T, type: date, jsonPath: .status.at}}, {{name: R, type: string, jsonPath: '.status.c[?(@.type==\"R\")].s'}}]"
    );
    let custom = custom(&version);
    let object = json!({"metadata": {"name": "x"}, "spec": {"a": "y", "replicas": 3},
        "status": {"at": "2026-01-01T11:00:00Z", "c": [{"type": "R", "s": "True"}]}});
    let row = custom.row(&object, "2026-01-01T12:00:00Z".parse().unwrap());
    assert_eq!(row, [json!("x"), json!("y"), json!(3), json!("60m"), json!("True")]);
    assert_eq!(custom.column_definitions().len(), row.len());
}

#[test]
fn status_is_apart_where_it_is_a_subresource() {
    let custom = custom(&format!("{PLAIN}\nsubresources: {{status: {{}}}}"));
    let old = json!({"metadata": {"name": "x"}, "spec": {"a": "1"}, "status": {"s": 1}});
    let mut new = json!({"metadata": {"name": "x", "labels": {"l": "m"}}, "spec": {"a": "2"}, "status": {"s": 2}});
    let mut through_main = new.clone();
    custom.prepare_update(&mut through_main, &old);
    assert_eq!(through_main["status"], json!({"s": 1}));
    assert!(custom.generation_changes(&through_main, &old));
    custom.prepare_status(&mut new, &old);
    assert_eq!(new, json!({"metadata": {"name": "x"}, "spec": {"a": "1"}, "status": {"s": 2}}));
    assert!(!custom.generation_changes(&new, &old));
}
