//! Where in a YAML text a key is said twice. Parsed YAML no longer knows its lines, so the text is read again, once for
//! each key, until the parser stops at it: this is for texts that are refused.

use std::collections::HashSet;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// At most this many are told.
const MAX_TOLD: usize = 10;

/// The repeated keys with their lines, as upstream's parser words them.
pub(super) fn told(yaml: &[u8]) -> String {
    let lines: Vec<String> = (0..MAX_TOLD).map_while(|passed| next(yaml, passed)).collect();
    format!("yaml: unmarshal errors:\n  {}", lines.join("\n  "))
}

/// The repeated key behind the first `passed` ones.
fn next(yaml: &[u8], passed: usize) -> Option<String> {
    let mut search = Search { passed, found: None };
    let error = search.deserialize(serde_yaml_ng::Deserializer::from_slice(yaml)).err()?;
    let (key, line) = (search.found?, error.location()?.line());
    Some(format!("line {line}: key {key:?} already set in map"))
}

/// Fails at a repeated key, which tells its place.
struct Search {
    passed: usize,
    found: Option<String>,
}

impl<'de> DeserializeSeed<'de> for &mut Search {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Search {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(&mut *self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while fields.next_key_seed(Key { seen: &mut seen, search: self })?.is_some() {
            fields.next_value_seed(&mut *self)?;
        }
        Ok(())
    }
}

/// A key of a map of which `seen` are the keys before.
struct Key<'a> {
    seen: &'a mut HashSet<String>,
    search: &'a mut Search,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Key<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_bool<E: de::Error>(self, key: bool) -> Result<(), E> {
        self.visit_str(&key.to_string())
    }

    fn visit_i64<E: de::Error>(self, key: i64) -> Result<(), E> {
        self.visit_str(&key.to_string())
    }

    fn visit_u64<E: de::Error>(self, key: u64) -> Result<(), E> {
        self.visit_str(&key.to_string())
    }

    fn visit_f64<E: de::Error>(self, key: f64) -> Result<(), E> {
        self.visit_str(&key.to_string())
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<(), E> {
        if self.seen.insert(key.to_owned()) {
            return Ok(());
        }
        if let Some(rest) = self.search.passed.checked_sub(1) {
            self.search.passed = rest;
            return Ok(());
        }
        self.search.found = Some(key.to_owned());
        Err(E::custom("a repeated key"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::told;

    #[test]
    fn repeated_keys_have_lines() {
        let yaml = "\na: 1\nb:\n  c: 1\n  c: 2\n  d: [{e: 1, e: 2}]\na: 2\n";
        assert_eq!(
            told(yaml.as_bytes()),
            "yaml: unmarshal errors:\n  line 5: key \"c\" already set in map\n  line 6: key \"e\" already set in map\n  \
             line 7: key \"a\" already set in map"
        );
    }

    #[test]
    fn as_many_as_are_told_are_looked_for() {
        let yaml = "a: 1\n".repeat(50);
        assert_eq!(told(yaml.as_bytes()).lines().count(), 11);
    }
}
