//! Amounts by resource name (`cpu`, `memory`, `nvidia.com/gpu`): sums, maxima, and what a whole Pod asks for.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::field::Path;
use crate::quantity::Quantity;
use crate::validation::resource_names::is_huge_pages;

/// Amounts by resource name.
pub type Amounts = BTreeMap<String, Quantity>;

/// Whether the resource may be given for a Pod as a whole.
pub fn is_for_whole_pods(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || is_huge_pages(name)
}

/// The warning about an amount of bytes in a resource list at `path` that is no whole number.
pub(crate) fn fraction(list: &Value, name: &str, path: &Path) -> Option<String> {
    let amount: Quantity = list[name].as_str()?.parse().ok()?;
    let is_whole = amount == Quantity::from_units(amount.value());
    (!is_whole)
        .then(|| format!("{}: fractional byte value \"{amount}\" is invalid, must be an integer", path.key(name)))
}

/// The amounts of a resource list; what is no quantity is left out, validation has told of it.
pub fn read(list: &Value) -> Amounts {
    let fields = list.as_object().into_iter().flatten();
    fields.filter_map(|(name, amount)| Some((name.clone(), quantity(amount)?))).collect()
}

/// The quantity that a value is: a text, or a plain number where nothing has brought it into canonical form yet.
pub fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

/// The resource list of the amounts.
pub fn write(amounts: &Amounts) -> Value {
    amounts.iter().map(|(name, amount)| (name.clone(), Value::from(amount.to_string()))).collect::<Map<_, _>>().into()
}

/// `cpu=1,memory=2Gi`
pub fn sentence(amounts: &Amounts) -> String {
    amounts.iter().map(|(name, amount)| format!("{name}={amount}")).collect::<Vec<_>>().join(",")
}

/// Adds `more` to `sum`.
pub fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let sum = sum.entry(name.clone()).or_insert(Quantity::ZERO);
        *sum = *sum + *amount;
    }
}

/// Raises `most` to what `other` has more of.
pub fn raise(most: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let most = most.entry(name.clone()).or_insert(*amount);
        *most = (*most).max(*amount);
    }
}

/// What of `amounts` the names in `names` cover.
pub fn only<'a>(amounts: &Amounts, names: impl Fn(&str) -> bool + 'a) -> Amounts {
    amounts.iter().filter(|(name, _)| names(name)).map(|(name, amount)| (name.clone(), *amount)).collect()
}

/// What a Pod asks for (`list` is `requests`) or may use at most (`limits`): what its containers do together, and amounts
/// given for the whole Pod win. Overhead is not part of it.
pub fn of_pod(spec: &Value, list: &str) -> Amounts {
    let mut sum = of_containers(spec, list);
    sum.extend(only(&read(&spec["resources"][list]), is_for_whole_pods));
    sum
}

/// What the containers of a Pod ask for together.
pub fn of_containers(spec: &Value, list: &str) -> Amounts {
    let containers = |field: &str| spec[field].as_array().into_iter().flatten();
    let of = |container: &Value| read(&container["resources"][list]);
    let role = |container: &Value| if container["restartPolicy"] == "Always" { Turn::Sidecar } else { Turn::Init };
    let init = containers("initContainers").map(|container| (role(container), of(container)));
    together(init.chain(containers("containers").map(|container| (Turn::App, of(container)))))
}

/// When a container of a Pod runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Once, before those that come after it.
    Init,
    /// From its turn among the init containers on.
    Sidecar,
    /// Beside all others but the init containers.
    App,
}

/// What `containers` ask for together, in the order in which they run: apps and sidecars add up, an init container needs
/// its own beside the sidecars started before it.
pub fn together(containers: impl IntoIterator<Item = (Turn, Amounts)>) -> Amounts {
    let (mut sum, mut sidecars, mut most) = (Amounts::new(), Amounts::new(), Amounts::new());
    for (turn, mut own) in containers {
        match turn {
            Turn::App => add(&mut sum, &own),
            Turn::Sidecar => {
                add(&mut sum, &own);
                add(&mut sidecars, &own);
                raise(&mut most, &sidecars);
            }
            Turn::Init => {
                add(&mut own, &sidecars);
                raise(&mut most, &own);
            }
        }
    }
    raise(&mut sum, &most);
    sum
}

/// [`of_pod`] with the Pod's overhead.
pub fn of_pod_with_overhead(spec: &Value, list: &str) -> Amounts {
    let mut sum = of_pod(spec, list);
    add_overhead(&mut sum, &read(&spec["overhead"]), list);
    sum
}

/// Adds a Pod's overhead to what it asks for, or in the `list` `limits` to what is bounded.
pub fn add_overhead(sum: &mut Amounts, overhead: &Amounts, list: &str) {
    let counted = if list == "limits" { only(overhead, |name| sum.contains_key(name)) } else { overhead.clone() };
    add(sum, &counted);
}

#[cfg(test)]
mod tests {
    use super::{of_pod, of_pod_with_overhead, sentence};

    #[test]
    fn a_pod_needs_what_its_containers_need_at_the_same_time() {
        let spec = serde_yaml_ng::from_str(
            "{initContainers: [{resources: {requests: {cpu: 2}}}, {restartPolicy: Always, resources: {requests: {cpu: \
             500m}}}, {resources: {requests: {cpu: 100m, memory: 1Gi}}}], containers: [{resources: {requests: {cpu: \
             1}, limits: {memory: 2Gi}}}, {resources: {requests: {cpu: 250m}}}], overhead: {cpu: 10m, memory: 1Mi}}",
        )
        .unwrap();
        assert_eq!(sentence(&of_pod(&spec, "requests")), "cpu=2,memory=1Gi");
        assert_eq!(sentence(&of_pod_with_overhead(&spec, "requests")), "cpu=2010m,memory=1025Mi");
        assert_eq!(sentence(&of_pod_with_overhead(&spec, "limits")), "memory=2049Mi");
    }

    #[test]
    fn amounts_of_the_whole_pod_win() {
        let spec = serde_yaml_ng::from_str(
            "{resources: {requests: {cpu: 3, other/x: 1}}, containers: [{resources: {requests: {cpu: 1, other/x: 2}}}]}",
        )
        .unwrap();
        assert_eq!(sentence(&of_pod(&spec, "requests")), "cpu=3,other/x=2");
    }
}
