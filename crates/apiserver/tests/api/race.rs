//! Many writers at once: every write counts, no address is given twice.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::json;

use crate::support::{Cluster, open_store};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_patches_of_one_object_all_count() {
    let cluster = Arc::new(Cluster::start().await);
    let path = "/api/v1/namespaces/default/configmaps";
    cluster.admin("POST", path, &json!({ "metadata": { "name": "a" } }).to_string()).await;
    let writers = (0..8).map(|writer| {
        let cluster = Arc::clone(&cluster);
        tokio::spawn(async move {
            for round in 0..5 {
                let patch = json!({ "data": { format!("{writer}-{round}"): "x" } }).to_string();
                let (code, answer) = cluster.merge(&format!("{path}/a"), &patch).await;
                assert_eq!(code, 200, "{answer}");
            }
        })
    });
    futures::future::try_join_all(writers).await.unwrap();
    let (_, map) = cluster.admin("GET", &format!("{path}/a"), "").await;
    assert_eq!(map["data"].as_object().unwrap().len(), 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_services_have_different_addresses_and_ports() {
    let cluster = Arc::new(Cluster::start().await);
    let creations = (0..32).map(|number| {
        let cluster = Arc::clone(&cluster);
        tokio::spawn(async move {
            let service = json!({
                "metadata": { "name": format!("s{number}") }, "spec": { "type": "NodePort", "ports": [{ "port": 80 }] },
            });
            let (code, service) =
                cluster.admin("POST", "/api/v1/namespaces/default/services", &service.to_string()).await;
            assert_eq!(code, 201, "{service}");
            (service["spec"]["clusterIP"].to_string(), service["spec"]["ports"][0]["nodePort"].to_string())
        })
    });
    let made = futures::future::try_join_all(creations).await.unwrap();
    let (addresses, ports): (HashSet<_>, HashSet<_>) = made.into_iter().unzip();
    assert_eq!((addresses.len(), ports.len()), (32, 32));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_on_one_store_give_nothing_twice() {
    let (store, _dir) = open_store().await;
    let first = Arc::new(Cluster::on(Arc::clone(&store)).await);
    let second = Arc::new(Cluster::on(store).await);
    let creations = (0..32).map(|number| {
        let cluster = Arc::clone(if number % 2 == 0 { &first } else { &second });
        tokio::spawn(async move {
            // Every address is asked for twice; of the ports there is a choice.
            let address = format!("10.43.9.{}", number / 2);
            let service = json!({
                "metadata": { "name": format!("s{number}") },
                "spec": { "type": "NodePort", "clusterIP": address, "ports": [{ "port": 80 }] },
            });
            let path = "/api/v1/namespaces/default/services";
            let (code, service) = cluster.admin("POST", path, &service.to_string()).await;
            (code == 201).then(|| service["spec"]["ports"][0]["nodePort"].to_string())
        })
    });
    let made = futures::future::try_join_all(creations).await.unwrap();
    let ports: Vec<String> = made.into_iter().flatten().collect();
    assert_eq!(ports.len(), 16, "each address once");
    assert_eq!(ports.iter().collect::<HashSet<_>>().len(), 16, "each port once");
    Arc::into_inner(second).unwrap().handle.shutdown().await;
}
