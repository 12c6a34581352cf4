use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Write, apply, track_update};
use crate::schema::{Definition, definition};
use crate::status::Status;

fn deployment() -> &'static Definition {
    definition("io.k8s.api.apps.v1.Deployment").unwrap()
}

fn by(manager: &str) -> Write<'_> {
    let now = Timestamp::from_second(1_700_000_000).unwrap();
    Write { manager, subresource: "", reset: &["status"], now, model: deployment().into() }
}

/// An object under trial: a sequence of writes with what each leaves behind.
#[derive(Default)]
struct Trial {
    object: Option<Value>,
}

impl Trial {
    fn apply(&mut self, manager: &str, spec: Value) -> Result<&mut Self, Status> {
        self.apply_with(manager, spec, false)
    }

    fn apply_with(&mut self, manager: &str, spec: Value, force: bool) -> Result<&mut Self, Status> {
        let config = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": spec});
        self.object = Some(apply(self.object.as_ref(), &config, force, &by(manager))?);
        Ok(self)
    }

    fn update(&mut self, manager: &str, spec: Value) -> &mut Self {
        let mut new = self.object.clone().unwrap_or_else(|| json!({"metadata": {"name": "a"}}));
        new["spec"] = spec;
        track_update(self.object.as_ref(), &mut new, &by(manager));
        self.object = Some(new);
        self
    }

    #[track_caller]
    fn has_spec(&mut self, want: Value) -> &mut Self {
        let object = self.object.as_ref().unwrap();
        assert_eq!(object.get("spec").unwrap_or(&json!({})), &want);
        self
    }

    /// The fields below `f:spec` that a manager owns, `null` for none.
    #[track_caller]
    fn owns(&mut self, manager: &str, want: Value) -> &mut Self {
        let entries =
            self.object.as_ref().unwrap()["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        let entry = entries.iter().find(|entry| entry["manager"] == manager);
        assert_eq!(entry.map_or(Value::Null, |entry| entry["fieldsV1"]["f:spec"].clone()), want, "{entries:?}");
        self
    }
}

fn containers(list: Value) -> Value {
    json!({"template": {"spec": {"containers": list}}})
}

#[test]
fn create_by_apply() {
    let mut trial = Trial::default();
    trial.apply("a", json!({"replicas": 2, "selector": {"matchLabels": {"x": "y"}}})).unwrap();
    trial.has_spec(json!({"replicas": 2, "selector": {"matchLabels": {"x": "y"}}}));
    trial.owns("a", json!({"f:replicas": {}, "f:selector": {}}));
    let entry = &trial.object.as_ref().unwrap()["metadata"]["managedFields"][0];
    assert_eq!(
        entry,
        &json!({"manager": "a", "operation": "Apply", "apiVersion": "apps/v1", "time": "2023-11-14T22:13:20Z",
            "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}, "f:selector": {}}}})
    );
}

#[test]
fn conflicts_name_field_and_manager() {
    let mut trial = Trial::default();
    trial.update("kubectl-client-side-apply", json!({"replicas": 1}));
    let status = trial.apply("b", json!({"replicas": 3})).err().unwrap();
    assert_eq!(
        status.message,
        "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using apps/v1: .spec.replicas"
    );
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    let causes = status.details.unwrap().causes;
    assert_eq!(causes[0].reason, "FieldManagerConflict");
    assert_eq!(causes[0].message, "conflict with \"kubectl-client-side-apply\" using apps/v1");
    assert_eq!(causes[0].field, ".spec.replicas");
}

#[test]
fn several_conflicts_are_grouped_by_manager() {
    let mut trial = Trial::default();
    trial
        .apply("a", json!({"replicas": 1, "paused": true}))
        .unwrap()
        .apply("b", json!({"minReadySeconds": 1}))
        .unwrap();
    let status = trial.apply("c", json!({"replicas": 2, "paused": false, "minReadySeconds": 2})).err().unwrap();
    assert_eq!(
        status.message,
        "Apply failed with 3 conflicts: conflicts with \"a\":\n- .spec.paused\n- .spec.replicas\nconflicts with \"b\":\n- .spec.minReadySeconds"
    );
}

#[test]
fn force_takes_over() {
    let mut trial = Trial::default();
    trial.apply("a", json!({"replicas": 1, "paused": true})).unwrap();
    trial.apply_with("b", json!({"replicas": 3}), true).unwrap();
    trial.has_spec(json!({"replicas": 3, "paused": true}));
    trial.owns("a", json!({"f:paused": {}})).owns("b", json!({"f:replicas": {}}));
}

#[test]
fn equal_values_are_shared() {
    let mut trial = Trial::default();
    trial.apply("a", json!({"replicas": 1})).unwrap().apply("b", json!({"replicas": 1})).unwrap();
    trial.owns("a", json!({"f:replicas": {}})).owns("b", json!({"f:replicas": {}}));
    trial.apply("b", json!({})).unwrap().has_spec(json!({"replicas": 1})).owns("b", json!({}));
    trial.apply("a", json!({})).unwrap().has_spec(json!({}));
}

#[test]
fn what_is_no_longer_applied_goes() {
    let mut trial = Trial::default();
    trial
        .apply(
            "a",
            containers(
                json!([{"name": "x", "image": "1", "env": [{"name": "E", "value": "1"}]}, {"name": "y", "image": "2"}]),
            ),
        )
        .unwrap();
    trial.apply("a", containers(json!([{"name": "x", "image": "1"}]))).unwrap();
    trial.has_spec(containers(json!([{"name": "x", "image": "1"}])));
    let fields = json!({"k:{\"name\":\"x\"}": {".": {}, "f:image": {}, "f:name": {}}});
    trial.owns("a", json!({"f:template": {"f:spec": {"f:containers": fields}}}));
}

#[test]
fn items_of_others_stay() {
    let mut trial = Trial::default();
    trial.apply("a", containers(json!([{"name": "x", "image": "1"}]))).unwrap();
    trial.apply("b", containers(json!([{"name": "y", "image": "2"}]))).unwrap();
    trial.has_spec(containers(json!([{"name": "x", "image": "1"}, {"name": "y", "image": "2"}])));
    trial.apply("b", containers(json!([{"name": "x", "tty": true}]))).unwrap();
    trial.has_spec(containers(json!([{"name": "x", "image": "1", "tty": true}])));
    trial.apply("b", json!({})).unwrap().has_spec(containers(json!([{"name": "x", "image": "1"}])));
}

#[test]
fn keys_have_defaults() {
    let mut trial = Trial::default();
    trial.apply("a", containers(json!([{"name": "x", "ports": [{"containerPort": 80}]}]))).unwrap();
    let ports = json!({"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}});
    let item = json!({"k:{\"name\":\"x\"}": {".": {}, "f:name": {}, "f:ports": ports}});
    trial.owns("a", json!({"f:template": {"f:spec": {"f:containers": item}}}));
}

#[test]
fn atomic_lists_and_maps_are_one_field() {
    let mut trial = Trial::default();
    trial
        .apply("a", json!({"template": {"spec": {"nodeSelector": {"a": "1"}, "tolerations": [{"key": "k"}]}}}))
        .unwrap();
    trial.owns("a", json!({"f:template": {"f:spec": {"f:nodeSelector": {}, "f:tolerations": {}}}}));
    let status = trial.apply("b", json!({"template": {"spec": {"nodeSelector": {"b": "1"}}}})).err().unwrap();
    assert!(status.message.ends_with(".spec.template.spec.nodeSelector"), "{}", status.message);
}

#[test]
fn labels_are_owned_key_by_key() {
    let mut trial = Trial::default();
    let labels = |labels: Value| json!({"template": {"metadata": {"labels": labels}}});
    trial.apply("a", labels(json!({"x": "1"}))).unwrap().apply("b", labels(json!({"y": "2"}))).unwrap();
    trial.has_spec(labels(json!({"x": "1", "y": "2"})));
    trial.apply("b", labels(json!({}))).unwrap().has_spec(labels(json!({"x": "1"})));
}

#[test]
fn updates_take_what_they_change() {
    let mut trial = Trial::default();
    trial.apply("a", json!({"replicas": 1, "paused": true})).unwrap();
    trial.update("hpa", json!({"replicas": 5, "paused": true}));
    trial.owns("a", json!({"f:paused": {}})).owns("hpa", json!({"f:replicas": {}}));
    trial.update("hpa", json!({"replicas": 5})).owns("a", Value::Null).owns("hpa", json!({"f:replicas": {}}));
    trial
        .update("hpa", json!({"replicas": 5, "minReadySeconds": 1}))
        .owns("hpa", json!({"f:minReadySeconds": {}, "f:replicas": {}}));
}

#[test]
fn creates_own_their_maps_and_items() {
    let mut trial = Trial::default();
    trial.update("kubectl-create", containers(json!([{"name": "x", "image": "1", "resources": {}}])));
    let fields = json!({"k:{\"name\":\"x\"}": {".": {}, "f:image": {}, "f:name": {}, "f:resources": {}}});
    trial.owns("kubectl-create", json!({"f:template": {"f:spec": {"f:containers": fields}}}));
}

#[test]
fn applying_the_same_again_changes_nothing() {
    let mut trial = Trial::default();
    trial.apply("a", json!({"replicas": 1})).unwrap();
    let before = trial.object.clone().unwrap();
    let later = Write { now: Timestamp::from_second(1_800_000_000).unwrap(), ..by("a") };
    let config =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {"replicas": 1}});
    assert_eq!(apply(Some(&before), &config, false, &later), Ok(before));
}

#[test]
fn objects_without_account_get_one_with_the_first_apply() {
    let mut trial = Trial { object: Some(json!({"metadata": {"name": "a"}, "spec": {"replicas": 1}})) };
    trial.update("x", json!({"replicas": 2})).owns("x", Value::Null);
    let status = trial.apply("a", json!({"replicas": 3})).err().unwrap();
    assert!(status.message.contains("\"before-first-apply\" using apps/v1: .spec.replicas"), "{}", status.message);
}

#[test]
fn the_account_can_be_reset() {
    let mut trial = Trial::default();
    trial.apply("a", json!({"replicas": 1})).unwrap();
    let mut new = trial.object.clone().unwrap();
    new["metadata"]["managedFields"] = json!([{}]);
    track_update(trial.object.as_ref(), &mut new, &by("x"));
    assert_eq!(new["metadata"].get("managedFields"), None);
}

#[test]
fn status_is_its_own_path() {
    let mut object = json!({"metadata": {"name": "a"}, "spec": {"replicas": 1}});
    track_update(None, &mut object, &by("a"));
    let mut new = object.clone();
    new["status"] = json!({"replicas": 1});
    let write = Write { subresource: "status", reset: &["spec"], ..by("controller") };
    track_update(Some(&object), &mut new, &write);
    let entry = &new["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .find(|e| e["manager"] == "controller")
        .unwrap()
        .clone();
    assert_eq!(entry["subresource"], "status");
    assert_eq!(entry["fieldsV1"], json!({"f:status": {"f:replicas": {}}}));
}

#[test]
fn updaters_are_bounded() {
    let mut trial = Trial::default();
    for number in 0..30 {
        trial.update(
            &format!("m{number:02}"),
            json!({"template": {"metadata": {"labels": {format!("l{number}"): "x"}}}}),
        );
        let labels = trial.object.as_ref().unwrap()["spec"].clone();
        assert!(labels.is_object());
    }
    let labels: serde_json::Map<String, Value> = (0..30).map(|n| (format!("l{n}"), json!("x"))).collect();
    for number in 0..30 {
        let mut labels = labels.clone();
        labels.insert("own".into(), number.to_string().into());
        labels.insert(format!("own{number}"), "x".into());
        trial.update(&format!("n{number:02}"), json!({"template": {"metadata": {"labels": labels}}}));
    }
    assert!(trial.object.unwrap()["metadata"]["managedFields"].as_array().unwrap().len() <= 10);
}

#[test]
fn configurations_must_fit() {
    let fault = |spec: Value| Trial::default().apply("a", spec).err().unwrap().message;
    let prefix = "failed to create typed patch object (/a; apps/v1, Kind=Deployment): ";
    assert_eq!(fault(json!({"foo": 1})), format!("{prefix}.spec.foo: field not declared in schema"));
    assert_eq!(
        fault(json!({"replicas": "x"})),
        format!("{prefix}.spec.replicas: expected numeric (int or float), got string")
    );
    assert_eq!(
        fault(containers(json!([{"name": "x"}, {"name": "x"}]))),
        format!("{prefix}.spec.template.spec.containers: duplicate entries for key [name=\"x\"]")
    );
    let config =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"managedFields": [{"manager": "x"}]}});
    assert_eq!(apply(None, &config, false, &by("a")).unwrap_err().message, "metadata.managedFields must be nil");
}

#[test]
fn configurations_must_be_of_the_type_of_the_path() {
    for (config, sent) in [
        (json!({"apiVersion": "v1", "kind": "Pod"}), "/v1, Kind=Pod"),
        (json!({}), "/, Kind="),
        (json!([]), "/, Kind="),
    ] {
        let status = apply(None, &config, false, &by("a")).unwrap_err();
        assert_eq!((status.code, status.message), (400, format!("invalid object type: {sent}")));
    }
}

#[test]
fn equal_quantities_are_no_conflict() {
    let resources = |cpu: Value| containers(json!([{"name": "x", "resources": {"limits": {"cpu": cpu}}}]));
    let mut trial = Trial::default();
    trial.apply("a", resources(json!("500m"))).unwrap().apply("b", resources(json!(0.5))).unwrap();
    trial.has_spec(resources(json!("500m")));
    assert!(trial.apply("b", resources(json!("1x"))).err().unwrap().message.contains("quantities must match"));
}

#[test]
fn kubectl_keeps_its_annotation_up_to_date() {
    let name = "kubectl.kubernetes.io/last-applied-configuration";
    let live = json!({"metadata": {"name": "a", "annotations": {name: "old"}}, "spec": {"replicas": 1}});
    let config =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {"paused": true}});
    let annotation = |manager| {
        let object = apply(Some(&live), &config, false, &by(manager)).unwrap();
        object["metadata"]["annotations"][name].as_str().unwrap().to_owned()
    };
    assert_eq!(annotation("kubectl"), format!("{config}\n"));
    assert_eq!(annotation("other"), "old");
}

proptest! {
    #[test]
    fn never_panics_and_never_loses_what_was_applied(first in spec(), second in spec()) {
        let mut trial = Trial::default();
        if trial.apply("a", first.clone()).is_ok() && trial.apply_with("b", second.clone(), true).is_ok() {
            let again = trial.object.clone();
            prop_assert!(trial.apply("b", second).is_ok());
            prop_assert_eq!(&trial.object, &again);
            trial.update("c", first);
        }
    }
}

/// Specs of the right shape with random content.
fn spec() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec!["x", "y", "z"]);
    let labels = prop::collection::btree_map(name.clone(), "[ab]", 0..3);
    let env = prop::collection::vec((name.clone(), "[ab]"), 0..3)
        .prop_map(|env| env.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect::<Value>());
    let container = (name, proptest::option::of("[ab]"), env)
        .prop_map(|(name, image, env)| json!({"name": name, "image": image, "env": env}));
    (proptest::option::of(0..3), labels, prop::collection::vec(container, 0..3)).prop_map(|(replicas, labels, containers)| {
        json!({"replicas": replicas, "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}}})
    })
}
