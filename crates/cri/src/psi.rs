//! The kernel's text of how long processes wait for want of something (pressure stall information).

use crate::v1::{PsiData, PsiStats};

impl PsiStats {
    /// Reads `some avg10=0.00 avg60=0.00 avg300=0.00 total=12`, and a line of the same with `full`: shares of the last
    /// seconds in percent, and microseconds. Nothing if neither is there.
    pub fn parse(text: &str) -> Option<Self> {
        let data = |kind: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
            let word = |key: &str| line.split(' ').find_map(|word| word.strip_prefix(key));
            let average = |key| word(key)?.parse().ok();
            Some(PsiData {
                total: word("total=")?.parse().ok()?,
                avg10: average("avg10=")?,
                avg60: average("avg60=")?,
                avg300: average("avg300=")?,
            })
        };
        let stats = Self { some: data("some "), full: data("full ") };
        (stats.some.is_some() || stats.full.is_some()).then_some(stats)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel() {
        let check = |text: &str, want: (Option<PsiData>, Option<PsiData>)| {
            let stats = PsiStats::parse(text).unwrap_or_default();
            assert_eq!((stats.some, stats.full), want, "{text}");
        };
        let data = |total, avg10, avg60, avg300| Some(PsiData { total, avg10, avg60, avg300 });
        let some = "some avg10=2.10 avg60=0.12 avg300=0.00 total=391926\n";
        check(some, (data(391_926, 2.1, 0.12, 0.0), None));
        let full = "full avg10=1.00 avg60=0.00 avg300=0.00 total=7\n";
        check(&format!("{some}{full}"), (data(391_926, 2.1, 0.12, 0.0), data(7, 1.0, 0.0, 0.0)));
        check("", (None, None));
        check("some avg10=x total=1\n", (None, None));
        assert_eq!(PsiStats::parse("full\n"), None);
    }
}
