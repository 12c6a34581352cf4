use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Error, MAGIC, decode, encode, encode_as};
use crate::schema;

/// Bytes in hex, and the JSON that they are.
#[track_caller]
fn reads(hex: &str, want: Result<Value, Error>) {
    assert_eq!(decode(&bytes(hex)), want, "{hex}");
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn values_as_rfc_8949_has_them() {
    reads("00", Ok(json!(0)));
    reads("1903e8", Ok(json!(1000)));
    reads("3903e7", Ok(json!(-1000)));
    reads("f93e00", Ok(json!(1.5)));
    reads("fa47c35000", Ok(json!(100_000.0)));
    reads("fb3ff199999999999a", Ok(json!(1.1)));
    reads("f4", Ok(json!(false)));
    reads("f6", Ok(json!(null)));
    reads("6449455446", Ok(json!("IETF")));
    reads("4449455446", Ok(json!("IETF")));
    reads("83010203", Ok(json!([1, 2, 3])));
    reads("a26161014162820203", Ok(json!({ "a": 1, "b": [2, 3] })));
    reads("9f018202039f0405ffff", Ok(json!([1, [2, 3], [4, 5]])));
    reads("7f657374726561646d696e67ff", Ok(json!("streaming")));
    reads("d9d9f7a0", Ok(json!({})));
}

#[test]
fn tags() {
    reads("d64401020304", Ok(json!("AQIDBA==")));
    reads("d74401020304", Ok(json!("01020304")));
    reads("c074323031332d30332d32315432303a30343a30305a", Ok(json!("2013-03-21T20:04:00Z")));
    reads("c11a514b67b0", Ok(json!("2013-03-21T20:04:00Z")));
    reads("c249010000000000000000", Err(Error::Foreign("a big number")));
}

#[test]
fn what_json_does_not_have() {
    reads("f7", Err(Error::Foreign("this simple value")));
    reads("f97c00", Err(Error::Foreign("a number that is not finite")));
    reads("a10102", Err(Error::Foreign("a key that is no text")));
    reads("a2616101616102", Err(Error::Duplicate("a".into(), 1)));
    reads("1bffffffffffffffff", Err(Error::Foreign("a number of more than 64 bits")));
    reads("0000", Err(Error::More(1, 1)));
    reads("5aff", Err(Error::Broken));
    assert_eq!(decode(&[0x81].repeat(1000)), Err(Error::TooLarge));
}

#[test]
fn bytes_are_bytes_where_the_type_says_so() {
    let definition = schema::of_kind("", "v1", "Secret").unwrap();
    let secret = json!({ "data": { "k": "AQIDBA==" } });
    assert_eq!(encode_as(&secret, definition), [MAGIC, &bytes("a14464617461a1416bd64401020304")].concat());
    assert_eq!(decode(&encode_as(&secret, definition)), Ok(secret.clone()));
    assert_eq!(decode(&encode(&secret)), Ok(secret));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            proptest::collection::btree_map(".{0,8}", inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(value in any_json()) {
        prop_assert_eq!(decode(&encode(&value)), Ok(value));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = decode(&bytes);
    }
}
