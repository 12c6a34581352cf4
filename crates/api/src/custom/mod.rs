//! Custom kinds: what a CustomResourceDefinition says, as a kind like any other.
//!
//! A [`Custom`] is one served version of such a kind, and its [`Rules`]. Start at [`served`], which reads a definition.
//! `decode` reads bodies, `rules` runs CEL, `columns` makes tables, `names` keeps names; what a definition itself must fulfil is in
//! `kinds::custom_resource_definition`, how its names are accepted in [`accept`].

pub mod accept;
mod columns;
mod decode;
mod json_path;
mod names;
pub(crate) mod rules;
mod scale;

use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use serde_json::Value;

use self::columns::Column;
pub(crate) use self::decode::{OBJECT_META, object_meta};
pub use self::json_path::JsonPath;
pub use self::names::{Full, Names};
use self::rules::Rules as CelRules;
pub use self::scale::Scale;
use crate::field::{Error, Path, Reason};
use crate::kind::{Kind, Rules, Scope};
use crate::structural::{self, Schema};

/// What is told instead of the rules' faults when they are not asked.
const RULES_NOT_ASKED: &str = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";

/// How an object of one version becomes one of another.
#[derive(Clone, Debug, PartialEq)]
pub enum Conversion {
    /// By changing its `apiVersion`.
    None,
    /// By asking a webhook; this is `spec.conversion.webhook`.
    Webhook(Value),
}

/// One served version of a custom kind.
pub struct Custom {
    names: &'static Kind,
    /// `CronTabList`
    pub list_kind: String,
    /// The fields of its objects.
    pub schema: Schema,
    /// The schema as it was written, for OpenAPI.
    pub open_api_schema: Value,
    /// Where its Scale is, if it has one.
    pub scale: Option<Scale>,
    /// How its objects become those of other versions.
    pub conversion: Conversion,
    /// What its definition says, as far as objects depend on it: a kind with another mark is another one.
    pub mark: String,
    /// Whether objects are stored in this version's form.
    pub is_stored: bool,
    closing: AtomicBool,
    has_status: bool,
    /// What the schema demands in CEL.
    rules: Option<CelRules>,
    columns: Vec<Column>,
    selectable: Vec<(&'static str, JsonPath)>,
    selectable_names: &'static [&'static str],
    deprecation: Option<String>,
}

/// The kinds of an established definition.
pub struct Served {
    /// Every served version, the preferred one first.
    pub kinds: Vec<Custom>,
    /// The version in whose form objects are stored, served or not.
    pub stored: Custom,
}

/// The kinds that a definition makes; nothing unless its names are accepted.
pub fn served(definition: &Value) -> Result<Option<Served>, Full> {
    if !accept::is_true(definition, "Established") {
        return Ok(None);
    }
    let mut versions: Vec<&Value> = definition["spec"]["versions"].as_array().into_iter().flatten().collect();
    versions.sort_by(|a, b| accept::by_preference(text(&a["name"]), text(&b["name"])));
    let Some(stored) = versions.iter().find(|version| version["storage"] == true) else { return Ok(None) };
    let stored = Custom::new(definition, stored)?;
    let kinds = versions.iter().filter(|version| version["served"] == true);
    let kinds = kinds.map(|version| Custom::new(definition, version)).collect::<Result<_, _>>()?;
    Ok(Some(Served { kinds, stored }))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

impl Custom {
    /// Whether a webhook turns its objects into those of other versions.
    pub fn asks_webhook(&self) -> bool {
        matches!(self.conversion, Conversion::Webhook(_))
    }

    /// One version of a definition, under its accepted names.
    fn new(definition: &Value, version: &Value) -> Result<Self, Full> {
        let spec = &definition["spec"];
        let accepted = &definition["status"]["acceptedNames"];
        let names = names::intern(&names_of(spec, accepted, version))?;
        let paths = version["selectableFields"].as_array().into_iter().flatten();
        let paths: Vec<(String, JsonPath)> = paths
            .filter_map(|field| {
                let path = text(&field["jsonPath"]);
                Some((path.trim_start_matches('.').to_owned(), JsonPath::parse(path).ok()?))
            })
            .collect();
        let selectable_names = names::intern_list(&paths.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>())?;
        let written = &version["schema"]["openAPIV3Schema"];
        let schema = read_schema(spec, written);
        Ok(Self {
            names,
            list_kind: text(&accepted["listKind"]).to_owned(),
            rules: CelRules::compile(&schema, true),
            schema,
            open_api_schema: written.clone(),
            scale: Scale::read(&version["subresources"]["scale"]),
            conversion: match text(&spec["conversion"]["strategy"]) {
                "Webhook" => Conversion::Webhook(spec["conversion"]["webhook"].clone()),
                _ => Conversion::None,
            },
            mark: format!("{}{spec}{accepted}", definition["metadata"]["uid"]),
            is_stored: version["storage"] == true,
            closing: AtomicBool::new(false),
            has_status: version["subresources"]["status"].is_object(),
            columns: Column::read(version),
            selectable: selectable_names.iter().copied().zip(paths.into_iter().map(|(_, path)| path)).collect(),
            selectable_names,
            deprecation: deprecation(names, version),
        })
    }

    /// Its names.
    pub fn names(&self) -> &'static Kind {
        self.names
    }

    /// The headings of its table.
    pub fn column_definitions(&self) -> Vec<Value> {
        columns::definitions(&self.columns)
    }

    /// From now on there are no new objects: the definition is being deleted.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Whether there are no new objects any more.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Whether an object is in this version's form, and not in that of another one.
    pub fn is_form_of(&self, object: &Value) -> bool {
        text(&object["apiVersion"]) == self.names.api_version()
    }
}

/// A kind whose definition preserves unknown fields keeps everything.
fn read_schema(spec: &Value, schema: &Value) -> Schema {
    let mut read = Schema::read(schema);
    read.preserve_unknown |= spec["preserveUnknownFields"] == true || !schema.is_object();
    read
}

fn names_of<'a>(spec: &'a Value, accepted: &'a Value, version: &'a Value) -> Names<'a> {
    let list = |value: &'a Value| value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    Names {
        group: text(&spec["group"]),
        version: text(&version["name"]),
        kind: text(&accepted["kind"]),
        plural: text(&accepted["plural"]),
        singular: text(&accepted["singular"]),
        short_names: list(&accepted["shortNames"]),
        categories: list(&accepted["categories"]),
        scope: if text(&spec["scope"]) == "Cluster" { Scope::Cluster } else { Scope::Namespaced },
        status: version["subresources"]["status"].is_object(),
        scale: version["subresources"]["scale"].is_object(),
    }
}

fn deprecation(names: &Kind, version: &Value) -> Option<String> {
    let usual = || format!("{} {} is deprecated", names.api_version(), names.kind);
    (version["deprecated"] == true).then(|| version["deprecationWarning"].as_str().map_or_else(usual, str::to_owned))
}

impl Rules for Custom {
    fn default(&self, object: &mut Value) {
        structural::default(object, &self.schema);
    }

    fn prepare_create(&self, object: &mut Value) {
        if self.has_status
            && let Some(fields) = object.as_object_mut()
        {
            fields.remove("status");
        }
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        if self.has_status {
            crate::kinds::fill::keep(new, old, "status");
        }
    }

    fn prepare_status(&self, new: &mut Value, old: &Value) {
        let (status, fields) = (new["status"].take(), new["metadata"]["managedFields"].take());
        *new = old.clone();
        for (object, name, value) in [("", "status", status), ("metadata", "managedFields", fields)] {
            let place = if object.is_empty() { &mut *new } else { &mut new[object] };
            let Some(place) = place.as_object_mut() else { continue };
            match value {
                Value::Null => drop(place.remove(name)),
                value => drop(place.insert(name.to_owned(), value)),
            }
        }
    }

    fn validate(&self, object: &Value) -> Vec<Error> {
        let (kind, api_version) = (self.names.kind, self.names.api_version());
        let mut faults = Vec::new();
        for (field, wanted) in [("kind", kind), ("apiVersion", api_version.as_str())] {
            if object[field] != wanted {
                faults.push(Error::invalid(&Path::new(field), text(&object[field]), format!("must be {wanted}")));
            }
        }
        faults
    }

    fn validate_create(&self, object: &Value) -> Vec<Error> {
        self.faults(object, None)
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        self.faults(new, Some(old))
    }

    fn validate_status(&self, new: &Value, old: &Value) -> Vec<Error> {
        self.faults(new, Some(old))
    }

    fn deprecation(&self) -> Option<&str> {
        self.deprecation.as_deref()
    }

    fn generation_changes(&self, new: &Value, old: &Value) -> bool {
        let rest = |value: &Value| {
            let mut value = value.clone();
            if let Some(fields) = value.as_object_mut() {
                fields.remove("metadata");
                if self.has_status {
                    fields.remove("status");
                }
            }
            value
        };
        rest(new) != rest(old)
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn updates_say_version(&self) -> bool {
        true
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        let value = |path: &JsonPath| match path.find(object).first() {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => String::new(),
            Some(other) => other.to_string(),
        };
        self.selectable.iter().map(|(name, path)| (*name, value(path))).collect()
    }

    fn selectable_names(&self) -> &'static [&'static str] {
        self.selectable_names
    }

    fn unselectable(&self, field: &str) -> String {
        format!("field label not supported: {field}")
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        columns::row(&self.columns, object, now)
    }
}

impl Custom {
    fn faults(&self, object: &Value, old: Option<&Value>) -> Vec<Error> {
        let mut faults = structural::validate(object, old, &self.schema);
        if let Some(scale) = &self.scale {
            faults.extend(scale.validate(object));
        }
        if let Some(rules) = &self.rules {
            if faults.iter().any(|fault| leaves_no_sense(fault.reason)) {
                faults.push(Error::invalid(&Path::root(), Value::Null, RULES_NOT_ASKED));
            } else {
                faults.extend(rules.faults(object, old, &self.schema));
            }
        }
        faults
    }
}

/// Whether rules cannot be asked about an object with such a fault: it may be of wrong types, or too large.
fn leaves_no_sense(reason: Reason) -> bool {
    use Reason::{NotSupported, Required, TooLong, TooMany, TypeInvalid};
    matches!(reason, NotSupported | Required | TooLong | TooMany | TypeInvalid)
}

#[cfg(test)]
mod tests;
