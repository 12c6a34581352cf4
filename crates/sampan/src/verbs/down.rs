//! `sampan down`: the end of the cluster on this machine, with everything it holds in the kernel.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use sampan_network::BridgeNetwork;
use tokio::time::Instant;

use crate::components::{network_options, runtime_options};
use crate::config::{Config, Flags};
use crate::mounts::{remove_dir, unmount_below};
use crate::{daemon, kubeconfig, kubelet_dir, preflight, progress};

#[derive(Debug, clap::Args)]
pub(super) struct Down {
    #[command(flatten)]
    flags: Flags,
    /// Delete the cluster's data too: objects, images, volumes, keys, kubeconfig
    #[arg(long)]
    purge: bool,
}

impl Down {
    pub(super) fn run(self) -> Result<()> {
        if let Some(root) = preflight::root() {
            bail!("{root}");
        }
        // A cluster ends even where a new one could not start.
        let Self { flags, purge } = self;
        let config = Config::resolve(&Flags { node_ip: Some([127, 0, 0, 1].into()), ..flags })?;
        let start = Instant::now();
        let ran = daemon::stop(&config)?;
        progress::print_step(if ran { "server ended" } else { "no server was running" }, progress::millis(start));
        let start = Instant::now();
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let foreign = tokio.block_on(end_foreign_pods(&config));
        let cleared = tokio.block_on(clear(&config)).and_then(|()| {
            progress::print_step("Pods, network and rules removed", progress::millis(start));
            remove_state(&config)?;
            if purge { remove_data(&config, &tokio) } else { Ok(()) }
        });
        match (cleared, foreign) {
            (Err(first), Err(second)) => bail!("{first:#}\nerror: {second:#}"),
            (cleared, foreign) => cleared.and(foreign),
        }
    }
}

/// Removes what is of no use without a server.
fn remove_state(config: &Config) -> Result<()> {
    unmount_below(&config.state_dir)?;
    unmount_below(&config.data_dir)?;
    remove_dir(&config.state_dir)
}

/// Removes the cluster's data, and what leads to it.
fn remove_data(config: &Config, tokio: &tokio::runtime::Runtime) -> Result<()> {
    if let Ok(ca_pem) = std::fs::read_to_string(config.data_dir.join("pki").join("ca.crt")) {
        kubeconfig::remove_from_home(&config.instance, &ca_pem)?;
    }
    kubelet_dir::unlink(config)?;
    let (logs, links) = config.logs();
    sampan_kubelet::remove_logs(&config.kubelet_dir(), &logs, &links).context("removing containers' logs")?;
    remove_dir(&config.data_dir)?;
    if let Some(dir) = config.kubeconfig.parent().filter(|dir| dir.ends_with(&config.instance)) {
        remove_dir(dir)?;
    }
    // The next start of logind forgets it too.
    if let Err(error) = tokio.block_on(sampan_kubelet::forget_shutdown(&config.instance)) {
        eprintln!("warning: {error}");
    }
    Ok(())
}

/// Ends the Pods that another container runtime runs for the cluster. An error says what to do about those that go on.
async fn end_foreign_pods(config: &Config) -> Result<()> {
    let Some(socket) = daemon::foreign_runtime(config) else { return Ok(()) };
    let (at, instance) = (socket.display(), &config.instance);
    if !socket.exists() {
        eprintln!("warning: there is no container runtime at {at}; if it has left Pods running, they go on");
    }
    let outcome = sampan_kubelet::purge(&socket, instance).await;
    outcome.map_err(|error| {
        anyhow!(
            "ending the Pods of the container runtime at {at}: {error}\n    the rest of the cluster is removed; when \
             the runtime answers, run: sampan down --instance {instance} --container-runtime-endpoint {at}"
        )
    })
}

/// Ends what else a server leaves running on purpose.
async fn clear(config: &Config) -> Result<()> {
    let options = network_options(config);
    if config.state_dir.join("runtime").exists() {
        let network = BridgeNetwork::start(options.clone()).await.context("taking over the Pod network")?;
        let runtime = runtime_options(config, Arc::new(network))?;
        sampan_runtime::Runtime::purge(runtime).await.context("ending the Pods")?;
    }
    sampan_proxy::Proxy::remove(&config.instance).await.context("removing the Services' rules")?;
    BridgeNetwork::remove(options).await.context("removing the Pod network")?;
    Ok(())
}
