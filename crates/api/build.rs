//! Turns the JSON schemas of `k8s-openapi` and our own `facts/` into static tables for `src/schema`.
//!
//! Out come `schema.rs`, one `static` per definition, and `descriptions.z`, all their texts compressed.
//! The schemas know fields and types; how lists merge, what is defaulted, which values there are and which numbers
//! fields have in protobuf they do not know: `facts/` does.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use serde_json::Value;

#[path = "facts/kinds.rs"]
mod kinds;
#[path = "facts/messages.rs"]
mod messages;
#[path = "facts/metrics.rs"]
mod metrics;
#[path = "facts/types.rs"]
mod types;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=facts");
    let mut types = types::Types::default();
    kinds::add_all(&mut types);
    let facts = Facts::read(Path::new("facts"))?;
    let tables = tables(&types.definitions(), types.kinds(), &facts)?;
    let out = std::env::var("OUT_DIR")?;
    std::fs::write(Path::new(&out).join("schema.rs"), tables.code)?;
    let file = std::fs::File::create(Path::new(&out).join("descriptions.z"))?;
    let mut compressed = flate2::write::ZlibEncoder::new(file, flate2::Compression::best());
    compressed.write_all(tables.descriptions.join("\0").as_bytes())?;
    compressed.finish()?;
    Ok(())
}

/// What the tables under `facts/` say, by definition and field (`-` for the definition itself).
struct Facts {
    merge: BTreeMap<(String, String), [String; 5]>,
    defaults: BTreeMap<(String, String), String>,
    enums: BTreeMap<(String, String), Vec<String>>,
    required: BTreeMap<(String, String), bool>,
    unions: BTreeMap<String, String>,
    messages: messages::Messages,
}

impl Facts {
    fn read(directory: &Path) -> Result<Self> {
        let merge = rows(&directory.join("merge.tsv"))?
            .into_iter()
            .map(|[definition, field, cells @ ..]: [String; 7]| ((definition, field), cells))
            .collect();
        let defaults = rows(&directory.join("defaults.tsv"))?
            .into_iter()
            .map(|[definition, field, value]: [String; 3]| ((definition, field), value))
            .collect();
        let enums = rows(&directory.join("enums.tsv"))?
            .into_iter()
            .map(|[definition, field, values]: [String; 3]| {
                ((definition, field), values.split(',').map(str::to_owned).collect())
            })
            .collect();
        let required = rows(&directory.join("required.tsv"))?
            .into_iter()
            .map(|[definition, field, required]: [String; 3]| ((definition, field), required == "yes"))
            .collect();
        let unions = rows(&directory.join("unions.tsv"))?.into_iter().map(|[definition, unions]| (definition, unions));
        let unions = unions.collect();
        let messages = messages::Messages::read(&directory.join("protobuf.tsv"))?;
        Ok(Self { merge, defaults, enums, required, unions, messages })
    }
}

fn rows<const N: usize>(path: &Path) -> Result<Vec<[String; N]>> {
    let text = std::fs::read_to_string(path)?;
    let cells = |line: &str| line.split('\t').map(str::to_owned).collect::<Vec<_>>().try_into();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| cells(line).map_err(|_| format!("{}: not {N} cells: {line}", path.display()).into())).collect()
}

struct Tables {
    code: String,
    descriptions: Vec<String>,
}

fn tables(definitions: &BTreeMap<String, Value>, kinds: &BTreeMap<String, [&str; 3]>, facts: &Facts) -> Result<Tables> {
    let names: BTreeMap<&str, usize> = definitions.keys().enumerate().map(|(i, name)| (name.as_str(), i)).collect();
    let mut tables = Tables { code: String::new(), descriptions: Vec::new() };
    for (name, schema) in definitions {
        let definition = Definition { name, schema, is_kind: kinds.contains_key(name), names: &names, facts };
        let (index, shape) = (names[name.as_str()], shape(name, schema));
        let gvk = kinds
            .get(name)
            .map(|[group, version, kind]| format!("Gvk {{ group: {group:?}, version: {version:?}, kind: {kind:?} }}"));
        let atomic = facts.merge.get(&(name.clone(), "-".to_owned())).is_some_and(|cells| cells[4] == "atomic");
        let description = tables.descriptions.len();
        tables.descriptions.push(text_of(schema));
        let fields = if shape == "Struct" { definition.fields(&mut tables.descriptions)? } else { String::new() };
        let unions = facts.unions.get(name).map_or("", String::as_str);
        let message = facts.messages.slots(name, &definition.field_names())?;
        writeln!(
            tables.code,
            "static D{index}: Definition = Definition {{ name: {name:?}, gvk: {}, shape: Shape::{shape}, atomic: {atomic}, unions: {unions:?}, description: {description}, fields: &[{fields}], message: {message} }};",
            gvk.map_or("None".to_owned(), |gvk| format!("Some({gvk})")),
        )?;
    }
    let all = names.values().map(|index| format!("&D{index}")).collect::<Vec<_>>().join(", ");
    writeln!(tables.code, "static DEFINITIONS: &[&Definition] = &[{all}];")?;
    Ok(tables)
}

fn text_of(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().to_owned()
}

/// How a definition's JSON looks: most are structs, some have a form of their own.
fn shape(name: &str, schema: &Value) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "Quantity" => "Quantity",
        "IntOrString" => "IntOrString",
        "Time" => "Time",
        "MicroTime" => "MicroTime",
        "RawExtension" | "FieldsV1" | "JSON" | "Patch" => "Json",
        "JSONSchemaPropsOrArray" | "JSONSchemaPropsOrBool" | "JSONSchemaPropsOrStringArray" => "Json",
        _ if schema["type"] == "object" => "Struct",
        _ => "Json",
    }
}

struct Definition<'a> {
    name: &'a str,
    schema: &'a Value,
    is_kind: bool,
    names: &'a BTreeMap<&'a str, usize>,
    facts: &'a Facts,
}

impl Definition<'_> {
    /// The names of its fields, in the order of [`Self::fields`].
    fn field_names(&self) -> Vec<&str> {
        self.schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
    }

    /// The `Field` expressions of the definition; their descriptions go to `descriptions`.
    fn fields(&self, descriptions: &mut Vec<String>) -> Result<String> {
        let mut code = String::new();
        for (field, schema) in self.schema["properties"].as_object().into_iter().flatten() {
            descriptions.push(text_of(schema));
            let fact = (self.name.to_owned(), field.clone());
            write!(
                code,
                "Field {{ name: {field:?}, ty: {}, required: {}, pointer: {}, default: {:?}, choices: &{:?}, merge: {} }}, ",
                self.ty(schema)?,
                self.requires(field),
                self.facts.messages.is_pointer(self.name, field),
                self.facts.defaults.get(&fact).map_or("", String::as_str),
                self.facts.enums.get(&fact).map_or(&[][..], Vec::as_slice),
                self.facts.merge.get(&fact).map_or("Merge::PLAIN".to_owned(), merge),
            )?;
        }
        Ok(code)
    }

    /// `k8s-openapi` says that every kind requires `metadata`; upstream requires it of hardly any.
    fn requires(&self, field: &str) -> bool {
        if let Some(required) = self.facts.required.get(&(self.name.to_owned(), field.to_owned())) {
            return *required;
        }
        let listed = self.schema["required"].as_array().is_some_and(|list| list.iter().any(|name| name == field));
        listed && !(self.is_kind && field == "metadata")
    }

    fn ty(&self, schema: &Value) -> Result<String> {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next().unwrap_or_default();
            let index = self.names.get(name).ok_or_else(|| format!("{}: unknown {name}", self.name))?;
            return Ok(format!("Type::Ref(&D{index})"));
        }
        let scalar = match (schema["type"].as_str(), schema["format"].as_str()) {
            (Some("string"), Some("byte")) => "Bytes",
            (Some("string"), _) => "String",
            (Some("boolean"), _) => "Boolean",
            (Some("integer"), Some("int32")) => "Int32",
            (Some("integer"), _) => "Int64",
            (Some("number"), _) => "Double",
            (Some("array"), _) => return Ok(format!("Type::List(&{})", self.ty(&schema["items"])?)),
            (Some("object"), _) => return Ok(format!("Type::Map(&{})", self.ty(&schema["additionalProperties"])?)),
            _ => return Err(format!("{}: no type in {schema}", self.name).into()),
        };
        Ok(format!("Type::Scalar(Scalar::{scalar})"))
    }
}

/// The `Merge` expression of a row of `merge.tsv`.
fn merge([list, keys, strategy, merge_key, map]: &[String; 5]) -> String {
    let keys = keys.split(',').map(|key| format!("{key:?}")).collect::<Vec<_>>().join(", ");
    let list = match list.as_str() {
        "atomic" => "Some(List::Atomic)".to_owned(),
        "set" => "Some(List::Set)".to_owned(),
        "map" => format!("Some(List::Map(&[{keys}]))"),
        _ => "None".to_owned(),
    };
    let strategy = if strategy == "-" { "" } else { strategy };
    let merge_key = if merge_key == "-" { "" } else { merge_key };
    let map = if map == "-" { "" } else { map };
    format!("Merge {{ list: {list}, strategy: {strategy:?}, merge_key: {merge_key:?}, map: {map:?} }}")
}
