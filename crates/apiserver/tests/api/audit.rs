//! The audit log: what a client did, as it is told afterwards.

use sampan_apiserver::{AuditLogOptions, AuditOptions, AuditPolicy};
use serde_json::{Value, json};

use crate::support::Cluster;

const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitManagedFields: true
rules:
- {level: None, users: ["system:apiserver"]}
- {level: Metadata, resources: [{group: "", resources: [secrets]}]}
- {level: RequestResponse, resources: [{group: "", resources: [configmaps]}], omitStages: [RequestReceived]}
"#;

#[tokio::test]
async fn requests_are_recorded_as_the_policy_says() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let log = AuditLogOptions { path: path.clone(), max_bytes: 1 << 20, max_backups: 1, max_age: None };
    let cluster = Cluster::audited(AuditOptions { policy: AuditPolicy::parse(POLICY).unwrap(), log }).await;
    let secret = json!({ "metadata": { "name": "s" }, "stringData": { "password": "hush" } }).to_string();
    let map = json!({ "metadata": { "name": "m" }, "data": { "a": "b" } }).to_string();
    let below = |kind: &str| format!("/api/v1/namespaces/default/{kind}");
    assert_eq!(cluster.admin("POST", &below("secrets"), &secret).await.0, 201);
    assert_eq!(cluster.admin("POST", &below("configmaps"), &map).await.0, 201);
    assert_eq!(cluster.admin("POST", &below("configmaps"), &map).await.0, 409);
    assert_eq!(cluster.admin("GET", &below("pods"), "").await.0, 200);
    cluster.handle.shutdown().await;

    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("hush"), "metadata alone");
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen = |event: &Value| {
        format!("{} {} {}", event["stage"], event["objectRef"]["resource"], event["level"]).replace('"', "")
    };
    assert_eq!(
        events.iter().map(seen).collect::<Vec<_>>(),
        [
            "RequestReceived secrets Metadata",
            "ResponseComplete secrets Metadata",
            "ResponseComplete configmaps RequestResponse",
            "ResponseComplete configmaps RequestResponse",
        ]
    );
    assert_eq!(events[0]["auditID"], events[1]["auditID"]);
    let created = &events[2];
    assert_eq!((&created["kind"], &created["apiVersion"]), (&json!("Event"), &json!("audit.k8s.io/v1")));
    assert_eq!((&created["verb"], &created["user"]["username"]), (&json!("create"), &json!("admin")));
    assert_eq!(created["requestObject"]["data"], json!({ "a": "b" }));
    assert_eq!(created["responseObject"]["metadata"]["name"], "m");
    assert_eq!(created["responseObject"]["metadata"]["managedFields"], Value::Null);
    assert_eq!(created["annotations"]["authorization.k8s.io/decision"], "allow");
    assert_eq!(created["responseStatus"], json!({ "metadata": {}, "code": 201 }));
    let refused = &events[3]["responseStatus"];
    assert_eq!((&refused["code"], &refused["reason"]), (&json!(409), &json!("AlreadyExists")));
}
