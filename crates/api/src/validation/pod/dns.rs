//! A Pod's own resolver configuration and hosts file.

use crate::validation::cursor::Cursor;
use crate::validation::{addresses, names};

/// Limits of the C library's resolver.
const NAMESERVERS: usize = 3;
const SEARCH_PATHS: usize = 32;
const SEARCH_BYTES: usize = 2048;

/// `dnsConfig`, which `dnsPolicy` None cannot do without.
pub(super) fn config(spec: &Cursor<'_>) {
    let config = spec.get("dnsConfig");
    let (nameservers, searches) = (config.get("nameservers"), config.get("searches"));
    if spec.get("dnsPolicy").text() == "None" {
        if !config.is_set() {
            config.required("must provide `dnsConfig` when `dnsPolicy` is None");
            return;
        }
        if nameservers.is_empty() {
            nameservers.required("must provide at least one DNS nameserver when `dnsPolicy` is None");
            return;
        }
    }
    if nameservers.len() > NAMESERVERS {
        nameservers.invalid(format!("must not have more than {NAMESERVERS} nameservers"));
    }
    for nameserver in nameservers.items() {
        nameserver.follows(addresses::ip);
    }
    if searches.len() > SEARCH_PATHS {
        searches.invalid(format!("must not have more than {SEARCH_PATHS} search paths"));
    }
    if searches.texts().map(|path| path.len() + 1).sum::<usize>() > SEARCH_BYTES + 1 {
        searches.invalid(format!(
            "must not have more than {SEARCH_BYTES} characters (including spaces) in the search list"
        ));
    }
    for search in searches.items() {
        search.follows(|path| names::subdomain(path.strip_suffix('.').unwrap_or(path)));
    }
    for option in config.get("options").items() {
        if option.get("name").is_empty() {
            option.required("must not be empty");
        }
    }
}

/// `hostAliases`
pub(super) fn host_aliases(aliases: &Cursor<'_>) {
    for alias in aliases.items() {
        alias.get("ip").follows(addresses::ip);
        for hostname in alias.get("hostnames").items() {
            hostname.follows(names::subdomain);
        }
    }
}
