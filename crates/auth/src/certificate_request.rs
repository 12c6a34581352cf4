//! Keys, and requests for certificates of them that say nothing but the key: what a kubelet sends for a Pod.

use rcgen::{
    CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
};

use crate::Error;

/// How Ed25519 keys of PKCS#8 begin: in the version that ring makes, with the public key behind the private one, and in the
/// first one, which is all that OpenSSL reads.
const ED25519_WITH_PUBLIC: [u8; 16] = *b"\x30\x51\x02\x01\x01\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
const ED25519: [u8; 16] = *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
const ED25519_BYTES: usize = 32;

/// A private key and a request for a certificate of it.
pub struct StubRequest {
    /// The key, PKCS#8 in PEM. Keep it out of logs.
    pub key_pem: String,
    /// The request, PKCS#10 in DER, without a subject.
    pub request_der: Vec<u8>,
}

impl StubRequest {
    /// A new key of `key_type`, in Kubernetes' words (`ED25519`), and its request. Fails for types that this machine cannot
    /// make: RSA keys and `ECDSAP521`.
    pub fn generate(key_type: &str) -> Result<Self, Error> {
        let algorithm = match key_type {
            "ED25519" => &PKCS_ED25519,
            "ECDSAP256" => &PKCS_ECDSA_P256_SHA256,
            "ECDSAP384" => &PKCS_ECDSA_P384_SHA384,
            other => return Err(Error::KeyType(other.to_owned())),
        };
        let key = KeyPair::generate_for(algorithm)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key)?;
        Ok(Self { key_pem: key_pem(&key), request_der: request.der().to_vec() })
    }
}

/// The key in the form that everybody reads.
fn key_pem(key: &KeyPair) -> String {
    let der = key.serialize_der();
    match der.strip_prefix(&ED25519_WITH_PUBLIC).and_then(|rest| rest.get(..ED25519_BYTES)) {
        Some(private) => {
            let block = pem::Pem::new("PRIVATE KEY", [&ED25519, private].concat());
            pem::encode_config(&block, pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF))
        }
        None => key.serialize_pem(),
    }
}

#[cfg(test)]
mod tests {
    use x509_parser::certification_request::X509CertificationRequest;
    use x509_parser::prelude::FromDer;

    use super::*;

    #[test]
    fn a_request_says_its_key_and_nothing_else() {
        for key_type in ["ED25519", "ECDSAP256", "ECDSAP384"] {
            let stub = StubRequest::generate(key_type).unwrap();
            let (rest, request) = X509CertificationRequest::from_der(&stub.request_der).unwrap();
            assert!(rest.is_empty() && request.verify_signature().is_ok(), "{key_type}");
            assert_eq!(request.certification_request_info.subject.to_string(), "");
            let key = KeyPair::from_pem(&stub.key_pem).unwrap();
            let asked = request.certification_request_info.subject_pki.raw;
            assert_eq!(rcgen::PublicKeyData::subject_public_key_info(&key), asked, "{key_type}");
        }
        assert!(StubRequest::generate("RSA4096").is_err());
        // Neither OpenSSL nor Go reads an Ed25519 key with its public key behind it.
        let stub = StubRequest::generate("ED25519").unwrap();
        assert!(stub.key_pem.contains("\nMC4CAQAwBQYDK2VwBCIEI"), "it is of the first version");
    }
}
