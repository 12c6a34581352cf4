//! One webhook, read from its configuration.

use std::time::Duration;

use sampan_api::policy::{Named, match_conditions};
use sampan_api::selector::Selector;
use serde_json::Value;

use crate::admission::matching::Rule;
use crate::webhook::Place;

/// The timeout of a webhook that says none.
const TIMEOUT_SECONDS: u64 = 10;

/// A version of `AdmissionReview`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReviewVersion {
    V1,
    V1Beta1,
}

impl ReviewVersion {
    /// `admission.k8s.io/v1`
    pub(crate) fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "admission.k8s.io/v1",
            Self::V1Beta1 => "admission.k8s.io/v1beta1",
        }
    }
}

/// A webhook.
pub(crate) struct Hook {
    /// The name of its configuration.
    pub(crate) configuration: String,
    /// Its own name.
    pub(crate) name: String,
    /// Whether it may change what it sees.
    pub(crate) mutating: bool,
    /// Which requests it is about.
    pub(crate) rules: Vec<Rule>,
    /// Whether rules about another version or group of the same resource count as well.
    pub(crate) equivalent: bool,
    /// In which namespaces.
    pub(crate) namespaces: Selector,
    /// About which objects.
    pub(crate) objects: Selector,
    /// What must be true of a request besides.
    pub(crate) conditions: Vec<Named>,
    /// Whether it is passed over when it cannot be called.
    pub(crate) ignores_failures: bool,
    /// How long it may take.
    pub(crate) timeout: Duration,
    /// Whether it may be called for a dry run.
    pub(crate) dry_runs: bool,
    /// Whether it wants to see later changes.
    pub(crate) reinvocable: bool,
    /// The first version of the review that it and the server speak.
    pub(crate) version: Option<ReviewVersion>,
    /// Where it is, or why that cannot be said.
    pub(crate) place: Result<Place, String>,
}

impl Hook {
    /// The webhooks of a configuration, in its order.
    pub(crate) fn all_of(configuration: &Value) -> Vec<Self> {
        let name = configuration["metadata"]["name"].as_str().unwrap_or_default();
        let mutating = configuration["kind"] == "MutatingWebhookConfiguration";
        let webhooks = configuration["webhooks"].as_array().into_iter().flatten();
        webhooks.map(|webhook| Self { mutating, ..Self::of(name, webhook) }).collect()
    }

    fn of(configuration: &str, webhook: &Value) -> Self {
        let text = |field: &str| webhook[field].as_str().unwrap_or_default();
        // A selector that cannot be read selects nothing; validation does not let one in.
        let selector = |field: &str| match &webhook[field] {
            Value::Null => Selector::default(),
            selector => Selector::from_object(selector).unwrap_or_else(|_| Selector::nothing()),
        };
        Self {
            configuration: configuration.to_owned(),
            name: text("name").to_owned(),
            mutating: false,
            rules: webhook["rules"].as_array().into_iter().flatten().map(Rule::of).collect(),
            equivalent: text("matchPolicy") == "Equivalent",
            namespaces: selector("namespaceSelector"),
            objects: selector("objectSelector"),
            conditions: match_conditions(&webhook["matchConditions"]),
            ignores_failures: text("failurePolicy") == "Ignore",
            timeout: Duration::from_secs(webhook["timeoutSeconds"].as_u64().unwrap_or(TIMEOUT_SECONDS)),
            dry_runs: matches!(text("sideEffects"), "None" | "NoneOnDryRun"),
            reinvocable: text("reinvocationPolicy") == "IfNeeded",
            version: version(&webhook["admissionReviewVersions"]),
            place: Place::of_client_config(&webhook["clientConfig"]),
        }
    }

    /// What tells this webhook from all others.
    pub(crate) fn id(&self) -> (&str, &str) {
        (&self.configuration, &self.name)
    }
}

fn version(versions: &Value) -> Option<ReviewVersion> {
    versions.as_array()?.iter().find_map(|version| match version.as_str()? {
        "v1" => Some(ReviewVersion::V1),
        "v1beta1" => Some(ReviewVersion::V1Beta1),
        _ => None,
    })
}
