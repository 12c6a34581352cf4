//! What is said twice of a Pod's containers, and amounts that are no whole bytes.

use std::collections::HashMap;

use serde_json::Value;

use crate::amounts;
use crate::field::Path;
use crate::kinds::read;

/// The warnings about the containers of a Pod's spec at `path`.
pub(super) fn warnings(spec: &Value, path: &Path) -> Vec<String> {
    let containers: Vec<(&Value, Path)> = ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|list| {
            let items = read::list(spec, &format!("/{list}")).iter().enumerate();
            items.map(move |(index, container)| (container, path.child(list).index(index)))
        })
        .collect();
    let mut warnings = fractions(&spec["overhead"], &path.child("overhead"));
    for (container, path) in &containers {
        for amounts in ["limits", "requests"] {
            let path = path.child("resources").child(amounts);
            warnings.extend(fractions(&container["resources"][amounts], &path));
        }
        warnings.extend(hidden_variables(container, &path.child("env")));
    }
    let ports: Vec<Port> = containers.iter().flat_map(|(container, path)| Port::all(container, path)).collect();
    warnings.extend(conflicts(&ports));
    warnings.extend(same_names(&ports));
    warnings
}

fn fractions(amounts: &Value, path: &Path) -> Vec<String> {
    ["memory", "ephemeral-storage"].iter().filter_map(|name| amounts::fraction(amounts, name, path)).collect()
}

/// Variables that stand in place of earlier ones, unless they build on them.
fn hidden_variables(container: &Value, path: &Path) -> Vec<String> {
    let variables = read::list(container, "/env");
    let hides = |(index, variable): (usize, &Value)| {
        let name = read::text(variable, "/name");
        let earlier = variables[..index].iter().any(|earlier| read::text(earlier, "/name") == name);
        let (value, reference) = (read::text(variable, "/value"), format!("$({name})"));
        let builds_on_it = !variable["valueFrom"].is_object() && value != reference && value.contains(&reference);
        let path = path.index(index);
        (earlier && !builds_on_it)
            .then(|| format!("{path}: hides previous definition of {name:?}, which may be dropped when using apply"))
    };
    variables.iter().enumerate().filter_map(hides).collect()
}

struct Port<'a> {
    path: Path,
    port: &'a Value,
}

impl<'a> Port<'a> {
    fn all(container: &'a Value, path: &Path) -> Vec<Self> {
        let path = path.child("ports");
        let ports = read::list(container, "/ports").iter().enumerate();
        ports.map(|(index, port)| Self { path: path.index(index), port }).collect()
    }

    fn host(&self) -> (&str, i64) {
        (read::text(self.port, "/hostIP"), read::int(self.port, "/hostPort"))
    }

    /// What two definitions of one port and protocol are to each other.
    fn conflict_with(&self, earlier: &Self) -> Option<&'static str> {
        if ["containerPort", "protocol"].iter().any(|field| self.port[field] != earlier.port[field]) {
            return None;
        }
        let ((ip, port), (other_ip, other_port)) = (self.host(), earlier.host());
        if (ip, port) == (other_ip, other_port) {
            return Some("duplicate");
        }
        if port == 0 || other_port == 0 {
            return Some("overlapping");
        }
        (port == other_port && ip.is_empty() != other_ip.is_empty()).then_some("dangerously ambiguous")
    }
}

fn conflicts(ports: &[Port<'_>]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        for earlier in &ports[..index] {
            if let Some(conflict) = port.conflict_with(earlier) {
                warnings.push(format!("{}: {conflict} port definition with {}", port.path, earlier.path));
            }
        }
    }
    warnings
}

fn same_names(ports: &[Port<'_>]) -> Vec<String> {
    let mut known: HashMap<&str, &Path> = HashMap::new();
    let mut warnings = Vec::new();
    for Port { path, port } in ports {
        let name = read::text(port, "/name");
        if name.is_empty() {
            continue;
        }
        if let Some(first) = known.get(name) {
            warnings.push(format!(
                "{path}: duplicate port name {name:?} with {first}, services and probes that select ports by name will \
                 use {first}"
            ));
        } else {
            known.insert(name, path);
        }
    }
    warnings
}
