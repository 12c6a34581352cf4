//! StatefulSet: Pods with lasting names, each with claims of its own, made and replaced in order.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::subresources::{Gvk, SCALE, status};
use super::{cells, fill, persistent_volume_claim, pod, read};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{self, Cursor, check, claim_spec, names, same};

const GVK: Gvk = ("apps", "v1", "StatefulSet");

/// `statefulsets.apps`
pub static STATEFUL_SET: Kind = Kind {
    group: "apps",
    version: "v1",
    kind: "StatefulSet",
    plural: "statefulsets",
    singular: "statefulset",
    short_names: &["sts"],
    categories: &["all"],
    scope: Scope::Namespaced,
    verbs: Verbs::All,
    names: NameRule::Label,
    subresources: &[SCALE, status(GVK)],
    schema: "io.k8s.api.apps.v1.StatefulSet",
    storage: "statefulsets",
    columns: &[cells::NAME, cells::text("Ready"), cells::AGE, cells::wide("Containers"), cells::wide("Images")],
    rules: &StatefulSetRules,
};

/// The fields of the spec that may change.
const MUTABLE: &[&str] = &[
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

struct StatefulSetRules;

impl Rules for StatefulSetRules {
    fn default(&self, object: &mut Value) {
        fill::at(object, "/spec", |spec| {
            fill::zero(spec, "podManagementPolicy", "OrderedReady");
            fill::absent(spec, "updateStrategy", json!({}));
            fill::at(spec, "/updateStrategy", default_strategy);
            fill::absent(spec, "persistentVolumeClaimRetentionPolicy", json!({}));
            fill::at(spec, "/persistentVolumeClaimRetentionPolicy", |policy| {
                fill::zero(policy, "whenDeleted", "Retain");
                fill::zero(policy, "whenScaled", "Retain");
            });
            fill::absent(spec, "replicas", 1);
            fill::absent(spec, "revisionHistoryLimit", 10);
            fill::at(spec, "/template", pod::default_template);
            fill::each(spec, "/volumeClaimTemplates", default_claim);
        });
    }

    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({ "replicas": 0, "availableReplicas": 0 });
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        fill::keep(new, old, "status");
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |object| spec(&object.get("spec")))
    }

    fn validate_create(&self, object: &Value) -> Vec<field::Error> {
        check(object, |object| object.get("spec").get("serviceName").may_follow(names::label_1035))
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |set| {
            let spec = set.get("spec");
            let mut kept = spec.value().clone();
            MUTABLE.iter().for_each(|field| fill::keep(&mut kept, &old["spec"], field));
            if !same(&kept, &old["spec"]) {
                spec.forbidden(
                    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                     'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                     'minReadySeconds' are forbidden",
                );
            }
        })
    }

    fn validate_status(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |set| {
            let status = set.get("status");
            validation::workload_status(&status, &["currentReplicas", "updatedReplicas"], "status.readyReplicas");
            validation::collisions(&status, &old["status"]);
        })
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let mut warnings = pod::of_template(object);
        for (index, claim) in read::list(object, "/spec/volumeClaimTemplates").iter().enumerate() {
            warnings.extend(persistent_volume_claim::warnings(
                &claim["spec"],
                &field::Path::new("spec").child("volumeClaimTemplates").index(index).child("spec"),
            ));
        }
        if read::int(object, "/spec/revisionHistoryLimit") < 0 {
            warnings.push(
                "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is \
                 recommended"
                    .to_owned(),
            );
        }
        warnings
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let count = |field: &str| read::int(object, field);
        let [containers, images] = cells::containers_and_images(&object["spec"]["template"]);
        vec![
            cells::name(object),
            format!("{}/{}", count("/status/readyReplicas"), count("/spec/replicas")).into(),
            cells::age(object, now),
            containers,
            images,
        ]
    }
}

fn default_strategy(strategy: &mut Value) {
    fill::zero(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        fill::absent(strategy, "rollingUpdate", json!({}));
        fill::at(strategy, "/rollingUpdate", |rolling| fill::absent(rolling, "partition", 0));
    }
}

/// A template of claims is a whole claim, kind and status included.
fn default_claim(claim: &mut Value) {
    fill::zero(claim, "apiVersion", "v1");
    fill::zero(claim, "kind", "PersistentVolumeClaim");
    fill::at(claim, "/spec", persistent_volume_claim::default_spec);
    fill::absent(claim, "status", json!({}));
    fill::at(claim, "/status", |status| fill::zero(status, "phase", "Pending"));
}

fn spec(spec: &Cursor<'_>) {
    let management = spec.get("podManagementPolicy");
    if management.must() && !matches!(management.text(), "OrderedReady" | "Parallel") {
        management.invalid("must be 'OrderedReady' or 'Parallel'");
    }
    strategy(&spec.get("updateStrategy"));
    for policy in ["whenDeleted", "whenScaled"] {
        spec.get("persistentVolumeClaimRetentionPolicy").get(policy).may_be_one_of(&["Retain", "Delete"]);
    }
    validation::replicas(spec);
    spec.get("ordinals").get("start").non_negative();
    validation::workload_selector(&spec.get("selector"), "statefulset");
    for claim in spec.get("volumeClaimTemplates").items() {
        claim_spec(&claim.get("spec"));
    }
    let (place, whole) = (spec.get("template"), with_claims(spec.value()));
    let template = place.showing(&whole);
    validation::matches_template(&spec.get("selector"), &template);
    validation::pod_template(&template);
    validation::runs_forever(&template.get("spec"), "StatefulSet");
}

/// The template of the Pods with the volumes that their claims will be.
fn with_claims(spec: &Value) -> Value {
    let mut template = spec["template"].clone();
    let claims: Vec<Value> = read::list(spec, "/volumeClaimTemplates")
        .iter()
        .map(|claim| read::text(claim, "/metadata/name"))
        .map(|name| json!({ "name": name, "persistentVolumeClaim": { "claimName": name } }))
        .collect();
    if claims.is_empty() || !template["spec"].is_object() {
        return template;
    }
    let mut volumes = read::list(&template, "/spec/volumes").to_vec();
    volumes.retain(|volume| claims.iter().all(|claim| claim["name"] != volume["name"]));
    volumes.extend(claims);
    template["spec"]["volumes"] = volumes.into();
    template
}

fn strategy(strategy: &Cursor<'_>) {
    let rolling = strategy.get("rollingUpdate");
    match strategy.get("type").text() {
        "" => strategy.required(""),
        "OnDelete" if rolling.is_set() => rolling.invalid("only allowed for updateStrategy 'RollingUpdate'"),
        "OnDelete" => {}
        "RollingUpdate" => {
            rolling.get("partition").non_negative();
            let unavailable = rolling.get("maxUnavailable");
            if unavailable.is_set() {
                validation::count_or_percent(&unavailable);
                if validation::bare_number(&unavailable) == 0 {
                    unavailable.invalid("cannot be 0");
                }
            }
        }
        _ => strategy.invalid("must be 'RollingUpdate' or 'OnDelete'"),
    }
}

#[cfg(test)]
mod tests {
    use super::STATEFUL_SET;
    use crate::kinds::testing::{check, check_defaults, check_metadata, check_row, check_update};

    const TEMPLATE: &str = "selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, \
        spec: {containers: [{name: c, image: i, volumeMounts: [{name: data, mountPath: /data}]}]}}, \
        volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], \
        resources: {requests: {storage: 1Gi}}}}]";

    fn set(fields: &str) -> String {
        format!("{{metadata: {{name: a}}, spec: {{{TEMPLATE}, {fields}}}}}")
    }

    #[track_caller]
    fn also(fields: &str, want: &[&str]) {
        check(&STATEFUL_SET, &set(fields), want);
    }

    #[test]
    fn policies_and_strategies() {
        also("serviceName: web", &[]);
        also(
            "podManagementPolicy: Any",
            &["spec.podManagementPolicy: Invalid value: \"Any\": must be 'OrderedReady' or 'Parallel'"],
        );
        also(
            "updateStrategy: {type: OnDelete, rollingUpdate: {partition: 1}}",
            &["spec.updateStrategy.rollingUpdate: Invalid value: {\"partition\":1}: only allowed for updateStrategy \
             'RollingUpdate'"],
        );
        also(
            "updateStrategy: {rollingUpdate: {partition: -1}}, ordinals: {start: -2}",
            &[
                "spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0",
                "spec.ordinals.start: Invalid value: -2: must be greater than or equal to 0",
            ],
        );
        also(
            "persistentVolumeClaimRetentionPolicy: {whenScaled: Keep}",
            &["spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: \"Keep\": supported values: \
             \"Retain\", \"Delete\""],
        );
    }

    #[test]
    fn the_selector_selects_its_pods() {
        check(
            &STATEFUL_SET,
            "{spec: {template: {spec: {containers: [{name: c, image: i}], restartPolicy: Never}}}}",
            &[
                "spec.selector: Required value",
                "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
            ],
        );
        check_metadata(
            &STATEFUL_SET,
            "{metadata: {name: a.b, namespace: c}}",
            &["metadata.name: Invalid value: \"a.b\": must not contain dots"],
        );
    }

    #[test]
    fn the_rest_of_the_spec_stays() {
        check_update(
            &STATEFUL_SET,
            &set("serviceName: a"),
            &set("serviceName: a, replicas: 3, minReadySeconds: 1"),
            &[],
        );
        check_update(
            &STATEFUL_SET,
            &set("serviceName: a"),
            &set("serviceName: b"),
            &[
                "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
             'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' \
             are forbidden",
            ],
        );
    }

    #[test]
    fn defaults_and_rows() {
        check_defaults(
            &STATEFUL_SET,
            "{spec: {volumeClaimTemplates: [{metadata: {name: d}, spec: {}}]}}",
            "{spec: {podManagementPolicy: OrderedReady, updateStrategy: {type: RollingUpdate, rollingUpdate: \
             {partition: 0}}, persistentVolumeClaimRetentionPolicy: {whenDeleted: Retain, whenScaled: Retain}, \
             replicas: 1, revisionHistoryLimit: 10, volumeClaimTemplates: [{apiVersion: v1, \
             kind: PersistentVolumeClaim, metadata: {name: d}, spec: {volumeMode: Filesystem}, \
             status: {phase: Pending}}]}}",
        );
        check_row(
            &STATEFUL_SET,
            "{metadata: {name: a}, spec: {replicas: 3, template: {spec: {containers: [{name: c, image: i}]}}}, \
             status: {readyReplicas: 2}}",
            "a | 2/3 | <unknown> | c | i",
        );
    }
}
