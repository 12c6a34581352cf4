//! Which probes should run, and what their verdicts mean for a container.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Probe};

use super::{Ending, View};
use crate::seen::Instance;
use crate::spec;

/// The three probes of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ProbeKind {
    Startup,
    Liveness,
    Readiness,
}

/// A probe that should be running.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    /// The container's CRI id.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) kind: ProbeKind,
}

/// What the probes of one container say so far; nothing where a probe has not reached its threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) startup: Option<bool>,
    pub(crate) liveness: Option<bool>,
    pub(crate) readiness: Option<bool>,
}

/// Verdicts by container id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdicts(BTreeMap<String, Verdict>);

impl Verdicts {
    /// What is known of the container `id`.
    pub(crate) fn of(&self, id: &str) -> Verdict {
        self.0.get(id).copied().unwrap_or_default()
    }

    /// Notes a verdict; whether it is news.
    pub(crate) fn set(&mut self, target: &Target, good: bool) -> bool {
        let verdict = self.0.entry(target.id.clone()).or_default();
        let place = match target.kind {
            ProbeKind::Startup => &mut verdict.startup,
            ProbeKind::Liveness => &mut verdict.liveness,
            ProbeKind::Readiness => &mut verdict.readiness,
        };
        place.replace(good) != Some(good)
    }

    /// Forgets containers for which `keep` is false.
    pub(crate) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.0.retain(|id, _| keep(id));
    }
}

impl ProbeKind {
    /// How events name it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }

    /// The probe of this kind that `container` asks for.
    pub(crate) fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
        }
    }
}

/// The probes that should be running now.
pub(super) fn targets(view: &View<'_>, ending: Option<Ending>) -> Vec<Target> {
    let mut targets = Vec::new();
    for instance in view.seen.containers.iter().filter(|instance| instance.running()) {
        let Some((_, container)) = spec::container(view.pod, &instance.name) else { continue };
        if view.starting(&instance.name) {
            continue;
        }
        let kinds: &[ProbeKind] = match (started(view, &container, instance), ending) {
            (true, None) => &[ProbeKind::Liveness, ProbeKind::Readiness],
            (true, Some(_)) => &[ProbeKind::Readiness],
            (false, None) => &[ProbeKind::Startup],
            (false, Some(_)) => &[],
        };
        let wanted = kinds.iter().filter(|kind| kind.of(&container).is_some());
        targets.extend(wanted.map(|kind| Target { id: instance.id.clone(), name: instance.name.clone(), kind: *kind }));
    }
    targets
}

/// Whether `instance` runs and has passed its startup probe.
pub(super) fn started(view: &View<'_>, container: &Container, instance: &Instance) -> bool {
    if !instance.running() || view.starting(&instance.name) {
        return false;
    }
    let verdict = view.verdicts.of(&instance.id).startup;
    container.startup_probe.is_none()
        || verdict.unwrap_or_else(|| published(view, &instance.id, |s| s.started == Some(true)))
}

/// Whether `instance` is started and its readiness probe agrees.
pub(super) fn ready(view: &View<'_>, container: &Container, instance: &Instance) -> bool {
    let verdict = view.verdicts.of(&instance.id).readiness;
    started(view, container, instance)
        && (container.readiness_probe.is_none()
            || verdict.unwrap_or_else(|| published(view, &instance.id, |s| s.ready)))
}

/// What the published status says of the very same container: it holds until a probe says otherwise, so that a
/// kubelet's restart does not take a ready Pod out of its Services.
fn published(view: &View<'_>, id: &str, is: impl Fn(&k8s_openapi::api::core::v1::ContainerStatus) -> bool) -> bool {
    let status = spec::status(view.pod);
    let mut known = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    known.any(|known| {
        let known_id = known.container_id.as_deref().and_then(|uri| uri.split_once("://"));
        known_id.is_some_and(|(_, known_id)| known_id == id) && is(known)
    })
}
