use super::*;
use crate::{Env, ListSemantics, Record};

/// Sizes by dotted path: `list.@item`.
struct Table(&'static [(&'static str, u64)]);

impl Sizes for Table {
    fn largest(&self, path: &[Step]) -> Option<u64> {
        let shown: Vec<&str> = path
            .iter()
            .map(|step| match step {
                Step::Field(name) => name.as_str(),
                Step::Item => "@item",
                Step::Index => "@index",
                Step::Key => "@key",
                Step::Value => "@value",
            })
            .collect();
        self.0.iter().find(|(path, _)| *path == shown.join(".")).map(|(_, size)| *size)
    }
}

#[track_caller]
fn check(source: &str, want: u64) {
    let fields = [
        ("text", Type::String),
        ("other", Type::String),
        ("bytes", Type::Bytes),
        ("number", Type::Int),
        ("any", Type::Dyn),
        ("list", Type::list_with(Type::String, ListSemantics::Atomic)),
        ("numbers", Type::list_with(Type::Int, ListSemantics::Atomic)),
        ("map", Type::map(Type::String, Type::String)),
    ];
    let sizes = Table(&[
        ("", 0),
        ("text", 100),
        ("other", 30),
        ("bytes", 40),
        ("number", 0),
        ("any", 50),
        ("list", 10),
        ("list.@item", 20),
        ("numbers", 5),
        ("map", 5),
        ("map.@key", 0),
        ("map.@value", 20),
    ]);
    let env = Env::new().variable("self", Record::new("t", fields));
    assert_eq!(env.estimate(source, &sizes).unwrap(), want, "{source}");
}

#[test]
fn reading_costs_by_the_step() {
    check("true", 0);
    check("self.number == 1", 2);
    check("has(self.text)", 1);
    check("self.map.a == ''", 3);
    check("self.map['a'] == ''", 3);
    check("self.list[0] == 'abc'", 4);
    check("self.?text.orValue('x') == 'x'", 4);
}

#[test]
fn text_costs_by_its_size() {
    check("self.text == self.other", 7);
    check("self.text < self.other", 7);
    check("self.text + self.other == 'x'", 18);
    check("self.text.startsWith('abc')", 3);
    check("self.text.contains('abc')", 12);
    check("self.text.matches('[a-z]+')", 24);
    check("self.text.upperAscii() == 'A'", 13);
    check("self.text.replace('a', 'bb').size() < 3", 24);
    check("self.text.replace('a', 'bb') == self.text.replace('', 'c')", 22 + 22 + 20);
    check("self.text.split(',').size() == 2", 24);
    check("self.text.split(',', 2).all(x, x == 'a')", 22 + 1 + 2 * 4);
    check("string(self.bytes) == self.text", 12);
    check("quantity(self.any).isInteger()", 8);
    check("self.text.format([1]) == ''", 22);
}

#[test]
fn loops_cost_by_what_they_go_over() {
    check("self.list.all(x, true)", 33);
    check("self.list.all(x, x == 'abc')", 53);
    check("self.list.exists(x, x == self.text)", 2 + 1 + 10 * (3 + 1 + 5));
    check("self.list.all(x, self.list.all(y, true))", 3 + 10 * (3 + 33));
    check("self.map.all(k, self.map[k] != 'abc')", 2 + 1 + 5 * (2 + 1 + 5));
    check("self.list.map(x, x.size()).size() == 2", 12 + 1 + 10 * 14 + 2);
    check("self.list.filter(x, x == 'a').size() == 2", 12 + 1 + 10 * (2 + 13) + 2);
    check("self.list.join(',') == 'x'", 24);
    check("self.list.isSorted()", 32);
    check("'a' in self.list", 12);
    check("sets.contains(self.list, ['a', 'b'])", 33);
    check("self.any.all(x, true)", 2 + 1 + 50 * 3);
}

#[test]
fn making_lists_costs_by_what_is_looked_at() {
    check("lists.range(4) == [0, 1, 2, 3]", 26);
    check("lists.range(4 / 2) == [0, 1]", u64::MAX);
    check("lists.range(self.number) == [0]", u64::MAX);
    check("[[1, 2], [3]].flatten(1) == [1, 2, 3]", 54);
    check("[[1, 2], [3]].flatten(2) == [1, 2, 3]", 56);
    check("[[1], [2], [3]].flatten() == [1, 2, 3]", 65);
    check("[[1, 2], [3]].flatten(self.number) == [1, 2, 3]", u64::MAX);
    check("[1, 1, 1].distinct() == [1]", 50);
    check("self.numbers.distinct() == [1]", 2 + 11 + 50 + 10 + 1);
    check("[1, 2, 3, 4, 5].slice(self.number, self.number) == [2, 3]", 39 + 2);
    check("self.numbers.slice(1, 3) == [2, 3]", 26);
    check("[1, 2, 3].slice(1, 3) == [2, 3]", 34);
    check("[3, 2, 1].reverse() == [1, 2, 3]", 35);
    check("self.numbers.reverse() == [1, 2, 3]", 29);
    check("[2, 3, 1].sort() == [1, 2, 3]", 50);
    check("self.numbers.sort() == [1, 2, 3]", 74);
    check("self.list.sort() == ['a', 'a', 'b', 'b', 'c', 'c']", 234);
    check("[{'x': 4}, {'x': 3}].sortBy(m, m['x']) == [{'x': 3}, {'x': 4}]", 211);
}

#[test]
fn either_branch_may_be_taken() {
    check("self.number == 1 || self.text == self.other", 2 + 7);
    check("self.number == 1 ? self.text == self.other : true", 2 + 7);
    check("(true ? self.text : self.other).contains('abc')", 12);
    check("optional.of(self.text).optMap(t, t == 'abc').orValue(false)", 4 + (10 + 4 + 2 + 1) + 1);
    check("dyn(self.text) == 'a'", 4);
}
