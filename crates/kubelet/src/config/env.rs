//! The environment of a container: `envFrom`, Services, then `env`, each able to refer to what stands before it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    ClusterTrustBundleProjection, ConfigMap, Container, EnvFromSource, EnvVar, EnvVarSource, FileKeySelector, Pod,
    Secret,
};

use super::env_file;
use super::expand::{MOST_BYTES, expand, too_long};
use super::fields::{self, Facts};
use crate::{Error, spec};

/// Where ConfigMaps and Secrets of the Pod's namespace come from.
pub(crate) trait Objects: Send + Sync {
    /// The ConfigMap of that name, if it exists.
    fn config_map(&self, name: &str) -> Option<Arc<ConfigMap>>;
    /// The Secret of that name, if it exists.
    fn secret(&self, name: &str) -> Option<Arc<Secret>>;
    /// The certificates of the ClusterTrustBundles that `projection` chooses.
    fn trust_bundle(&self, projection: &ClusterTrustBundleProjection) -> Result<String, Error>;
}

/// What an environment is made from.
pub(crate) struct Sources<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) facts: &'a Facts,
    pub(crate) objects: &'a dyn Objects,
    /// The files that variables come from.
    pub(crate) files: &'a Files,
    /// The Services' variables.
    pub(crate) services: BTreeMap<String, String>,
}

/// The content of files by volume and path, nothing for one that is not there.
pub(crate) type Files = BTreeMap<(String, String), Option<String>>;

/// Names and values in order; every name once.
pub(crate) type Env = Vec<(String, Vec<u8>)>;

/// The environment of `container`.
///
/// # Errors
///
/// When a source is missing, or all of it is longer than any program may be given.
pub(crate) fn environment(sources: &Sources<'_>, container: &Container) -> Result<Env, Error> {
    let mut known: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut room = MOST_BYTES;
    let mut take = |name: &str, value: &[u8]| {
        room = room.checked_sub(name.len() + value.len()).ok_or_else(too_long)?;
        Ok::<_, Error>(())
    };
    for from in container.env_from.iter().flatten() {
        for (name, value) in all_of(sources, from)? {
            take(&name, &value)?;
            known.insert(name, value);
        }
    }
    let listed = container.env.as_deref().unwrap_or_default();
    let mut last: HashMap<&str, usize> = HashMap::new();
    for (index, variable) in listed.iter().enumerate() {
        let Some(value) = value(sources, container, variable, &known)? else { continue };
        take(&variable.name, &value)?;
        known.insert(variable.name.clone(), value);
        last.insert(&variable.name, index);
    }
    for (name, value) in &sources.services {
        known.entry(name.clone()).or_insert_with(|| value.clone().into_bytes());
    }
    // A name is listed once, where it was last given a value.
    let listed = listed.iter().enumerate().filter(|(index, variable)| last.get(&*variable.name) == Some(index));
    let mut ordered: Env = listed.filter_map(|(_, variable)| known.remove_entry(&variable.name)).collect();
    ordered.extend(known);
    Ok(ordered)
}

/// The variables by name; those that are no text are not among them.
pub(crate) fn by_name(env: &Env) -> HashMap<&str, &str> {
    env.iter().filter_map(|(name, value)| Some((name.as_str(), std::str::from_utf8(value).ok()?))).collect()
}

fn all_of(sources: &Sources<'_>, from: &EnvFromSource) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let prefix = from.prefix.as_deref().unwrap_or_default();
    let mut all = Vec::new();
    if let Some(reference) = &from.config_map_ref {
        match sources.objects.config_map(&reference.name) {
            Some(map) => {
                let data = map.data.iter().flatten();
                all.extend(data.map(|(key, value)| (format!("{prefix}{key}"), value.clone().into_bytes())));
            }
            None if reference.optional == Some(true) => {}
            None => return Err(no_config_map(&reference.name)),
        }
    }
    if let Some(reference) = &from.secret_ref {
        match sources.objects.secret(&reference.name) {
            Some(secret) => {
                let data = secret.data.iter().flatten();
                all.extend(data.map(|(key, value)| (format!("{prefix}{key}"), value.0.clone())));
            }
            None if reference.optional == Some(true) => {}
            None => return Err(no_secret(&reference.name)),
        }
    }
    Ok(all)
}

fn no_config_map(name: &str) -> Error {
    Error::Missing(format!("configmap \"{name}\" not found"))
}

fn no_secret(name: &str) -> Error {
    Error::Missing(format!("secret \"{name}\" not found"))
}

/// The value of `variable`; nothing if it is optional and its source is missing.
fn value(
    sources: &Sources<'_>,
    container: &Container,
    variable: &EnvVar,
    known: &BTreeMap<String, Vec<u8>>,
) -> Result<Option<Vec<u8>>, Error> {
    let Some(from) = &variable.value_from else {
        let lookup = |name: &str| {
            let listed = known.get(name).and_then(|value| std::str::from_utf8(value).ok());
            listed.or_else(|| sources.services.get(name).map(String::as_str))
        };
        return Ok(Some(expand(variable.value.as_deref().unwrap_or_default(), lookup)?.into_bytes()));
    };
    if let Some(selector) = &from.field_ref {
        return fields::field(sources.pod, sources.facts, selector).map(|value| Some(value.into_bytes()));
    }
    if let Some(selector) = &from.resource_field_ref {
        let value = fields::resource(sources.pod, sources.facts, selector, Some(container))?;
        return Ok(Some(value.into_bytes()));
    }
    if let Some(selector) = &from.file_key_ref {
        return of_file(sources, selector);
    }
    keyed(sources, from)
}

/// A key of a file. Texts are upstream's: they do not show what stands in the file.
fn of_file(sources: &Sources<'_>, selector: &FileKeySelector) -> Result<Option<Vec<u8>>, Error> {
    let FileKeySelector { volume_name, path, key, optional } = selector;
    let text = sources.files.get(&(volume_name.clone(), path.clone())).and_then(Option::as_ref);
    let value = match text {
        Some(text) => env_file::value(text, key)
            .map_err(|env_file::Malformed| Error::Config("couldn't parse env file".to_owned()))?,
        None => None,
    };
    match value {
        None if *optional == Some(true) => Ok(None),
        None => Err(Error::Missing(format!("environment variable key {key:?} not found in file {path:?}"))),
        value => Ok(value.map(String::into_bytes)),
    }
}

fn keyed(sources: &Sources<'_>, from: &EnvVarSource) -> Result<Option<Vec<u8>>, Error> {
    let namespace = spec::namespace(sources.pod);
    let (value, optional, missing) = if let Some(selector) = &from.config_map_key_ref {
        let map = sources.objects.config_map(&selector.name);
        let value = map.as_ref().and_then(|map| map.data.as_ref()?.get(&selector.key)).map(|v| v.clone().into_bytes());
        let missing = match map {
            None => no_config_map(&selector.name),
            Some(_) => no_key("ConfigMap", &selector.key, namespace, &selector.name),
        };
        (value, selector.optional, missing)
    } else if let Some(selector) = &from.secret_key_ref {
        let secret = sources.objects.secret(&selector.name);
        let value = secret.as_ref().and_then(|secret| secret.data.as_ref()?.get(&selector.key)).map(|v| v.0.clone());
        let missing = match secret {
            None => no_secret(&selector.name),
            Some(_) => no_key("Secret", &selector.key, namespace, &selector.name),
        };
        (value, selector.optional, missing)
    } else {
        return Ok(Some(Vec::new()));
    };
    match (value, optional) {
        (Some(value), _) => Ok(Some(value)),
        (None, Some(true)) => Ok(None),
        (None, _) => Err(missing),
    }
}

fn no_key(kind: &str, key: &str, namespace: &str, name: &str) -> Error {
    Error::Missing(format!("couldn't find key {key} in {kind} {namespace}/{name}"))
}

#[cfg(test)]
#[path = "env_tests.rs"]
mod tests;
