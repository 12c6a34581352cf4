//! Prints what one API server does per second and per second of processor time, as lines of JSON: the load of
//! `make bench`.
//!
//! ```text
//! alone DIR PORT [etcd://...] &           # the server
//! load DIR/kubeconfig.yaml PID WHAT...    # PID is the server's; WHAT is measured: watches, requests, creates, lists, pods
//! ```
//! What takes memory (`watches`, `pods`) comes first on a server that has done nothing else: memory that others have used
//! and given back would hide it.
//! Everything goes over TLS on loopback. What a core does is told apart from how many cores there are, and from what
//! this client costs, by the processor time that the kernel has counted for the server.

mod connection;
mod pods;
mod server;
mod steps;
mod watches;

use serde_json::Value;

use self::connection::{Protocol, Target};
use self::server::Server;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Objects of a long list.
const LONG: usize = 10_000;
/// Objects of a short one.
const SHORT: usize = 500;
/// Bytes of a small object's data, and of a large one's.
const BYTES: [usize; 2] = [1_000, 14_000];

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let (kubeconfig, pid) = args.next().zip(args.next()).ok_or("usage: load KUBECONFIG PID WHAT...")?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let target = Target::from_kubeconfig(&std::fs::read_to_string(kubeconfig)?)?;
    let server = Server { pid: pid.parse()? };
    for namespace in ["load", "short-1000", "short-14000", "long-1000", "long-14000", "pods"] {
        steps::make_namespace(&target, namespace).await?;
    }
    for what in args {
        measure(&what, &target, server).await?;
    }
    Ok(())
}

async fn measure(what: &str, target: &Target, server: Server) -> Result<(), Error> {
    match what {
        "watches" => watches::measure(target, server).await?,
        "creates" => steps::creates(target, server).await?,
        "pods" => pods::measure(target, server).await?,
        "requests" => {
            for protocol in [Protocol::Http1, Protocol::Http2] {
                steps::requests(target, server, protocol).await?;
            }
        }
        "lists" => {
            for bytes in BYTES {
                for (length, count) in [("short", SHORT), ("long", LONG)] {
                    steps::list(target, server, &format!("{length}-{bytes}"), (count, bytes)).await?;
                }
            }
        }
        other => return Err(format!("{other} is nothing that could be measured").into()),
    }
    Ok(())
}

/// One line of results.
fn print(what: &str, figures: Value) {
    let mut line = serde_json::json!({ "what": what });
    if let (Value::Object(line), Value::Object(figures)) = (&mut line, figures) {
        line.extend(figures);
    }
    println!("{line}");
}
