//! The maps, the chains that their elements lead to, and the text that changes elements.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::SocketAddrV4;

use crate::frontend::{At, Backends, Empty, Frontend, Protocol, Side};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MapName {
    Verdicts(Place),
    Endpoints(Place, Protocol),
    Sticky(Kind),
}

/// Which pair of maps a frontend stands in.
pub(crate) type Place = (Side, Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Service,
    NodePort,
}

fn place(frontend: &Frontend) -> Place {
    (frontend.side, kind(frontend))
}

fn kind(frontend: &Frontend) -> Kind {
    match frontend.at {
        At::Address(_) => Kind::Service,
        At::Node => Kind::NodePort,
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::NodePort => "node-port",
        }
    }

    /// The key of the endpoints, without the index, as rules write it.
    ///
    /// The type of an index has no name, so the map takes its types from expressions (`typeof`), and nft then insists
    /// on these in rules. Of ports it knows no expression that goes with every protocol: each has its own map.
    fn endpoint_key(self, protocol: Protocol) -> String {
        match self {
            Self::Service => format!("ip daddr . {} dport", protocol.name()),
            Self::NodePort => format!("{} dport", protocol.name()),
        }
    }

    fn key_type(self) -> &'static str {
        match self {
            Self::Service => "ipv4_addr . inet_proto . inet_service",
            Self::NodePort => "inet_proto . inet_service",
        }
    }
}

impl MapName {
    /// Every map with elements that follow from the model.
    pub(crate) fn all() -> Vec<Self> {
        let kinds = [Kind::Service, Kind::NodePort];
        let places = [Side::Everyone, Side::Outside].into_iter().flat_map(|side| kinds.map(|kind| (side, kind)));
        let of_place = |place: Place| {
            let endpoints = Protocol::ALL.map(|protocol| Self::Endpoints(place, protocol));
            [Self::Verdicts(place)].into_iter().chain(endpoints)
        };
        places.flat_map(of_place).chain(kinds.map(Self::Sticky)).collect()
    }

    pub(crate) fn name(self) -> String {
        match self {
            Self::Verdicts((side, kind)) => format!("{}{}s", prefix(side), kind.name()),
            Self::Endpoints((side, kind), protocol) => {
                format!("{}{}-endpoints-{}", prefix(side), kind.name(), protocol.name())
            }
            Self::Sticky(kind) => format!("sticky-{}s", kind.name()),
        }
    }

    pub(crate) fn define(self) -> String {
        let types = match self {
            Self::Verdicts((_, kind)) | Self::Sticky(kind) => format!("type {} : verdict", kind.key_type()),
            Self::Endpoints((_, kind), protocol) => {
                let (key, name) = (kind.endpoint_key(protocol), protocol.name());
                format!("typeof {key} . numgen random mod 2 : ip daddr . {name} dport")
            }
        };
        format!("\tmap {} {{\n\t\t{types}\n\t}}\n", self.name())
    }
}

fn prefix(side: Side) -> &'static str {
    match side {
        Side::Everyone => "",
        Side::Outside => "outside-",
    }
}

/// A chain that elements lead to; made when the first one does, and then kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Chain {
    /// Draws one of `count` endpoints.
    Draw { place: Place, protocol: Protocol, count: usize, sticky: bool },
    /// Remembers the client's choice for that long.
    Remember { seconds: u32 },
}

impl Chain {
    fn name(self) -> String {
        match self {
            Self::Draw { place, protocol, count, sticky } => {
                let sticky = if sticky { "-sticky" } else { "" };
                format!("{}-{}-{count}{sticky}", MapName::Verdicts(place).name(), protocol.name())
            }
            Self::Remember { seconds } => format!("remember-{seconds}"),
        }
    }

    pub(crate) fn define(self, table: &str, mark: u32) -> String {
        let mut text = format!("table inet {table} {{\n\tchain {} {{\n", self.name());
        match self {
            Self::Draw { place, protocol, count, sticky } => {
                let key = place.1.endpoint_key(protocol);
                let map = MapName::Endpoints(place, protocol).name();
                write_line(&mut text, format_args!("\t\tmeta mark set meta mark | {mark:#x}"));
                if sticky {
                    let client = "ip saddr . ip daddr . meta l4proto . th dport";
                    write_line(&mut text, format_args!("\t\tdnat ip to {client} map @affinity"));
                }
                write_line(&mut text, format_args!("\t\tdnat ip to {key} . numgen random mod {count} map @{map}"));
                // Fewer endpoints than a moment ago: the client tries again, and draws from those.
                text.push_str("\t\tdrop\n");
            }
            Self::Remember { seconds } => {
                for protocol in Protocol::ALL.map(Protocol::name) {
                    let client = "ip saddr . ct original ip daddr . meta l4proto . ct original proto-dst";
                    let update = format!("update @affinity {{ {client} timeout {seconds}s : ip daddr . th dport }}");
                    write_line(&mut text, format_args!("\t\tmeta l4proto {protocol} {update}"));
                }
            }
        }
        text + "\t}\n}\n"
    }
}

/// Element changes, gathered by map: one command for many costs less than many commands.
#[derive(Default)]
pub(crate) struct Elements {
    delete: BTreeMap<MapName, Vec<String>>,
    add: BTreeMap<MapName, Vec<String>>,
    /// The chains that the added elements lead to.
    pub(crate) chains: BTreeSet<Chain>,
}

impl Elements {
    pub(crate) fn verdict(&mut self, frontend: &Frontend, old: Option<&Backends>, new: Option<&Backends>) {
        let (old, new) = (old.map(|old| verdict(frontend, old)), new.map(|new| verdict(frontend, new)));
        if let Some(Verdict::Draw(chain)) = new {
            self.chains.insert(chain);
        }
        let text = |verdict: Verdict| verdict.text();
        self.replace(MapName::Verdicts(place(frontend)), &key(frontend), old.map(text), new.map(text));
    }

    pub(crate) fn endpoints(&mut self, frontend: &Frontend, old: Option<&Backends>, new: Option<&Backends>) {
        let at = |backends: Option<&Backends>, index: usize| backends?.endpoints.get(index).copied().map(endpoint);
        let count = |backends: Option<&Backends>| backends.map_or(0, |backends| backends.endpoints.len());
        for index in 0..count(old).max(count(new)) {
            let key = format!("{} . {index}", endpoint_key(frontend));
            self.replace(MapName::Endpoints(place(frontend), frontend.protocol), &key, at(old, index), at(new, index));
        }
    }

    pub(crate) fn sticky(&mut self, frontend: &Frontend, old: Option<&Backends>, new: Option<&Backends>) {
        // Both sides have the same timeout; one of them always exists.
        if frontend.side == Side::Outside {
            return;
        }
        let chain = |backends: Option<&Backends>| Some(Chain::Remember { seconds: backends?.sticky_seconds? });
        self.chains.extend(chain(new));
        let text = |chain: Chain| format!("goto {}", chain.name());
        let map = MapName::Sticky(kind(frontend));
        self.replace(map, &key(frontend), chain(old).map(text), chain(new).map(text));
    }

    fn replace(&mut self, map: MapName, key: &str, old: Option<String>, new: Option<String>) {
        if old == new {
            return;
        }
        if old.is_some() {
            self.delete.entry(map).or_default().push(key.to_owned());
        }
        if let Some(value) = new {
            self.add.entry(map).or_default().push(format!("{key} : {value}"));
        }
    }

    pub(crate) fn text(&self, table: &str) -> String {
        let mut text = String::new();
        for (verb, maps) in [("delete", &self.delete), ("add", &self.add)] {
            for (map, elements) in maps {
                let elements = elements.join(", ");
                write_line(&mut text, format_args!("{verb} element inet {table} {} {{ {elements} }}", map.name()));
            }
        }
        text
    }
}

/// What the verdict map says of a frontend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Draw(Chain),
    Refuse,
    Drop,
}

impl Verdict {
    fn text(self) -> String {
        match self {
            Self::Draw(chain) => format!("goto {}", chain.name()),
            Self::Refuse => "goto refuse".to_owned(),
            Self::Drop => "drop".to_owned(),
        }
    }
}

fn verdict(frontend: &Frontend, backends: &Backends) -> Verdict {
    match (backends.endpoints.len(), backends.empty) {
        (0, Empty::Refuse) => Verdict::Refuse,
        (0, Empty::Drop) => Verdict::Drop,
        (count, _) => {
            let sticky = backends.sticky_seconds.is_some();
            Verdict::Draw(Chain::Draw { place: place(frontend), protocol: frontend.protocol, count, sticky })
        }
    }
}

fn key(frontend: &Frontend) -> String {
    let port = format!("{} . {}", frontend.protocol.name(), frontend.port);
    match frontend.at {
        At::Address(address) => format!("{address} . {port}"),
        At::Node => port,
    }
}

fn endpoint_key(frontend: &Frontend) -> String {
    match frontend.at {
        At::Address(address) => format!("{address} . {}", frontend.port),
        At::Node => frontend.port.to_string(),
    }
}

fn endpoint(endpoint: SocketAddrV4) -> String {
    format!("{} . {}", endpoint.ip(), endpoint.port())
}

pub(crate) fn write_line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("invariant: a String takes all text");
}
