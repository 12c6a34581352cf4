//! Runs every file in `tests/scripts`: commands on top, the YAML files they name below (`-- name --`).
//!
//! ```text
//!   apply FILE...                          Services and EndpointSlices come or change
//!   delete FILE...                         they go
//!   packet PROTO SOURCE -> DEST => FATE    what becomes of a connection's first packet
//!   rules empty                            no element is left in the kernel
//! ```
//!
//! The node has the Pods 10.42.0.0/24 and the addresses 192.0.2.2 and 10.42.0.1; it answers 10.43.0.10 itself.
//! After every command, the elements that the kernel was told step by step must be those of a fresh load.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use sampan_client::Key;
use sampan_proxy::frontend::Protocol;
use sampan_proxy::model::Model;
use sampan_proxy::plan::{Node, Wanted, plan};
use sampan_proxy::rules::{Load, Rules};
use sampan_proxy::trace::{Packet, trace};
use serde_yaml_ng::Value;

#[test]
fn scripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        Script::run(&file);
    }
}

fn node() -> Node {
    Node {
        name: "here".into(),
        pod_cidr: "10.42.0.0/24".parse().unwrap(),
        service_cidr: "10.43.0.0/16".parse().unwrap(),
        skip: vec![Ipv4Addr::new(10, 43, 0, 10)],
    }
}

struct Script {
    files: BTreeMap<String, String>,
    services: BTreeMap<Key, Service>,
    slices: BTreeMap<Key, EndpointSlice>,
    model: Model,
    rules: Rules,
    kernel: Kernel,
}

impl Script {
    fn run(path: &Path) {
        let text = std::fs::read_to_string(path).unwrap();
        let mut parts = text.split("\n-- ");
        let commands = parts.next().unwrap();
        let file = |part: &str| part.split_once(" --\n").map(|(name, body)| (name.to_owned(), body.to_owned()));
        let mut script = Self {
            files: parts.filter_map(file).collect(),
            services: BTreeMap::new(),
            slices: BTreeMap::new(),
            model: Model::default(),
            rules: Rules::new("sampan", node(), true),
            kernel: Kernel::default(),
        };
        script.kernel.take(&script.rules.load(&script.model, Load::Anew));
        for (number, line) in commands.lines().enumerate() {
            let at = format!("{}:{}: {line}", path.file_name().unwrap().display(), number + 1);
            script.command(line.trim(), &at);
        }
    }

    fn command(&mut self, line: &str, at: &str) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "" | "#" => {}
            "apply" => rest.split_whitespace().for_each(|file| self.change(file, true, at)),
            "delete" => rest.split_whitespace().for_each(|file| self.change(file, false, at)),
            "packet" => self.packet(rest, at),
            "rules" => assert_eq!(self.kernel, Kernel::default(), "{at}"),
            _ => panic!("{at}: no such command"),
        }
    }

    fn change(&mut self, file: &str, present: bool, at: &str) {
        let text = self.files.get(file).unwrap_or_else(|| panic!("{at}: no file {file}")).clone();
        for document in text.split("\n---\n") {
            let value: Value = serde_yaml_ng::from_str(document).unwrap_or_else(|error| panic!("{at}: {error}"));
            let service = match value["kind"].as_str() {
                Some("Service") => self.service(serde_yaml_ng::from_value(value).unwrap(), present),
                Some("EndpointSlice") => self.slice(serde_yaml_ng::from_value(value).unwrap(), present),
                kind => panic!("{at}: kind {kind:?}"),
            };
            self.update(&service, at);
        }
    }

    fn service(&mut self, service: Service, present: bool) -> Key {
        let key = Key::of(&service);
        if present {
            self.services.insert(key.clone(), service)
        } else {
            self.services.remove(&key)
        };
        key
    }

    fn slice(&mut self, slice: EndpointSlice, present: bool) -> Key {
        let service = slice.metadata.labels.as_ref().unwrap()["kubernetes.io/service-name"].clone();
        let key = Key::of(&slice);
        if present {
            self.slices.insert(key.clone(), slice)
        } else {
            self.slices.remove(&key)
        };
        Key::new(&key.namespace, &service)
    }

    fn update(&mut self, service: &Key, at: &str) {
        let mut todo = BTreeSet::from([service.clone()]);
        while let Some(service) = todo.pop_first() {
            let update = self.model.update(&service, self.wanted(&service));
            todo.extend(update.again);
            self.rules.apply(&update.changes).iter().for_each(|transaction| self.kernel.take(transaction));
        }
        let mut fresh = Kernel::default();
        fresh.take(&Rules::new("sampan", node(), true).load(&self.model, Load::Anew));
        assert_eq!(self.kernel, fresh, "{at}");
    }

    fn wanted(&self, service: &Key) -> Wanted {
        let is_ours = |slice: &&EndpointSlice| {
            let labels = slice.metadata.labels.as_ref().unwrap();
            labels["kubernetes.io/service-name"] == service.name && Key::of(*slice).namespace == service.namespace
        };
        let slices: Vec<&EndpointSlice> = self.slices.values().filter(is_ours).collect();
        self.services.get(service).map(|service| plan(service, &slices, &node())).unwrap_or_default()
    }

    fn packet(&self, text: &str, at: &str) {
        let (packet, expected) = text.split_once(" => ").unwrap_or_else(|| panic!("{at}: no =>"));
        let words: Vec<&str> = packet.split_whitespace().collect();
        let packet = Packet {
            protocol: Protocol::parse(Some(words[0])).unwrap(),
            source: words[1].parse().unwrap(),
            destination: words[3].parse().unwrap(),
        };
        let own = ["192.0.2.2", "10.42.0.1", "10.43.0.10"].map(|address| address.parse().unwrap());
        assert_eq!(trace(&self.model, &node(), &own, &packet).to_string(), expected.trim(), "{at}");
    }
}

/// The elements that a kernel would have, as text. Adding one twice or deleting a missing one fails, as it would there.
#[derive(Debug, Default, PartialEq, Eq)]
struct Kernel(BTreeMap<String, BTreeMap<String, String>>);

impl Kernel {
    fn take(&mut self, text: &str) {
        for line in text.lines() {
            let words: Vec<&str> = line.splitn(6, ' ').collect();
            let [verb, "element", "inet", _, map, elements] = words[..] else { continue };
            let elements = elements.trim_start_matches("{ ").trim_end_matches(" }");
            let map = self.0.entry(map.to_owned()).or_default();
            for element in elements.split(", ") {
                match verb {
                    "add" => {
                        let (key, value) = element.split_once(" : ").unwrap();
                        assert_eq!(map.insert(key.into(), value.into()), None, "added twice: {line}");
                    }
                    "delete" => assert!(map.remove(element).is_some(), "deleted but missing: {line}"),
                    _ => panic!("{line}"),
                }
            }
        }
        self.0.retain(|_, map| !map.is_empty());
    }
}
