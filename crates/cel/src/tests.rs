//! Expressions and what they come to.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::{Bindings, Budget, Env, Error, Field, ListSemantics, Program, Schema, Type};

/// A schema over JSON: `{"name": "type"}`, nested objects as fields of their own.
struct Fields(&'static str, Vec<(&'static str, Type)>);

impl Schema for Fields {
    fn name(&self) -> &str {
        self.0
    }

    fn field(&self, name: &str) -> Option<Field> {
        let name = crate::unescape(name)?;
        let (_, ty) = self.1.iter().find(|(known, _)| *known == name)?;
        Some(Field { ty: ty.clone(), json_name: name })
    }
}

fn spec() -> Type {
    let port = Type::object(Arc::new(Fields("Port", vec![("name", Type::String), ("port", Type::Int)])));
    let by_name = ListSemantics::Map(Arc::from(["name".to_owned()]));
    Type::object(Arc::new(Fields(
        "Spec",
        vec![
            ("replicas", Type::Int),
            ("name", Type::String),
            ("namespace", Type::String),
            ("x-y", Type::String),
            ("ratio", Type::Double),
            ("data", Type::Bytes),
            ("at", Type::Timestamp),
            ("wait", Type::Duration),
            ("labels", Type::map(Type::String, Type::String)),
            ("set", Type::list_with(Type::String, ListSemantics::Set)),
            ("other", Type::list_with(Type::String, ListSemantics::Set)),
            ("ports", Type::list_with(port.clone(), by_name.clone())),
            ("more", Type::list_with(port, by_name)),
            ("port", Type::Dyn),
            ("missing", Type::String),
        ],
    )))
}

fn object() -> Json {
    json!({
        "replicas": 3, "name": "web", "namespace": "ns", "x-y": "dashed", "ratio": 1, "data": "aGk=",
        "at": "2024-02-03T04:05:06.5Z", "wait": "1h30m", "labels": {"app": "a", "b/c": "d"}, "set": ["a", "b"], "other": ["b", "a"],
        "ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}], "more": [{"name": "b", "port": 3}, {"name": "c", "port": 4}],
        "port": "http", "missing": null, "unknown": 1,
    })
}

fn env() -> Env {
    Env::new().variable("self", spec()).variable("object", Type::Dyn)
}

fn compile(expression: &str) -> Program {
    env().compile(expression).unwrap_or_else(|error| panic!("{expression}:\n{error}"))
}

fn evaluate(expression: &str, budget: &Budget) -> Result<String, Error> {
    let object = object();
    let bindings = Bindings::new().typed("self", &object, &spec()).json("object", &object);
    let value = compile(expression).evaluate(&bindings, budget)?;
    Ok(match value {
        crate::Value::Optional(None) => "none".to_owned(),
        crate::Value::Type(name) => name.to_string(),
        value => value.to_json().map_or_else(|why| why, |json| json.to_string()),
    })
}

/// Checks values; an error shows as its text.
fn check(rows: &[(&str, &str)]) {
    for (expression, want) in rows {
        let got = evaluate(expression, &Budget::new(Budget::OBJECT)).unwrap_or_else(|error| error.to_string());
        assert_eq!(got, *want, "{expression}");
    }
}

fn check_true(expressions: &[&str]) {
    for expression in expressions {
        check(&[(expression, "true")]);
    }
}

fn check_costs(rows: &[(&str, u64)]) {
    for (expression, want) in rows {
        let budget = Budget::new(Budget::OBJECT);
        let _ = evaluate(expression, &budget);
        assert_eq!(Budget::OBJECT - budget.left(), *want, "{expression}");
    }
}

/// Checks the first line of each fault.
fn check_faults(rows: &[(&str, &str)]) {
    for (expression, want) in rows {
        let got = env().compile(expression).map(|program| program.ty().to_string()).unwrap_or_else(|error| {
            let text = error.to_string();
            let heads: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("ERROR: <input>:")).collect();
            heads.join("; ")
        });
        assert_eq!(got, *want, "{expression}");
    }
}

#[test]
fn literals_and_operators() {
    check(&[
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3 - -4", "13"),
        ("7 / 2", "3"),
        ("-7 % 3", "-1"),
        ("0x1F", "31"),
        ("3u + 4u", "7"),
        ("1.5e3", "1500.0"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("9223372036854775807 + 1", "integer overflow"),
        ("1u - 2u", "unsigned integer overflow"),
        ("1 / 0", "division by zero"),
        ("1 % 0", "modulus by zero"),
        ("'a' + \"b\" + r'\\n' + '''c'''", "\"ab\\\\nc\""),
        ("'\\u00e9\\x41\\101\\t'", "\"\u{e9}AA\\t\""),
        ("b'hi'", "\"aGk=\""),
        ("[1, 2] + [3]", "[1,2,3]"),
        ("{'a': 1}", "{\"a\":1}"),
        ("{'a': 1, 'a': 2}", "Failed with repeated key"),
        ("true ? 'y' : 'n'", "\"y\""),
        ("!false && (false || true)", "true"),
        ("size('h\u{e9}llo')", "5"),
        ("[1, 2, 3][1]", "2"),
        ("[1][5]", "index out of bounds: 5"),
        ("{'a': 1}['b']", "no such key: b"),
        ("type(1)", "int"),
        ("null", "null"),
    ]);
    check_true(&[
        "dyn(1) == 1.0",
        "dyn(1u) == 1",
        "1 < 1.5",
        "2u > 1",
        "[1, 2] == [1, 2]",
        "{'a': [1]} == {'a': [1]}",
        "dyn('a') != dyn(1)",
        "1 in [1, 2]",
        "!('z' in {'a': 1})",
        "type(1) == int && type('a') == string && type([]) == list",
        "'abc'.startsWith('a') && 'abc'.endsWith('c') && 'abc'.contains('b')",
        "'abc'.matches('^a.c$')",
        "string(1.5) == '1.5' && string(1000000.0) == '1e+06' && string(true) == 'true'",
        "int('12') == 12 && double('1.5') == 1.5 && uint(3) == 3u && bool('true')",
        "'a' < 'b' && b'a' < b'b' && false < true",
        "// a comment\n true",
    ]);
}

#[test]
fn errors_are_absorbed_by_logic() {
    check_true(&[
        "true || 1 / 0 == 1",
        "1 / 0 == 1 || true",
        "!(false && 1 / 0 == 1)",
        "!(1 / 0 == 1 && false)",
        "[1, 2, 0].exists(x, 4 / x == 4)",
        "![0, 1].all(x, 1 / x == 2)",
    ]);
    check(&[
        ("1 / 0 == 1 || false", "division by zero"),
        ("[0].all(x, 1 / x == 1)", "division by zero"),
        ("object.nothing.at == 1", "no such key: nothing"),
        ("object.replicas.at == 1", "no such overload"),
        ("object.name + 1 == 2", "no such overload"),
    ]);
}

#[test]
fn macros() {
    check(&[
        ("[1, 2, 3].map(x, x * 2)", "[2,4,6]"),
        ("[1, 2, 3].map(x, x > 1, x * 2)", "[4,6]"),
        ("[1, 2, 3].filter(x, x > 1)", "[2,3]"),
        ("{'a': 1, 'b': 2}.map(k, k)", "[\"a\",\"b\"]"),
        ("[[1], [2]].map(x, x.map(y, y + 1))", "[[2],[3]]"),
        ("['a', 'b'].transformList(i, v, string(i) + v)", "[\"0a\",\"1b\"]"),
        ("['a', 'b'].transformList(i, v, i > 0, v)", "[\"b\"]"),
        ("{'a': 1}.transformMap(k, v, v + 1)", "{\"a\":2}"),
        ("{'a': 'x'}.transformMapEntry(k, v, {v: k})", "{\"x\":\"a\"}"),
        ("['x', 'x'].transformMapEntry(i, v, {v: i})", "insert failed: key x already exists"),
    ]);
    check_true(&[
        "[1, 2].all(x, x > 0) && [1, 2].exists(x, x == 2) && [1, 2].exists_one(x, x == 2)",
        "[1, 2].all(i, v, v == i + 1) && {'a': 1}.exists(k, v, k == 'a' && v == 1) && [5].existsOne(i, v, v == 5)",
        "[].all(x, false) && ![].exists(x, true)",
        "[1, 2].exists(x, [2, 3].exists(x, x == 3) && x == 1)",
    ]);
}

#[test]
fn fields() {
    check(&[
        ("self.replicas", "3"),
        ("self.__namespace__ + self.x__dash__y", "\"nsdashed\""),
        ("self.labels['b/c']", "\"d\""),
        ("self.labels.app", "\"a\""),
        ("self.missing", "no such key: missing"),
        ("self.ports[1].port", "2"),
        ("object.labels.?app.orValue('x')", "\"a\""),
        ("object.?nothing.?deeper.orValue('x')", "\"x\""),
        ("object.labels[?'z']", "none"),
        ("self.?missing.hasValue()", "false"),
        ("optional.of(1).optMap(x, x + 1).value()", "2"),
        ("optional.none().optMap(x, x + 1).orValue(9)", "9"),
        ("optional.none().value()", "optional.none() dereference"),
        ("[?optional.of(1), ?optional.none()]", "[1]"),
        ("{?'a': optional.of(1), ?'b': optional.none()}", "{\"a\":1}"),
        ("self.at.getFullYear() + self.at.getMonth() + self.at.getDate()", "2028"),
        ("self.at + self.wait", "\"2024-02-03T05:35:06.5Z\""),
        ("string(self.wait)", "\"5400s\""),
        ("string(self.data)", "\"hi\""),
    ]);
    check_true(&[
        "has(self.name) && !has(self.missing) && has(object.missing) && !has(object.nothing)",
        "type(self.ratio) == double && self.ratio == 1.0",
        "self.set == self.other && self.set + ['b', 'c'] == ['c', 'b', 'a']",
        "(self.ports + self.more).map(p, p.port) == [1, 3, 4]",
        "self.port == 'http' && type(self.port) == string",
        "self.wait == duration('90m') && self.at > timestamp('2024-01-01T00:00:00Z')",
        "object.replicas == 3 && object.ratio == 1 && object.at == '2024-02-03T04:05:06.5Z'",
        "timestamp('2024-02-03T04:05:06Z').getHours('+02:00') == 6",
    ]);
}

#[test]
fn libraries() {
    check(&[
        ("'tacocat'.charAt(3)", "\"o\""),
        ("'hello mellow'.indexOf('ello', 2)", "7"),
        ("'hello mellow'.lastIndexOf('ello')", "7"),
        ("'hello mellow'.lastIndexOf('ello', 6)", "1"),
        ("'abc'.charAt(4)", "index out of range: 4"),
        ("'TacoCat'.lowerAscii() + 'b'.upperAscii()", "\"tacocatB\""),
        ("'hello hello'.replace('he', 'we', 1)", "\"wello hello\""),
        ("'hello hello hello'.split(' ', 2)", "[\"hello\",\"hello hello\"]"),
        ("'ab'.split('')", "[\"a\",\"b\"]"),
        ("'tacocat'.substring(0, 4)", "\"taco\""),
        ("'tacocat'.substring(4)", "\"cat\""),
        ("'  a '.trim()", "\"a\""),
        ("['a', 'b'].join('-')", "\"a-b\""),
        ("strings.quote('a\\n')", "\"\\\"a\\\\n\\\"\""),
        (
            "'%s %d %.2f %x %b %o %e'.format([dyn('a'), 3, 1.5, 255, 5, 8, 1234.5])",
            "\"a 3 1.50 ff 101 10 1.234500×10⁰³\"",
        ),
        ("'%s %s %s'.format([[1, 'a'], {'k': true}, null])", r#""[1, \"a\"] {\"k\":true} null""#),
        ("[3, 1, 2].sum() + [3, 1].min() + [3, 1].max()", "10"),
        ("[].sum()", "0"),
        ("['a', 'b', 'a'].indexOf('a') + ['a', 'b', 'a'].lastIndexOf('a')", "2"),
        ("'abc 123 456'.find('[0-9]+')", "\"123\""),
        ("'123 abc 456'.findAll('[0-9]+')", "[\"123\",\"456\"]"),
        ("url('https://u@example.com:80/a%20b?c=d&c=e').getHost()", "\"example.com:80\""),
        ("url('https://example.com:80/a?c=d&c=e').getQuery()", "{\"c\":[\"d\",\"e\"]}"),
        ("url('/a/b').getEscapedPath() + url('https://[::1]:8').getHostname()", "\"/a/b::1\""),
        ("string(cidr('10.1.2.3/8').masked())", "\"10.0.0.0/8\""),
        ("quantity('1Gi').add(quantity('1Mi'))", "\"1025Mi\""),
        ("quantity('50k').asInteger()", "50000"),
        ("format.dns1123Label().validate('Bad_').value().size()", "1"),
    ]);
    check_true(&[
        "[1, 2, 3].isSorted() && !['b', 'a'].isSorted()",
        "sets.contains([1, 2], [2]) && sets.equivalent([1, 1], [1]) && sets.intersects([1], [1, 2])",
        "isURL('https://a/b') && !isURL('a b') && isIP('::1') && !isIP('1.2.3') && isCIDR('10.0.0.0/8')",
        "cidr('10.0.0.0/8').containsIP('10.1.2.3') && cidr('10.0.0.0/8').containsCIDR(cidr('10.1.0.0/16'))",
        "ip('127.0.0.1').isLoopback() && ip('fe80::1').isLinkLocalUnicast() && ip('10.0.0.1').family() == 4",
        "ip.isCanonical('::1') && !ip.isCanonical('0:0::1')",
        "quantity('1Gi').isGreaterThan(quantity('500Mi')) && isQuantity('5m') && !isQuantity('x')",
        "quantity('200M') == quantity('0.2G') && sign(quantity('-1')) == -1",
        "semver('1.2.3').isLessThan(semver('1.10.0')) && semver('v1.2', true).minor() == 2 && !isSemver('1.2')",
        "semver('1.0.0-rc.1').isLessThan(semver('1.0.0'))",
        "!format.dns1123Label().validate('good').hasValue() && format.named('nothing') == optional.none()",
    ]);
}

#[test]
fn faults_of_types() {
    check_faults(&[
        ("nothing", "1:1: undeclared reference to 'nothing' (in container '')"),
        ("self.foo == 1", "1:5: undefined field 'foo'"),
        ("1 + 'a'", "1:3: found no matching overload for '_+_' applied to '(int, string)'"),
        ("self.name.frob()", "1:15: undeclared reference to 'frob' (in container '')"),
        ("self.name.startsWith(1)", "1:21: found no matching overload for 'startsWith' applied to 'string.(int)'"),
        ("self.replicas && true", "1:5: expected type 'bool' but found 'int'"),
        ("self.replicas.x", "1:14: type 'int' does not support field selection"),
        ("[1, 'a']", "1:5: expected type 'int' but found 'string'"),
        (
            "self.replicas.all(x, true)",
            "1:5: expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)",
        ),
        ("self.set.map(x, x + 1)", "1:19: found no matching overload for '_+_' applied to '(string, int)'"),
        ("true ? 1 : 'a'", "1:6: found no matching overload for '_?_:_' applied to '(bool, int, string)'"),
        ("'a'.matches('(')", "1:13: invalid matches argument"),
        ("duration('x')", "1:10: invalid duration argument"),
        ("self.port + object", "dyn"),
        ("[]", "list(dyn)"),
        ("self.ports.map(p, p.port)", "list(int)"),
        ("self.?name", "optional_type(string)"),
        ("self.labels.x + 'a'", "string"),
        ("object.a == 1 || object.b", "bool"),
    ]);
}

#[test]
fn faults_of_syntax() {
    check_faults(&[
        (
            "1 +",
            "1:4: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', \
             'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}",
        ),
        (
            "1 + $",
            "1:5: Syntax error: token recognition error at: '$'; 1:6: Syntax error: mismatched input '<EOF>' expecting \
             {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}",
        ),
        ("a b", "1:3: Syntax error: extraneous input 'b' expecting <EOF>"),
        ("(1", "1:3: Syntax error: missing ')' at '<EOF>'"),
        ("{1}", "1:3: Syntax error: mismatched input '}' expecting ':'"),
        ("has(object)", "1:5: invalid argument to has() macro"),
        ("[1].map(a.b, 1)", "1:10: argument is not an identifier"),
        ("[1].all(1, true)", "1:9: argument must be a simple name"),
        ("namespace", "1:1: reserved identifier: namespace"),
        ("99999999999999999999", "1:1: invalid int literal"),
        ("{\"a\": 1}.\"a\"", "1:10: Syntax error: no viable alternative at input '.\"a\"'"),
    ]);
    let error = env().compile("true &&\n  self.foo").unwrap_err().to_string();
    assert_eq!(error, "ERROR: <input>:2:7: undefined field 'foo'\n |   self.foo\n | ......^");
}

#[test]
fn costs() {
    check_costs(&[
        ("true", 0),
        ("self.replicas", 2),
        ("self.replicas > 1", 3),
        ("self.labels['app']", 3),
        ("self.labels['a' + 'pp']", 4),
        ("has(self.name)", 1),
        ("[1, 2, 3]", 0),
        ("[self.replicas]", 12),
        ("'12345678901234567890' == '123456789012345678901234567890'", 2),
        ("self.name.startsWith('w')", 3),
        ("'123'.matches('[0-9]')", 2),
        ("1 in [1, 2]", 0),
        ("true ? 1 : 2", 0),
        ("self.ports.all(p, p.port > 0)", 2 + 2 * (2 + 1 + 3) + 1),
        ("[1, 2, 3, 4, 5].map(x, x)", 5 * (1 + 1 + 10 + 1) + 1),
        ("self.labels.all(k, self.labels[k].size() > 0)", 2 + 2 * (2 + 1 + 5) + 1),
        ("[3, 1, 2].sum()", 3),
        ("'abc'.lowerAscii()", 1),
    ]);
}

#[test]
fn costs_are_bounded() {
    let digits = "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]";
    let nested = (0..7).fold("1".to_owned(), |inner, _| format!("{digits}.map(x, {inner})"));
    assert_eq!(evaluate(&nested, &Budget::new(Budget::OBJECT)), Err(Error::CallLimit));
    let small = Budget::new(100);
    assert_eq!(evaluate(&format!("{digits}.map(x, x)"), &small), Err(Error::OutOfBudget));
    assert_eq!(small.left(), 0);
}

#[test]
fn variables_are_evaluated_once() {
    let variables =
        Type::object(Arc::new(Fields("kubernetes.variables", vec![("twice", Type::Int), ("bad", Type::Int)])));
    let twice = env().compile("self.replicas * 2").unwrap();
    let bad = env().compile("1 / 0").unwrap();
    let object = object();
    let bindings = Bindings::new().typed("self", &object, &spec()).lazily("twice", Ok(&twice)).lazily("bad", Ok(&bad));
    let env = env().variable("variables", variables);
    let budget = Budget::new(Budget::OBJECT);
    let run = |text: &str| env.compile(text).unwrap().evaluate(&bindings, &budget);
    assert_eq!(run("variables.twice + variables.twice == 12").unwrap().as_bool(), Some(true));
    assert_eq!(run("variables.twice == 6 || variables.bad == 1").unwrap().as_bool(), Some(true));
    let error = run("variables.bad == 1").unwrap_err().to_string();
    assert_eq!(error, "composited variable \"bad\" fails to evaluate: division by zero");
    assert!(env.compile("variables.other == 1").unwrap_err().to_string().contains("undefined field 'other'"));
}

#[test]
fn attacks_are_refused() {
    for text in [
        "(".repeat(100_000),
        "!".repeat(99_999) + "true",
        "-".repeat(100_000),
        "[".repeat(50_000),
        "a.".repeat(40_000) + "a",
        "1+".repeat(40_000) + "1",
        "true?".repeat(20_000),
        "x".repeat(100_001),
        "optional.of(1)".to_owned() + &".optMap(x, x)".repeat(200),
        "[1].map(x, ".repeat(300) + "1" + &")".repeat(300),
    ] {
        assert!(env().compile(&text).is_err());
    }
    // Many terms are no depth.
    assert!(env().compile(&("true && ".repeat(5_000) + "true")).is_ok());
    check(&[("'aaaaaaaaaaaaaaaaaaaa'.matches('(a*)*(a*)*(a*)*b')", "false")]);
}

#[test]
fn deep_trees_fit_into_small_stacks() {
    let deep =
        "[".repeat(60) + &"]".repeat(60) + ".size() == 1 && [1].map(x, ".repeat(30).as_str() + "x" + &")".repeat(30);
    let run = move || {
        let _ = env().compile(&deep).map(|program| program.evaluate(&Bindings::new(), &Budget::new(1000)).is_ok());
        let sum = "1+".repeat(240) + "1";
        compile(&sum).evaluate(&Bindings::new(), &Budget::new(1000)).is_ok()
    };
    let small = std::thread::Builder::new().stack_size(1 << 20).spawn(run).unwrap();
    assert!(small.join().unwrap());
}

proptest! {
    #[test]
    fn any_text_compiles_or_not(text in "\\PC{0,60}") {
        let _ = env().compile(&text);
    }

    #[test]
    fn likely_text_never_panics(words in proptest::collection::vec(prop::sample::select(vec![
        "self", ".", "object", "[", "]", "(", ")", "{", "}", ",", "?", ":", "'a'", "1", "-", "1u", "2.5", "+", "==", "&&", "||", "!",
        "map", "all", "x", "name", "ports", "labels", "has", "size", "in", "orValue", "optional", "of", "format", "%", "/", "0", "null",
        "replace", "''", "substring", "charAt", "split", "duration", "string", "int",
    ]), 0..24)) {
        let text = words.join(if words.len() % 2 == 0 { "" } else { " " });
        if let Ok(program) = env().compile(&text) {
            let object = object();
            let bindings = Bindings::new().typed("self", &object, &spec()).json("object", &object);
            let _ = program.evaluate(&bindings, &Budget::new(Budget::OBJECT));
        }
    }
}

#[test]
fn lists_made_from_lists() {
    check(&[
        ("lists.range(4)", "[0,1,2,3]"),
        ("lists.range(0)", "[]"),
        ("lists.range(-1)", "[]"),
        ("[5, 1, 2, 3].reverse()", "[3,2,1,5]"),
        ("[].reverse()", "[]"),
        ("self.set.reverse()", r#"["b","a"]"#),
        ("[1, 2, 3, 4].slice(0, 4)", "[1,2,3,4]"),
        ("[1, 2, 3, 4].slice(4, 4)", "[]"),
        ("[1, 2, 3, 4].slice(1, 3)", "[2,3]"),
        ("[1, 2].slice(3, 0)", "cannot slice(3, 0), start index must be less than or equal to end index"),
        ("[1, 2].slice(0, 10)", "cannot slice(0, 10), list is length 2"),
        ("[1, 2].slice(-5, 10)", "cannot slice(-5, 10), negative indexes not supported"),
        ("dyn([1, 2]).flatten()", "[1,2]"),
        ("[[1], [2, 3], []].flatten()", "[1,2,3]"),
        ("[dyn(1), dyn([2, dyn([3, 4])])].flatten()", "[1,2,[3,4]]"),
        ("[[[1], [2]], [[3]]].flatten(2)", "[1,2,3]"),
        ("[[1], [2]].flatten(-1)", "level must be non-negative"),
        ("dyn({}).flatten()", "no such overload"),
        ("[].flatten(dyn('1'))", "no such overload"),
        ("[-2, 5, -2, 1, 1, 5].distinct()", "[-2,5,1]"),
        ("[dyn(1), dyn(2.0), dyn('c'), dyn('c'), dyn(1)].distinct()", r#"[1,2.0,"c"]"#),
        ("[dyn(1), dyn(1.0), dyn(2)].distinct() == [1, 2]", "true"),
        ("[[1], [1], [2]].distinct()", "[[1],[2]]"),
        ("[4, 3, 2, 1].sort()", "[1,2,3,4]"),
        ("[].sort()", "[]"),
        ("['d', 'a', 'c'].sort()", r#"["a","c","d"]"#),
        ("[dyn('d'), dyn(3)].sort()", "list elements must have the same type"),
        ("dyn([[1], [2]]).sort()", "list elements must be comparable"),
        ("[0.0 / 0.0, 1.0].sort()", "NaN values cannot be ordered"),
        ("[-3, 1, -5, -2, 4].sortBy(e, -(e * e))", "[-5,4,-3,-2,1]"),
        ("[-3, 1, -5].map(e, e * 2).sortBy(e, -(e * e))", "[-10,-6,2]"),
        ("lists.range(3).sortBy(e, -e)", "[2,1,0]"),
        ("['a', 'c', 'b', 'first'].sortBy(e, e == 'first' ? '' : e)", r#"["first","a","b","c"]"#),
        ("self.more.sortBy(p, -p.port).map(p, p.name)", r#"["c","b"]"#),
        ("object.more.sortBy(p, p.name)[0].port", "3"),
        ("[[2, 1], [0]].sortBy(l, l.sortBy(e, e)[0])", "[[0],[2,1]]"),
    ]);
    check_faults(&[
        ("[1, 2].slice(1)", "1:13: found no matching overload for 'slice' applied to 'list(int).(int)'"),
        ("[[1]].sort()", "1:11: found no matching overload for 'sort' applied to 'list(list(int)).()'"),
        (
            "{}.sortBy(e, e)",
            "1:1: sortBy can only be applied to a list, identifier, comprehension, call or select expression",
        ),
        ("[1].sortBy(e.f, e)", "1:13: argument is not an identifier"),
        (
            "[1].sortBy(e, [e])",
            "1:11: found no matching overload for '@sortByAssociatedKeys' applied to 'list(int).(list(list(int)))'",
        ),
        ("lists.range(3)", "list(int)"),
        ("['a'].slice(0, 1)", "list(string)"),
        ("[[1]].flatten()", "list(dyn)"),
        ("['a'].sortBy(e, 1u)", "list(string)"),
    ]);
}

#[test]
fn what_making_lists_costs() {
    check_costs(&[
        ("lists.range(4) == [0, 1, 2, 3]", 4 + 11 + 1),
        ("lists.range(4 / 2) == [0, 1]", 1 + 2 + 11 + 1),
        ("lists.range(self.replicas) == [0, 1, 2]", 2 + 3 + 11 + 1),
        ("[[1, 2], [3]].flatten(1) == [1, 2, 3]", 2 + 11 + 1),
        ("[[1, 2], [3]].flatten(3) == [1, 2, 3]", 3 * 2 + 11 + 1),
        ("[[1], [2], [3]].flatten() == [1, 2, 3]", 3 + 11 + 1),
        ("[1, 1, 1].distinct() == [1]", 2 * 9 + 11 + 1),
        ("self.set.distinct() == ['a']", 2 + 8 + 11 + 1),
        ("[1, 2, 3].slice(1, 3) == [2, 3]", 2 + 11 + 1),
        ("[3, 2, 1].reverse() == [1, 2, 3]", 3 + 11 + 1),
        ("[2, 3, 1].sort() == [1, 2, 3]", 2 * 9 + 11 + 1),
        ("self.set.sort() == ['a', 'b']", 2 + 8 + 11 + 1),
        ("[{'x': 4}, {'x': 3}].sortBy(m, m['x']) == [{'x': 3}, {'x': 4}]", 2 + 2 * 14 + 2 + 8 + 11),
        ("dyn([2, 3, 1]).sort() == [1, 2, 3]", 3 + 1),
    ]);
    // Nothing is made of what could not be paid for.
    check(&[
        ("lists.range(1000000000000)", "operation cancelled: actual cost limit exceeded"),
        (
            "[lists.range(100000)].all(big, lists.range(20000).map(i, [big].flatten()).size() == 20000)",
            "operation cancelled: actual cost limit exceeded",
        ),
        (
            "[lists.range(100000)].all(big, lists.range(20000).all(i, [big, big].distinct().size() == 1))",
            "operation cancelled: actual cost limit exceeded",
        ),
    ]);
}
