//! Ports of containers.

use std::collections::HashSet;

use super::Place;
use crate::validation::cursor::Cursor;
use crate::validation::names;

/// The transport protocols of ports everywhere.
pub(crate) const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

/// The ports of one container.
pub(super) fn ports(ports: &Cursor<'_>) {
    let mut taken = HashSet::new();
    for port in ports.items() {
        let name = port.get("name");
        name.may_follow(names::port_name);
        if !name.is_empty() && !taken.insert(name.text()) {
            name.duplicate();
        }
        let number = port.get("containerPort");
        if number.must() {
            number.in_range(1..=65535);
        }
        if !port.get("hostPort").is_empty() {
            port.get("hostPort").in_range(1..=65535);
        }
        port.get("protocol").must_be_one_of(PROTOCOLS);
    }
}

/// A port by number or by name: the target of a probe or a Service.
pub(crate) fn number_or_name(port: &Cursor<'_>) {
    if port.value().is_string() {
        port.follows(names::port_name);
    } else if port.is_set() {
        port.in_range(1..=65535);
    } else {
        port.invalid_as(0, names::inclusive_range(&(1..=65535)));
    }
}

/// No two of these containers may take the same port of the host.
pub(super) fn unique_host_ports<'a>(containers: impl Iterator<Item = Cursor<'a>>) {
    let mut taken = HashSet::new();
    for container in containers {
        for port in container.get("ports").items() {
            let host_port = port.get("hostPort");
            let Some(number) = host_port.int().filter(|number| *number != 0) else { continue };
            let key = format!("{}/{}/{number}", port.get("protocol").text(), port.get("hostIP").text());
            if !taken.insert(key.clone()) {
                host_port.duplicate_as(key);
            }
        }
    }
}

/// On the host's network a container's port is the host's port. Templates may leave it to be filled in.
pub(super) fn host_network(spec: &Cursor<'_>, place: Place) {
    if !spec.get("hostNetwork").is_true() {
        return;
    }
    for container in spec.get("containers").items() {
        for port in container.get("ports").items() {
            let host = port.get("hostPort").int().unwrap_or_default();
            let differs = host != port.get("containerPort").int().unwrap_or_default();
            if differs && (place == Place::Pod || host != 0) {
                port.get("hostPort").invalid_as(host, "must match `containerPort` when `hostNetwork` is true");
            }
        }
    }
}
