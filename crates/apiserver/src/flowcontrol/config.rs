//! What the stored FlowSchemas and PriorityLevelConfigurations come to. Pure: from the objects to levels with their seats,
//! schemas in the order in which they are tried, and what is to be said about each schema's level.

use k8s_openapi::api::flowcontrol::v1::{
    FlowSchema, FlowSchemaSpec, PriorityLevelConfiguration, PriorityLevelConfigurationSpec,
};
use serde::de::DeserializeOwned;

use super::queues::{Queuing, Shape};
use super::shares::{self, Limits, Share};

/// The configuration.
#[derive(Debug)]
pub(super) struct Plan {
    /// The levels.
    pub(super) levels: Vec<LevelPlan>,
    /// The schemas in the order in which they are tried.
    pub(super) schemas: Vec<SchemaPlan>,
    /// Of each stored schema: its name, that of its level, and whether there is none.
    pub(super) dangling: Vec<(String, String, bool)>,
}

/// A level.
#[derive(Debug)]
pub(super) struct LevelPlan {
    /// Its name.
    pub(super) name: String,
    /// The object's UID; empty if there is none.
    pub(super) uid: String,
    /// What it does with requests beyond its seats.
    pub(super) shape: Shape,
    /// Its seats.
    pub(super) limits: Limits,
}

/// A schema.
#[derive(Debug)]
pub(super) struct SchemaPlan {
    /// Its name.
    pub(super) name: String,
    /// The object's UID; empty if there is none.
    pub(super) uid: String,
    /// Which of the levels it leads to.
    pub(super) level: usize,
    /// What it says.
    pub(super) spec: FlowSchemaSpec,
}

/// Precedence of a schema that does not say.
const DEFAULT_PRECEDENCE: i32 = 1000;
/// The mandatory objects' names. They hold even where their objects are missing.
pub(super) const MANDATORY: [&str; 2] = ["exempt", "catch-all"];

/// The configuration that the objects come to, with `seats` for the whole server.
pub(super) fn plan(seats: u32, levels: &[PriorityLevelConfiguration], schemas: &[FlowSchema]) -> Plan {
    let levels = self::levels(seats, levels);
    let (mut tried, mut dangling) = (Vec::new(), Vec::new());
    for schema in schemas {
        let name = schema.metadata.name.clone().unwrap_or_default();
        let spec = &schema.spec;
        let wanted = &spec.priority_level_configuration.name;
        let level = levels.iter().position(|level| level.name == *wanted);
        dangling.push((name.clone(), wanted.clone(), level.is_none()));
        if let Some(level) = level {
            let uid = schema.metadata.uid.clone().unwrap_or_default();
            tried.push(SchemaPlan { name, uid, level, spec: spec.clone() });
        }
    }
    for name in MANDATORY {
        if !tried.iter().any(|schema| schema.name == name)
            && let Some(FlowSchema { spec, .. }) = fixed("FlowSchema", name)
            && let Some(level) = levels.iter().position(|level| level.name == name)
        {
            tried.push(SchemaPlan { name: name.to_owned(), uid: String::new(), level, spec });
        }
    }
    let precedence = |schema: &SchemaPlan| schema.spec.matching_precedence.unwrap_or(DEFAULT_PRECEDENCE);
    tried.sort_by(|a, b| precedence(a).cmp(&precedence(b)).then_with(|| a.name.cmp(&b.name)));
    Plan { levels, schemas: tried, dangling }
}

fn levels(seats: u32, stored: &[PriorityLevelConfiguration]) -> Vec<LevelPlan> {
    let named = |name: &str| stored.iter().any(|level| level.metadata.name.as_deref() == Some(name));
    let missing = MANDATORY.into_iter().filter(|name| !named(name));
    let missing = missing.filter_map(|name| fixed::<PriorityLevelConfiguration>("PriorityLevelConfiguration", name));
    let all: Vec<PriorityLevelConfiguration> = stored.iter().cloned().chain(missing).collect();
    let parts: Vec<Share> = all.iter().map(|level| share(&level.spec)).collect();
    let limits = shares::nominal(seats, &parts);
    let level = |(level, limits): (&PriorityLevelConfiguration, Limits)| LevelPlan {
        name: level.metadata.name.clone().unwrap_or_default(),
        uid: level.metadata.uid.clone().unwrap_or_default(),
        shape: shape(&level.spec),
        limits,
    };
    all.iter().zip(limits).map(level).collect()
}

fn share(spec: &PriorityLevelConfigurationSpec) -> Share {
    let number = |number: Option<i32>| number.map(|number| u32::try_from(number).unwrap_or_default());
    let (shares, lendable, borrowing) = match (&spec.limited, &spec.exempt) {
        (Some(limited), _) => {
            (limited.nominal_concurrency_shares, limited.lendable_percent, limited.borrowing_limit_percent)
        }
        (None, Some(exempt)) => (exempt.nominal_concurrency_shares, exempt.lendable_percent, None),
        (None, None) => (None, None, None),
    };
    Share {
        shares: number(shares).unwrap_or_default(),
        lendable_percent: number(lendable).unwrap_or_default(),
        borrowing_percent: number(borrowing),
    }
}

fn shape(spec: &PriorityLevelConfigurationSpec) -> Shape {
    let Some(limited) = &spec.limited else { return Shape::Exempt };
    let Some(queuing) = &limited.limit_response.queuing else { return Shape::Reject };
    let number = |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok()).unwrap_or(1).max(1);
    Shape::Queue(Queuing {
        queues: number(queuing.queues),
        hand_size: number(queuing.hand_size),
        length_limit: number(queuing.queue_length_limit) as usize,
    })
}

/// A mandatory object as it must be.
fn fixed<T: DeserializeOwned>(kind: &str, name: &str) -> Option<T> {
    let objects = sampan_api::validation::flow_control_objects();
    let object = objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name)?;
    let mut object = object.clone();
    if let Some(object) = object.as_object_mut() {
        object.remove("kind");
    }
    serde_json::from_value(object).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn bootstrap<T: DeserializeOwned>(kind: &str) -> Vec<T> {
        let objects = sampan_api::validation::flow_control_objects();
        let names =
            objects.iter().filter(|object| object["kind"] == kind).map(|object| object["metadata"]["name"].as_str());
        names.map(|name| fixed(kind, name.unwrap()).unwrap()).collect()
    }

    fn schema(name: &str, level: &str, precedence: i32) -> FlowSchema {
        let spec = json!({ "priorityLevelConfiguration": { "name": level }, "matchingPrecedence": precedence });
        serde_json::from_value(json!({ "metadata": { "name": name, "uid": format!("uid-{name}") }, "spec": spec }))
            .unwrap()
    }

    #[test]
    fn what_upstream_suggests() {
        let plan = plan(600, &bootstrap("PriorityLevelConfiguration"), &bootstrap("FlowSchema"));
        let order: Vec<&str> = plan.schemas.iter().map(|schema| schema.name.as_str()).collect();
        assert_eq!(
            order,
            [
                "exempt",
                "probes",
                "system-leader-election",
                "endpoint-controller",
                "workload-leader-election",
                "system-node-high",
                "system-nodes",
                "kube-controller-manager",
                "kube-scheduler",
                "kube-system-service-accounts",
                "service-accounts",
                "global-default",
                "catch-all",
            ]
        );
        assert!(plan.dangling.iter().all(|(_, _, dangling)| !dangling));
        let workload = plan.levels.iter().find(|level| level.name == "workload-low").unwrap();
        assert_eq!(workload.limits, Limits { nominal: 245, lower: 24, upper: 845 });
        assert_eq!(workload.shape, Shape::Queue(Queuing { queues: 128, hand_size: 6, length_limit: 50 }));
        assert_eq!(plan.levels.iter().filter(|level| level.shape == Shape::Exempt).count(), 1);
    }

    #[test]
    fn mandatory_objects_hold_without_being_there() {
        let plan = plan(100, &[], &[schema("lost", "nowhere", 500)]);
        let order: Vec<&str> = plan.schemas.iter().map(|schema| schema.name.as_str()).collect();
        assert_eq!(order, ["exempt", "catch-all"]);
        assert_eq!(plan.dangling, [("lost".to_owned(), "nowhere".to_owned(), true)]);
        assert_eq!(plan.levels.iter().map(|level| level.limits.nominal).collect::<Vec<_>>(), [0, 100]);
    }

    #[test]
    fn equal_precedence_goes_by_name() {
        let level: Value = json!({
            "metadata": { "name": "l" },
            "spec": { "type": "Limited", "limited": { "nominalConcurrencyShares": 5, "limitResponse": { "type": "Reject" } } },
        });
        let level = serde_json::from_value(level).unwrap();
        let plan = plan(100, &[level], &[schema("b", "l", 7), schema("a", "l", 7), schema("z", "l", 3)]);
        let order: Vec<&str> = plan.schemas.iter().map(|schema| schema.name.as_str()).collect();
        assert_eq!(order, ["exempt", "z", "a", "b", "catch-all"]);
        assert_eq!(plan.levels[0].limits.nominal, 50, "half of the shares, with those of catch-all");
    }
}
