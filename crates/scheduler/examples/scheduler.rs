//! The scheduler alone, beside any API server that the usual kubeconfig reaches:
//!
//! ```text
//! KUBECONFIG=/tmp/alone/kubeconfig.yaml cargo run -p sampan-scheduler --example scheduler
//! ```

use sampan_scheduler::Options;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = kube::Client::try_default().await?;
    let handle = sampan_scheduler::start(&Options { client, scheduler_name: "default-scheduler".to_owned() });
    tokio::signal::ctrl_c().await?;
    handle.shutdown().await;
    Ok(())
}
