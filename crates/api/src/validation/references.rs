//! Names of things that live elsewhere, under a domain: controllers, signers.

use std::sync::OnceLock;

use regex::Regex;

use super::cursor::Cursor;
use super::names;

const PATH_FORMAT: &str = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+";
const MAX_DOMAIN_BYTES: usize = 253;
/// A domain, a slash, and a path that leaves room for a whole resource name.
const MAX_SIGNER_BYTES: usize = MAX_DOMAIN_BYTES + 1 + (253 + 63 + 1);

/// `acme.io/foo`: a domain and a path of HTTP.
pub(crate) fn domain_prefixed_path(name: &Cursor<'_>) {
    static PATH: OnceLock<Regex> = OnceLock::new();
    let regex = || Regex::new(&format!("^{PATH_FORMAT}$")).expect("invariant: the format is a regex");
    let (domain, path) = match name.text().split_once('/') {
        Some((domain, path)) if !domain.is_empty() && !path.is_empty() => (domain, path),
        _ => return name.invalid("must be a domain-prefixed path (such as \"acme.io/foo\")"),
    };
    for fault in names::subdomain(domain) {
        name.invalid_as(domain, fault);
    }
    if !PATH.get_or_init(regex).is_match(path) {
        name.invalid_as(path, format!("Invalid path (regex used for validation is '{PATH_FORMAT}')"));
    }
}

/// `example.com/my-signer`
pub(crate) fn signer_name(signer: &Cursor<'_>) {
    if !signer.must() {
        return;
    }
    let parts: Vec<&str> = signer.text().split('/').collect();
    let &[domain, path] = parts.as_slice() else {
        return signer.invalid("must be a fully qualified domain and path of the form 'example.com/signer-name'");
    };
    if domain.len() > MAX_DOMAIN_BYTES {
        signer.too_long(MAX_DOMAIN_BYTES);
    }
    first_bad_label(signer, domain, names::label);
    if !domain.contains('.') {
        signer.invalid_as(domain, "should be a domain with at least two segments separated by dots");
    }
    first_bad_label(signer, path, names::subdomain);
    if signer.text().len() > MAX_SIGNER_BYTES {
        signer.too_long(MAX_SIGNER_BYTES);
    }
}

fn first_bad_label(signer: &Cursor<'_>, part: &str, rule: fn(&str) -> Vec<String>) {
    let faults = part.split('.').map(|label| (label, rule(label))).find(|(_, faults)| !faults.is_empty());
    for (label, fault) in faults.into_iter().flat_map(|(label, faults)| faults.into_iter().map(move |f| (label, f))) {
        signer.invalid_as(part, format!("validating label {label:?}: {fault}"));
    }
}
