//! Prints how many durable writes per second the embedded store makes, as one line of JSON.
//!
//! `store-bench [DIR]`: DIR is where the data goes (and is removed from again); by default the current directory, since
//! /tmp is often memory and says nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sampan_store::embedded::{Embedded, Options};
use sampan_store::{Error, Store, Write};
use tokio::task::JoinSet;
use tokio::time::Instant;

const VALUE_BYTES: usize = 1_024;
const LENGTH: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let parent = std::env::args_os().nth(1).unwrap_or_else(|| ".".into());
    let dir = tempfile::Builder::new().prefix("store-bench-").tempdir_in(parent)?;
    let store = Arc::new(Embedded::open(Options { dir: dir.path().join("data") })?);
    let one = writes_per_second(&store, 1).await?;
    let many = writes_per_second(&store, 64).await?;
    store.close().await;
    println!(r#"{{"value_bytes":{VALUE_BYTES},"clients_1_writes_per_s":{one},"clients_64_writes_per_s":{many}}}"#);
    Ok(())
}

async fn writes_per_second(store: &Arc<Embedded>, clients: usize) -> Result<u64, Error> {
    let start = Instant::now();
    let mut tasks: JoinSet<_> = (0..clients).map(|client| write_for(LENGTH, store.clone(), clients, client)).collect();
    let mut writes = 0;
    while let Some(result) = tasks.join_next().await {
        writes += result.map_err(|_| Error::Closed)??;
    }
    Ok((writes as f64 / start.elapsed().as_secs_f64()) as u64)
}

/// Creates new keys one after the other, each durable before the next.
async fn write_for(length: Duration, store: Arc<Embedded>, clients: usize, client: usize) -> Result<u64, Error> {
    let value = Bytes::from(vec![b'x'; VALUE_BYTES]);
    let start = Instant::now();
    let mut writes = 0;
    while start.elapsed() < length {
        let key = format!("/bench/{clients}/{client}/{writes}").into();
        store.write(Write::Create { key, value: value.clone() }).await?;
        writes += 1;
    }
    Ok(writes)
}
