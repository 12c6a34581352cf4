//! Clients that the kernel remembers, and which of them it must forget since their endpoint is gone.

use std::net::{Ipv4Addr, SocketAddrV4};

use serde_json::Value;

use crate::frontend::{At, Frontend, Protocol, Side};
use crate::model::Model;

/// One element of the map `affinity`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Remembered {
    client: Ipv4Addr,
    destination: SocketAddrV4,
    protocol: Protocol,
    endpoint: SocketAddrV4,
}

/// Reads nft's JSON listing of the map. What has another form is none of ours.
pub(crate) fn parse(listing: &[u8]) -> Vec<Remembered> {
    let listing: Value = serde_json::from_slice(listing).unwrap_or_default();
    let entries = listing["nftables"].as_array().into_iter().flatten();
    let elements = entries.filter_map(|entry| entry["map"]["elem"].as_array()).flatten();
    elements.filter_map(remembered).collect()
}

/// The keys, in nft's form, of what no frontend of the model leads to any more.
pub(crate) fn stale(remembered: &[Remembered], model: &Model) -> Vec<String> {
    remembered.iter().filter(|one| !one.is_current(model)).map(Remembered::key).collect()
}

impl Remembered {
    fn is_current(&self, model: &Model) -> bool {
        let (protocol, port) = (self.protocol, self.destination.port());
        let places = [At::Address(*self.destination.ip()), At::Node];
        let frontends = places
            .into_iter()
            .flat_map(|at| [Side::Everyone, Side::Outside].map(|side| Frontend { side, at, protocol, port }));
        let mut backends = frontends.filter_map(|frontend| model.backends(&frontend));
        backends.any(|backends| backends.sticky_seconds.is_some() && backends.endpoints.contains(&self.endpoint))
    }

    fn key(&self) -> String {
        let (address, port) = (self.destination.ip(), self.destination.port());
        format!("{} . {address} . {} . {port}", self.client, self.protocol.name())
    }
}

fn remembered(element: &Value) -> Option<Remembered> {
    let key = element.get(0)?;
    let key = key.get("elem").map_or(key, |wrapped| &wrapped["val"]);
    let (key, endpoint) = (&key["concat"], &element.get(1)?["concat"]);
    Some(Remembered {
        client: address(&key[0])?,
        destination: SocketAddrV4::new(address(&key[1])?, port(&key[3])?),
        protocol: Protocol::parse(key[2].as_str())?,
        endpoint: SocketAddrV4::new(address(&endpoint[0])?, port(&endpoint[1])?),
    })
}

fn address(value: &Value) -> Option<Ipv4Addr> {
    value.as_str()?.parse().ok()
}

fn port(value: &Value) -> Option<u16> {
    value.as_u64()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read() {
        let listing = r#"{"nftables": [{"metainfo": {}}, {"map": {"name": "affinity", "elem": [
            [{"elem": {"val": {"concat": ["10.9.9.9", "10.43.0.6", "tcp", 80]}, "timeout": 9, "expires": 8}},
             {"concat": ["10.42.0.5", 8081]}]]}}]}"#;
        let read = parse(listing.as_bytes());
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].key(), "10.9.9.9 . 10.43.0.6 . tcp . 80");
        assert_eq!(read[0].endpoint, "10.42.0.5:8081".parse().unwrap());
        assert_eq!(stale(&read, &Model::default()), ["10.9.9.9 . 10.43.0.6 . tcp . 80"]);
    }

    #[test]
    fn what_is_no_listing_is_nothing() {
        for listing in ["", "{}", r#"{"nftables": [{"map": {"elem": [1, [], [{}, {}]]}}]}"#] {
            assert_eq!(parse(listing.as_bytes()), []);
        }
    }
}
