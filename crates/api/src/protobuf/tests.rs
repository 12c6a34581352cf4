//! `tests/data/roundtrip.z` holds the objects of upstream's own round trip tests, every field filled: of each its name,
//! its JSON and its protobuf, with four bytes of size in front of each, compressed.

use std::io::Read as _;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::envelope::{event, list, wrap};
use super::{Error, decode, encode, message};
use crate::schema::{self, Definition};

const ROUNDTRIP: &[u8] = include_bytes!("../../tests/data/roundtrip.z");

/// Name, JSON and protobuf of each object.
static UPSTREAM: LazyLock<Vec<(String, Value, Vec<u8>)>> = LazyLock::new(|| {
    let mut all = Vec::new();
    flate2::read::ZlibDecoder::new(ROUNDTRIP).read_to_end(&mut all).unwrap();
    let mut parts = Vec::new();
    let mut rest = all.as_slice();
    while let Some((size, more)) = rest.split_first_chunk() {
        let (part, more) = more.split_at(u32::from_be_bytes(*size) as usize);
        parts.push(part);
        rest = more;
    }
    let object = |object: &[&[u8]]| {
        let json = serde_json::from_slice(object[1]).unwrap();
        (String::from_utf8(object[0].to_vec()).unwrap(), json, object[2].to_vec())
    };
    parts.chunks(3).map(object).collect()
});

fn definition_of(object: &Value) -> Option<&'static Definition> {
    let api_version = object["apiVersion"].as_str().unwrap();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    schema::of_kind(group, version, object["kind"].as_str().unwrap())
}

#[test]
fn upstreams_objects_are_read_and_written_byte_for_byte() {
    let mut seen = 0;
    for (name, object, bytes) in UPSTREAM.iter() {
        let Some(definition) = definition_of(object) else { continue };
        let read = decode(bytes, definition).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!(&read, object, "{name}");
        let written = encode(object, definition).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert!(&written == bytes, "{name}: the bytes differ from {}", first_difference(&written, bytes));
        seen += 1;
    }
    assert!(seen >= 25, "{seen}");
}

fn first_difference(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).position(|(a, b)| a != b).unwrap_or(a.len().min(b.len()))
}

#[test]
fn every_served_kind_has_its_numbers() {
    // Metrics are asked for as JSON by every client there is.
    for kind in crate::kinds::ALL.iter().filter(|kind| kind.verbs != crate::kind::Verbs::ReadOnly) {
        assert!(schema::definition(kind.schema).unwrap().message.is_some(), "{}", kind.schema);
    }
}

/// Writes the spec of a Pod, and reads it again as `want`.
#[track_caller]
fn check(kind: (&str, &str), object: Value, want: Value) {
    let definition = schema::of_kind(kind.0, "v1", kind.1).unwrap();
    let bytes = encode(&object, definition).unwrap();
    assert_eq!(decode(&bytes, definition).unwrap(), want);
}

#[test]
fn what_is_empty_is_told_from_what_is_absent_as_in_go() {
    let named = json!({ "metadata": { "name": "a" }, "data": { "x": "y", "e": "" } });
    check(("", "ConfigMap"), named.clone(), named);
    let object = json!({ "spec": {
        "volumes": [{ "name": "v", "emptyDir": {} }],
        "containers": [], "terminationGracePeriodSeconds": 0, "hostNetwork": false, "restartPolicy": "",
    } });
    let want = json!({ "metadata": {}, "status": {}, "spec": {
        "volumes": [{ "name": "v", "emptyDir": {} }], "terminationGracePeriodSeconds": 0,
    } });
    check(("", "Pod"), object, want);
}

#[test]
fn times_before_1970_and_fractions() {
    let lease = |time: &str| json!({ "metadata": {}, "spec": { "renewTime": time } });
    check(("coordination.k8s.io", "Lease"), lease("1969-12-31T23:59:58.500001Z"), lease("1969-12-31T23:59:58.500001Z"));
    check(("coordination.k8s.io", "Lease"), lease("1970-01-01T00:00:00.000000Z"), lease("1970-01-01T00:00:00.000000Z"));
}

#[test]
fn a_value_that_does_not_fit_is_named() {
    let definition = schema::of_kind("", "v1", "Pod").unwrap();
    let why = message(&json!({ "spec": { "hostNetwork": "yes" } }), definition).unwrap_err();
    assert_eq!(why, Error::Unfit("PodSpec.hostNetwork".to_owned()));
}

#[test]
fn lists_and_events() {
    let items = [b"ab".as_slice().into(), b"".as_slice().into()];
    let got = list("v1", "PodList", &json!({ "resourceVersion": "7" }), &items).unwrap();
    let meta = b"\x0a\x07\x0a\x00\x12\x017\x1a\x00\x12\x02ab\x12\x00";
    assert_eq!(got, wrap("v1", "PodList", meta));
    assert_eq!(event("ADDED", b"xyz"), b"\0\0\0\x0e\x0a\x05ADDED\x12\x05\x0a\x03xyz");
}

#[test]
fn lying_lengths_and_truncation_are_errors() {
    let definition = schema::of_kind("", "v1", "ConfigMap").unwrap();
    let whole = encode(&json!({ "metadata": { "name": "a" } }), definition).unwrap();
    assert_eq!(decode(b"json", definition), Err(Error::NoPrefix));
    assert!(decode(&whole[..whole.len() - 3], definition).is_err());
    assert_eq!(decode(b"k8s\0\x12\xff\xff\xff\xff\x0f\x01", definition), Err(Error::Broken));
    assert_eq!(decode(b"k8s\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", definition), Err(Error::Broken));
}

#[test]
fn growth_and_depth_are_bounded() {
    let definition = schema::of_kind("", "v1", "Pod").unwrap();
    let containers = [0x12, 0x00].repeat(1 << 20);
    let mut spec = super::write::Writer::default();
    spec.bytes(2, &containers);
    assert_eq!(decode(&wrap("v1", "Pod", &spec.finish()), definition), Err(Error::TooLarge));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..512),
        which in any::<prop::sample::Index>(),
    ) {
        let definition = schema::definition(which.get(crate::kinds::ALL).schema).unwrap();
        let _ = decode(&wrap("v1", "X", &bytes), definition);
        let _ = decode(&bytes, definition);
    }

    #[test]
    fn nor_do_broken_objects(at in any::<prop::sample::Index>(), byte in any::<u8>(), which in any::<prop::sample::Index>()) {
        let (_, object, bytes) = which.get(&UPSTREAM);
        if let Some(definition) = definition_of(object) {
            let mut bytes = bytes.clone();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            // What could be read can be written.
            if let Ok(read) = decode(&bytes, definition) {
                prop_assert!(message(&read, definition).is_ok(), "{:?}", message(&read, definition));
            }
        }
    }
}
