//! The operators, `size`, and the tests of text that the language itself has.

use super::{Library, Ran};
use crate::eval::operators;
use crate::value::Value;

/// The standard functions.
pub(crate) static LIBRARY: Library = Library { declarations: DECLARATIONS, run };

const DECLARATIONS: &str = "
    _==_ equals (A, A) -> bool
    _!=_ not_equals (A, A) -> bool
    !_ logical_not (bool) -> bool
    @not_strictly_false not_strictly_false (bool) -> bool
    -_ negate_double (double) -> double
    -_ negate_int64 (int) -> int
    _+_ add_bytes (bytes, bytes) -> bytes
    _+_ add_double (double, double) -> double
    _+_ add_duration_duration (duration, duration) -> duration
    _+_ add_duration_timestamp (duration, timestamp) -> timestamp
    _+_ add_timestamp_duration (timestamp, duration) -> timestamp
    _+_ add_int64 (int, int) -> int
    _+_ add_list (list(A), list(A)) -> list(A)
    _+_ add_string (string, string) -> string
    _+_ add_uint64 (uint, uint) -> uint
    _/_ divide_double (double, double) -> double
    _/_ divide_int64 (int, int) -> int
    _/_ divide_uint64 (uint, uint) -> uint
    _%_ modulo_int64 (int, int) -> int
    _%_ modulo_uint64 (uint, uint) -> uint
    _*_ multiply_double (double, double) -> double
    _*_ multiply_int64 (int, int) -> int
    _*_ multiply_uint64 (uint, uint) -> uint
    _-_ subtract_double (double, double) -> double
    _-_ subtract_duration_duration (duration, duration) -> duration
    _-_ subtract_int64 (int, int) -> int
    _-_ subtract_timestamp_duration (timestamp, duration) -> timestamp
    _-_ subtract_timestamp_timestamp (timestamp, timestamp) -> duration
    _-_ subtract_uint64 (uint, uint) -> uint
    _[_] index_list (list(A), int) -> A
    _[_] index_map (map(A, B), A) -> B
    _[_] optional_list_index_int (optional_type(list(A)), int) -> optional_type(A)
    _[_] optional_map_index_value (optional_type(map(A, B)), A) -> optional_type(B)
    _[?_] list_optindex_optional_int (list(A), int) -> optional_type(A)
    _[?_] optional_list_optindex_optional_int (optional_type(list(A)), int) -> optional_type(A)
    _[?_] map_optindex_optional_value (map(A, B), A) -> optional_type(B)
    _[?_] optional_map_optindex_optional_value (optional_type(map(A, B)), A) -> optional_type(B)
    @in in_list (A, list(A)) -> bool
    @in in_map (A, map(A, B)) -> bool
    cel.@mapInsert @mapInsert_map_map (map(A, B), map(A, B)) -> map(A, B)
    cel.@mapInsert @mapInsert_map_key_value (map(A, B), A, B) -> map(A, B)
    size size_bytes (bytes) -> int
    size bytes_size bytes.() -> int
    size size_list (list(A)) -> int
    size list_size list(A).() -> int
    size size_map (map(A, B)) -> int
    size map_size map(A, B).() -> int
    size size_string (string) -> int
    size string_size string.() -> int
    contains contains_string string.(string) -> bool
    endsWith ends_with_string string.(string) -> bool
    startsWith starts_with_string string.(string) -> bool
    _<_ less_bool (bool, bool) -> bool
    _<_ less_int64 (int, int) -> bool
    _<_ less_int64_double (int, double) -> bool
    _<_ less_int64_uint64 (int, uint) -> bool
    _<_ less_uint64 (uint, uint) -> bool
    _<_ less_uint64_double (uint, double) -> bool
    _<_ less_uint64_int64 (uint, int) -> bool
    _<_ less_double (double, double) -> bool
    _<_ less_double_int64 (double, int) -> bool
    _<_ less_double_uint64 (double, uint) -> bool
    _<_ less_string (string, string) -> bool
    _<_ less_bytes (bytes, bytes) -> bool
    _<_ less_timestamp (timestamp, timestamp) -> bool
    _<_ less_duration (duration, duration) -> bool
    _<=_ less_equals_bool (bool, bool) -> bool
    _<=_ less_equals_int64 (int, int) -> bool
    _<=_ less_equals_int64_double (int, double) -> bool
    _<=_ less_equals_int64_uint64 (int, uint) -> bool
    _<=_ less_equals_uint64 (uint, uint) -> bool
    _<=_ less_equals_uint64_double (uint, double) -> bool
    _<=_ less_equals_uint64_int64 (uint, int) -> bool
    _<=_ less_equals_double (double, double) -> bool
    _<=_ less_equals_double_int64 (double, int) -> bool
    _<=_ less_equals_double_uint64 (double, uint) -> bool
    _<=_ less_equals_string (string, string) -> bool
    _<=_ less_equals_bytes (bytes, bytes) -> bool
    _<=_ less_equals_timestamp (timestamp, timestamp) -> bool
    _<=_ less_equals_duration (duration, duration) -> bool
    _>_ greater_bool (bool, bool) -> bool
    _>_ greater_int64 (int, int) -> bool
    _>_ greater_int64_double (int, double) -> bool
    _>_ greater_int64_uint64 (int, uint) -> bool
    _>_ greater_uint64 (uint, uint) -> bool
    _>_ greater_uint64_double (uint, double) -> bool
    _>_ greater_uint64_int64 (uint, int) -> bool
    _>_ greater_double (double, double) -> bool
    _>_ greater_double_int64 (double, int) -> bool
    _>_ greater_double_uint64 (double, uint) -> bool
    _>_ greater_string (string, string) -> bool
    _>_ greater_bytes (bytes, bytes) -> bool
    _>_ greater_timestamp (timestamp, timestamp) -> bool
    _>_ greater_duration (duration, duration) -> bool
    _>=_ greater_equals_bool (bool, bool) -> bool
    _>=_ greater_equals_int64 (int, int) -> bool
    _>=_ greater_equals_int64_double (int, double) -> bool
    _>=_ greater_equals_int64_uint64 (int, uint) -> bool
    _>=_ greater_equals_uint64 (uint, uint) -> bool
    _>=_ greater_equals_uint64_double (uint, double) -> bool
    _>=_ greater_equals_uint64_int64 (uint, int) -> bool
    _>=_ greater_equals_double (double, double) -> bool
    _>=_ greater_equals_double_int64 (double, int) -> bool
    _>=_ greater_equals_double_uint64 (double, uint) -> bool
    _>=_ greater_equals_string (string, string) -> bool
    _>=_ greater_equals_bytes (bytes, bytes) -> bool
    _>=_ greater_equals_timestamp (timestamp, timestamp) -> bool
    _>=_ greater_equals_duration (duration, duration) -> bool
";

fn run<'a>(function: &str, args: &[Value<'a>]) -> Ran<'a> {
    let value = match (function, args) {
        ("size", [Value::String(_) | Value::Bytes(_) | Value::List(_) | Value::Map(_)]) => {
            Value::Int(i64::try_from(args[0].size()).unwrap_or(i64::MAX))
        }
        ("contains", [Value::String(text), Value::String(part)]) => Value::Bool(text.contains(&**part)),
        ("endsWith", [Value::String(text), Value::String(end)]) => Value::Bool(text.ends_with(&**end)),
        ("startsWith", [Value::String(text), Value::String(start)]) => Value::Bool(text.starts_with(&**start)),
        _ => return operators::run(function, args),
    };
    Some(Ok(value))
}
