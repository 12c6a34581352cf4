//! Estimates against upstream's: schema and rule, and what upstream's own tests say it costs, without and with a limit.

use super::{Extent, Rule, type_of};
use crate::structural::Schema;

/// Limits in the schema are written `maxItems: MAX`, between commas.
#[track_caller]
fn check(schema: &str, rule: &str, unlimited: u64, (max, limited): (u64, u64)) {
    let estimate = |schema: &str| {
        let schema = Schema::read(&serde_yaml_ng::from_str(schema).unwrap());
        let (ty, extent) = (type_of(&schema, false).unwrap(), Extent::of(&schema, false).unwrap());
        let rule = serde_json::json!({ "rule": rule });
        let compiled = Rule::compile(&rule, &schema, &ty).program;
        assert!(compiled.is_ok(), "{rule}: {compiled:?}");
        Rule::estimate(&rule, &ty, &extent).rule
    };
    let without: String = schema.split(", ").filter(|part| !part.contains("MAX")).collect::<Vec<_>>().join(", ");
    assert_eq!(estimate(&without), unlimited, "{rule} on {without}");
    let with = schema.replace("MAX", &max.to_string());
    assert_eq!(estimate(&with), limited, "{rule} on {with}");
}

fn array(items: &str) -> String {
    format!("{{type: array, maxItems: MAX, items: {{{items}}}}}")
}

fn map(values: &str) -> String {
    format!("{{type: object, maxProperties: MAX, additionalProperties: {{{values}}}}}")
}

const STRING: &str = "{type: string, maxLength: MAX, title: ''}";
const OBJECT: &str =
    "type: object, required: [required], properties: {required: {type: string}, optional: {type: string}}";

#[test]
fn loops_over_lists() {
    let all = "self.all(x, true)";
    check(&array("type: number"), all, 4_718_591, (10, 32));
    check(&array("type: string"), all, 3_145_727, (20, 62));
    check(&array("type: boolean"), all, 1_887_437, (5, 17));
    check(&array("type: array, items: {type: number}"), all, 3_145_727, (100, 302));
    check(&array(OBJECT), all, 555_128, (50, 152));
    check(&array("x-kubernetes-int-or-string: true"), all, 4_718_591, (10, 32));
    check(&array("type: string, format: duration"), all, 2_359_295, (5, 17));
    check(&array("type: string, format: date"), all, 725_936, (15, 47));
    check(&array("type: string, format: date-time"), all, 428_963, (25, 77));
    check(&array("type: number"), "self.all(x, x == 0.0)", 6_291_454, (3 * 1024 * 2048, 25_165_826));
    check(
        &array("type: object, additionalProperties: {type: number}"),
        "self.all(x, x.y == 25.2)",
        6_291_452,
        (12, 74),
    );
    let squared = 1_572_863 * (3 + 4_718_591) + 2;
    check(&array("type: number"), "self.all(x, self.all(y, true))", squared, (10, 352));
    let cubed = 1_572_863 * (3 + squared) + 2;
    check(&array("type: number"), "self.all(x, self.all(y, self.all(z, true)))", cubed, (10, 3_552));
}

#[test]
fn loops_over_maps() {
    let all = "self.all(x, true)";
    check(&map("type: number"), all, 1_348_169, (10, 32));
    check(&map("type: string"), all, 1_179_647, (3, 11));
    check(&map("type: boolean"), all, 943_718, (100, 302));
    check(&map("x-kubernetes-int-or-string: true"), all, 1_348_169, (15, 47));
    check(&map(OBJECT), all, 428_963, (20, 62));
    check(&map("type: object, additionalProperties: {type: number}"), all, 1_179_647, (10, 32));
    check(&map("type: array, items: {type: number}"), all, 1_179_647, (25, 77));
    check(&map("type: string, format: duration"), all, 1_048_577, (5, 17));
    check(&map("type: string, format: date"), all, 524_288, (10, 32));
    check(&map("type: string, format: date-time"), all, 349_526, (25, 77));
    check(&map("type: string, maxLength: MAX, title: ''"), "self.all(x, x.contains(self[x]))", 2_752_507, (10, 72));
    check(&map("type: number"), "has(self.x)", 1, (100, 1));
}

#[test]
fn texts() {
    check(STRING, "self.contains('test')", 314_574, (10, 5));
    check(STRING, "self.startsWith('test')", 2, (15, 2));
    check(STRING, "self.endsWith('test')", 2, (30, 2));
    check(STRING, r#"size(self + "hello") > size("hello")"#, 314_578, (4, 7));
    check(STRING, r#"self.matches("x")"#, 314_574, (50, 22));
    check(STRING, r#""".matches("(((((((((())))))))))[0-9]")"#, 7, (10, 7));
    check(STRING, r#"self.matches("")"#, 1, (100, 1));
    check(STRING, "self == 'x'", 2, (0, 1));
    check("{type: string, format: byte, maxLength: MAX, title: ''}", "self == b'x'", 2, (0, 1));
    check(
        "{type: string, enum: [A, B, C, LongValue], maxLength: MAX, title: ''}",
        "self.contains('A')",
        2,
        (1000, 401),
    );
    check("{x-kubernetes-int-or-string: true, maxLength: MAX, title: ''}", "isQuantity(self)", 314_574, (20, 9));
}

#[test]
fn parts() {
    check(&array("type: number"), "self[1] == 0.0", 2, (5_000, 2));
    check(&array("type: number"), "self[3] == 0.0", 2, (0, 2));
    check(&array("type: string"), "self[1] == self[1]", 314_577, (8, 314_577));
    check(&map("type: number"), "self['x'] == 0.0", 2, (0, 2));
    check(&array("x-kubernetes-int-or-string: true"), "self[0] == 5", 3, (10, 3));
    check(&array("type: boolean"), "self[0] == false", 2, (25, 2));
    check(&array(OBJECT), "self[0] == null", 2, (422, 2));
    check(&array("type: array, items: {type: number}"), "self[0][0] == -1.0", 3, (51, 3));
    check(&array("type: object, additionalProperties: {type: number}"), "self[0].x > 2.0", 4, (3_000, 4));
    check(&array("type: string, format: duration"), "self[0].getHours() == 2", 4, (525, 4));
    check(&array("type: string, format: date"), "self[2].getDayOfMonth() == 13", 4, (42, 4));
    check(&map("type: integer"), "oldSelf.size() == self.size()", 5, (10, 5));
    check(&map("type: string, format: date-time"), "self['a'] == self['b']", 8, (7, 8));
    check(&map("type: string, format: duration"), "self['c'] == self['d']", 8, (42, 8));
    let nested = format!(
        "{{type: array, maxItems: MAX, items: {{type: object, maxProperties: MAX, additionalProperties: {{{OBJECT}}}}}}}"
    );
    check(&nested, "self.all(x, x['y'].required == 'z')", 7_340_027, (10, 72));
}

#[test]
fn functions_of_libraries() {
    let list = format!("{{type: array, maxItems: MAX, items: {STRING}}}");
    check(STRING, "self.find('[0-9]+') == ''", 629_147, (10, 11));
    check(&list, "self.join(' ') == 'aa bb'", 329_853_068_905, (10, 43));
    check(&list, "self.isSorted() == true", 329_854_432_052, (10, 52));
    check(STRING, "self.lowerAscii() == 'lower!'", 314_575, (10, 6));
    let object = |fields: &str| format!("{{type: object, properties: {{str: {STRING}, {fields}}}}}");
    let texts = object("before: {type: string, maxLength: 2}, after: {type: string, maxLength: 4}");
    check(&texts, "self.str.replace(self.before, self.after) == 'does not matter'", 629_154, (4, 12));
    let texts = object(&format!("separator: {STRING}"));
    check(&texts, "self.str.split(self.separator) == []", 629_160, (10, 22));
}

#[test]
fn names_of_objects_are_short() {
    let schema = Schema::read(&serde_json::json!({ "type": "object" }));
    let (ty, extent) = (type_of(&schema, true).unwrap(), Extent::of(&schema, true).unwrap());
    for (rule, want) in [("self.metadata.name.contains('x')", 105), ("self.kind.contains('x')", 314_575)] {
        assert_eq!(Rule::estimate(&serde_json::json!({ "rule": rule }), &ty, &extent).rule, want, "{rule}");
    }
}
