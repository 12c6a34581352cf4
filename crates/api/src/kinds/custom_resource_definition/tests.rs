use super::CUSTOM_RESOURCE_DEFINITION as KIND;
use crate::kinds::testing::{check, check_update, created};

/// A definition with this version and these further fields of its spec.
fn definition(version: &str, more: &str) -> String {
    format!(
        "{{metadata: {{name: foos.example.com}}, spec: {{group: example.com, scope: Namespaced, {more}
           names: {{plural: foos, kind: Foo}}, versions: [{version}]}}}}"
    )
}

fn schema(schema: &str) -> String {
    definition(&format!("{{name: v1, served: true, storage: true, schema: {{openAPIV3Schema: {schema}}}}}"), "")
}

#[track_caller]
fn refused(text: &str, want: &[&str]) {
    let want: Vec<String> = want.iter().map(|fault| fault.replace("ROOT", "spec.validation.openAPIV3Schema")).collect();
    let want: Vec<&str> = want.iter().map(String::as_str).collect();
    check(&KIND, &schema(text), &want);
}

#[test]
fn names_are_filled_in_and_the_storage_version_is_noted() {
    let definition = created(&KIND, &schema("{type: object}"));
    assert_eq!(definition["spec"]["names"]["singular"], "foo");
    assert_eq!(definition["spec"]["names"]["listKind"], "FooList");
    assert_eq!(definition["spec"]["conversion"]["strategy"], "None");
    assert_eq!(definition["status"]["storedVersions"][0], "v1");
}

#[test]
fn structural_schemas() {
    refused("{type: object, properties: {spec: {type: object, properties: {a: {type: string, default: b}}}}}", &[]);
    refused("{properties: {a: {type: string}}}", &["ROOT.type: Required value: must not be empty at the root"]);
    refused(
        "{type: object, properties: {a: {}, b: {type: array}, c: {type: array, items: {}}}}",
        &[
            "ROOT.properties[a].type: Required value: must not be empty for specified object fields",
            "ROOT.properties[b].items: Required value: must be specified",
            "ROOT.properties[c].items.type: Required value: must not be empty for specified array items",
        ],
    );
    refused(
        "{type: object, properties: {a: {type: string}}, anyOf: [{properties: {a: {type: string}, b: {minLength: 1}}}]}",
        &[
            "ROOT.anyOf[0].properties[a].type: Forbidden: must be empty to be structural",
            "ROOT.properties[b]: Required value: because it is defined in ROOT.anyOf[0].properties[b]",
        ],
    );
    refused(
        "{type: object, properties: {a: {x-kubernetes-int-or-string: true, anyOf: [{type: integer}, {type: string}]}}}",
        &[],
    );
    refused(
        "{type: object, properties: {a: {type: integer, default: b}}}",
        &[
            r#"ROOT.properties[a].default: Invalid value: "string": ROOT.properties[a].default in body must be of type integer: "string""#,
        ],
    );
    refused(
        "{type: object, properties: {a: {type: array, items: {type: object, properties: {k: {type: string}}},
          x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [k]}}}",
        &[
            "ROOT.properties[a].items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
        ],
    );
    let text = "ROOT.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified";
    refused("{type: object, properties: {metadata: {type: object, properties: {labels: {type: object}}}}}", &[text]);
}

#[test]
fn versions() {
    let plain = "served: true, schema: {openAPIV3Schema: {type: object}}";
    let two = format!("{{name: v1, storage: true, {plain}}}, {{name: v2, storage: false, {plain}}}");
    check(&KIND, &definition(&two, ""), &[]);
    check(
        &KIND,
        &definition("{name: v1, storage: true, served: true}", ""),
        &["spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required"],
    );
    check(
        &KIND,
        &definition(&format!("{{name: v1, storage: true, {plain}}}"), "conversion: {strategy: Webhook},"),
        &[
            "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
            "spec.conversion.conversionReviewVersions: Required value",
        ],
    );
}

#[test]
fn what_may_change() {
    let one = schema("{type: object}");
    check_update(&KIND, &one, &one.replace("kind: Foo", "kind: Bar"), &[]);
    let other = one.replace("name: v1", "name: v2");
    let text = "status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions; v1 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v1 and removes v1 from status.storedVersions";
    check_update(&KIND, &one, &other, &[text]);
}

#[test]
fn rules_must_not_cost_too_much() {
    const HINT: &str = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)";
    let list = |limits: &str, rule: &str| {
        format!(
            "{{type: array, {limits} items: {{type: array, {limits} items: {{type: string, {limits}
               x-kubernetes-validations: [{{rule: \"{rule}\"}}]}}}}}}"
        )
    };
    let object = |field: &str| format!("{{type: object, properties: {{f: {field}}}}}");
    let too_dear = |factor: &str| {
        format!(
            "ROOT.properties[f].items.items.x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of {factor} {HINT}"
        )
    };
    let contributed = "ROOT.properties[f].items.items.x-kubernetes-validations[0].rule: Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
    let in_all = |factor: &str| {
        format!(
            "ROOT: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of {factor} {HINT}"
        )
    };
    // 314,574 for a text, as many as fit into a request when nothing bounds the lists.
    let unbounded = object(&list("", "self.contains('test')"));
    refused(&unbounded, &[&too_dear("more than 100x"), contributed, &in_all("more than 100x")]);
    refused(&object(&list("maxItems: 20, maxLength: 100,", "self.contains('test')")), &[]);
    // 41 x 500 x 500: a little too much for one.
    let bounded = list("maxItems: 500, maxLength: 100,", "self.contains('test')");
    refused(&object(&bounded), &[&too_dear("1.025000x")]);
    refused(&object(&bounded.replace("500", "700")), &[&too_dear("2.0x")]);
    // Messages count once.
    let message = "{type: object, properties: {l: {type: array, items: {type: array, items: {type: string}}}},
        x-kubernetes-validations: [{rule: 'true', messageExpression: \"self.l.map(x, x.join('')).join('')\"}]}";
    let place = "ROOT.properties[f].x-kubernetes-validations[0].messageExpression: Forbidden:";
    refused(
        &object(message),
        &[
            &format!("{place} estimated messageExpression cost exceeds budget by factor of more than 100x {HINT}"),
            &format!(
                "{place} contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
            ),
            &in_all("more than 100x"),
        ],
    );
}

/// What was taken when nobody counted can still be changed elsewhere.
#[test]
fn rules_that_stay_are_not_counted_again() {
    let dear = "{type: object, properties: {f: {type: array, items: {type: array, items: {type: string,
        x-kubernetes-validations: [{rule: \"self.contains('a')\"}]}}}}}";
    let old = schema(dear);
    check_update(&KIND, &old, &old.replace("names: {", "names: {shortNames: [f], "), &[]);
    let (old, new) = (schema("{type: object}"), schema(dear));
    let [factor, hint] = [
        "more than 100x",
        "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)",
    ];
    let root = "spec.validation.openAPIV3Schema";
    let rule = format!("{root}.properties[f].items.items.x-kubernetes-validations[0].rule: Forbidden:");
    check_update(
        &KIND,
        &old,
        &new,
        &[
            &format!("{rule} estimated rule cost exceeds budget by factor of {factor} {hint}"),
            &format!(
                "{rule} contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
            ),
            &format!(
                "{root}: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of {factor} {hint}"
            ),
        ],
    );
}
