//! Which front proxies are believed, and in which headers: upstream's flags `--requestheader-*`.
//!
//! The API server is a front proxy itself, towards the servers of aggregated APIs. It stays one among those that are
//! allowed, since those servers learn from the same list whom to believe.

use anyhow::{Context, Result, bail};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sampan_apiserver::RequestHeaders;

use super::{Flags, FrontProxiesConfig};

/// What flags and file say together, flags first.
pub(super) fn resolve(flags: &Flags, file: &Flags) -> Result<FrontProxiesConfig> {
    let unsaid = RequestHeaders::default();
    let names = flags.requestheader_allowed_names.as_ref().or(file.requestheader_allowed_names.as_ref());
    let path = flags.requestheader_client_ca_file.as_ref().or(file.requestheader_client_ca_file.as_ref());
    if path.is_none() && names.is_some() {
        bail!("requestheader-client-ca-file: names are allowed; say whose with --requestheader-client-ca-file");
    }
    macro_rules! list {
        ($flag:literal, $field:ident, $unsaid:expr) => {
            headers($flag, super::pick(&flags.$field, file.$field.clone(), || $unsaid))?
        };
    }
    let headers = RequestHeaders {
        allowed_names: match (path, names) {
            (None, _) => unsaid.allowed_names,
            (Some(_), None) => Vec::new(),
            (Some(_), Some(names)) => allowed(unsaid.allowed_names, names),
        },
        username: list!("requestheader-username-headers", requestheader_username_headers, unsaid.username),
        uid: list!("requestheader-uid-headers", requestheader_uid_headers, unsaid.uid),
        group: list!("requestheader-group-headers", requestheader_group_headers, unsaid.group),
        extra_prefix: list!(
            "requestheader-extra-headers-prefix",
            requestheader_extra_headers_prefix,
            unsaid.extra_prefix
        ),
    };
    let authority_pem = path.map(|path| authority(path)).transpose().context("requestheader-client-ca-file")?;
    Ok(FrontProxiesConfig { authority_pem: authority_pem.unwrap_or_default(), headers })
}

/// The API server's own name, and those that are given; no names are any.
fn allowed(own: Vec<String>, given: &[String]) -> Vec<String> {
    if given.is_empty() {
        return Vec::new();
    }
    let others = given.iter().filter(|name| !own.contains(name)).cloned();
    own.iter().cloned().chain(others).collect()
}

fn headers(flag: &str, names: Vec<String>) -> Result<Vec<String>> {
    let names: Vec<String> = names.iter().map(|name| name.trim().to_owned()).collect();
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    match names.iter().find(|name| name.is_empty() || !name.bytes().all(token)) {
        Some(name) => bail!("{flag}: {name:?} is no header's name"),
        None => Ok(names),
    }
}

fn authority(path: &std::path::Path) -> Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<_, _>>()?;
    if found.is_empty() {
        bail!("{}: there is no certificate in it", path.display());
    }
    // What follows it begins a line of its own.
    Ok(format!("{}\n", text.trim_end()))
}
