use serde_json::{Value, json};

use super::*;

fn nodes() -> Nodes {
    let role = crate::bootstrap::bootstrap()
        .roles
        .into_iter()
        .find(|role| role.metadata.name.as_deref() == Some("system:node"));
    let nodes = Nodes::new(role.unwrap().rules.unwrap());
    let pod = |value: Value| nodes.apply_pod(&serde_json::from_value(value).unwrap());
    pod(json!({"metadata": {"name": "p1", "namespace": "ns"}, "spec": {
        "nodeName": "n1", "serviceAccountName": "sa1", "imagePullSecrets": [{"name": "pull"}],
        "containers": [{"name": "c", "envFrom": [{"configMapRef": {"name": "env"}}],
            "env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "key", "key": "k"}}}]}],
        "volumes": [
            {"name": "a", "projected": {"sources": [{"configMap": {"name": "root"}}, {"secret": {"name": "projected"}}]}},
            {"name": "b", "persistentVolumeClaim": {"claimName": "claim"}},
            {"name": "scratch", "ephemeral": {}},
        ],
        "resourceClaims": [{"name": "gpu", "resourceClaimName": "gpu1"}],
    }}));
    pod(json!({"metadata": {"name": "p2", "namespace": "ns"}, "spec": {
        "nodeName": "n2", "serviceAccountName": "sa2", "containers": [],
        "volumes": [{"name": "a", "configMap": {"name": "root"}}],
    }}));
    pod(json!({"metadata": {"name": "m", "namespace": "ns", "annotations": {"kubernetes.io/config.mirror": "x"}},
        "spec": {"nodeName": "n1", "containers": [], "volumes": [{"name": "a", "secret": {"secretName": "stolen"}}]}}));
    pod(json!({"metadata": {"name": "waiting", "namespace": "ns"},
        "spec": {"containers": [], "volumes": [{"name": "a", "secret": {"secretName": "unbound"}}]}}));
    let volume = json!({"metadata": {"name": "pv"}, "spec": {"claimRef": {"namespace": "ns", "name": "claim"},
        "csi": {"driver": "d", "volumeHandle": "h", "nodeStageSecretRef": {"namespace": "store", "name": "stage"}}}});
    nodes.apply_volume(&serde_json::from_value(volume).unwrap());
    nodes.apply_named(Named::VolumeAttachment, "", "va", "n1");
    nodes
}

/// `wish`: `verb group:resource[/subresource] [namespace/name] [?field=value]`, of node n1.
#[track_caller]
fn check_on(nodes: &Nodes, wish: &str, want: Result<(), &str>) {
    let who = Identity { name: "system:node:n1".into(), groups: vec![GROUP.into()], ..Identity::default() };
    let words: Vec<&str> = wish.split(' ').collect();
    let (group, resource) = words[1].split_once(':').unwrap();
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let (namespace, name) = words.get(2).and_then(|word| word.split_once('/')).unwrap_or_default();
    let field = words.get(3).and_then(|word| word.trim_start_matches('?').split_once('='));
    let what = Attributes {
        verb: words[0].into(),
        group: group.into(),
        resource: resource.into(),
        subresource: subresource.into(),
        namespace: namespace.into(),
        name: name.into(),
        fields: field.into_iter().map(|(field, value)| (field.into(), value.into())).collect(),
        ..Attributes::default()
    };
    let got = match nodes.authorize(&who, &what) {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(why) | Decision::NoOpinion(why) => Err(why),
    };
    assert_eq!(got, want.map_err(str::to_owned), "{wish}");
}

#[track_caller]
fn check(wish: &str, want: Result<(), &str>) {
    check_on(&nodes(), wish, want);
}

const UNRELATED: Result<(), &str> = Err("no relationship found between node 'n1' and this object");

#[test]
fn what_the_node_s_pods_use_may_be_read() {
    for secret in ["pull", "key", "projected"] {
        check(&format!("get :secrets ns/{secret}"), Ok(()));
        check(&format!("watch :secrets ns/{secret}"), Ok(()));
    }
    for map in ["env", "root"] {
        check(&format!("list :configmaps ns/{map}"), Ok(()));
    }
    check("get :secrets store/stage", Ok(()));
    check("get :persistentvolumeclaims ns/claim", Ok(()));
    check("get :persistentvolumeclaims ns/p1-scratch", Ok(()));
    check("patch :persistentvolumeclaims/status ns/claim", Ok(()));
    check("get :persistentvolumes /pv", Ok(()));
    check("get resource.k8s.io:resourceclaims ns/gpu1", Ok(()));
    check("get storage.k8s.io:volumeattachments /va", Ok(()));
    check("create :serviceaccounts/token ns/sa1", Ok(()));
}

#[test]
fn nothing_else_may() {
    check("get :secrets ns/other", UNRELATED);
    check("get :secrets ns/stolen", UNRELATED);
    check("get :secrets ns/unbound", UNRELATED);
    check("get :secrets other/pull", UNRELATED);
    check("create :serviceaccounts/token ns/sa2", UNRELATED);
    check("get :serviceaccounts ns/sa1", Ok(()));
    check("get :serviceaccounts ns/sa2", UNRELATED);
    check("update :serviceaccounts ns/sa1", Err("can only create tokens for individual service accounts"));
    check("list :secrets ns/", Err("No Object name found"));
    check("list :secrets", Err("can only read namespaced object of this type"));
    check("delete :secrets ns/pull", Err("can only read resources of this type"));
    check("list :persistentvolumes", Err("can only get individual resources of this type"));
    check("update :persistentvolumeclaims ns/claim", Err("can only get individual resources of this type"));
    check("get :pods ns/p2", UNRELATED);
    check("create apps:deployments ns/d", Err(""));
}

#[test]
fn a_node_sees_itself_and_its_pods() {
    check("get :pods ns/p1", Ok(()));
    check("list :pods / ?spec.nodeName=n1", Ok(()));
    check("list :pods / ?spec.nodeName=n2", Err("can only list/watch pods with spec.nodeName field selector"));
    check("watch :pods ns/p1", Ok(()));
    check("patch :pods/status ns/p2", Ok(())); // NodeRestriction's
    check("patch :pods ns/p1", Err(""));
    check("get :nodes /n1", Ok(()));
    check("get :nodes /n2", Err("node 'n1' cannot read 'n2', only its own Node object"));
    check("list :nodes", Err("node 'n1' cannot read all nodes, only its own Node object"));
    check("delete :nodes /n1", Err(""));
    check("update coordination.k8s.io:leases kube-node-lease/n1", Ok(()));
    let why = "can only access node lease with the same name as the requesting node";
    check("update coordination.k8s.io:leases kube-node-lease/n2", Err(why));
    let why = "can only access leases in the \"kube-node-lease\" system namespace";
    check("update coordination.k8s.io:leases kube-system/n1", Err(why));
    check("list coordination.k8s.io:leases", Err("can only get, create, update, patch, or delete a node lease"));
    check("create :events ns/", Ok(()));
    check("watch :services", Ok(()));
}

#[test]
fn rights_end_with_what_gave_them() {
    let nodes = nodes();
    nodes.delete_pod("ns", "p1");
    check_on(&nodes, "get :secrets ns/pull", UNRELATED);
    check_on(&nodes, "get :secrets store/stage", UNRELATED);
    check_on(&nodes, "get :configmaps ns/root", UNRELATED);
    nodes.apply_named(Named::VolumeAttachment, "", "va", "n2");
    check_on(&nodes, "get storage.k8s.io:volumeattachments /va", UNRELATED);
}
