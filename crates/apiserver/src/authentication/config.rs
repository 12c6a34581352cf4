//! The configuration of authentication: upstream's `AuthenticationConfiguration`, and the older flags, which say the same
//! of one issuer.

use std::collections::BTreeSet;

use sampan_api::field::{Error, Path};
use serde::Deserialize;

use super::TokenWebhookOptions;
use super::mapping::Mapper;
use crate::config_file::check_head;

const KIND: &str = "AuthenticationConfiguration";
/// So many issuers may there be, as upstream.
const MAX_ISSUERS: usize = 64;
/// The paths that nobody in particular may ask if nothing else is said; authorization still has its say.
const OPEN_PATHS: [&str; 4] = ["/healthz", "/livez", "/readyz", "/version"];
/// By it a machine that is to join finds the cluster; its Role and binding say that anybody may read it.
const CLUSTER_INFO: &str = "/api/v1/namespaces/kube-public/configmaps/cluster-info";

/// Who vouches for users, and what nobody in particular may ask.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub(super) issuers: Vec<Jwt>,
    /// The webhook that is asked about tokens that nobody else knows.
    pub webhook: Option<TokenWebhookOptions>,
    /// What nobody in particular may ask.
    pub anonymous: Anonymous,
}

/// Which requests may come from nobody in particular. What they may do is for authorization to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Anonymous {
    /// Health and version, and what a machine must know to join.
    #[default]
    Health,
    /// None.
    None,
    /// Those to these paths.
    Paths(Vec<String>),
    /// All.
    All,
}

impl Anonymous {
    /// Whether a request to this path may come from nobody.
    pub(crate) fn may_ask(&self, path: &str) -> bool {
        let under = |open: &&str| path.strip_prefix(*open).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        match self {
            Self::Health => OPEN_PATHS.iter().any(under) || path == CLUSTER_INFO,
            Self::None => false,
            Self::Paths(paths) => paths.iter().any(|open| open == path),
            Self::All => true,
        }
    }
}

/// What the `--oidc-*` flags say: one issuer.
#[derive(Clone, Debug, Default)]
pub struct Oidc {
    /// The issuer's URL.
    pub issuer_url: String,
    /// The audience that its tokens must have.
    pub client_id: String,
    /// The claim that is the user's name; `sub` if empty.
    pub username_claim: String,
    /// What stands before the name: the issuer's URL and `#` if nothing is said (nothing for `email`), nothing for `-`.
    pub username_prefix: Option<String>,
    /// The claim that is the user's groups, if any.
    pub groups_claim: Option<String>,
    /// What stands before each group.
    pub groups_prefix: String,
    /// PEM of the authorities that its certificate may come from; the system's if empty.
    pub ca_pem: String,
    /// Claims that must have these values.
    pub required_claims: Vec<(String, String)>,
    /// The algorithms that it signs with; RS256 if empty.
    pub signing_algs: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    api_version: String,
    kind: String,
    #[serde(default)]
    jwt: Vec<Jwt>,
    anonymous: Option<AnonymousFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnonymousFile {
    enabled: bool,
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Condition {
    path: String,
}

/// One issuer, and what its tokens say.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Jwt {
    pub(super) issuer: IssuerFile,
    #[serde(default)]
    pub(super) claim_validation_rules: Vec<ClaimRule>,
    pub(super) claim_mappings: Mappings,
    #[serde(default)]
    pub(super) user_validation_rules: Vec<UserRule>,
    /// A file cannot say; with one, all are good.
    #[serde(skip)]
    pub(super) algorithms: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IssuerFile {
    #[serde(default)]
    pub(super) url: String,
    #[serde(default, rename = "discoveryURL")]
    pub(super) discovery_url: String,
    #[serde(default, rename = "certificateAuthority")]
    pub(super) certificate_authority: String,
    #[serde(default)]
    pub(super) audiences: Vec<String>,
    #[serde(default, rename = "audienceMatchPolicy")]
    audience_match_policy: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct ClaimRule {
    pub(super) claim: String,
    pub(super) required_value: String,
    pub(super) expression: String,
    pub(super) message: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct UserRule {
    pub(super) expression: String,
    pub(super) message: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Mappings {
    pub(super) username: Mapping,
    pub(super) groups: Mapping,
    pub(super) uid: Mapping,
    pub(super) extra: Vec<Extra>,
}

/// Where a part of the user comes from.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Mapping {
    pub(super) claim: String,
    pub(super) prefix: Option<String>,
    pub(super) expression: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Extra {
    pub(super) key: String,
    pub(super) value_expression: String,
}

impl Options {
    /// Reads an `AuthenticationConfiguration`, YAML or JSON.
    ///
    /// # Errors
    /// What is wrong with it, with the path of each field.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: File = serde_yaml_ng::from_str(text).map_err(|error| error.to_string())?;
        check_head(&file.api_version, &file.kind, KIND)?;
        let anonymous = match file.anonymous {
            None => Anonymous::Health,
            Some(AnonymousFile { enabled: false, conditions }) if conditions.is_empty() => Anonymous::None,
            Some(AnonymousFile { enabled: false, .. }) => {
                let why = "enabled should be set to true when conditions are defined";
                return Err(Error::invalid(&Path::new("anonymous").child("conditions"), false, why).to_string());
            }
            Some(AnonymousFile { conditions, .. }) if conditions.is_empty() => Anonymous::All,
            Some(AnonymousFile { conditions, .. }) => {
                Anonymous::Paths(conditions.into_iter().map(|c| c.path).collect())
            }
        };
        let mut issuers = file.jwt;
        for issuer in &mut issuers {
            issuer.algorithms = sampan_auth::jwt::ALGORITHMS.map(str::to_owned).into();
        }
        Ok(Self { issuers, webhook: None, anonymous })
    }

    /// What the flags say of one issuer.
    pub fn of_flags(oidc: &Oidc) -> Self {
        let Oidc { issuer_url, username_claim, groups_claim, .. } = oidc.clone();
        let claim = if username_claim.is_empty() { "sub".to_owned() } else { username_claim };
        let prefix = match oidc.username_prefix.as_deref() {
            None | Some("") if claim == "email" => String::new(),
            None | Some("") => format!("{issuer_url}#"),
            Some("-") => String::new(),
            Some(prefix) => prefix.to_owned(),
        };
        let rule = |(claim, value): &(String, String)| ClaimRule {
            claim: claim.clone(),
            required_value: value.clone(),
            ..ClaimRule::default()
        };
        let groups =
            groups_claim.map(|claim| Mapping { claim, prefix: Some(oidc.groups_prefix.clone()), ..Mapping::default() });
        let jwt = Jwt {
            issuer: IssuerFile {
                url: issuer_url,
                audiences: vec![oidc.client_id.clone()],
                certificate_authority: oidc.ca_pem.clone(),
                ..IssuerFile::default()
            },
            claim_validation_rules: oidc.required_claims.iter().map(rule).collect(),
            claim_mappings: Mappings {
                username: Mapping { claim, prefix: Some(prefix), ..Mapping::default() },
                groups: groups.unwrap_or_default(),
                ..Mappings::default()
            },
            user_validation_rules: Vec::new(),
            algorithms: oidc.signing_algs.clone(),
        };
        Self { issuers: vec![jwt], ..Self::default() }
    }

    /// Whether it can be used; `own` is the issuer of this cluster's own tokens.
    ///
    /// # Errors
    /// What is wrong with it, with the path of each field.
    pub fn check(&self, own: &str) -> Result<(), String> {
        let (mut faults, mut seen) = (Vec::new(), BTreeSet::new());
        let root = Path::new("jwt");
        if self.issuers.len() > MAX_ISSUERS {
            faults.push(Error::too_many(&root, self.issuers.len(), MAX_ISSUERS));
        }
        for (index, jwt) in self.issuers.iter().enumerate() {
            let path = root.index(index);
            let issuer = path.child("issuer");
            faults.extend(issuer_faults(&jwt.issuer, &issuer));
            let url = &jwt.issuer.url;
            if !seen.insert(url) {
                faults.push(Error::duplicate(&issuer.child("url"), url.clone()));
            }
            if url == own {
                let why = format!("URL must not overlap with disallowed issuers: [{own}]");
                faults.push(Error::invalid(&issuer.child("url"), url.clone(), why));
            }
            let known = |name: &&String| sampan_auth::jwt::ALGORITHMS.contains(&name.as_str());
            if let Some(algorithm) = jwt.algorithms.iter().find(|name| !known(name)) {
                return Err(format!("oidc: unsupported signing alg: {algorithm:?}"));
            }
            faults.extend(Mapper::compile(jwt, &path).err().into_iter().flatten());
        }
        if faults.is_empty() {
            return Ok(());
        }
        Err(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
    }
}

fn issuer_faults(issuer: &IssuerFile, path: &Path) -> Vec<Error> {
    let mut faults = url_faults(&issuer.url, &path.child("url"));
    if !issuer.discovery_url.is_empty() {
        let path = path.child("discoveryURL");
        faults.extend(url_faults(&issuer.discovery_url, &path));
        if issuer.discovery_url.trim_end_matches('/') == issuer.url.trim_end_matches('/') {
            faults.push(Error::invalid(&path, issuer.discovery_url.clone(), "discoveryURL must be different from URL"));
        }
    }
    let audiences = path.child("audiences");
    if issuer.audiences.is_empty() {
        faults.push(Error::required(&audiences, format!("at least one {audiences} is required")));
    }
    for (index, _) in issuer.audiences.iter().enumerate().filter(|(_, audience)| audience.is_empty()) {
        faults.push(Error::required(&audiences.index(index), "audience can't be empty"));
    }
    let policy = path.child("audienceMatchPolicy");
    match (issuer.audience_match_policy.as_str(), issuer.audiences.len()) {
        ("MatchAny", _) | ("", 0 | 1) => {}
        ("", _) => {
            faults.push(Error::invalid(&policy, "", "audienceMatchPolicy must be MatchAny for multiple audiences"));
        }
        (other, _) => {
            let why = "audienceMatchPolicy must be empty or MatchAny for single audience";
            faults.push(Error::invalid(&policy, other, why));
        }
    }
    faults
}

fn url_faults(url: &str, path: &Path) -> Vec<Error> {
    let invalid = |why: &str| vec![Error::invalid(path, url, why)];
    if url.is_empty() {
        return vec![Error::required(path, "URL is required")];
    }
    let Some(rest) = url.strip_prefix("https://") else { return invalid("URL scheme must be https") };
    if url.parse::<http::Uri>().is_err() || rest.starts_with('/') || rest.is_empty() {
        return invalid("it is no URL");
    }
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return vec![Error::invalid(path, "", "URL must not contain a username or password")];
    }
    if url.contains('?') {
        return invalid("URL must not contain a query");
    }
    if url.contains('#') { invalid("URL must not contain a fragment") } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n";

    #[track_caller]
    fn check(jwt: &str, want: &str) {
        let text = format!("{HEAD}jwt:\n- {}", jwt.replace('\n', "\n  "));
        let got = Options::parse(&text).and_then(|options| options.check("https://own")).err().unwrap_or_default();
        assert_eq!(got, want, "{text}");
    }

    const MAPPED: &str = "claimMappings: {username: {claim: sub, prefix: ''}}";

    #[test]
    fn faults_are_named() {
        let issuer = |issuer: &str| format!("issuer: {{{issuer}}}\n{MAPPED}");
        check(&issuer("url: 'https://a/b', audiences: [x]"), "");
        check(&issuer("audiences: [x]"), "jwt[0].issuer.url: Required value: URL is required");
        check(
            &issuer("url: 'http://a', audiences: [x]"),
            "jwt[0].issuer.url: Invalid value: \"http://a\": URL scheme must be https",
        );
        check(
            &issuer("url: 'https://own', audiences: [x]"),
            "jwt[0].issuer.url: Invalid value: \"https://own\": URL must not overlap with disallowed issuers: [https://own]",
        );
        check(
            &issuer("url: 'https://a'"),
            "jwt[0].issuer.audiences: Required value: at least one jwt[0].issuer.audiences is required",
        );
        check(
            &issuer("url: 'https://a', audiences: [x, y]"),
            "jwt[0].issuer.audienceMatchPolicy: Invalid value: \"\": audienceMatchPolicy must be MatchAny for multiple audiences",
        );
        check(&issuer("url: 'https://a', audiences: [x, y], audienceMatchPolicy: MatchAny"), "");
        let a = "issuer: {url: 'https://a', audiences: [x]}";
        check(
            &format!("{a}\nclaimMappings: {{}}"),
            "jwt[0].claimMappings.username: Required value: claim or expression is required",
        );
        check(
            &format!("{a}\nclaimMappings: {{username: {{claim: sub}}}}"),
            "jwt[0].claimMappings.username.prefix: Required value: prefix is required when claim is set. It can be set to an empty string to disable prefixing",
        );
        assert!(Options::parse("apiVersion: v1\nkind: X").unwrap_err().contains("AuthenticationConfiguration"));
        assert!(Options::parse(&format!("{HEAD}jtw: []")).unwrap_err().contains("unknown field `jtw`"));
    }

    #[test]
    fn nobody_may_ask() {
        let parse = |text: &str| Options::parse(&format!("{HEAD}{text}")).map(|options| options.anonymous);
        let check = |anonymous: &Anonymous, path: &str, want: bool| assert_eq!(anonymous.may_ask(path), want, "{path}");
        let health = parse("").unwrap();
        check(&health, "/readyz/ping", true);
        check(&health, "/readyzx", false);
        check(&health, "/api", false);
        check(&health, CLUSTER_INFO, true);
        check(&health, "/api/v1/namespaces/kube-public/configmaps", false);
        check(&parse("anonymous: {enabled: false}").unwrap(), "/readyz", false);
        check(&parse("anonymous: {enabled: true}").unwrap(), "/api", true);
        let some = parse("anonymous: {enabled: true, conditions: [{path: /livez}]}").unwrap();
        check(&some, "/livez", true);
        check(&some, "/livez/ping", false);
        check(&some, "/readyz", false);
        assert!(parse("anonymous: {enabled: false, conditions: [{path: /livez}]}").is_err());
    }

    #[test]
    fn flags_say_the_same() {
        let check = |claim: &str, prefix: Option<&str>, want: &str| {
            let options = Options::of_flags(&Oidc {
                issuer_url: "https://a".to_owned(),
                client_id: "k".to_owned(),
                username_claim: claim.to_owned(),
                username_prefix: prefix.map(str::to_owned),
                ..Oidc::default()
            });
            options.check("https://own").unwrap();
            let username = &options.issuers[0].claim_mappings.username;
            assert_eq!(format!("{}{}", username.prefix.as_deref().unwrap(), username.claim), want);
        };
        check("", None, "https://a#sub");
        check("email", None, "email");
        check("sub", Some("-"), "sub");
        check("sub", Some("oidc:"), "oidc:sub");
        let other = Oidc { issuer_url: "https://a".to_owned(), client_id: "k".to_owned(), ..Oidc::default() };
        let other = Options::of_flags(&Oidc { signing_algs: vec!["HS256".to_owned()], ..other });
        assert_eq!(other.check("").unwrap_err(), "oidc: unsupported signing alg: \"HS256\"");
    }
}
