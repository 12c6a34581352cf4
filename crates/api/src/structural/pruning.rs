//! Pruning: what a schema does not know goes.

use serde_json::Value;

use super::Schema;

/// Fields that every object has, whatever its schema says.
const OBJECT_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Removes the fields of a whole object that its schema does not know; their paths: `spec.a[0].b`, in order.
pub fn prune(object: &mut Value, schema: &Schema) -> Vec<String> {
    let mut pruning = Pruning { path: String::new(), gone: Vec::new() };
    pruning.visit(object, Some(schema), true);
    pruning.gone.sort();
    pruning.gone
}

/// The same for a value that is no whole object.
pub(crate) fn prune_part(value: &mut Value, schema: &Schema) -> Vec<String> {
    let mut pruning = Pruning { path: String::new(), gone: Vec::new() };
    pruning.visit(value, Some(schema), false);
    pruning.gone
}

struct Pruning {
    path: String,
    gone: Vec<String>,
}

impl Pruning {
    /// `is_object`: whether the value is an API object of its own. Without a schema everything below goes.
    fn visit(&mut self, value: &mut Value, schema: Option<&Schema>, is_object: bool) {
        let is_object = is_object || schema.is_some_and(|schema| schema.embedded);
        match value {
            Value::Object(fields) => {
                let preserves = schema.is_some_and(|schema| schema.preserve_unknown || schema.any_additional);
                fields.retain(|name, value| {
                    let length = self.path.len();
                    self.step(name);
                    let known = schema.and_then(|schema| schema.field(name));
                    let kept = known.is_some() || preserves || (is_object && OBJECT_FIELDS.contains(&name.as_str()));
                    if !kept {
                        self.gone.push(self.path.clone());
                    }
                    let is_metadata = is_object && name == "metadata";
                    if let Some(known) = known.filter(|_| !is_metadata) {
                        self.visit(value, Some(known), false);
                    }
                    self.path.truncate(length);
                    kept
                });
            }
            Value::Array(items) => {
                let Some(schema) = schema.and_then(|schema| schema.items.as_deref()) else { return };
                for (index, item) in items.iter_mut().enumerate() {
                    let length = self.path.len();
                    self.path.push_str(&format!("[{index}]"));
                    self.visit(item, Some(schema), false);
                    self.path.truncate(length);
                }
            }
            _ => {}
        }
    }

    fn step(&mut self, name: &str) {
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(name);
    }
}
