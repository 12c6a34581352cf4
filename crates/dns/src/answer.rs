//! The answer to one question: a pure function of the question, who asks, and the [`Table`].
//!
//! | Name below the cluster domain | Answer |
//! |---|---|
//! | `service.namespace.svc` | its address; headless: its ready endpoints'; external: another name |
//! | `endpoint.service.namespace.svc` | the endpoint's address; the label is its hostname, or its address with dashes |
//! | `_port._proto.service.namespace.svc` | SRV |
//! | `1-2-3-4.namespace.pod` | 1.2.3.4 |
//! | `dns-version` | TXT |
//!
//! **Container names.** Containers of one Pod share an address, so a process finds its neighbours on 127.0.0.1. Here
//! the neighbour's bare name leads there as well. What the resolver makes of a bare name is first
//! `<name>.<namespace>.svc.<domain>`, in the end `<name>.`; either leads to 127.0.0.1 when the asking address is a
//! Pod's, the Pod is of that namespace and has such a container, and no Service of that name exists there. A Service
//! is thus never hidden.

use std::net::{IpAddr, Ipv4Addr};

use hickory_proto::op::Query;
use hickory_proto::rr::rdata::{A, CNAME, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::table::{Endpoint, Kind, Port, Service, Table};

/// How long answers may be kept, in seconds: as long as upstream's.
pub const TTL: u32 = 5;
/// The version of the specification that answers follow.
const DNS_SPECIFICATION: &str = "1.1.0";
/// SRV: all targets are equal.
const PRIORITY: u16 = 0;
/// SRV: the weights of all targets together.
const WEIGHTS: usize = 100;

/// What to say.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// These records.
    Records {
        /// They answer the question.
        answers: Vec<Record>,
        /// They will be asked for next.
        additionals: Vec<Record>,
    },
    /// The name has another name, which the answer must lead to in the end.
    Alias {
        /// Says so.
        record: Box<Record>,
        /// The other name.
        target: Name,
    },
    /// The name exists, but not with such records.
    NoData,
    /// The name does not exist.
    NoName,
    /// Not ours: somebody else knows.
    Forward,
    /// Ours, but not everything is known yet.
    NotYet,
}

/// Decides what to say to `source`.
pub fn answer(question: &Query, source: IpAddr, table: &Table) -> Answer {
    let name = question.name().to_lowercase();
    let labels: Vec<String> = name.iter().map(|label| String::from_utf8_lossy(label).into_owned()).collect();
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let asked = Asked { question, source, table };
    if table.domain().zone_of(&name) {
        let below = labels.len() - usize::from(table.domain().num_labels());
        return if table.is_complete() { asked.ours(&labels[..below]) } else { Answer::NotYet };
    }
    match labels[..] {
        [container] if asked.is_neighbour(container, None) => asked.addresses(&[Ipv4Addr::LOCALHOST]),
        [ref octets @ .., "in-addr", "arpa"] => asked.reverse(octets),
        _ => Answer::Forward,
    }
}

/// The record that says how long an answer of "nothing" holds.
pub fn start_of_authority(table: &Table) -> Record {
    let below = |label: &str| Name::from_ascii(label).and_then(|name| name.append_domain(table.domain()));
    let server = below("ns.dns").unwrap_or_else(|_| table.domain().clone());
    let mailbox = below("hostmaster").unwrap_or_else(|_| table.domain().clone());
    let soa = SOA::new(server, mailbox, table.generation(), 7200, 1800, 86400, TTL);
    Record::from_rdata(table.domain().clone(), TTL, RData::SOA(soa))
}

struct Asked<'a> {
    question: &'a Query,
    source: IpAddr,
    table: &'a Table,
}

impl Asked<'_> {
    /// A name below the cluster domain, by its labels without the domain.
    fn ours(&self, labels: &[&str]) -> Answer {
        match *labels {
            [] if self.asks(RecordType::SOA) => self.records(vec![start_of_authority(self.table)]),
            [] | ["svc"] | ["pod"] => Answer::NoData,
            ["dns-version"] => self.text(DNS_SPECIFICATION),
            [namespace, "svc"] if self.table.has_services(namespace) => Answer::NoData,
            [address, _, "pod"] => address_of(address).map_or(Answer::NoName, |address| self.addresses(&[address])),
            [_, "pod"] => Answer::NoData,
            [ref front @ .., name, namespace, "svc"] => match self.table.service(namespace, name) {
                Some(service) => self.in_service(front, service, name, namespace),
                None if front.is_empty() && self.is_neighbour(name, Some(namespace)) => {
                    self.addresses(&[Ipv4Addr::LOCALHOST])
                }
                None => Answer::NoName,
            },
            _ => Answer::NoName,
        }
    }

    fn in_service(&self, front: &[&str], service: &Service, name: &str, namespace: &str) -> Answer {
        if let Kind::External(target) = &service.kind {
            return if front.is_empty() { self.alias(target) } else { Answer::NoName };
        }
        let unprefixed = |label: &str| label.strip_prefix('_').map(str::to_owned);
        match *front {
            [] if self.asks(RecordType::SRV) => self.ports(service, name, namespace, |_| true),
            [] => self.service_addresses(service, name, namespace),
            [port, protocol] => match (unprefixed(port), unprefixed(protocol)) {
                (Some(port), Some(protocol)) => {
                    self.ports(service, name, namespace, |one| one.name == port && one.protocol == protocol)
                }
                _ => Answer::NoName,
            },
            [protocol] if protocol.starts_with('_') => {
                let known = service.ports.iter().any(|port| Some(&port.protocol) == unprefixed(protocol).as_ref());
                if known { Answer::NoData } else { Answer::NoName }
            }
            [label] => {
                let endpoints = self.table.endpoints(namespace, name).filter(|endpoint| endpoint.label == label);
                let addresses: Vec<Ipv4Addr> = endpoints.map(|endpoint| endpoint.address).collect();
                if addresses.is_empty() { Answer::NoName } else { self.addresses(&addresses) }
            }
            _ => Answer::NoName,
        }
    }

    fn service_addresses(&self, service: &Service, name: &str, namespace: &str) -> Answer {
        match &service.kind {
            Kind::Addresses(addresses) => self.addresses(addresses),
            Kind::External(target) => self.alias(target),
            Kind::Headless => {
                let mut addresses: Vec<Ipv4Addr> =
                    self.table.endpoints(namespace, name).map(|endpoint| endpoint.address).collect();
                addresses.sort_unstable();
                addresses.dedup();
                // A headless Service without endpoints has no name either, as upstream has it.
                if addresses.is_empty() { Answer::NoName } else { self.addresses(&addresses) }
            }
        }
    }

    /// SRV records of the ports that are `wanted`, with their targets' addresses beside them.
    fn ports(&self, service: &Service, name: &str, namespace: &str, wanted: impl Fn(&Port) -> bool) -> Answer {
        let base = [name, namespace, "svc"];
        let targets: Vec<(Name, Ipv4Addr, u16)> = match &service.kind {
            Kind::Addresses(addresses) => {
                let ports = service.ports.iter().filter(|port| wanted(port));
                let target = |port: &Port| Some((self.name(&base)?, *addresses.first()?, port.number));
                ports.filter_map(target).collect()
            }
            _ => {
                let endpoints = self.table.endpoints(namespace, name);
                endpoints.flat_map(|endpoint| self.endpoint_ports(endpoint, &base, &wanted)).collect()
            }
        };
        if targets.is_empty() {
            return Answer::NoName;
        }
        if !self.asks(RecordType::SRV) {
            return Answer::NoData;
        }
        let weight = u16::try_from((WEIGHTS / targets.len()).max(1)).unwrap_or(1);
        let own = self.question.name();
        let srv = |(target, _, port): &(Name, Ipv4Addr, u16)| {
            let data = SRV::new(PRIORITY, weight, *port, target.clone());
            Record::from_rdata(own.clone(), TTL, RData::SRV(data))
        };
        let answers = targets.iter().map(srv).collect();
        let mut additionals: Vec<Record> = Vec::new();
        for (target, address, _) in targets {
            if additionals.iter().all(|record| record.name != target) {
                additionals.push(Record::from_rdata(target, TTL, RData::A(A(address))));
            }
        }
        Answer::Records { answers, additionals }
    }

    fn endpoint_ports(
        &self,
        endpoint: &Endpoint,
        base: &[&str; 3],
        wanted: &impl Fn(&Port) -> bool,
    ) -> Vec<(Name, Ipv4Addr, u16)> {
        let name = self.name(&[&endpoint.label, base[0], base[1], base[2]]);
        let ports = endpoint.ports.iter().filter(|port| wanted(port));
        ports.filter_map(|port| Some((name.clone()?, endpoint.address, port.number))).collect()
    }

    /// The name of an address that the cluster has given out.
    fn reverse(&self, octets: &[&str]) -> Answer {
        let Some(address) = reversed(octets) else { return Answer::Forward };
        if !self.table.is_complete() {
            return Answer::NotYet;
        }
        let names: Vec<Name> = match self.table.owner(address) {
            Some(service) => self.name(&[&service.name, &service.namespace, "svc"]).into_iter().collect(),
            None => {
                let members = self.table.members(address);
                let name = |label: &str, service: &sampan_client::Key| {
                    self.name(&[label, &service.name, &service.namespace, "svc"])
                };
                members.filter_map(|member| name(&member.label, &member.service)).collect()
            }
        };
        if names.is_empty() {
            return Answer::Forward;
        }
        if !self.asks(RecordType::PTR) {
            return Answer::NoData;
        }
        self.records(names.into_iter().map(|name| self.record(RData::PTR(PTR(name)))).collect())
    }

    /// Whether the asking Pod has a container of that name that no Service of its namespace answers to.
    fn is_neighbour(&self, container: &str, namespace: Option<&str>) -> bool {
        let IpAddr::V4(source) = self.source else { return false };
        let Some(own) = self.table.container(source, container) else { return false };
        let same = namespace.is_none_or(|namespace| namespace == own);
        self.table.is_complete() && same && self.table.service(own, container).is_none()
    }

    fn asks(&self, kind: RecordType) -> bool {
        self.question.query_type() == kind
    }

    fn addresses(&self, addresses: &[Ipv4Addr]) -> Answer {
        if addresses.is_empty() || !(self.asks(RecordType::A) || self.asks(RecordType::ANY)) {
            return Answer::NoData;
        }
        self.records(addresses.iter().map(|address| self.record(RData::A(A(*address)))).collect())
    }

    fn text(&self, text: &str) -> Answer {
        if !self.asks(RecordType::TXT) {
            return Answer::NoData;
        }
        self.records(vec![self.record(RData::TXT(TXT::new(vec![text.to_owned()])))])
    }

    fn alias(&self, target: &Name) -> Answer {
        let record = self.record(RData::CNAME(CNAME(target.clone())));
        if self.asks(RecordType::CNAME) {
            return self.records(vec![record]);
        }
        Answer::Alias { record: Box::new(record), target: target.clone() }
    }

    fn records(&self, answers: Vec<Record>) -> Answer {
        Answer::Records { answers, additionals: Vec::new() }
    }

    fn record(&self, data: RData) -> Record {
        Record::from_rdata(self.question.name().clone(), TTL, data)
    }

    fn name(&self, labels: &[&str]) -> Option<Name> {
        let labels = labels.iter().map(|label| label.as_bytes());
        Name::from_labels(labels).ok()?.append_domain(self.table.domain()).ok()
    }
}

/// The address in a Pod's name: dashes for dots.
fn address_of(label: &str) -> Option<Ipv4Addr> {
    label.replace('-', ".").parse().ok()
}

/// The address of a reverse name's labels.
fn reversed(octets: &[&str]) -> Option<Ipv4Addr> {
    let [d, c, b, a] = octets else { return None };
    format!("{a}.{b}.{c}.{d}").parse().ok()
}
