//! What upstream's files of configuration have in common.

const GROUP: &str = "apiserver.config.k8s.io";
const VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// Whether a file is what it is taken for: a `wanted` in a version that is understood.
pub(crate) fn check_head(api_version: &str, kind: &str, wanted: &str) -> Result<(), String> {
    let (group, version) = api_version.split_once('/').unwrap_or_default();
    if kind == wanted && group == GROUP && VERSIONS.contains(&version) {
        return Ok(());
    }
    Err(format!("it must be an {wanted} of {GROUP}/v1"))
}
