//! Aggregated APIs: another server behind an APIService, reached through this one.

use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::remote::Remote;
use crate::support::{Cluster, in_process, read};

const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const ITEMS: &str = "/apis/wardle.example.com/v1alpha1/namespaces/default/flunders";

/// An extension server that has one resource, and says of every other request what it got.
async fn answer(request: Request<Incoming>) -> Response<Body> {
    let document = match request.uri().path() {
        "/apis/wardle.example.com/v1alpha1" => json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "wardle.example.com/v1alpha1",
            "resources": [
                { "name": "flunders", "singularName": "flunder", "namespaced": true, "kind": "Flunder", "verbs": ["list"] },
                { "name": "flunders/status", "singularName": "", "namespaced": true, "kind": "Flunder", "verbs": ["get"] },
            ],
        }),
        "/apis/wardle.example.com/v1alpha1/elsewhere" => {
            return Response::builder().status(302).header("location", "/api/v1/secrets").body(Body::empty()).unwrap();
        }
        "/openapi/v3" => json!({ "paths": {
            "apis/wardle.example.com/v1alpha1": { "serverRelativeURL": "/openapi/v3/apis/wardle.example.com/v1alpha1?hash=1" },
        } }),
        "/openapi/v2" => {
            json!({ "paths": { "/apis/wardle.example.com/v1alpha1/": {}, "/other": {} }, "definitions": { "F": {} } })
        }
        _ => {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let header =
                |name: &str| -> Vec<&str> { head.headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect() };
            json!({
                "method": head.method.as_str(), "uri": head.uri.to_string(), "body": String::from_utf8_lossy(&body),
                "user": header("x-remote-user"), "groups": header("x-remote-group"), "told": header("authorization"),
            })
        }
    };
    Response::new(Body::from(document.to_string()))
}

async fn until(cluster: &Cluster, reason: &str) -> Value {
    let waited = async {
        loop {
            let (_, object) = cluster.admin("GET", &format!("{SERVICES}/v1alpha1.wardle.example.com"), "").await;
            if object["status"]["conditions"][0]["reason"] == reason {
                return object;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waited).await.expect(reason)
}

#[tokio::test]
async fn another_server_serves_a_version() {
    let cluster = Cluster::start().await;
    let remote = Remote::start(&["wardle.default.svc"], answer).await;
    let service = json!({
        "metadata": { "name": "v1alpha1.wardle.example.com" },
        "spec": {
            "group": "wardle.example.com", "version": "v1alpha1", "groupPriorityMinimum": 2000, "versionPriority": 200,
            "service": { "namespace": "default", "name": "wardle", "port": remote.address.port() },
            "caBundle": remote.bundle,
        },
    });
    let (code, made) = cluster.admin("POST", SERVICES, &service.to_string()).await;
    assert_eq!(code, 201, "{made:#}");
    let object = until(&cluster, "ServiceNotFound").await;
    assert_eq!(object["status"]["conditions"][0]["message"], "service/wardle in \"default\" is not present");
    let request = Request::get(ITEMS).extension(in_process("admin")).body(Body::empty()).unwrap();
    let response = cluster.send(request).await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "service unavailable\n");

    let target =
        json!({ "metadata": { "name": "wardle" }, "spec": { "type": "ExternalName", "externalName": "localhost" } });
    assert_eq!(cluster.admin("POST", "/api/v1/namespaces/default/services", &target.to_string()).await.0, 201);
    until(&cluster, "Passed").await;
    let request =
        Request::post(format!("{ITEMS}?pretty=1")).header("authorization", "Bearer x").header("x-remote-user", "root");
    let request = request.extension(in_process("admin")).body(Body::from("hello")).unwrap();
    let (code, seen) = read(cluster.send(request).await).await;
    let want = json!({
        "method": "POST", "uri": format!("{ITEMS}?pretty=1"), "body": "hello",
        "user": ["admin"], "groups": ["system:masters", "system:authenticated"], "told": [],
    });
    assert_eq!((code, seen), (200, want));
    // It may not send clients, and their credentials, elsewhere (CVE-2022-3172).
    let request = Request::get("/apis/wardle.example.com/v1alpha1/elsewhere").extension(in_process("admin"));
    let response = cluster.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!((response.status().as_u16(), response.headers().get("location")), (502, None));
    // Authorization is this server's.
    let request = Request::get(ITEMS).extension(in_process("bob")).body(Body::empty()).unwrap();
    assert_eq!(cluster.send(request).await.status(), 403);
    discovery(&cluster).await;
}

async fn discovery(cluster: &Cluster) {
    let (_, groups) = cluster.admin("GET", "/apis", "").await;
    // By its priority it stands between the groups of this server and the metrics.
    let [.., theirs, metrics] = groups["groups"].as_array().unwrap().as_slice() else { panic!("{groups}") };
    assert_eq!(
        [&theirs["name"], &theirs["preferredVersion"]["version"], &metrics["name"]],
        ["wardle.example.com", "v1alpha1", "metrics.k8s.io"]
    );
    let (code, group) = cluster.admin("GET", "/apis/wardle.example.com", "").await;
    assert_eq!((code, &group["kind"]), (200, &json!("APIGroup")));
    let (_, list) = cluster.admin("GET", "/apis/wardle.example.com/v1alpha1", "").await;
    assert_eq!(list["resources"][0]["name"], "flunders");
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let request = Request::get("/apis").header("accept", accept).extension(in_process("admin"));
    let (_, all) = read(cluster.send(request.body(Body::empty()).unwrap()).await).await;
    let [.., theirs, _] = all["items"].as_array().unwrap().as_slice() else { panic!("{all}") };
    let version = &theirs["versions"][0];
    assert_eq!(
        (&version["freshness"], &version["resources"][0]["subresources"][0]["subresource"]),
        (&json!("Current"), &json!("status"))
    );
    let (_, index) = cluster.admin("GET", "/openapi/v3", "").await;
    assert!(index["paths"]["apis/wardle.example.com/v1alpha1"].is_object());
    let (_, document) = cluster.admin("GET", "/openapi/v2", "").await;
    assert!(
        document["paths"]["/apis/wardle.example.com/v1alpha1/"].is_object() && document["paths"]["/other"].is_null()
    );
    assert!(document["definitions"]["F"].is_object());
}

#[tokio::test]
async fn own_versions_have_apiservices() {
    let cluster = Cluster::start().await;
    let (_, core) = cluster.admin("GET", &format!("{SERVICES}/v1."), "").await;
    assert_eq!(core["spec"], json!({ "version": "v1", "groupPriorityMinimum": 18000, "versionPriority": 1 }));
    assert_eq!(core["metadata"]["labels"]["kube-aggregator.kubernetes.io/automanaged"], "onstart");
    assert_eq!(core["status"]["conditions"][0]["reason"], "Local");
    assert_eq!(cluster.admin("DELETE", &format!("{SERVICES}/v1.apps"), "").await.0, 200);
    let back = async {
        while cluster.admin("GET", &format!("{SERVICES}/v1.apps"), "").await.0 != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), back).await.expect("back");
    let path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
    let (_, map) = cluster.admin("GET", path, "").await;
    assert_eq!(map["data"]["requestheader-allowed-names"], "[\"front-proxy-client\"]");
    assert!(map["data"]["requestheader-client-ca-file"].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE"));
}
