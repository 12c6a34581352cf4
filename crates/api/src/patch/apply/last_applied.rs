//! The annotation in which kubectl remembers what it applied from the client's side.

use serde_json::Value;

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The field manager whose applies keep the annotation up to date, so that one can go back to client-side apply.
const KUBECTL: &str = "kubectl";

/// What all annotations of an object may have together.
const MAX_ANNOTATION_BYTES: usize = 256 << 10;

/// Brings the annotation of an object, if it has one, in line with what kubectl has just applied.
pub(super) fn keep(object: &mut Value, config: &Value, manager: &str) {
    let annotation =
        object.pointer_mut("/metadata/annotations").and_then(|annotations| annotations.get_mut(ANNOTATION));
    let Some(annotation) = annotation.filter(|_| manager == KUBECTL) else { return };
    let mut config = config.clone();
    if let Some(annotations) = config.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(ANNOTATION);
    }
    let text = format!("{config}\n");
    if text.len() <= MAX_ANNOTATION_BYTES {
        *annotation = text.into();
    }
}
