//! The cluster's certificate authority: makes itself, and issues certificates for servers and clients.
//!
//! All keys are ECDSA P-256. Nothing is written to disk here; the program keeps the files.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use time::OffsetDateTime;

use crate::Error;

/// How long an authority is valid.
const AUTHORITY_LIFE: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);
/// How long what it issues is valid.
const LEAF_LIFE: SignedDuration = SignedDuration::from_hours(365 * 24);
/// Certificates are valid from this long before their making: clocks differ.
pub(crate) const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);

/// A certificate with its private key, both PEM.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate_pem: String,
    /// The private key. Keep it out of logs and readable by its owner alone.
    pub key_pem: String,
}

/// What a certificate is for.
#[derive(Clone, Debug)]
pub enum Purpose {
    /// A client: `CN` is the user's name, `O` its group.
    Client {
        /// User name.
        user: String,
        /// Group, if it has one.
        group: Option<String>,
    },
    /// A server under these names and addresses.
    Server {
        /// `CN`.
        name: String,
        /// DNS names.
        dns: Vec<String>,
        /// Addresses.
        addresses: Vec<IpAddr>,
    },
}

/// A certificate authority that can sign.
pub struct Authority {
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new self-signed authority called `name`, valid for ten years from `now`.
    pub fn generate(name: &str, now: Timestamp) -> Result<Issued, Error> {
        let key = KeyPair::generate()?;
        let mut params = params(name, now, AUTHORITY_LIFE)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        Ok(Issued { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// The authority kept in `files`.
    pub fn load(files: &Issued) -> Result<Self, Error> {
        let key = KeyPair::from_pem(&files.key_pem)?;
        let issuer = Issuer::from_ca_cert_pem(&files.certificate_pem, key)?;
        Ok(Self { certificate_pem: files.certificate_pem.clone(), issuer })
    }

    /// The authority's own certificate, PEM: what clients trust.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    pub(crate) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    /// A certificate for `purpose` with a key of its own, valid for a year from `now`.
    pub fn issue(&self, purpose: &Purpose, now: Timestamp) -> Result<Issued, Error> {
        let key = KeyPair::generate()?;
        let certificate = leaf(purpose, now)?.signed_by(&key, &self.issuer)?;
        Ok(Issued { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }
}

fn leaf(purpose: &Purpose, now: Timestamp) -> Result<CertificateParams, Error> {
    let mut params = match purpose {
        Purpose::Client { user, group } => {
            let mut params = params(user, now, LEAF_LIFE)?;
            if let Some(group) = group {
                params.distinguished_name.push(DnType::OrganizationName, group.as_str());
            }
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            params
        }
        Purpose::Server { name, dns, addresses } => {
            let mut params = params(name, now, LEAF_LIFE)?;
            for name in dns {
                params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
            }
            params.subject_alt_names.extend(addresses.iter().copied().map(SanType::IpAddress));
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            params
        }
    };
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    Ok(params)
}

fn params(common_name: &str, now: Timestamp, life: SignedDuration) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = offset(now - CLOCK_SKEW);
    params.not_after = offset(now + life);
    Ok(params)
}

pub(crate) fn offset(at: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(at.as_second()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
