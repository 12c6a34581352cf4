//! Resources of a Pod as a whole: what is filled in where somebody has said a part of it.

use serde_json::Value;

use crate::amounts::{self, Amounts, is_for_whole_pods};
use crate::kinds::read;
use crate::validation::resource_names::is_huge_pages;

/// Fills in requests and limits of the Pod from each other and from what its containers say, if it has any of its own.
pub fn default_whole(pod: &mut Value) {
    let spec = &pod["spec"];
    let own = |list: &str| amounts::read(&spec["resources"][list]);
    let (mut requests, mut limits) = (own("requests"), own("limits"));
    if requests.is_empty() && limits.is_empty() {
        return;
    }
    let of_containers = |list: &str| amounts::only(&amounts::of_containers(spec, list), is_for_whole_pods);
    let (asked, limited) = (of_containers("requests"), of_containers("limits"));
    // Huge pages are never overcommitted: their limit comes first.
    add_missing(&mut limits, &limited, |name| is_huge_pages(name) && !requests.contains_key(name));
    add_missing(&mut requests, &asked, |name| !is_huge_pages(name));
    let from = limits.clone();
    add_missing(&mut requests, &from, is_for_whole_pods);
    let all = ["/spec/containers", "/spec/initContainers"].into_iter().flat_map(|list| read::list(pod, list));
    let limit_all = |name: &str| all.clone().all(|container| !container["resources"]["limits"][name].is_null());
    for (name, request) in requests.iter().filter(|(name, _)| is_for_whole_pods(name) && limit_all(name)) {
        if let Some(together) = limited.get(name) {
            limits.entry(name.clone()).or_insert((*together).max(*request));
        }
    }
    for (list, amounts) in [("requests", requests), ("limits", limits)] {
        // What was said stays as it was written.
        for (name, amount) in amounts {
            if pod["spec"]["resources"][list][&name].is_null() {
                pod["spec"]["resources"][list][&name] = amount.to_string().into();
            }
        }
    }
}

fn add_missing(amounts: &mut Amounts, from: &Amounts, wanted: impl Fn(&str) -> bool) {
    for (name, amount) in from.iter().filter(|(name, _)| wanted(name)) {
        amounts.entry(name.clone()).or_insert(*amount);
    }
}

#[cfg(test)]
mod tests {
    use super::default_whole;
    use crate::kinds::testing::object;

    #[track_caller]
    fn check(whole: &str, containers: &str, want: &str) {
        let with = |whole: &str| object(&format!("{{spec: {{resources: {whole}, containers: {containers}}}}}"));
        let mut pod = with(whole);
        default_whole(&mut pod);
        assert_eq!(pod, with(want), "{whole} over {containers}");
    }

    #[test]
    fn what_is_not_said_follows_from_what_is() {
        let one = "[{resources: {requests: {cpu: 100m}, limits: {cpu: 200m}}}, {resources: {requests: {cpu: 50m}}}]";
        check("{}", one, "{}");
        check("{requests: {memory: 1Gi}}", one, "{requests: {cpu: 150m, memory: 1Gi}}");
        check("{limits: {cpu: '1'}}", one, "{requests: {cpu: 150m}, limits: {cpu: '1'}}");
        check("{limits: {memory: 1Gi}}", "[{}]", "{requests: {memory: 1Gi}, limits: {memory: 1Gi}}");
        let limited = "[{resources: {limits: {cpu: 200m}}}, {resources: {limits: {cpu: 300m}}}]";
        check("{requests: {cpu: 100m}}", limited, "{requests: {cpu: 100m}, limits: {cpu: 500m}}");
        check("{requests: {cpu: '1'}}", limited, "{requests: {cpu: '1'}, limits: {cpu: '1'}}");
        let pages = "[{resources: {requests: {hugepages-2Mi: 4Mi}, limits: {hugepages-2Mi: 4Mi}}}]";
        let with_pages = "{requests: {cpu: '1', hugepages-2Mi: 4Mi}, limits: {hugepages-2Mi: 4Mi}}";
        check("{requests: {cpu: '1'}}", pages, with_pages);
    }
}
