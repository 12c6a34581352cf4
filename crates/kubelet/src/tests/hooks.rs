//! Hooks of containers against a server that takes its time.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::World;

#[tokio::test(start_paused = true)]
async fn an_http_hook_has_all_of_the_grace() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(45)).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    });
    let world = World::new().await;
    let hook = json!({"preStop": {"httpGet": {"host": "127.0.0.1", "port": port, "path": "/", "scheme": "HTTP"}}});
    world.pod(
        "a",
        json!({"terminationGracePeriodSeconds": 60, "containers": [
            {"name": "c", "image": "busybox", "imagePullPolicy": "IfNotPresent", "lifecycle": hook}]}),
    );
    world.running("a").await;
    world.api.delete("ns", "a", 60);
    world.gone("a").await;
    server.await.unwrap();
    let stops: Vec<String> = world.runtime.calls().into_iter().filter(|call| call.starts_with("stop cont")).collect();
    assert_eq!(stops.len(), 1, "{stops:?}");
    // What the hook has left of the grace, give or take the second in which it began.
    assert!(["14s", "15s"].iter().any(|left| stops[0].ends_with(left)), "{stops:?}");
    world.end().await;
}
