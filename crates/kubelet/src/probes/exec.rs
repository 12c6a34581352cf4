//! Probing with a command in the container: exit code 0 is good.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, ExecAction};

use super::{Answer, cut};
use crate::Error;
use crate::config::expand::expand_all;
use crate::cri::Runtime;

/// The command, with those of the container's variables that have their values in the specification.
pub(super) fn command(action: &ExecAction, container: &Container) -> Result<Vec<String>, Error> {
    let variables = container.env.iter().flatten();
    let variables: HashMap<&str, &str> =
        variables.map(|variable| (variable.name.as_str(), variable.value.as_deref().unwrap_or_default())).collect();
    expand_all(action.command.as_deref().unwrap_or_default(), |name| variables.get(name).copied())
}

pub(super) async fn ask(runtime: &Runtime, id: &str, command: &[String], timeout: Duration) -> Answer {
    match runtime.exec(id, command, timeout).await {
        Ok(Some(done)) if done.exit_code == 0 => Answer::Good,
        Ok(Some(done)) => Answer::Bad(cut(&String::from_utf8_lossy(&done.output))),
        Ok(None) => {
            let seconds = timeout.as_secs();
            Answer::Bad(format!("command timed out: {:?} timed out after {seconds}s", command.join(" ")))
        }
        Err(error) => Answer::Error(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn commands_know_the_variables_of_the_specification() {
        let env = json!([{"name": "A", "value": "1"}, {"name": "A", "value": "2"}, {"name": "B", "value": "$(A)"},
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]);
        let container: Container = serde_json::from_value(json!({"name": "c", "env": env})).unwrap();
        let words = ["test", "$(A)", "$(B)", "x$(POD)", "$(NONE)", "$$(A)"].map(str::to_owned);
        let action = ExecAction { command: Some(words.to_vec()) };
        assert_eq!(command(&action, &container).unwrap(), ["test", "2", "$(A)", "x", "$(NONE)", "$(A)"]);
    }
}
