//! What `crictl inspect` shows beside the status: for people who look for the cause of something. No secrets are in it.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::disk;
use crate::images::Image;
use crate::node::{Container, Node, Sandbox};
use crate::records;
use crate::shim::wire::{BUNDLE_FILE, Bundle};

fn info(key: &str, value: &Value) -> HashMap<String, String> {
    HashMap::from([(key.to_owned(), value.to_string())])
}

/// Where the runtime keeps what, and what the kernel offers it.
pub(crate) fn runtime(node: &Node) -> HashMap<String, String> {
    let version = if node.hierarchies.views().is_empty() { 2 } else { 1 };
    let config = json!({
        "rootDir": node.options.root, "stateDir": node.options.state, "socket": node.options.socket,
        "registriesDir": node.options.pulls.registries, "cgroupRoot": node.options.cgroup_root,
        "cgroupVersion": version, "userNamespaces": node.maps_users,
    });
    info("config", &config)
}

/// A sandbox's place in the kernel.
pub(crate) fn sandbox(node: &Node, sandbox: &Sandbox) -> HashMap<String, String> {
    let ready = sandbox.ready();
    let namespace = node.places.namespace(&sandbox.id);
    let value = json!({
        "cgroup": sandbox.record.cgroup, "pid": ready.holder, "networkNamespace": namespace,
        "addresses": ready.addresses, "stateDir": node.places.sandbox(&sandbox.id),
    });
    info("info", &value)
}

/// A container's place in the kernel, and the specification it was started with. Blocks: it reads files.
pub(crate) fn container(node: &Node, container: &Container) -> HashMap<String, String> {
    let directory = node.places.container(&container.id);
    let running = records::read_started(&directory).ok().flatten().filter(|_| container.is_running());
    let bundle: Option<Bundle> = disk::read_json(&directory.join(BUNDLE_FILE)).ok().flatten();
    let value = json!({
        "sandboxID": container.record.sandbox, "pid": running.map(|running| running.pid),
        "cgroup": container.record.cgroup, "layers": container.record.layers,
        "runtimeSpec": bundle.map(|bundle| bundle.spec),
    });
    info("info", &value)
}

/// An image's configuration.
pub(crate) fn image(image: &Image) -> HashMap<String, String> {
    info("info", &json!({ "layers": image.layers, "pinned": image.pinned, "imageSpec": { "config": image.config } }))
}
