//! The administrator's kubeconfig: a file of its own, and a context in the calling user's `~/.kube/config`, which goes
//! with the cluster.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sampan_auth::authority::Issued;
use serde_yaml_ng::{Mapping, Value};

/// How to reach a cluster as its administrator.
pub(crate) struct Access<'a> {
    /// Name of the cluster, user and context.
    pub(crate) name: &'a str,
    /// `https://127.0.0.1:6443`
    pub(crate) server: &'a str,
    /// The authority to trust, PEM.
    pub(crate) ca_pem: &'a str,
    /// The administrator's certificate.
    pub(crate) client: &'a Issued,
}

/// Writes the kubeconfig to `path`, readable by its owner alone.
pub(crate) fn write(path: &Path, access: &Access<'_>) -> Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(|| format!("making the directory {}", dir.display()))?;
    }
    let merged = merge(Value::Null, access)?;
    crate::pki::write(path, serde_yaml_ng::to_string(&merged)?.as_bytes(), 0o600)
}

/// Adds the context to the calling user's `~/.kube/config`, leaving everything else in it as it is. Returns the file.
pub(crate) fn merge_into_home(access: &Access<'_>) -> Result<Option<PathBuf>> {
    let Some(user) = calling_user()? else { return Ok(None) };
    let dir = user.dir.join(".kube");
    let path = dir.join("config");
    let existing = read(&path)?.unwrap_or(Value::Null);
    let fresh_dir = !dir.exists();
    fs::create_dir_all(&dir).with_context(|| format!("making the directory {}", dir.display()))?;
    let merged = merge(existing, access).with_context(|| format!("adding a context to {}", path.display()))?;
    write_for(&user, &path, &merged)?;
    if fresh_dir {
        own(&user, &dir)?;
    }
    Ok(Some(path))
}

/// Takes the context `name` out of the calling user's `~/.kube/config` if it leads to the cluster of this authority, and
/// its cluster and user with it. Everything else stays as it is.
pub(crate) fn remove_from_home(name: &str, ca_pem: &str) -> Result<()> {
    let Some(user) = calling_user()? else { return Ok(()) };
    let path = user.dir.join(".kube").join("config");
    match read(&path)?.and_then(|existing| without(existing, name, ca_pem)) {
        Some(rest) => write_for(&user, &path, &rest),
        None => Ok(()),
    }
}

fn read(path: &Path) -> Result<Option<Value>> {
    match fs::read_to_string(path) {
        Ok(text) => serde_yaml_ng::from_str(&text)
            .map(Some)
            .with_context(|| format!("{} is no YAML; mend or move it, then run this again", path.display())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| format!("reading {}", path.display())),
    }
}

fn write_for(user: &nix::unistd::User, path: &Path, config: &Value) -> Result<()> {
    crate::pki::write(path, serde_yaml_ng::to_string(config)?.as_bytes(), 0o600)?;
    own(user, path)
}

fn own(user: &nix::unistd::User, path: &Path) -> Result<()> {
    nix::unistd::chown(path, Some(user.uid), Some(user.gid)).with_context(|| format!("owning {}", path.display()))
}

/// Who called: the user behind sudo, or the one we run as.
fn calling_user() -> Result<Option<nix::unistd::User>> {
    let user = match std::env::var("SUDO_USER") {
        Ok(name) => nix::unistd::User::from_name(&name),
        Err(_) => nix::unistd::User::from_uid(nix::unistd::Uid::current()),
    };
    let mut user = user.context("looking up the calling user")?;
    // HOME counts where it is the user's own: a shell may have moved it.
    if let (Some(user), Err(_), Some(home)) = (&mut user, std::env::var("SUDO_USER"), std::env::var_os("HOME")) {
        user.dir = home.into();
    }
    Ok(user)
}

fn merge(existing: Value, access: &Access<'_>) -> Result<Value> {
    let mut root = match existing {
        Value::Mapping(map) => map,
        Value::Null => Mapping::new(),
        _ => bail!("it is no kubeconfig: its top level is not a map"),
    };
    let cluster = map([
        ("certificate-authority-data", Value::from(encode(access.ca_pem))),
        ("server", Value::from(access.server)),
    ]);
    let user = map([
        ("client-certificate-data", Value::from(encode(&access.client.certificate_pem))),
        ("client-key-data", Value::from(encode(&access.client.key_pem))),
    ]);
    let context = map([("cluster", Value::from(access.name)), ("user", Value::from(access.name))]);
    root.entry("apiVersion".into()).or_insert_with(|| "v1".into());
    root.entry("kind".into()).or_insert_with(|| "Config".into());
    for (list, field, value) in
        [("clusters", "cluster", cluster), ("users", "user", user), ("contexts", "context", context)]
    {
        put(&mut root, list, map([("name", Value::from(access.name)), (field, value)]))?;
    }
    let current = root.entry("current-context".into()).or_insert_with(|| "".into());
    if current.as_str().is_none_or(str::is_empty) {
        *current = access.name.into();
    }
    Ok(Value::Mapping(root))
}

/// The kubeconfig without the cluster `name` of this authority, and what leads to it; `None` if it is not there.
fn without(mut existing: Value, name: &str, ca_pem: &str) -> Option<Value> {
    let authority = encode(ca_pem);
    let is_named = |item: &Value| item["name"] == name;
    let clusters = existing.get("clusters")?.as_sequence()?;
    if !clusters
        .iter()
        .any(|cluster| is_named(cluster) && cluster["cluster"]["certificate-authority-data"] == authority)
    {
        return None;
    }
    for list in ["clusters", "users", "contexts"] {
        if let Some(items) = existing.get_mut(list).and_then(Value::as_sequence_mut) {
            items.retain(|item| !is_named(item));
        }
    }
    if existing["current-context"] == name {
        existing["current-context"] = "".into();
    }
    Some(existing)
}

fn encode(pem: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(pem)
}

fn map<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Mapping(fields.into_iter().map(|(k, v)| (Value::from(k), v)).collect())
}

/// Puts `item` in the named list, in place of the one of the same name.
fn put(root: &mut Mapping, list: &str, item: Value) -> Result<()> {
    let items = root.entry(list.into()).or_insert(Value::Null);
    if items.is_null() {
        *items = Value::Sequence(Vec::new());
    }
    let Value::Sequence(items) = items else { bail!("it is no kubeconfig: {list} is not a list") };
    match items.iter_mut().find(|other| other.get("name") == item.get("name")) {
        Some(other) => *other = item,
        None => items.push(item),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(existing: &str) -> Result<String> {
        let client = Issued { certificate_pem: "c".into(), key_pem: "k".into() };
        let access = Access { name: "sampan", server: "https://127.0.0.1:6443", ca_pem: "ca", client: &client };
        Ok(serde_yaml_ng::to_string(&merge(serde_yaml_ng::from_str(existing)?, &access)?)?)
    }

    #[test]
    fn what_else_is_there_stays() {
        let text =
            merged("current-context: other\nclusters:\n- name: other\n  cluster: {server: x}\npreferences: {a: b}")
                .unwrap();
        let value: Value = serde_yaml_ng::from_str(&text).unwrap();
        assert_eq!(value["current-context"], "other");
        assert_eq!(value["clusters"][0]["cluster"]["server"], "x");
        assert_eq!(value["clusters"][1]["name"], "sampan");
        assert_eq!(value["preferences"]["a"], "b");
    }

    #[test]
    fn an_empty_file_gets_a_current_context_and_a_second_merge_changes_nothing() {
        let once = merged("").unwrap();
        assert!(once.contains("current-context: sampan"));
        assert_eq!(merged(&once).unwrap(), once);
    }

    #[test]
    fn what_was_added_is_taken_out_again_and_nothing_else() {
        let before = "apiVersion: v1\nclusters:\n- name: other\n  cluster: {server: x}\nusers: []\ncontexts: []\nkind: Config\ncurrent-context: ''";
        let before: Value = serde_yaml_ng::from_str(before).unwrap();
        let with = merged(&serde_yaml_ng::to_string(&before).unwrap()).unwrap();
        let with: Value = serde_yaml_ng::from_str(&with).unwrap();
        assert_eq!(with["current-context"], "sampan");
        assert_eq!(without(with.clone(), "sampan", "ca"), Some(before));
        assert_eq!(without(with.clone(), "sampan", "another"), None, "somebody else's of the same name");
        assert_eq!(without(with, "other", "ca"), None);
        assert_eq!(without(Value::Null, "sampan", "ca"), None);
    }

    #[test]
    fn what_is_no_kubeconfig_is_left_alone() {
        assert!(merged("[1, 2]").is_err());
        assert!(merged("clusters: 5").is_err());
    }
}
