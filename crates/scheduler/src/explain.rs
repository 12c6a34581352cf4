//! Why a Pod has no place, in upstream's form: `0/3 nodes are available: 1 Insufficient cpu, 2 Too many pods.`

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::decide::Verdicts;
use crate::framework::PluginSet;
use crate::plugins;

/// What is said about a Pod when there is no node at all.
const NO_NODES: &str = "no nodes available to schedule pods";

/// The message about `verdicts`, without what was said about pushing other Pods away.
pub(crate) fn message(verdicts: &Verdicts) -> String {
    if verdicts.nodes == 0 {
        return NO_NODES.to_owned();
    }
    let reasons = verdicts.refused.iter().flat_map(|refused| refused.refusal.reasons.iter().cloned());
    let others = verdicts.nodes - verdicts.refused.len();
    summary(verdicts.nodes, reasons, (others, not_satisfied(verdicts.narrowed_by)))
}

/// Counts equal reasons and sorts the lines as texts. `rest` is how many nodes have a reason that was not collected.
pub(crate) fn summary(
    nodes: usize,
    reasons: impl Iterator<Item = Cow<'static, str>>,
    rest: (usize, Cow<'static, str>),
) -> String {
    let mut counts: BTreeMap<Cow<'static, str>, usize> = BTreeMap::new();
    for reason in reasons {
        *counts.entry(reason).or_default() += 1;
    }
    if rest.0 > 0 {
        *counts.entry(rest.1).or_default() += rest.0;
    }
    let mut lines: Vec<String> = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    lines.sort();
    format!("0/{nodes} nodes are available: {}.", lines.join(", "))
}

fn not_satisfied(narrowed_by: PluginSet) -> Cow<'static, str> {
    let names = plugins::ALL.iter().enumerate().filter(|(index, _)| narrowed_by.contains(*index));
    let names: Vec<&str> = names.map(|(_, plugin)| plugin.name).collect();
    format!("node(s) didn't satisfy plugin(s) [{}]", names.join(" ")).into()
}
