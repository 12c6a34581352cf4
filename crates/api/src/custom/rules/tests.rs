use serde_json::{Value, json};

use super::Rules;
use crate::field::Error;
use crate::structural::Schema;

/// What the rules of a schema say about an object, and about its change.
fn told(schema: &str, old: Option<&Value>, object: &Value) -> Vec<String> {
    let schema = Schema::read(&serde_yaml_ng::from_str(schema).unwrap());
    let rules = Rules::compile(&schema, true).unwrap();
    rules.faults(object, old, &schema).iter().map(Error::to_string).collect()
}

/// A schema whose field `f` is described by `text`.
fn field(text: &str) -> String {
    format!("{{type: object, properties: {{f: {text}}}}}")
}

#[test]
fn failures_are_told_as_upstream_tells_them() {
    let object =
        "{type: object, x-kubernetes-validations: [{RULE}], properties: {a: {type: integer}, b: {type: string}}}";
    let integer = "{type: integer, x-kubernetes-validations: [{RULE}]}";
    let table = [
        (object, "rule: self.a > 1", "f: Invalid value: failed rule: self.a > 1"),
        (object, "rule: self.a > 1, message: ' too small '", "f: Invalid value: too small"),
        (
            object,
            "rule: self.a > 1, fieldPath: .a, reason: FieldValueForbidden",
            "f.a: Forbidden: failed rule: self.a > 1",
        ),
        (object, "rule: self.a > 1, reason: FieldValueRequired", "f: Required value: failed rule: self.a > 1"),
        (object, "rule: self.a > 1, reason: FieldValueDuplicate", "f: Duplicate value"),
        (object, "rule: self.a > 1, messageExpression: '\"a is \" + string(self.a)'", "f: Invalid value: a is 1"),
        (object, "rule: self.a > 1, message: m, messageExpression: self.b", "f: Invalid value: m"),
        (object, "rule: self.b == 'x'", "f: Invalid value: \"object\": no such key: b evaluating rule: self.b == 'x'"),
        (integer, "rule: self > 1", "f: Invalid value: 1: failed rule: self > 1"),
        (
            integer,
            "rule: 1 / (self - 1) > 0",
            "f: Invalid value: \"integer\": division by zero evaluating rule: 1 / (self - 1) > 0",
        ),
    ];
    for (schema, rule, want) in table {
        let value = if schema == object { json!({"f": {"a": 1}}) } else { json!({"f": 1}) };
        assert_eq!(told(&field(&schema.replace("RULE", rule)), None, &value), [want], "{rule}");
    }
}

#[test]
fn transitions_need_something_before() {
    let growing = field("{type: integer, x-kubernetes-validations: [{rule: self > oldSelf}]}");
    let (one, two) = (json!({"f": 1}), json!({"f": 2}));
    assert!(told(&growing, None, &one).is_empty());
    assert!(told(&growing, Some(&json!({})), &one).is_empty());
    assert!(told(&growing, Some(&one), &two).is_empty());
    assert_eq!(told(&growing, Some(&two), &one), ["f: Invalid value: 1: failed rule: self > oldSelf"]);
    // A rule about the change is asked even where nothing changes.
    assert_eq!(told(&growing, Some(&one), &one).len(), 1);
    let optional = field(
        "{type: integer, x-kubernetes-validations: [{rule: 'oldSelf.hasValue() || self == 1', optionalOldSelf: true}]}",
    );
    assert!(told(&optional, None, &one).is_empty());
    assert_eq!(told(&optional, None, &two).len(), 1);
    assert!(told(&optional, Some(&one), &two).is_empty());
}

#[test]
fn items_of_keyed_lists_and_entries_of_maps_are_followed() {
    let rule = "x-kubernetes-validations: [{rule: self.v == oldSelf.v, message: fixed}]";
    let item = format!("{{type: object, {rule}, properties: {{k: {{type: string}}, v: {{type: integer}}}}}}");
    let list =
        field(&format!("{{type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [k], items: {item}}}"));
    let old = json!({"f": [{"k": "a", "v": 1}, {"k": "b", "v": 2}]});
    let new = json!({"f": [{"k": "b", "v": 3}, {"k": "a", "v": 1}, {"k": "c", "v": 9}]});
    assert_eq!(told(&list, Some(&old), &new), ["f[0]: Invalid value: fixed"]);
    let map = field(&format!("{{type: object, additionalProperties: {item}}}"));
    let (old, new) = (json!({"f": {"a": {"v": 1}}}), json!({"f": {"a": {"v": 2}, "b": {"v": 1}}}));
    assert_eq!(told(&map, Some(&old), &new), ["f[a]: Invalid value: fixed"]);
}

#[test]
fn what_stays_as_it_was_may_be_wrong() {
    let rule = "x-kubernetes-validations: [{rule: self > 1}]";
    let items = format!("{{type: array, items: {{type: integer, {rule}}}}}");
    let schema =
        format!("{{type: object, properties: {{n: {{type: integer, {rule}}}, l: {items}, m: {{type: string}}}}}}");
    let old = json!({"n": 1, "l": [1, 2], "m": "x"});
    assert_eq!(told(&schema, None, &old).len(), 2);
    assert!(told(&schema, Some(&old), &json!({"n": 1, "l": [1, 2], "m": "y"})).is_empty());
    let longer = json!({"n": 0, "l": [1, 2, 3], "m": "x"});
    assert_eq!(told(&schema, Some(&old), &longer).len(), 2);
}

#[test]
fn budgets_end() {
    let schema = field(
        "{type: array, items: {type: integer}, x-kubernetes-validations: [{rule: 'self.all(x, self.all(y, x == y))'}, {rule: 'false'}]}",
    );
    let object = json!({"f": vec![20; 725]});
    assert_eq!(
        told(&schema, None, &object),
        [
            "f: Invalid value: \"array\": 'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to call cost exceeds limit for rule: self.all(x, self.all(y, x == y))"
        ]
    );
    let shared = field(
        "{type: array, items: {type: array, items: {type: integer}, x-kubernetes-validations: [{rule: 'self.all(x, self.all(y, x == y))'}]}}",
    );
    let object = json!({"f": vec![vec![20; 300]; 40]});
    let told = told(&shared, None, &object);
    assert_eq!(told.len(), 1);
    assert!(
        told[0].ends_with(
            "\"array\": validation failed due to running out of cost budget, no further validation rules will be run"
        ),
        "{told:?}"
    );
}

#[test]
fn rules_see_what_the_schema_describes() {
    let root = "{type: object, x-kubernetes-validations: [{rule: RULE}], properties: {
        x-y: {type: string}, when: {type: string, format: date-time}, port: {x-kubernetes-int-or-string: true},
        free: {type: object, x-kubernetes-preserve-unknown-fields: true}, namespace: {type: string}}}";
    let object = json!({"apiVersion": "g/v1", "kind": "K", "metadata": {"name": "n", "labels": {"a": "b"}},
        "x-y": "z", "when": "2026-01-01T00:00:00Z", "port": "80", "free": {"a": 1}, "namespace": "s"});
    for rule in [
        "self.metadata.name == 'n' && self.kind == 'K'",
        "self.x__dash__y == 'z' && self.__namespace__ == 's'",
        "self.when < timestamp('2027-01-01T00:00:00Z')",
        "type(self.port) == string ? self.port == '80' : self.port == 80",
        "has(self.free)",
    ] {
        assert_eq!(told(&root.replace("RULE", &json!(rule).to_string()), None, &object), [""; 0], "{rule}");
    }
    for rule in ["self.metadata.labels.a == 'b'", "self.free.a == 1"] {
        let told = told(&root.replace("RULE", rule), None, &object);
        assert!(told[0].contains("rule compile error: compilation failed: ERROR: <input>:1:"), "{told:?}");
    }
}

#[test]
fn field_paths() {
    let schema = "{type: object, properties: {a: {type: object, additionalProperties: {type: object, properties: {'b.c': {type: string}}}}}}";
    let schema = Schema::read(&serde_yaml_ng::from_str(schema).unwrap());
    let table = [
        (".a", Some("a")),
        (".a.x['b.c']", Some("a[x].b.c")),
        ("['a']['it\\'s']", Some("a[it's]")),
        (".b", None),
        ("a", None),
        (".a[0]", None),
        (".a['x'", None),
        ("", None),
    ];
    for (path, want) in table {
        assert_eq!(super::place(path, &schema).map(|path| path.to_string()).as_deref(), want, "{path}");
    }
}
