//! An etcd as the store.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use sampan_store::etcd::Location;

use super::Flags;

/// The etcd that keeps the objects.
#[derive(Clone, Debug)]
pub(crate) struct EtcdConfig {
    pub(crate) location: Location,
    /// The authority's file, and our certificate's and key's.
    pub(crate) tls: Option<(PathBuf, Option<(PathBuf, PathBuf)>)>,
}

/// The etcd that `store` and its files name.
pub(super) fn resolve(flags: &Flags, file: &mut Flags) -> Result<Option<EtcdConfig>> {
    let ca = flags.store_ca_file.clone().or(file.store_ca_file.take());
    let certificate = flags.store_cert_file.clone().or(file.store_cert_file.take());
    let key = flags.store_key_file.clone().or(file.store_key_file.take());
    let Some(url) = flags.store.clone().or(file.store.take()) else {
        if ca.or(certificate).or(key).is_some() {
            bail!("store: a file for TLS is given but no etcd; say which with --store etcd://HOST:PORT");
        }
        return Ok(None);
    };
    let location = url.parse().context("store")?;
    let tls = match (ca, certificate, key) {
        (None, None, None) => None,
        (Some(ca), None, None) => Some((ca, None)),
        (Some(ca), Some(certificate), Some(key)) => Some((ca, Some((certificate, key)))),
        (None, ..) => bail!("store-ca-file: TLS needs the authority of etcd's certificates"),
        _ => bail!("store-cert-file and store-key-file: give both or neither"),
    };
    Ok(Some(EtcdConfig { location, tls }))
}
