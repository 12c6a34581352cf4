//! Version 2 documents in protobuf: the messages of gnostic's `openapi.v2`, as far as our documents use them.
//!
//! A message is written by walking the JSON document; the tables below give each property its field number. What the
//! messages have no place for (`x-…`) goes into their `vendor_extension` as a pair of name and YAML text, and JSON is YAML.

use serde_json::{Map, Value};

/// How a JSON property is written.
#[derive(Clone, Copy)]
enum Form {
    /// A string.
    Text,
    /// Several strings.
    Texts,
    Boolean,
    /// A message `Any` that holds YAML.
    Yaml,
    /// The same, repeated.
    Yamls,
    /// A message of its own.
    Message(&'static Message),
    /// A message that is nothing but a map, as pairs of name and value.
    Map(&'static Message),
    /// A message that is nothing but a list of strings, of which there is one.
    Wrapped,
    /// Messages `ParametersItem`, whose inner form depends on where the parameter is.
    Parameters,
    /// `Paths`: pairs of path and item.
    Paths,
    /// `SecurityRequirement`s: pairs of scheme and scopes, of which there are none.
    Requirements,
}

/// A message: its properties and where extensions go.
struct Message {
    fields: &'static [(&'static str, u32, Form)],
    vendor_extension: u32,
    /// Field numbers of the messages around this one, outermost first: the branches of a `oneof`.
    inside: &'static [u32],
}

static DOCUMENT: Message = Message {
    fields: &[
        ("swagger", 1, Form::Text),
        ("info", 2, Form::Message(&INFO)),
        ("paths", 8, Form::Paths),
        ("definitions", 9, Form::Map(&SCHEMA)),
        ("security", 12, Form::Requirements),
        ("securityDefinitions", 13, Form::Map(&SECURITY_DEFINITION)),
    ],
    vendor_extension: 16,
    inside: &[],
};

static INFO: Message =
    Message { fields: &[("title", 1, Form::Text), ("version", 2, Form::Text)], vendor_extension: 7, inside: &[] };

static SECURITY_DEFINITION: Message = Message {
    fields: &[("type", 1, Form::Text), ("name", 2, Form::Text), ("in", 3, Form::Text), ("description", 4, Form::Text)],
    vendor_extension: 5,
    // SecurityDefinitionsItem: api_key_security
    inside: &[2],
};

/// `StringArray`
static NO_SCOPES: Message = Message { fields: &[], vendor_extension: 0, inside: &[] };

static PATH_ITEM: Message = Message {
    fields: &[
        ("get", 2, Form::Message(&OPERATION)),
        ("put", 3, Form::Message(&OPERATION)),
        ("post", 4, Form::Message(&OPERATION)),
        ("delete", 5, Form::Message(&OPERATION)),
        ("patch", 8, Form::Message(&OPERATION)),
        ("parameters", 9, Form::Parameters),
    ],
    vendor_extension: 10,
    inside: &[],
};

static OPERATION: Message = Message {
    fields: &[
        ("tags", 1, Form::Texts),
        ("description", 3, Form::Text),
        ("operationId", 5, Form::Text),
        ("produces", 6, Form::Texts),
        ("consumes", 7, Form::Texts),
        ("parameters", 8, Form::Parameters),
        ("responses", 9, Form::Map(&RESPONSE)),
        ("schemes", 10, Form::Texts),
    ],
    vendor_extension: 13,
    inside: &[],
};

static BODY_PARAMETER: Message = Message {
    fields: &[
        ("description", 1, Form::Text),
        ("name", 2, Form::Text),
        ("in", 3, Form::Text),
        ("required", 4, Form::Boolean),
        ("schema", 5, Form::Message(&SCHEMA)),
    ],
    vendor_extension: 6,
    // ParametersItem: parameter, Parameter: body_parameter
    inside: &[1, 1],
};

static QUERY_PARAMETER: Message = Message {
    fields: &[
        ("required", 1, Form::Boolean),
        ("in", 2, Form::Text),
        ("description", 3, Form::Text),
        ("name", 4, Form::Text),
        ("type", 6, Form::Text),
        ("uniqueItems", 20, Form::Boolean),
    ],
    vendor_extension: 23,
    // ParametersItem: parameter, Parameter: non_body_parameter, NonBodyParameter: query_parameter_sub_schema
    inside: &[1, 2, 3],
};

static PATH_PARAMETER: Message = Message {
    fields: &[
        ("required", 1, Form::Boolean),
        ("in", 2, Form::Text),
        ("description", 3, Form::Text),
        ("name", 4, Form::Text),
        ("type", 5, Form::Text),
        ("uniqueItems", 19, Form::Boolean),
    ],
    vendor_extension: 22,
    // ParametersItem: parameter, Parameter: non_body_parameter, NonBodyParameter: path_parameter_sub_schema
    inside: &[1, 2, 4],
};

static RESPONSE: Message = Message {
    fields: &[("description", 1, Form::Text), ("schema", 2, Form::Message(&RESPONSE_SCHEMA))],
    vendor_extension: 5,
    // ResponseValue: response
    inside: &[1],
};

/// A schema in a response: SchemaItem's first branch.
static RESPONSE_SCHEMA: Message = Message { fields: SCHEMA_FIELDS, vendor_extension: 31, inside: &[1] };

static SCHEMA: Message = Message { fields: SCHEMA_FIELDS, vendor_extension: 31, inside: &[] };

static SCHEMA_FIELDS: &[(&str, u32, Form)] = &[
    ("$ref", 1, Form::Text),
    ("format", 2, Form::Text),
    ("description", 4, Form::Text),
    ("default", 5, Form::Yaml),
    ("required", 19, Form::Texts),
    ("enum", 20, Form::Yamls),
    ("additionalProperties", 21, Form::Message(&NESTED_SCHEMA)),
    ("type", 22, Form::Wrapped),
    ("items", 23, Form::Message(&NESTED_SCHEMA)),
    ("properties", 25, Form::Map(&SCHEMA)),
];

/// A schema in `AdditionalPropertiesItem` or `ItemsItem`, both of which have it as their first field.
static NESTED_SCHEMA: Message = Message { fields: SCHEMA_FIELDS, vendor_extension: 31, inside: &[1] };

/// The document as a message.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    message(document, &DOCUMENT)
}

fn message(value: &Value, kind: &Message) -> Vec<u8> {
    let no_fields = Map::new();
    let properties = value.as_object().unwrap_or(&no_fields);
    let mut out = Vec::new();
    for (name, value) in properties {
        match kind.fields.iter().find(|(field, ..)| field == name) {
            Some((_, number, form)) => put_field(&mut out, *number, *form, value),
            None if name.starts_with("x-") => put_bytes(&mut out, kind.vendor_extension, &pair(name, &yaml(value))),
            None => {}
        }
    }
    kind.inside.iter().rev().fold(out, |inner, number| {
        let mut outer = Vec::with_capacity(inner.len() + 8);
        put_bytes(&mut outer, *number, &inner);
        outer
    })
}

fn put_field(out: &mut Vec<u8>, number: u32, form: Form, value: &Value) {
    match form {
        Form::Text => put_bytes(out, number, value.as_str().unwrap_or_default().as_bytes()),
        Form::Texts => {
            value.as_array().into_iter().flatten().filter_map(Value::as_str).for_each(|text| {
                put_bytes(out, number, text.as_bytes());
            });
        }
        Form::Boolean => {
            put_varint(out, u64::from(number) << 3);
            put_varint(out, u64::from(value == &Value::Bool(true)));
        }
        Form::Yaml => put_bytes(out, number, &yaml(value)),
        Form::Yamls => value.as_array().into_iter().flatten().for_each(|one| put_bytes(out, number, &yaml(one))),
        Form::Message(kind) => put_bytes(out, number, &message(value, kind)),
        Form::Map(kind) => put_bytes(out, number, &map(value, kind, 1)),
        Form::Paths => put_bytes(out, number, &map(value, &PATH_ITEM, 2)),
        Form::Parameters => {
            for parameter in value.as_array().into_iter().flatten() {
                let kind = match parameter["in"].as_str() {
                    Some("body") => &BODY_PARAMETER,
                    Some("path") => &PATH_PARAMETER,
                    _ => &QUERY_PARAMETER,
                };
                put_bytes(out, number, &message(parameter, kind));
            }
        }
        Form::Requirements => {
            for requirement in value.as_array().into_iter().flatten() {
                put_bytes(out, number, &map(requirement, &NO_SCOPES, 1));
            }
        }
        Form::Wrapped => {
            let mut list = Vec::new();
            put_bytes(&mut list, 1, value.as_str().unwrap_or_default().as_bytes());
            put_bytes(out, number, &list);
        }
    }
}

/// A map as repeated pairs in the field of this number.
fn map(value: &Value, kind: &Message, number: u32) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in value.as_object().into_iter().flatten() {
        put_bytes(&mut out, number, &pair(name, &message(value, kind)));
    }
    out
}

/// A name and a message: `NamedSchema`, `NamedAny` and their like all number them 1 and 2.
fn pair(name: &str, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + value.len() + 8);
    put_bytes(&mut out, 1, name.as_bytes());
    put_bytes(&mut out, 2, value);
    out
}

/// An `Any` that holds YAML text.
fn yaml(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, 2, value.to_string().as_bytes());
    out
}

fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
