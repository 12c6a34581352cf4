//! The Scale of a custom kind: where its objects keep the number of replicas.

use serde_json::{Value, json};

use super::JsonPath;
use crate::field::{Error, Path};

/// Where replicas are wanted, seen, and selected.
#[derive(Clone, Debug)]
pub struct Scale {
    spec: (String, JsonPath),
    status: (String, JsonPath),
    selector: Option<JsonPath>,
}

impl Scale {
    /// Reads `subresources.scale`.
    pub(super) fn read(scale: &Value) -> Option<Self> {
        let path = |name: &str| {
            let text = scale[name].as_str()?;
            Some((text.to_owned(), JsonPath::parse(text).ok()?))
        };
        Some(Self {
            spec: path("specReplicasPath")?,
            status: path("statusReplicasPath")?,
            selector: path("labelSelectorPath").map(|(_, path)| path),
        })
    }

    /// `spec` and `status` of an object's Scale; an error names the path where there is nothing.
    pub fn of(&self, object: &Value) -> Result<[Value; 2], String> {
        let (text, path) = &self.spec;
        let wanted = path.find(object).first().and_then(|value| value.as_i64());
        let wanted = wanted.ok_or_else(|| format!("the spec replicas field \"{text}\" does not exist"))?;
        let seen = self.status.1.find(object).first().and_then(|value| value.as_i64()).unwrap_or_default();
        let mut status = json!({ "replicas": seen });
        if let Some(Value::String(selector)) =
            self.selector.as_ref().and_then(|path| path.find(object).first().copied())
        {
            status["selector"] = selector.as_str().into();
        }
        Ok([json!({ "replicas": wanted }), status])
    }

    /// Sets how many replicas are wanted; false if the object has no place for that.
    pub fn set(&self, object: &mut Value, replicas: i64) -> bool {
        self.spec.1.place(object).map(|place| *place = replicas.into()).is_some()
    }

    /// The faults of the numbers in an object.
    pub(super) fn validate(&self, object: &Value) -> Vec<Error> {
        let mut faults = Vec::new();
        for (text, path) in [&self.spec, &self.status] {
            let Some(value) = path.find(object).first().copied() else { continue };
            let place = Path::new(text.trim_start_matches('.'));
            match value.as_i64() {
                None if value.is_null() => {}
                None => faults.push(Error::invalid(&place, value.clone(), "should be an integer")),
                Some(number) if number < 0 => {
                    faults.push(Error::invalid(&place, number, "should be a non-negative integer"));
                }
                Some(number) if i32::try_from(number).is_err() => {
                    let text = format!("should be less than or equal to {}", i32::MAX);
                    faults.push(Error::invalid(&place, number, text));
                }
                Some(_) => {}
            }
        }
        faults
    }
}
