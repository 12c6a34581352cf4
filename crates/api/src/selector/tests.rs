use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{FieldSelector, Selector};

#[track_caller]
fn selects(selector: &str, labels: &str, want: bool) {
    let labels: BTreeMap<String, String> = labels
        .split(',')
        .filter_map(|label| label.split_once('='))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
    assert_eq!(Selector::parse(selector).map(|selector| selector.matches(&labels)), Ok(want), "{selector}");
}

#[test]
fn matching() {
    for (selector, labels, want) in [
        ("", "", true),
        ("a=b", "a=b", true),
        ("a==b", "a=c", false),
        ("a!=b", "a=c", true),
        ("a!=b", "", true),
        ("a", "a=", true),
        ("!a", "a=", false),
        ("!a", "b=1", true),
        ("a=", "a=", true),
        ("a in (b, c),d notin (e)", "a=c,d=f", true),
        ("a in (b,c)", "", false),
        ("a notin (b)", "", true),
        ("a in ()", "a=", true),
        ("a in (,b)", "a=", true),
        ("in in (in)", "in=in", true),
        ("a > 3", "a=4", true),
        ("a<3", "a=4", false),
        ("a>3", "a=x", false),
        ("example.com/a = b , c", "example.com/a=b,c=1", true),
    ] {
        selects(selector, labels, want);
    }
}

#[test]
fn faults() {
    for (selector, want) in [
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a,", "found '', expected: identifier after ','"),
        (",a", "found ',', expected: !, identifier, or 'end of string'"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("!a=b", "found '=', expected: ',' or 'end of string'"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a=(", "unable to parse requirement: found '(', expected: identifier"),
        (
            "a>b",
            "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value must be an \
             integer",
        ),
    ] {
        assert_eq!(Selector::parse(selector).unwrap_err().to_string(), want, "{selector}");
    }
    let error = Selector::parse("a=b/c").unwrap_err().to_string();
    assert!(
        error.starts_with("unable to parse requirement: values[0][a]: Invalid value: \"b/c\": a valid label must be"),
        "{error}"
    );
    assert!(Selector::parse(&"x".repeat(100_000)).is_err());
}

#[test]
fn objects() {
    let check = |selector: Value, labels: Value, want: bool| {
        assert_eq!(Selector::from_object(&selector).map(|s| s.matches(&labels)), Ok(want), "{selector}");
    };
    check(json!(null), json!({"a": "b"}), false);
    check(json!({}), json!(null), true);
    check(json!({"matchLabels": {"a": "b"}}), json!({"a": "b", "c": "d"}), true);
    check(json!({"matchLabels": {"a": "b"}}), json!(null), false);
    check(json!({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["b"]}]}), json!({}), true);
    check(json!({"matchExpressions": [{"key": "a", "operator": "Exists"}]}), json!({"a": ""}), true);
    let wrong = json!({"matchExpressions": [{"key": "a", "operator": "Like"}]});
    assert_eq!(
        Selector::from_object(&wrong).unwrap_err().to_string(),
        "\"Like\" is not a valid label selector operator"
    );
}

#[test]
fn fields() {
    let object = |field: &str| match field {
        "metadata.name" => Some("x"),
        "spec.nodeName" => Some("a,b"),
        _ => None,
    };
    let check = |selector: &str, want: bool| {
        assert_eq!(FieldSelector::parse(selector).map(|s| s.matches(object)), Ok(want), "{selector}");
    };
    check("", true);
    check("metadata.name=x", true);
    check("metadata.name==x,spec.nodeName!=", true);
    check("metadata.name!=x", false);
    check(r"spec.nodeName=a\,b", true);
    check("status.phase=", true);
    let error = FieldSelector::parse("metadata.name").unwrap_err().to_string();
    assert_eq!(error, "invalid selector: 'metadata.name'; can't understand 'metadata.name'");
    assert_eq!(FieldSelector::parse("metadata.name=x,a!=b").unwrap().exactly("metadata.name"), Some("x"));
}

proptest! {
    #[test]
    fn never_panics(text in r"[a-c=!<>(),\\ inot\u{e9}]{0,40}") {
        let _ = Selector::parse(&text);
        let _ = FieldSelector::parse(&text);
    }
}
