//! The built-in Pod network: a bridge on the node, a veth pair for each sandbox.
//!
//! ```text
//!   Pod: eth0 10.42.0.5/32 ── veth ── bridge sampan0 10.42.0.1/24 ── routing, nftables ── the world
//!        default via 10.42.0.1         10.43.0.10/32 (the DNS, for example)
//! ```
//!
//! A Pod has no neighbour but the gateway. Whatever it sends is routed by the node, so Services and policies see all
//! traffic, also that between two Pods of one node, with or without br_netfilter.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use parking_lot::Mutex;
use sampan_nft as nft;

use crate::addresses::Pool;
use crate::links::{self, Bridge, Pair};
use crate::netlink::Netlink;
use crate::options::{Options, Plan};
use crate::ports::{self, HostPort, Ports};
use crate::{Attachment, Error, INTERFACE, PodNetwork, rules, sysctl};

/// A sandbox's name is kept in a link's alias, which has 255 bytes, beside an address.
const SANDBOX_NAME_MAX: usize = 128;

/// The Pod network of this node.
pub struct BridgeNetwork {
    plan: Plan,
    bridge: Bridge,
    netlink: Netlink,
    pool: Mutex<Pool>,
    /// Held while the file and the rules change: both say the same.
    ports: tokio::sync::Mutex<Ports>,
}

impl BridgeNetwork {
    /// Makes the network, or takes over what a previous run left: links and leases stay as they are, the rules are
    /// replaced in one transaction. Needs root.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let plan = Plan::new(&options)?;
        fs::create_dir_all(&plan.state_dir).map_err(|source| state(&plan.state_dir, source))?;
        let netlink = Netlink::here()?;
        let ports = Ports::load(&plan)?;
        nft::apply(&rules::install(&plan, &ports.all()), "protect the Pod network").await?;
        let bridge = links::ensure_bridge(&netlink, &plan).await?;
        sysctl::prepare_bridge(&plan.bridge())?;
        links::address_bridge(&netlink, &plan, bridge).await?;
        sysctl::allow_forwarding(&plan.state_dir)?;
        let pool = Mutex::new(recover_pool(&netlink, &plan, bridge).await?);
        Ok(Self { plan, bridge, netlink, pool, ports: tokio::sync::Mutex::new(ports) })
    }

    /// Removes everything that [`start`](Self::start) and attachments made: links, rules, routes, and the node's
    /// forwarding where it was switched on here. What is gone already is not an error.
    pub async fn remove(options: Options) -> Result<(), Error> {
        let plan = Plan::new(&options)?;
        let netlink = Netlink::here()?;
        if let Some(bridge) = links::find(&netlink, &plan.bridge()).await? {
            for end in links::host_ends(&netlink, bridge.header.index).await? {
                links::delete(&netlink, end.index).await?;
            }
            links::delete(&netlink, bridge.header.index).await?;
        }
        nft::apply(&rules::remove(&plan.table()), "remove the Pod network's rules").await?;
        let needed = nft::inet_tables().await?.iter().any(|table| table.ends_with("-net"));
        sysctl::restore_forwarding(&plan.state_dir, needed)?;
        ports::forget(&plan)?;
        match fs::remove_file(cursor(&plan)) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(state(&cursor(&plan), source)),
            _ => Ok(()),
        }
    }

    /// The name of the bridge.
    pub fn bridge_name(&self) -> String {
        self.plan.bridge()
    }

    /// The node's own address on the Pod network.
    pub fn gateway(&self) -> IpAddr {
        self.plan.gateway().into()
    }

    /// A link of that name does not mean much: it may belong to a namespace that ended and came anew, or to a bridge
    /// that did. Whether the sandbox is connected, its own end tells.
    async fn ensure_connected(&self, sandbox: &str, netns: &Path, address: Ipv4Addr) -> Result<(), Error> {
        if let Some(link) = links::find(&self.netlink, &self.plan.host_link(sandbox)).await? {
            let port = links::host_ends(&self.netlink, self.bridge.index).await?;
            let is_port = port.iter().any(|end| end.index == link.header.index);
            let file = File::open(netns).map_err(|source| Error::Netns { path: netns.to_owned(), source })?;
            let inside = Netlink::inside(file, netns).await?;
            if is_port && links::find(&inside, INTERFACE).await?.is_some() {
                return Ok(());
            }
            links::delete(&self.netlink, link.header.index).await?;
        }
        self.connect(sandbox, netns, address).await
    }

    async fn connect(&self, sandbox: &str, netns: &Path, address: Ipv4Addr) -> Result<(), Error> {
        let host_link = self.plan.host_link(sandbox);
        let opened = File::open(netns).and_then(|file| Ok((file.try_clone()?, file)));
        let (inside, file) = opened.map_err(|source| Error::Netns { path: netns.to_owned(), source })?;
        let pair = Pair {
            sandbox,
            address,
            host_link: &host_link,
            bridge: self.bridge,
            group: self.plan.link_group(),
            netns: file.as_raw_fd(),
        };
        let (inside, index) =
            tokio::try_join!(Netlink::inside(inside, netns), links::create_pair(&self.netlink, &pair))?;
        tokio::try_join!(
            links::prepare_host_end(&self.netlink, index, &pair),
            links::prepare_inside(&inside, address, self.plan.gateway()),
        )?;
        Ok(())
    }

    /// After a failed attachment: nothing of it stays.
    async fn undo(&self, sandbox: &str) {
        let left = links::find(&self.netlink, &self.plan.host_link(sandbox)).await;
        if let Ok(Some(link)) = left
            && let Err(error) = links::delete(&self.netlink, link.header.index).await
        {
            tracing::warn!(sandbox, %error, "a half-made link stays until the sandbox ends");
        }
        self.pool.lock().give_back(sandbox);
    }

    /// Closes the node's ports of a sandbox.
    async fn withdraw(&self, sandbox: &str) -> Result<(), Error> {
        let mut ports = self.ports.lock().await;
        let mut left = ports.clone();
        let Some(elements) = left.withdraw(sandbox) else { return Ok(()) };
        nft::apply(&rules::change(&self.plan, "delete", &elements), "close host ports").await?;
        left.save(&self.plan)?;
        *ports = left;
        Ok(())
    }

    /// Remembers where the search for addresses goes on. Best effort: without it addresses are reused sooner.
    fn note_cursor(&self, next: Ipv4Addr) {
        if let Err(error) = fs::write(cursor(&self.plan), next.to_string()) {
            tracing::warn!(%error, "the address cursor could not be written");
        }
    }
}

#[async_trait]
impl PodNetwork for BridgeNetwork {
    async fn attach(&self, sandbox: &str, netns: &Path) -> Result<Attachment, Error> {
        if sandbox.is_empty() || sandbox.len() > SANDBOX_NAME_MAX {
            return Err(Error::SandboxName(sandbox.to_owned()));
        }
        let (address, next) = {
            let mut pool = self.pool.lock();
            (pool.take(sandbox)?, pool.next())
        };
        self.note_cursor(next);
        if let Err(error) = self.ensure_connected(sandbox, netns, address).await {
            self.undo(sandbox).await;
            return Err(error);
        }
        Ok(attachment(address))
    }

    async fn publish(&self, sandbox: &str, ports: &[HostPort]) -> Result<(), Error> {
        if let Some(foreign) = ports.iter().filter_map(|port| port.host_address).find(IpAddr::is_ipv6) {
            return Err(Error::Family(foreign));
        }
        let address = self.pool.lock().get(sandbox).ok_or_else(|| Error::SandboxEnded(sandbox.to_owned()))?;
        self.withdraw(sandbox).await?;
        if ports.is_empty() {
            return Ok(());
        }
        let mut published = self.ports.lock().await;
        let mut more = published.clone();
        more.publish(sandbox, address, ports)?;
        // Written first: a rule without a record would outlive its sandbox.
        more.save(&self.plan)?;
        let elements = more.of(sandbox);
        *published = more;
        Ok(nft::apply(&rules::change(&self.plan, "add", &elements), "open host ports").await?)
    }

    async fn detach(&self, sandbox: &str) -> Result<(), Error> {
        self.withdraw(sandbox).await?;
        let Some(address) = self.pool.lock().get(sandbox) else { return Ok(()) };
        if let Some(port) = links::find(&self.netlink, &self.plan.host_link(sandbox)).await? {
            links::forget_address(&self.netlink, self.bridge.index, port.header.index, address).await?;
        }
        // Only now may another sandbox get it.
        self.pool.lock().give_back(sandbox);
        Ok(())
    }

    async fn adopt(&self, living: &[String]) -> Result<Vec<(String, Attachment)>, Error> {
        let (kept, ended): (Vec<_>, Vec<_>) =
            self.pool.lock().holders().into_iter().partition(|(sandbox, _)| living.contains(sandbox));
        for (sandbox, _) in &ended {
            self.detach(sandbox).await?;
        }
        let alive = |name: &str| kept.iter().any(|(sandbox, _)| self.plan.host_link(sandbox) == name);
        for end in links::host_ends(&self.netlink, self.bridge.index).await? {
            if !alive(&end.name) {
                links::delete(&self.netlink, end.index).await?;
            }
        }
        Ok(kept.into_iter().map(|(sandbox, address)| (sandbox, attachment(address))).collect())
    }
}

/// The leases that the kernel's links tell of.
async fn recover_pool(netlink: &Netlink, plan: &Plan, bridge: Bridge) -> Result<Pool, Error> {
    let next = fs::read_to_string(cursor(plan)).ok().and_then(|text| text.trim().parse().ok());
    let reserved: Vec<Ipv4Addr> = plan.local.iter().copied().chain([plan.gateway()]).collect();
    let mut pool = Pool::new(plan.range, &reserved, next);
    for end in links::host_ends(netlink, bridge.index).await? {
        if let Some((sandbox, address)) = end.holder {
            pool.record(&sandbox, address);
        }
    }
    Ok(pool)
}

fn attachment(address: Ipv4Addr) -> Attachment {
    Attachment { addresses: vec![address.into()], interface: INTERFACE.to_owned() }
}

fn cursor(plan: &Plan) -> PathBuf {
    plan.state_dir.join("next-address")
}

fn state(path: &Path, source: std::io::Error) -> Error {
    Error::State { path: path.to_owned(), source }
}
