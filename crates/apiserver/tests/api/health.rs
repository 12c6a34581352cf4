//! Health endpoints: each check by name, what is excluded, and a store that does not answer.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use sampan_store::etcd::{self, Etcd};
use sampan_store::sealed::Kms;

use crate::etcd_server::EtcdServer;
use crate::support::{Cluster, in_process};

/// The steps of the start, by the names of upstream's hooks.
const HOOKS: [&str; 8] = [
    "priority-and-fairness-config-consumer",
    "crd-informer-synced",
    "start-system-namespaces-controller",
    "rbac/bootstrap-roles",
    "scheduling/bootstrap-system-priority-classes",
    "priority-and-fairness-config-producer",
    "bootstrap-controller",
    "kube-apiserver-autoregistration",
];

async fn get(cluster: &Cluster, path: &str) -> (u16, String) {
    let request = Request::get(path).extension(in_process("admin")).body(Body::empty()).unwrap();
    let response = cluster.send(request).await;
    let code = response.status().as_u16();
    (code, String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

async fn check(cluster: &Cluster, rows: &[(&str, u16, &str)]) {
    for (path, code, body) in rows {
        assert_eq!(get(cluster, path).await, (*code, (*body).to_owned()), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_are_told_one_by_one_and_the_store_is_really_asked() {
    let server = EtcdServer::start().await;
    let location = format!("etcd://{}", server.address).parse().unwrap();
    let store = Arc::new(Etcd::connect(etcd::Options { location, tls: None }).await.unwrap());
    let cluster = Cluster::on(store).await;
    let hooks: String = HOOKS.iter().map(|hook| format!("[+]poststarthook/{hook} ok\n")).collect();
    let live = format!("[+]ping ok\n[+]etcd ok\n{hooks}");
    check(
        &cluster,
        &[
            ("/healthz", 200, "ok"),
            ("/livez", 200, "ok"),
            ("/readyz", 200, "ok"),
            ("/livez/etcd", 200, "ok"),
            ("/readyz/shutdown", 200, "ok"),
            ("/readyz/informer-sync", 200, "ok"),
            ("/readyz/poststarthook/rbac/bootstrap-roles", 200, "ok"),
            ("/livez?verbose", 200, &format!("{live}livez check passed\n")),
            (
                "/readyz?verbose&exclude=etcd&exclude=etcd-readiness&exclude=nothing",
                200,
                &format!(
                    "[+]ping ok\n[+]etcd excluded: ok\n[+]etcd-readiness excluded: ok\n[+]informer-sync ok\n{hooks}\
                     [+]shutdown ok\nwarn: some health checks cannot be excluded: no matches for \"nothing\"\n\
                     readyz check passed\n"
                ),
            ),
        ],
    )
    .await;
    assert_eq!(get(&cluster, "/livez/shutdown").await.0, 404);
    drop(server);
    check(
        &cluster,
        &[
            ("/livez", 500, &format!("[+]ping ok\n[-]etcd failed: reason withheld\n{hooks}livez check failed\n")),
            ("/livez?exclude=etcd", 200, "ok"),
            ("/livez/etcd", 500, "internal server error: the storage did not answer in time\n"),
            ("/livez/ping", 200, "ok"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_kms_plugin_counts_for_health_and_is_measured() {
    let kms = Arc::new(Kms::new("vault", "unix:///nowhere/kms.sock", Duration::from_secs(5)).unwrap());
    let cluster = Cluster::configured(|options| options.kms = vec![kms]).await;
    for endpoint in ["healthz", "livez", "readyz"] {
        let (code, report) = get(&cluster, &format!("/{endpoint}")).await;
        assert!(code == 500 && report.contains("[-]kms-providers failed: reason withheld\n"), "{report}");
    }
    let why = "internal server error: a KMS provider is not healthy\n";
    check(&cluster, &[("/readyz/kms-providers", 500, why), ("/readyz?exclude=kms-providers", 200, "ok")]).await;
    let (_, metrics) = get(&cluster, "/metrics").await;
    let call =
        "grpc_status_code=\"Unavailable\",method_name=\"/v2.KeyManagementService/Status\",provider_name=\"vault\"";
    let line = format!("apiserver_envelope_encryption_kms_operations_latency_seconds_count{{{call}}} 1\n");
    assert!(metrics.contains(&line), "asked once, then believed for a while: {metrics}");
    assert!(metrics.contains("apiserver_envelope_encryption_dek_source_cache_size{provider_name=\"vault\"} 0\n"));
    let (_, index) = get(&cluster, "/").await;
    let index: serde_json::Value = serde_json::from_str(&index).unwrap();
    let paths: Vec<&str> = index["paths"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
    assert!(paths.is_sorted() && paths.contains(&"/apis/apps/v1"), "{paths:?}");
    assert!(paths.contains(&"/livez/kms-providers") && !paths.contains(&"/livez/shutdown"), "{paths:?}");
    assert_eq!(get(&Cluster::start().await, "/readyz/kms-providers").await.0, 404, "there is none");
}
