//! Certificates and requests for them, in PEM.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::time::ASN1Time;

use super::cursor::Cursor;

const CERTIFICATE: &str = "CERTIFICATE";
const REQUEST: &str = "CERTIFICATE REQUEST";
/// What stands for the content of certificates in faults.
const OMITTED: &str = "<value omitted>";
const MAX_BUNDLE_BYTES: usize = 1024 * 1024;

/// A PKCS#10 request in PEM, in base64, whose signature is good.
pub(crate) fn request(request: &Cursor<'_>) {
    if let Err(fault) = check_request(&decoded(request)) {
        request.invalid_as(request.text(), fault);
    }
}

fn decoded(bytes: &Cursor<'_>) -> Vec<u8> {
    STANDARD.decode(bytes.text()).unwrap_or_default()
}

fn check_request(pem: &[u8]) -> Result<(), String> {
    let blocks = pem::parse_many(pem).unwrap_or_default();
    let block = blocks.first().filter(|block| block.tag() == REQUEST);
    let block = block.ok_or_else(|| format!("PEM block type must be {REQUEST}"))?;
    let (_, request) = X509CertificationRequest::from_der(block.contents())
        .map_err(|error| format!("x509: malformed certificate request: {error}"))?;
    request.verify_signature().map_err(|_| "x509: the signature of the certificate request is not valid".to_owned())
}

/// One or more certificates in PEM, in base64, or nothing.
pub(crate) fn certificate(certificate: &Cursor<'_>) {
    let pem = decoded(certificate);
    if pem.is_empty() && certificate.is_empty() {
        return;
    }
    if let Err(fault) = check_certificates(&pem) {
        certificate.invalid_as("<certificate data>", fault);
    }
}

fn check_certificates(pem: &[u8]) -> Result<(), String> {
    let blocks = pem::parse_many(pem).unwrap_or_default();
    for block in &blocks {
        if block.tag() != CERTIFICATE {
            return Err(format!("only CERTIFICATE PEM blocks are allowed, found {:?}", block.tag()));
        }
        if block.headers().iter().next().is_some() {
            return Err("no PEM block headers are permitted".to_owned());
        }
        if block.contents().is_empty() {
            return Err("found CERTIFICATE PEM block containing 0 certificates".to_owned());
        }
        X509Certificate::from_der(block.contents()).map_err(|error| format!("x509: malformed certificate: {error}"))?;
    }
    if blocks.is_empty() {
        return Err("must contain at least one CERTIFICATE PEM block".to_owned());
    }
    Ok(())
}

/// A PKCS#10 request in DER, in base64, whose signature is good: the proof that whoever asks has the key.
pub(crate) fn stub_request(request: &Cursor<'_>) {
    let der = decoded(request);
    let fault = match X509CertificationRequest::from_der(&der) {
        Err(_) => "must be a valid PKCS#10 certificate signing request",
        Ok((rest, _)) if !rest.is_empty() => "must be a valid PKCS#10 certificate signing request",
        Ok((_, parsed)) if parsed.verify_signature().is_err() => "could not verify the signature",
        Ok(_) => return,
    };
    request.invalid_as(OMITTED, fault);
}

/// A chain of certificates in PEM whose first is for the key of the PKCS#10 request `stub` (DER): from when until when it
/// holds. `None` where something is wrong with it, which is then told.
pub(crate) fn issued_chain(chain: &Cursor<'_>, stub: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let blocks = pem::parse_many(chain.text()).unwrap_or_default();
    let Some(leaf) = blocks.first() else {
        chain.invalid("issued certificate chain must contain at least one certificate");
        return None;
    };
    if blocks.iter().any(|block| block.tag() != CERTIFICATE) {
        chain.invalid("issued certificate chain must consist entirely of CERTIFICATE PEM blocks");
        return None;
    }
    let Ok((_, certificate)) = X509Certificate::from_der(leaf.contents()) else {
        chain.invalid("leaf certificate does not parse as valid X.509");
        return None;
    };
    if blocks[1..].iter().any(|block| X509Certificate::from_der(block.contents()).is_err()) {
        chain.invalid("intermediate certificate does not parse as valid X.509");
        return None;
    }
    let asked = X509CertificationRequest::from_der(stub).ok();
    let asked = asked.map(|(_, request)| request.certification_request_info.subject_pki.raw.to_vec());
    if asked.as_deref() != Some(certificate.public_key().raw) {
        chain.invalid("leaf certificate was not issued to the requested public key");
        return None;
    }
    let moment = |time: ASN1Time| Timestamp::from_second(time.timestamp()).ok();
    moment(certificate.validity().not_before).zip(moment(certificate.validity().not_after))
}

/// A bundle of trust anchors in PEM: certificates of authorities, each once.
pub(crate) fn trust_bundle(bundle: &Cursor<'_>) {
    if bundle.text().len() > MAX_BUNDLE_BYTES {
        bundle.too_long(MAX_BUNDLE_BYTES);
        return;
    }
    let blocks = pem::parse_many(bundle.text()).unwrap_or_default();
    let before = bundle.fault_count();
    for (index, block) in blocks.iter().enumerate() {
        if let Some(fault) = anchor_fault(block) {
            bundle.invalid_as(OMITTED, format!("entry {index} {fault}"));
        }
    }
    if bundle.fault_count() > before {
        return;
    }
    if blocks.is_empty() {
        bundle.invalid_as(OMITTED, "at least one trust anchor must be provided");
    }
    for (first, block) in blocks.iter().enumerate() {
        let same = |other: &&(usize, &pem::Pem)| other.1.contents() == block.contents();
        let all: Vec<String> =
            blocks.iter().enumerate().collect::<Vec<_>>().iter().filter(same).map(|(i, _)| i.to_string()).collect();
        if all.len() > 1 && all[0] == first.to_string() {
            bundle.invalid_as(OMITTED, format!("duplicate trust anchor (indices [{}])", all.join(" ")));
        }
    }
}

fn anchor_fault(block: &pem::Pem) -> Option<String> {
    if block.tag() != CERTIFICATE {
        return Some(format!("has bad block type: {}", block.tag()));
    }
    if block.headers().iter().next().is_some() {
        return Some("has PEM block headers".to_owned());
    }
    let Ok((_, certificate)) = X509Certificate::from_der(block.contents()) else {
        return Some("does not parse as X.509".to_owned());
    };
    (!certificate.is_ca()).then(|| "does not have the CA bit set".to_owned())
}
