//! What holds of an object that has been read, whatever it came from: every form of it says the same.

use sampan_api::decode::{self, FieldValidation, Format};
use sampan_api::{cbor, protobuf};
use serde_json::Value;

use crate::input::Typed;

/// Writes an object in every form, reads it again, and runs the kind's rules over it.
pub(super) fn check(object: &Value, typed: &Typed) {
    let read = |body: &[u8], format| read(body, format, typed);
    assert_eq!(read(object.to_string().as_bytes(), Format::Json), *object, "JSON says something else");
    assert_eq!(read(&cbor::encode(object), Format::Cbor), *object, "CBOR says something else");
    let as_typed = cbor::encode_as(object, typed.definition);
    assert_eq!(read(&as_typed, Format::Cbor), *object, "CBOR with typed bytes says something else");
    if typed.definition.message.is_some() {
        check_protobuf(object, typed);
    }
    check_rules(object, typed);
}

/// Protobuf does not tell some empty values from absent ones; what it does tell, it must go on telling.
fn check_protobuf(object: &Value, typed: &Typed) {
    let write = |object: &Value| protobuf::encode(object, typed.definition).expect("what was read can be written");
    let told = read(&write(object), Format::Protobuf, typed);
    assert_eq!(read(&write(&told), Format::Protobuf, typed), told, "protobuf says something else the second time");
    let through_json = read(told.to_string().as_bytes(), Format::Json, typed);
    assert_eq!(read(&write(&through_json), Format::Protobuf, typed), told, "JSON says something else than protobuf");
}

/// Defaults are final, and nothing that decodes makes a rule panic.
fn check_rules(object: &Value, typed: &Typed) {
    let rules = typed.kind.rules();
    let mut defaulted = object.clone();
    rules.default(&mut defaulted);
    let mut again = defaulted.clone();
    rules.default(&mut again);
    assert_eq!(again, defaulted, "defaults that need defaults");
    for object in [object, &defaulted] {
        rules.validate(object);
        rules.validate_create(object);
        rules.validate_update(object, &defaulted);
        rules.warnings(object);
        rules.selectable_fields(object);
        rules.row(object, jiff::Timestamp::UNIX_EPOCH);
    }
}

fn read(body: &[u8], format: Format, typed: &Typed) -> Value {
    match decode::object(body, format, typed.definition, FieldValidation::Strict) {
        Ok((object, _)) => object,
        Err(status) => panic!("what was read and written cannot be read again: {}", status.message),
    }
}

/// Reads an object as clients send it: unknown fields go.
pub(super) fn sent(body: &[u8], format: Format, typed: &Typed) -> Option<Value> {
    Some(decode::object(body, format, typed.definition, FieldValidation::Warn).ok()?.0)
}
