//! The names of custom kinds, which come at run time where those of built-in kinds are part of the program.
//!
//! Everything else about a custom kind is freed when it goes. Its names are kept for the life of the process, so that
//! all kinds can be spoken of in the same way; each is kept once, however often its definition changes, comes or goes,
//! and all of them together are bounded by `MAX_BYTES`.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::kind::{Kind, NameRule, Rules, Scope, Subresource, Verbs};

/// What all names ever seen may take: enough for some ten thousand kinds.
const MAX_BYTES: usize = 16 << 20;

/// The names of one version of a custom kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names<'a> {
    /// API group.
    pub group: &'a str,
    /// API version.
    pub version: &'a str,
    /// `CronTab`
    pub kind: &'a str,
    /// `crontabs`
    pub plural: &'a str,
    /// `crontab`
    pub singular: &'a str,
    /// `ct`
    pub short_names: Vec<&'a str>,
    /// `all`
    pub categories: Vec<&'a str>,
    /// Where its objects live.
    pub scope: Scope,
    /// Whether there is `status`.
    pub status: bool,
    /// Whether there is `scale`.
    pub scale: bool,
}

/// There is no room for more names.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the names of custom kinds that this server has seen since its start fill {MAX_BYTES} bytes; restart it to forget them"
)]
pub struct Full;

struct NoRules;

impl Rules for NoRules {}

#[derive(Default)]
struct Interned {
    texts: HashSet<&'static str>,
    lists: HashSet<&'static [&'static str]>,
    kinds: Vec<&'static Kind>,
    used_bytes: usize,
}

static INTERNED: Mutex<Option<Interned>> = Mutex::new(None);

/// The descriptor for these names; the same one each time.
pub(super) fn intern(names: &Names<'_>) -> Result<&'static Kind, Full> {
    with(|interned| interned.kind(names))
}

/// A list of texts; the same one each time.
pub(super) fn intern_list(texts: &[&str]) -> Result<&'static [&'static str], Full> {
    with(|interned| interned.list(texts))
}

fn with<T>(work: impl FnOnce(&mut Interned) -> T) -> T {
    let mut interned = INTERNED.lock().unwrap_or_else(PoisonError::into_inner);
    work(interned.get_or_insert_default())
}

impl Interned {
    fn spend(&mut self, bytes: usize) -> Result<(), Full> {
        self.used_bytes = self.used_bytes.checked_add(bytes).filter(|used| *used <= MAX_BYTES).ok_or(Full)?;
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<&'static str, Full> {
        if let Some(known) = self.texts.get(text) {
            return Ok(known);
        }
        self.spend(text.len() + size_of::<&str>())?;
        let kept: &'static str = Box::leak(Box::from(text));
        self.texts.insert(kept);
        Ok(kept)
    }

    fn list(&mut self, texts: &[&str]) -> Result<&'static [&'static str], Full> {
        let list = texts.iter().map(|text| self.text(text)).collect::<Result<Vec<_>, _>>()?;
        if let Some(known) = self.lists.get(list.as_slice()) {
            return Ok(known);
        }
        self.spend(size_of_val(list.as_slice()))?;
        let kept: &'static [&'static str] = Box::leak(list.into_boxed_slice());
        self.lists.insert(kept);
        Ok(kept)
    }

    fn kind(&mut self, names: &Names<'_>) -> Result<&'static Kind, Full> {
        if let Some(known) = self.kinds.iter().find(|known| same(known, names)) {
            return Ok(known);
        }
        let gvk = (self.text(names.group)?, self.text(names.version)?, self.text(names.kind)?);
        let kind = Kind {
            group: gvk.0,
            version: gvk.1,
            kind: gvk.2,
            plural: self.text(names.plural)?,
            singular: self.text(names.singular)?,
            short_names: self.list(&names.short_names)?,
            categories: self.list(&names.categories)?,
            scope: names.scope,
            verbs: Verbs::All,
            names: NameRule::Subdomain,
            subresources: Box::leak(subresources(gvk, names).into_boxed_slice()),
            schema: self.text(&format!("{}.{}.{}", reversed(names.group), names.version, names.kind))?,
            storage: self.text(&format!("{}.{}", names.plural, names.group))?,
            columns: &[],
            rules: &NoRules,
        };
        self.spend(size_of::<Kind>() + 2 * size_of::<Subresource>())?;
        let kept: &'static Kind = Box::leak(Box::new(kind));
        self.kinds.push(kept);
        Ok(kept)
    }
}

fn subresources(gvk: (&'static str, &'static str, &'static str), names: &Names<'_>) -> Vec<Subresource> {
    const VERBS: &[&str] = &["get", "patch", "update"];
    let scale = Subresource { name: "scale", gvk: ("autoscaling", "v1", "Scale"), verbs: VERBS };
    let status = Subresource { name: "status", gvk, verbs: VERBS };
    [names.status.then_some(status), names.scale.then_some(scale)].into_iter().flatten().collect()
}

/// `example.com` as OpenAPI names it: `com.example`.
fn reversed(group: &str) -> String {
    group.rsplit('.').collect::<Vec<_>>().join(".")
}

fn same(known: &Kind, names: &Names<'_>) -> bool {
    let has = |name: &str| known.subresources.iter().any(|sub| sub.name == name);
    (known.group, known.version, known.kind) == (names.group, names.version, names.kind)
        && (known.plural, known.singular) == (names.plural, names.singular)
        && known.short_names == names.short_names
        && known.categories == names.categories
        && known.scope == names.scope
        && (has("status"), has("scale")) == (names.status, names.scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names<'static> {
        Names {
            group: "example.com",
            version: "v1",
            kind: "CronTab",
            plural: "crontabs",
            singular: "crontab",
            short_names: vec!["ct"],
            categories: vec![],
            scope: Scope::Namespaced,
            status: true,
            scale: false,
        }
    }

    #[test]
    fn names_are_kept_once() {
        let first = intern(&names()).unwrap();
        assert!(std::ptr::eq(first, intern(&names()).unwrap()));
        let scaled = intern(&Names { scale: true, ..names() }).unwrap();
        assert!(!std::ptr::eq(first, scaled));
        assert_eq!((first.schema, first.storage), ("com.example.v1.CronTab", "crontabs.example.com"));
        assert_eq!(scaled.subresources.len(), 2);
    }

    #[test]
    fn names_are_bounded() {
        let mut interned = Interned { used_bytes: MAX_BYTES, ..Interned::default() };
        assert_eq!(interned.kind(&names()).err(), Some(Full));
    }
}
