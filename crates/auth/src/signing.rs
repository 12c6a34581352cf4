//! Certificate requests: who they are for, whether a built-in signer may sign them, and their certificate.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use rcgen::{CertificateSigningRequestParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::Error;
use crate::authority::{Authority, CLOCK_SKEW, offset};
use crate::rbac::MASTERS;

/// The signer of certificates of clients that are no kubelets.
pub const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
/// The signer of kubelets' client certificates.
pub const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// The signer of kubelets' serving certificates.
pub const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
/// The signer of requests that name none.
pub const LEGACY: &str = "kubernetes.io/legacy-unknown";

/// No certificate that is asked for lives longer.
const MAX_LIFE: SignedDuration = SignedDuration::from_hours(365 * 24);
/// None is asked for that lives shorter.
const MIN_LIFE: SignedDuration = SignedDuration::from_mins(10);

/// Whom a request is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// `CN`.
    pub common_name: String,
    /// Each `O`.
    pub organizations: Vec<String>,
    repeats: bool,
    dns: usize,
    addresses: usize,
    emails: usize,
    uris: usize,
}

impl Subject {
    /// Reads a PKCS#10 request, PEM. Its signature is checked when it is signed.
    pub fn of(request_pem: &[u8]) -> Result<Self, Error> {
        let unreadable = |why: String| Error::Certificate(why);
        let block = pem::parse(request_pem).map_err(|e| unreadable(e.to_string()))?;
        if block.tag() != "CERTIFICATE REQUEST" {
            return Err(unreadable("PEM block type must be CERTIFICATE REQUEST".to_owned()));
        }
        let (_, request) =
            X509CertificationRequest::from_der(block.contents()).map_err(|e| unreadable(e.to_string()))?;
        let name = &request.certification_request_info.subject;
        let mut subject = Self {
            common_name: name.iter_common_name().next().map(text).transpose()?.unwrap_or_default(),
            organizations: name.iter_organization().map(text).collect::<Result<_, _>>()?,
            repeats: repeats(name),
            ..Self::default()
        };
        for extension in request.requested_extensions().into_iter().flatten() {
            if let x509_parser::extensions::ParsedExtension::SubjectAlternativeName(names) = extension {
                names.general_names.iter().for_each(|name| subject.count(name));
            }
        }
        Ok(subject)
    }

    fn count(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(_) => self.dns += 1,
            GeneralName::IPAddress(_) => self.addresses += 1,
            GeneralName::RFC822Name(_) => self.emails += 1,
            _ => self.uris += 1,
        }
    }

    /// Whether the certificate would make its holder all-powerful.
    pub fn is_master(&self) -> bool {
        self.organizations.iter().any(|group| group == MASTERS)
    }

    fn node(&self) -> Result<(), &'static str> {
        if self.organizations != ["system:nodes"] {
            return Err("subject organization is not system:nodes");
        }
        if self.common_name.strip_prefix("system:node:").is_none_or(str::is_empty) {
            return Err("subject common name does not begin with system:node: ");
        }
        Ok(())
    }
}

/// What cannot be read as text is an error: it could be a group that nobody saw.
fn text(attribute: &AttributeTypeAndValue<'_>) -> Result<String, Error> {
    attribute.as_str().map(str::to_owned).map_err(|error| Error::Certificate(error.to_string()))
}

/// Whether a name has two attributes of one type.
fn repeats(name: &X509Name<'_>) -> bool {
    let mut seen = BTreeSet::new();
    name.iter_attributes().any(|attribute| !seen.insert(attribute.attr_type().to_id_string()))
}

/// Why the signer `signer` does not sign for `subject` and these usages; upstream's words.
pub fn refusal(signer: &str, subject: &Subject, usages: &[String]) -> Option<&'static str> {
    // A certificate would keep the last of them only, and be for someone else than the one who was let in.
    if subject.repeats {
        return Some("the subject has an attribute more than once, of which a certificate would keep only the last");
    }
    match signer {
        CLIENT => client(usages),
        KUBELET_CLIENT => kubelet_client(subject, usages),
        KUBELET_SERVING => kubelet_serving(subject, usages),
        LEGACY => None,
        _ => Some("the signer is none of the built-in ones"),
    }
    .or_else(|| (signer == CLIENT && subject.is_master()).then_some("use of the group system:masters is not allowed"))
}

fn client(usages: &[String]) -> Option<&'static str> {
    let permitted = ["digital signature", "key encipherment", "client auth"];
    let fits = has(usages, "client auth") && usages.iter().all(|usage| permitted.contains(&usage.as_str()));
    (!fits).then_some("invalid usages for client certificate: only digital signature, key encipherment and client auth")
}

fn kubelet_client(subject: &Subject, usages: &[String]) -> Option<&'static str> {
    if let Err(why) = subject.node() {
        return Some(why);
    }
    if subject.dns + subject.addresses + subject.emails + subject.uris > 0 {
        return Some("DNS, IP, email and URI subjectAltNames are not allowed");
    }
    (!exactly(usages, "client auth")).then_some("usages did not match the ones of a kubelet client certificate")
}

fn kubelet_serving(subject: &Subject, usages: &[String]) -> Option<&'static str> {
    if let Err(why) = subject.node() {
        return Some(why);
    }
    if subject.dns + subject.addresses == 0 {
        return Some("DNS or IP subjectAltName is required");
    }
    if subject.emails + subject.uris > 0 {
        return Some("email and URI subjectAltNames are not allowed");
    }
    (!exactly(usages, "server auth")).then_some("usages did not match the ones of a kubelet serving certificate")
}

fn has(usages: &[String], usage: &str) -> bool {
    usages.iter().any(|one| one == usage)
}

/// Digital signature and `purpose`, with key encipherment or without, and nothing else.
fn exactly(usages: &[String], purpose: &str) -> bool {
    has(usages, "digital signature")
        && has(usages, purpose)
        && usages.iter().all(|usage| [purpose, "digital signature", "key encipherment"].contains(&usage.as_str()))
}

impl Authority {
    /// The certificate that `request_pem` asks for, PEM, for `usages`, valid for `life` within bounds. Whoever calls has
    /// asked [`refusal`]. What the request says of authorities and usages is not taken over.
    pub fn sign(
        &self,
        request_pem: &str,
        usages: &[String],
        life: Option<SignedDuration>,
        now: Timestamp,
    ) -> Result<String, Error> {
        let mut request = CertificateSigningRequestParams::from_pem(request_pem)?;
        let params = &mut request.params;
        params.is_ca = IsCa::ExplicitNoCa;
        params.not_before = offset(now - CLOCK_SKEW);
        params.not_after = offset(now + life.unwrap_or(MAX_LIFE).clamp(MIN_LIFE, MAX_LIFE));
        params.key_usages = usages.iter().filter_map(|usage| key_usage(usage)).collect();
        params.extended_key_usages = usages.iter().filter_map(|usage| extended_usage(usage)).collect();
        params.use_authority_key_identifier_extension = true;
        Ok(request.signed_by(self.issuer())?.pem())
    }
}

fn key_usage(usage: &str) -> Option<KeyUsagePurpose> {
    Some(match usage {
        "digital signature" | "signing" => KeyUsagePurpose::DigitalSignature,
        "key encipherment" => KeyUsagePurpose::KeyEncipherment,
        "key agreement" => KeyUsagePurpose::KeyAgreement,
        "data encipherment" => KeyUsagePurpose::DataEncipherment,
        "content commitment" => KeyUsagePurpose::ContentCommitment,
        _ => return None,
    })
}

fn extended_usage(usage: &str) -> Option<ExtendedKeyUsagePurpose> {
    Some(match usage {
        "server auth" => ExtendedKeyUsagePurpose::ServerAuth,
        "client auth" => ExtendedKeyUsagePurpose::ClientAuth,
        "code signing" => ExtendedKeyUsagePurpose::CodeSigning,
        "email protection" => ExtendedKeyUsagePurpose::EmailProtection,
        "timestamping" => ExtendedKeyUsagePurpose::TimeStamping,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn request(name: &str, group: &str, dns: &[&str]) -> String {
        let mut params = CertificateParams::new(dns.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationName, group);
        params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
    }

    #[track_caller]
    fn check(signer: &str, (name, group, dns): (&str, &str, &[&str]), usages: &[&str], want: Option<&str>) {
        let subject = Subject::of(request(name, group, dns).as_bytes()).unwrap();
        let usages: Vec<String> = usages.iter().map(|usage| (*usage).to_owned()).collect();
        let got = refusal(signer, &subject, &usages);
        assert_eq!(got.is_some(), want.is_some(), "{got:?}");
        assert!(got.unwrap_or_default().contains(want.unwrap_or_default()), "{got:?}");
    }

    #[test]
    fn each_signer_has_its_own_rules() {
        let (client, server) = (["digital signature", "client auth"], ["digital signature", "server auth"]);
        let node = ("system:node:n", "system:nodes", &[][..]);
        check(CLIENT, ("jane", "dev", &[]), &client, None);
        check(CLIENT, ("jane", "dev", &[]), &server, Some("invalid usages"));
        check(CLIENT, ("jane", "system:masters", &[]), &client, Some("system:masters"));
        check(KUBELET_CLIENT, node, &client, None);
        check(KUBELET_CLIENT, node, &server, Some("usages did not match"));
        check(KUBELET_CLIENT, ("system:node:n", "dev", &[]), &client, Some("organization"));
        check(KUBELET_CLIENT, ("jane", "system:nodes", &[]), &client, Some("common name"));
        check(KUBELET_CLIENT, ("system:node:n", "system:nodes", &["n"]), &client, Some("not allowed"));
        check(KUBELET_SERVING, ("system:node:n", "system:nodes", &["n"]), &server, None);
        check(KUBELET_SERVING, node, &server, Some("is required"));
        check("example.com/mine", node, &client, Some("none of the built-in"));
    }

    /// A request for `CN=system:node:a, CN=system:node:b, O=system:nodes`, which rcgen cannot make.
    const TWO_NAMES: &str = "-----BEGIN CERTIFICATE REQUEST-----\n\
        MIIBAzCBqQIBADBHMRYwFAYDVQQDDA1zeXN0ZW06bm9kZTphMRYwFAYDVQQDDA1z\n\
        eXN0ZW06bm9kZTpiMRUwEwYDVQQKDAxzeXN0ZW06bm9kZXMwWTATBgcqhkjOPQIB\n\
        BggqhkjOPQMBBwNCAARlYGZquWDpaVhZOthj6y1EbfOEQGJGi0ofkea4wA9vZb1t\n\
        jKMxZ6p1drc9ax7Qmhhs2b04K6JHsVLl9vlvaT+ioAAwCgYIKoZIzj0EAwIDSQAw\n\
        RgIhAIrFGbY5j3MTVJGHaAEl5Mq7Ln/EfyfYX/9SQFoW5/RqAiEAxIsnxzo+w6F1\n\
        pSxa9Nd6DRg646/WguXVIJBbLYCzkUM=\n\
        -----END CERTIFICATE REQUEST-----";

    #[test]
    fn a_request_for_two_names_gets_neither() {
        let subject = Subject::of(TWO_NAMES.as_bytes()).unwrap();
        let usages = ["digital signature".to_owned(), "client auth".to_owned()];
        for signer in [CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY] {
            assert!(refusal(signer, &subject, &usages).is_some_and(|why| why.contains("more than once")), "{signer}");
        }
    }

    #[test]
    fn a_certificate_says_what_was_asked_and_no_more() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let authority = Authority::load(&Authority::generate("ca", now).unwrap()).unwrap();
        let usages = ["digital signature".to_owned(), "client auth".to_owned()];
        let hour = Some(SignedDuration::from_hours(1));
        let pem = authority.sign(&request("jane", "dev", &[]), &usages, hour, now).unwrap();
        assert_eq!(crate::certificate::expiry(&pem).unwrap(), now + SignedDuration::from_hours(1));
        let der = ::pem::parse(&pem).unwrap();
        let who = crate::certificate::identity(der.contents()).unwrap();
        assert_eq!((who.name.as_str(), who.groups), ("jane", vec!["dev".to_owned()]));
        let ages = authority.sign(&request("jane", "dev", &[]), &usages, Some(SignedDuration::from_hours(99_999)), now);
        assert_eq!(crate::certificate::expiry(&ages.unwrap()).unwrap(), now + MAX_LIFE);
        assert!(authority.sign("nonsense", &usages, None, now).is_err());
    }
}
