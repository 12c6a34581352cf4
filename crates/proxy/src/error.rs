//! What can go wrong, and to what.

/// Why the proxy could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A network or address of a family that is not served (yet).
    #[error("{0} is not IPv4")]
    Family(String),
    /// The node's Pod range is too wide for the set of its addresses.
    #[error("the node's Pod range {range} is wider than /{widest}")]
    Range {
        /// The range in CIDR form.
        range: String,
        /// The shortest prefix that is served.
        widest: u8,
    },
}
