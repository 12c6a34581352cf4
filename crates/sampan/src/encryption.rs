//! Encryption at rest: which resources the store keeps sealed, and with which keys, in upstream's file form.
//!
//! A cluster that is given no file makes its own, `<data-dir>/encryption.yaml`, with a fresh key for Secrets. To change
//! the key, put a new one before the others and start again: everything is then sealed anew, and the old one can go at
//! the next start.
//!
//! A KMS plugin is asked at the start already, so it cannot be a Pod of the same node.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sampan_apiserver::parse_duration;
use sampan_store::sealed::{Key, Kms, Rule, Way};
use serde::Deserialize;

use crate::pki;

/// The file that a cluster makes for itself.
const OWN_FILE: &str = "encryption.yaml";
/// How long a KMS plugin may take when the file does not say.
const KMS_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes of a key.
const KEY_BYTES: usize = 32;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    api_version: String,
    kind: String,
    resources: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    resources: Vec<String>,
    providers: Vec<Provider>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Provider {
    aesgcm: Option<Keys>,
    kms: Option<KmsPlugin>,
    identity: Option<Empty>,
}

/// `apiVersion: v2, name: vault, endpoint: unix:///run/kms.sock, timeout: 3s`
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KmsPlugin {
    api_version: Option<String>,
    name: String,
    endpoint: String,
    timeout: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    keys: Vec<NamedKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedKey {
    name: String,
    secret: String,
}

/// The rules of the file `given`, or of the cluster's own file in `data_dir`. A store that holds something already, from
/// before there was a key, is read as it is until it has been sealed.
pub(crate) fn rules(given: Option<&Path>, data_dir: &Path) -> Result<Vec<Rule>> {
    let own = data_dir.join(OWN_FILE);
    let path = given.unwrap_or(&own);
    if given.is_none() && !own.exists() {
        let holds = fs::read_dir(data_dir.join("store")).is_ok_and(|mut entries| entries.next().is_some());
        pki::write(&own, fresh(holds)?.as_bytes(), 0o600)?;
    }
    let reading = || format!("reading the encryption configuration {}", path.display());
    parse(&fs::read_to_string(path).with_context(reading)?).with_context(reading)
}

/// A file with a new key. With `unsealed`, what lies in the store in the clear is read as well.
fn fresh(unsealed: bool) -> Result<String> {
    let mut secret = [0_u8; KEY_BYTES];
    sampan_auth::random(&mut secret).context("making the key for encryption at rest")?;
    let identity = if unsealed { "\n  - identity: {}" } else { "" };
    Ok(format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  \
         providers:\n  - aesgcm:\n      keys:\n      - name: key1\n        secret: {}{identity}\n",
        STANDARD.encode(secret)
    ))
}

fn parse(text: &str) -> Result<Vec<Rule>> {
    let file: File = serde_yaml_ng::from_str(text).context(
        "it is no EncryptionConfiguration that is understood here; the providers are aesgcm, kms and identity",
    )?;
    if (file.api_version.as_str(), file.kind.as_str()) != ("apiserver.config.k8s.io/v1", "EncryptionConfiguration") {
        bail!("it must be an EncryptionConfiguration of apiserver.config.k8s.io/v1");
    }
    let (mut rules, mut plugins) = (Vec::new(), HashSet::new());
    for (at, group) in file.resources.iter().enumerate() {
        if group.providers.is_empty() {
            bail!("resources[{at}].providers: Required value: at least one is needed");
        }
        let ways: Arc<[Way]> = ways(&group.providers, &mut plugins)?.into();
        for resource in &group.resources {
            let prefix = sampan_apiserver::storage_prefix(resource)
                .with_context(|| format!("resources[{at}].resources: there is no resource {resource:?}"))?;
            let prefix = prefix.into();
            if rules.iter().any(|rule: &Rule| rule.prefix == prefix) {
                bail!("resources[{at}].resources: {resource:?} is there twice: only the first would count");
            }
            rules.push(Rule { prefix, ways: Arc::clone(&ways) });
        }
    }
    Ok(rules)
}

fn ways<'f>(providers: &'f [Provider], plugins: &mut HashSet<&'f str>) -> Result<Vec<Way>> {
    let mut ways = Vec::new();
    for Provider { aesgcm, kms, identity } in providers {
        for NamedKey { name, secret } in aesgcm.iter().flat_map(|keys| &keys.keys) {
            let secret =
                STANDARD.decode(secret).with_context(|| format!("the secret of the key {name:?} is no base64"))?;
            let key = Key::aes_gcm(name, &secret).with_context(|| {
                format!("the key {name:?} needs a name without colons and a secret of 16 or 32 bytes")
            })?;
            ways.push(Way::Key(Box::new(key)));
        }
        if let Some(plugin) = kms {
            if !plugins.insert(&plugin.name) {
                bail!("there is more than one kms provider {:?}: each needs a name of its own", plugin.name);
            }
            ways.push(Way::Kms(Arc::new(plugin.open()?)));
        }
        ways.extend(identity.iter().map(|_| Way::Plain));
    }
    if ways.is_empty() {
        bail!("a provider is either aesgcm with keys, kms or identity");
    }
    Ok(ways)
}

impl KmsPlugin {
    fn open(&self) -> Result<Kms> {
        let Self { api_version, name, endpoint, timeout } = self;
        if api_version.as_deref() != Some("v2") {
            bail!("the kms provider {name:?} needs apiVersion: v2; version 1 of the plugins' API is not spoken here");
        }
        let timeout = match timeout.as_deref() {
            None => KMS_TIMEOUT,
            Some(text) => parse_duration(text).filter(|timeout| !timeout.is_zero()).with_context(|| {
                format!("the timeout {text:?} of the kms provider {name:?} is no length of time like 3s")
            })?,
        };
        Ok(Kms::new(name, endpoint, timeout)?)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use bytes::Bytes;
    use sampan_store::embedded::{Embedded, Options};
    use sampan_store::sealed::Sealed;
    use sampan_store::{Store, Write};

    use super::*;

    #[test]
    fn a_cluster_makes_one_key_and_keeps_it() {
        let dir = tempfile::tempdir().unwrap();
        let rules = rules(None, dir.path()).unwrap();
        assert_eq!((rules.len(), rules[0].ways.len()), (1, 1));
        assert_eq!(rules[0].prefix, "/registry/secrets/");
        let path = dir.path().join(OWN_FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        super::rules(None, dir.path()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn a_store_from_before_is_read_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("store/segment")).unwrap();
        let rules = rules(None, dir.path()).unwrap();
        assert!(matches!(rules[0].ways[..], [Way::Key(_), Way::Plain]));
    }

    /// Reads what is under `key` with the keys of a file, after all was sealed with the first of them; how many were.
    async fn turn(dir: &Path, keys: &[(&str, u8)], key: &'static [u8]) -> Result<(usize, String)> {
        let list: Vec<String> = keys
            .iter()
            .map(|(name, byte)| format!("{{name: {name}, secret: {}}}", STANDARD.encode([*byte; KEY_BYTES])))
            .collect();
        let text = format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  \
             providers: [{{aesgcm: {{keys: [{}]}}}}]",
            list.join(", ")
        );
        let file = dir.join("given.yaml");
        fs::write(&file, text)?;
        let inner = Arc::new(Embedded::open(Options { dir: dir.join("store") })?);
        let sealed = Sealed::new(Arc::clone(&inner) as Arc<dyn Store>, rules(Some(&file), dir)?);
        let count = sealed.reseal().await;
        if inner.get(key, None).await?.is_none() {
            sealed.write(Write::Create { key: Bytes::from_static(key), value: "hidden".into() }).await?;
        }
        let found = sealed.get(key, None).await;
        inner.close().await;
        let found = found?.context("it is gone")?;
        Ok((count?, String::from_utf8(found.value.to_vec())?))
    }

    #[tokio::test]
    async fn a_key_is_changed_in_two_starts() {
        const SECRET: &[u8] = b"/registry/secrets/ns/s";
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (("key1", 1), ("key2", 2));
        let read = |sealed| (sealed, "hidden".to_owned());
        assert_eq!(turn(dir.path(), &[old], SECRET).await.unwrap(), read(0));
        assert_eq!(turn(dir.path(), &[new, old], SECRET).await.unwrap(), read(1), "sealed anew");
        assert_eq!(turn(dir.path(), &[new, old], SECRET).await.unwrap(), read(0));
        assert_eq!(turn(dir.path(), &[new], SECRET).await.unwrap(), read(0), "the old key may go");
        assert!(turn(dir.path(), &[old], SECRET).await.is_err(), "it opens nothing any more");
        // Two keys of one name are tried in turn.
        assert_eq!(turn(dir.path(), &[("key2", 7), new], SECRET).await.unwrap().1, "hidden");
    }

    #[test]
    fn faults_are_named() {
        let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [";
        for (rest, part) in [
            ("nonsense]\n  providers: [{identity: {}}]", "there is no resource \"nonsense\""),
            ("secrets]\n  providers: []", "at least one is needed"),
            ("secrets]\n  providers: [{aescbc: {}}]", "the providers are aesgcm, kms and identity"),
            ("secrets]\n  providers: [{kms: {name: a, endpoint: 'unix:///a'}}]", "needs apiVersion: v2"),
            ("secrets]\n  providers: [{kms: {apiVersion: v2, name: a, endpoint: /a}}]", "is no unix:///path"),
            (
                "secrets]\n  providers: [{kms: {apiVersion: v2, name: a, endpoint: 'unix:///a', timeout: 0s}}]",
                "the timeout \"0s\"",
            ),
            (
                "secrets]\n  providers: [{kms: &k {apiVersion: v2, name: a, endpoint: 'unix:///a'}}, {kms: *k}]",
                "more than one kms provider \"a\"",
            ),
            ("secrets]\n  providers: [{aesgcm: {keys: [{name: a, secret: '!'}]}}]", "is no base64"),
            ("secrets]\n  providers: [{aesgcm: {keys: [{name: a, secret: AAAA}]}}]", "16 or 32 bytes"),
        ] {
            let Err(error) = parse(&format!("{head}{rest}")) else { panic!("{rest}") };
            assert!(format!("{error:#}").contains(part), "{error:#}");
        }
    }
}
