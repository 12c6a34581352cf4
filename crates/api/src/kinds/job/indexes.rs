//! Lists of completion indexes: `0,2-5,7`.

/// How many indexes the list has; all must be below `completions`, and in order.
pub(super) fn count(list: &str, completions: i64) -> Result<i64, String> {
    let mut total = 0;
    let mut last = None;
    for interval in intervals(list) {
        let (first, end) = parse(interval, completions)?;
        if let Some(last) = last.filter(|last| *last >= first) {
            return Err(not_increasing(last, first));
        }
        total += end - first + 1;
        last = Some(end);
    }
    Ok(total)
}

/// The first index that both lists have; malformed intervals are passed over.
pub(super) fn overlap(a: &str, b: &str, completions: i64) -> Option<i64> {
    let parsed = |list| intervals(list).filter_map(|interval| parse(interval, completions).ok()).collect::<Vec<_>>();
    let (a, b) = (parsed(a), parsed(b));
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    while let (Some((a_first, a_last)), Some((b_first, b_last))) = (a.peek(), b.peek()) {
        if a_first <= b_last && b_first <= a_last {
            return Some(*a_first.max(b_first));
        }
        if a_first <= b_first {
            a.next()
        } else {
            b.next()
        };
    }
    None
}

fn intervals(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').filter(move |_| !list.is_empty())
}

fn parse(interval: &str, completions: i64) -> Result<(i64, i64), String> {
    let limits: Vec<&str> = interval.split('-').collect();
    let index = |text: &str| match text.parse::<i64>() {
        Err(_) => Err(format!("cannot convert string to integer for index: \"{text}\"")),
        Ok(index) if index >= completions => Err(format!("too large index: \"{text}\"")),
        Ok(index) => Ok(index),
    };
    match limits[..] {
        [only] => index(only).map(|index| (index, index)),
        [first, last] => match (index(first)?, index(last)?) {
            (first, last) if first >= last => Err(not_increasing(first, last)),
            both => Ok(both),
        },
        _ => Err(format!(
            "the fragment \"{interval}\" violates the requirement that an index interval can have at most two parts \
             separated by '-'"
        )),
    }
}

fn not_increasing(previous: i64, current: i64) -> String {
    format!("non-increasing order, previous: {previous}, current: {current}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        assert_eq!(count("", 5), Ok(0));
        assert_eq!(count("0,2-4", 5), Ok(4));
        for (list, why) in [
            ("5", "too large index: \"5\""),
            ("a", "cannot convert string to integer for index: \"a\""),
            ("2,1", "non-increasing order, previous: 2, current: 1"),
            ("3-2", "non-increasing order, previous: 3, current: 2"),
        ] {
            assert_eq!(count(list, 5), Err(why.to_owned()), "{list}");
        }
        assert_eq!(overlap("0,2-4", "1,3", 5), Some(3));
        assert_eq!(overlap("0,2", "1,3", 5), None);
    }
}
