use serde_json::{Value, json};

use super::{Schema, default, prune, validate};

fn yaml(text: &str) -> Value {
    serde_yaml_ng::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// The faults of `spec: value` under the schema of `spec`.
#[track_caller]
fn check(spec: &str, value: &str, want: &[&str]) {
    let schema = Schema::read(&json!({"type": "object", "properties": {"spec": yaml(spec)}}));
    let got: Vec<String> =
        validate(&json!({"spec": yaml(value)}), None, &schema).iter().map(ToString::to_string).collect();
    assert_eq!(got, want, "{value} under {spec}");
}

#[test]
fn types() {
    check("{type: integer}", "1", &[]);
    check("{type: integer}", "1.0", &[]);
    let text = r#"spec: Invalid value: "string": spec in body must be of type integer: "string""#;
    check("{type: integer}", "a", &[text]);
    check("{type: string}", "null", &[r#"spec: Invalid value: "null": spec in body must be of type string: "null""#]);
    check("{type: string, nullable: true}", "null", &[]);
    check("{x-kubernetes-int-or-string: true}", "'5%'", &[]);
    let text = r#"spec: Invalid value: "boolean": spec in body must be of type integer,string: "boolean""#;
    check("{x-kubernetes-int-or-string: true}", "true", &[text]);
}

#[test]
fn limits() {
    let row = check;
    row(
        "{type: integer, minimum: 1}",
        "0",
        &["spec: Invalid value: 0: spec in body should be greater than or equal to 1"],
    );
    row(
        "{type: integer, maximum: 9, exclusiveMaximum: true}",
        "9",
        &["spec: Invalid value: 9: spec in body should be less than 9"],
    );
    row("{type: integer, multipleOf: 5}", "9", &["spec: Invalid value: 9: spec in body should be a multiple of 5"]);
    row(
        "{type: string, minLength: 2}",
        "a",
        &[r#"spec: Invalid value: "a": spec in body should be at least 2 chars long"#],
    );
    row("{type: string, maxLength: 2}", "abc", &["spec: Too long: may not be more than 2 bytes"]);
    row("{type: string, pattern: '^a+$'}", "b", &[r#"spec: Invalid value: "b": spec in body should match '^a+$'"#]);
    row("{type: string, enum: [a, b]}", "c", &[r#"spec: Unsupported value: "c": supported values: "a", "b""#]);
    row("{type: string, format: ipv4}", "x", &[r#"spec: Invalid value: "x": spec in body must be of type ipv4: "x""#]);
    row("{type: string, format: unheard-of}", "x", &[]);
    row(
        "{type: array, maxItems: 1, items: {type: integer}}",
        "[1, 2]",
        &["spec: Too many: 2: must have at most 1 items"],
    );
    row("{type: object, required: [a], properties: {a: {type: string}}}", "{}", &["spec.a: Required value"]);
}

#[test]
fn lists_tell_their_items_apart() {
    let set = "{type: array, x-kubernetes-list-type: set, items: {type: string}}";
    check(set, "[a, b, a]", &[r#"spec[2]: Duplicate value: "a""#]);
    let map = "{type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [k],
                items: {type: object, properties: {k: {type: string, default: d}}}}";
    check(map, "[{k: d}, {}]", &[r#"spec[1]: Duplicate value: {"k":"d"}"#]);
}

#[test]
fn alternatives() {
    let object =
        "{type: object, properties: {a: {type: string}, b: {type: string}}, oneOf: [{required: [a]}, {required: [b]}]}";
    check(object, "{a: x}", &[]);
    let both =
        r#"<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found 2 valid alternatives"#;
    check(object, "{a: x, b: x}", &[both]);
    let none = r#"<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found none valid"#;
    check(object, "{}", &[none, "spec.a: Required value"]);
    check(
        "{type: string, not: {enum: [a]}}",
        "a",
        &[r#"<nil>: Invalid value: "": "spec" must not validate the schema (not)"#],
    );
}

#[test]
fn what_has_not_changed_is_not_judged_again() {
    let schema = Schema::read(&yaml(
        "{type: object, properties: {a: {type: string, maxLength: 1}, b: {type: string, maxLength: 1}}}",
    ));
    let (old, new) = (json!({"a": "long", "b": "x"}), json!({"a": "long", "b": "long"}));
    let faults: Vec<String> = validate(&new, Some(&old), &schema).iter().map(ToString::to_string).collect();
    assert_eq!(faults, ["b: Too long: may not be more than 1 bytes"]);
}

#[test]
fn pruning_and_defaults() {
    let schema = Schema::read(&yaml(
        "{type: object, properties: {spec: {type: object, default: {}, properties: {
            a: {type: integer, default: 5},
            any: {type: object, x-kubernetes-preserve-unknown-fields: true, properties: {known: {type: object}}},
            map: {type: object, additionalProperties: {type: object, properties: {x: {type: string, default: y}}}},
            list: {type: array, items: {type: object, properties: {x: {type: string}}}}}}}}",
    ));
    let mut object = yaml(
        "{kind: K, metadata: {name: n}, other: 1, spec: {z: 1, any: {free: {}, known: {gone: 1}}, map: {k: {}}, list: [{x: a, y: b}]}}",
    );
    assert_eq!(prune(&mut object, &schema), ["other", "spec.any.known.gone", "spec.list[0].y", "spec.z"]);
    default(&mut object, &schema);
    let want = yaml(
        "{kind: K, metadata: {name: n}, spec: {a: 5, any: {free: {}, known: {}}, map: {k: {x: y}}, list: [{x: a}]}}",
    );
    assert_eq!(object, want);
    let mut empty = json!({"spec": {"a": null}});
    default(&mut empty, &schema);
    assert_eq!(empty, json!({"spec": {"a": 5}}));
}
