//! Who a client certificate speaks for, and how long.

use jiff::Timestamp;
use x509_parser::der_parser::{Oid, oid};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::X509Name;

use crate::{CREDENTIAL_ID, Error, Identity};

/// The attribute of a subject that is the user's UID.
const UID: Oid<'static> = oid!(1.3.6.1.4.1.57683.2);

/// The identity in a verified client certificate: `CN` is the user, each `O` a group.
pub fn identity(der: &[u8]) -> Result<Identity, Error> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|e| Error::Certificate(e.to_string()))?;
    let subject = certificate.subject();
    let groups = subject.iter_organization().filter_map(|o| o.as_str().ok()).map(str::to_owned).collect();
    let digest = ring::digest::digest(&ring::digest::SHA256, der);
    let fingerprint: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let extra = [(CREDENTIAL_ID.to_owned(), vec![format!("X509SHA256={fingerprint}")])].into();
    Ok(Identity { name: named(subject)?, uid: uid(subject)?, groups, extra })
}

/// The `CN` of a certificate; there must be one.
pub fn common_name(der: &[u8]) -> Result<String, Error> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|e| Error::Certificate(e.to_string()))?;
    named(certificate.subject())
}

fn named(subject: &X509Name<'_>) -> Result<String, Error> {
    let name = subject.iter_common_name().next().and_then(|cn| cn.as_str().ok()).unwrap_or_default();
    if name.is_empty() {
        return Err(Error::Certificate("its subject has no common name".to_owned()));
    }
    Ok(name.to_owned())
}

fn uid(subject: &X509Name<'_>) -> Result<String, Error> {
    let mut uids = subject.iter_by_oid(&UID);
    let Some(uid) = uids.next() else { return Ok(String::new()) };
    if uids.next().is_some() {
        return Err(Error::Certificate("expected 1 UID, but found multiple".to_owned()));
    }
    match uid.as_str() {
        Ok("") => Err(Error::Certificate("UID cannot be an empty string".to_owned())),
        Ok(uid) => Ok(uid.to_owned()),
        Err(_) => Err(Error::Certificate("unable to parse UID into a string".to_owned())),
    }
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
