//! Who you are and what you may do: the cluster's certificate authority, service-account tokens, RBAC,
//! the node authorizer.
//!
//! All decisions are pure functions; nothing here speaks HTTP or reads the API. Start at [`Identity`] (who),
//! [`Attributes`] (what) and [`Authorizer`] (may they).

pub mod authority;
pub mod bootstrap;
pub mod bootstrap_token;
pub mod certificate;
pub mod certificate_request;
pub mod handshake;
pub mod jwt;
pub mod node;
pub mod rbac;
pub mod signing;
pub mod token;

use std::collections::BTreeMap;

/// Why a certificate or a token could not be made or believed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Making or reading a key or a certificate failed.
    #[error("certificate authority: {0}")]
    Authority(#[from] rcgen::Error),
    /// A certificate says nothing usable.
    #[error("certificate: {0}")]
    Certificate(String),
    /// There is no way to make a key of this type here.
    #[error("keys of the type {0:?} cannot be made on this node; ED25519, ECDSAP256 and ECDSAP384 can")]
    KeyType(String),
    /// The system gives no randomness.
    #[error("the system gives no randomness")]
    Random,
    /// A token is not to be believed, or could not be signed.
    #[error("token: {0}")]
    Token(String),
}

/// Fills `bytes` with randomness for keys.
pub fn random(bytes: &mut [u8]) -> Result<(), Error> {
    use ring::rand::SecureRandom as _;
    ring::rand::SystemRandom::new().fill(bytes).map_err(|_| Error::Random)
}

/// Everyone who has shown who they are.
pub const AUTHENTICATED: &str = "system:authenticated";
/// Everyone who has not.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The user who has not.
pub const ANONYMOUS: &str = "system:anonymous";

/// What of a user's `extra` says which credential was shown.
pub const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// An authenticated user, as upstream's `user.Info`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// User name: `system:kube-scheduler`, `system:serviceaccount:ns:name`.
    pub name: String,
    /// UID, where the user has one.
    pub uid: String,
    /// Groups: `system:masters`, `system:authenticated`.
    pub groups: Vec<String>,
    /// Whatever else is known of them.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// Where a request came from, put into its extensions by the transport: the one input to authentication besides
/// the request's own headers.
#[derive(Clone, Debug)]
pub enum Peer {
    /// A connection from the network.
    Remote {
        /// The other end.
        address: std::net::SocketAddr,
        /// Whom its certificate names, if it showed one of the authority of users.
        user: Option<Identity>,
        /// Whether it is a front proxy: its headers may say who sends a request.
        front_proxy: bool,
        /// Whether it showed a certificate that the authority of users does not vouch for.
        stranger: bool,
    },
    /// A component in this process, with the identity it was started with.
    InProcess(Identity),
}

/// What a request wants to do, as the authorizer sees it.
#[derive(Clone, Debug, Default)]
pub struct Attributes {
    /// `get`, `list`, `create`, ...; the lower-case HTTP method for paths that are no resource.
    pub verb: String,
    /// API group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural resource; empty for paths that are no resource.
    pub resource: String,
    /// Subresource: `status`, `log`.
    pub subresource: String,
    /// Namespace; empty for cluster scope.
    pub namespace: String,
    /// Object name; empty for collections.
    pub name: String,
    /// The request path.
    pub path: String,
    /// Fields that a collection is narrowed to, by equality: `("spec.nodeName", "n1")`.
    pub fields: Vec<(String, String)>,
}

impl Attributes {
    /// Whether the request narrows itself to objects whose `field` is `value`.
    pub fn selects(&self, field: &str, value: &str) -> bool {
        self.fields.iter().any(|(f, v)| f == field && v == value)
    }
}

/// An authorizer's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes, and why.
    Allow(String),
    /// No, whatever others say, and why. Of those here none is so sure; webhooks may be.
    Deny(String),
    /// Nothing allows it; what is known of the reason.
    NoOpinion(String),
}

/// Decides whether `who` may do `what`. Pure over the rules it holds; cheap enough for every request.
pub trait Authorizer: Send + Sync {
    /// The decision.
    fn authorize(&self, who: &Identity, what: &Attributes) -> Decision;
}
