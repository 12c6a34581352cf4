//! The columns of a custom kind's table: `additionalPrinterColumns`, each a JSON path with a type.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::JsonPath;
use crate::kinds::cells;

const NAME: &str = "Name must be unique within a namespace. It identifies the object and cannot be updated.";
const AGE: &str = "When the object was created, on the server's clock, in UTC.";

/// A column.
#[derive(Clone, Debug)]
pub(super) struct Column {
    name: String,
    ty: String,
    format: String,
    description: String,
    priority: i64,
    path: Option<JsonPath>,
}

impl Column {
    /// The columns of a version, without that of the name; without any, the age.
    pub(super) fn read(version: &Value) -> Vec<Self> {
        let listed = version["additionalPrinterColumns"].as_array().map(Vec::as_slice).unwrap_or_default();
        if listed.is_empty() {
            let age =
                json!({ "name": "Age", "type": "date", "description": AGE, "jsonPath": ".metadata.creationTimestamp" });
            return vec![Self::of(&age)];
        }
        listed.iter().map(Self::of).collect()
    }

    fn of(column: &Value) -> Self {
        let text = |name: &str| column[name].as_str().unwrap_or_default().to_owned();
        let (name, description) = (text("name"), text("description"));
        Self {
            description: if description.is_empty() {
                format!("Custom resource definition column (in JSONPath format): {}", text("jsonPath"))
            } else {
                description
            },
            name,
            ty: text("type"),
            format: text("format"),
            priority: column["priority"].as_i64().unwrap_or_default(),
            path: JsonPath::parse(&text("jsonPath")).ok(),
        }
    }

    fn definition(&self) -> Value {
        json!({
            "name": self.name, "type": self.ty, "format": self.format, "description": self.description,
            "priority": self.priority,
        })
    }

    fn cell(&self, object: &Value, now: Timestamp) -> Value {
        let Some(value) = self.path.as_ref().and_then(|path| path.find(object).first().copied()) else {
            return Value::Null;
        };
        match self.ty.as_str() {
            "string" => match value {
                Value::String(text) => text.as_str().into(),
                Value::Null => "<nil>".into(),
                other => other.to_string().into(),
            },
            "integer" => value.as_i64().or_else(|| value.as_f64().map(truncated)).map_or(Value::Null, Value::from),
            "number" if value.is_number() => value.clone(),
            "boolean" if value.is_boolean() => value.clone(),
            "date" => value.as_str().map_or(Value::Null, |text| match text.parse::<Timestamp>() {
                Ok(_) => cells::since(text, now).into(),
                Err(_) => "<invalid>".into(),
            }),
            _ => Value::Null,
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "as Go converts it; the cast saturates")]
fn truncated(number: f64) -> i64 {
    number as i64
}

/// The headings, that of the name first.
pub(super) fn definitions(columns: &[Column]) -> Vec<Value> {
    let name = json!({ "name": "Name", "type": "string", "format": "name", "description": NAME, "priority": 0 });
    std::iter::once(name).chain(columns.iter().map(Column::definition)).collect()
}

/// The cells of an object's row.
pub(super) fn row(columns: &[Column], object: &Value, now: Timestamp) -> Vec<Value> {
    let name = object["metadata"]["name"].clone();
    std::iter::once(name).chain(columns.iter().map(|column| column.cell(object, now))).collect()
}
