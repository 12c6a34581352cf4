//! Who a client certificate speaks for, and how long.

use jiff::Timestamp;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{Error, Identity};

/// The identity in a verified client certificate: `CN` is the user, each `O` a group.
pub fn identity(der: &[u8]) -> Result<Identity, Error> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|e| Error::Certificate(e.to_string()))?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next().and_then(|cn| cn.as_str().ok()).unwrap_or_default();
    if name.is_empty() {
        return Err(Error::Certificate("its subject has no common name".to_owned()));
    }
    let groups = subject.iter_organization().filter_map(|o| o.as_str().ok()).map(str::to_owned).collect();
    Ok(Identity { name: name.to_owned(), groups, ..Identity::default() })
}

/// From when until when a certificate is valid.
pub fn validity(der: &[u8]) -> Result<(Timestamp, Timestamp), Error> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|e| Error::Certificate(e.to_string()))?;
    let at = |second: i64| Timestamp::from_second(second).map_err(|e| Error::Certificate(e.to_string()));
    let validity = certificate.validity();
    Ok((at(validity.not_before.timestamp())?, at(validity.not_after.timestamp())?))
}

/// When a certificate ends. `pem` may hold a chain; the first counts.
pub fn expiry(pem: &str) -> Result<Timestamp, Error> {
    let block = pem::parse(pem).map_err(|e| Error::Certificate(e.to_string()))?;
    let (_, certificate) =
        X509Certificate::from_der(block.contents()).map_err(|e| Error::Certificate(e.to_string()))?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).map_err(|e| Error::Certificate(e.to_string()))
}
