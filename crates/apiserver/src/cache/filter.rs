//! Which objects of a kind a list or watch is about.

use sampan_api::kind::{KindRef, Scope};
use sampan_api::selector::{FieldSelector, FieldTerm, Selector};
use sampan_api::status::Status;

use super::object::{Object, value_of};
use super::parts::{Index, Part};
use crate::request::Query;

/// Fields that every kind has: they are no index.
const METADATA: &str = "metadata.";

/// A selection of objects. The default selects everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Only this namespace; empty for all.
    pub(crate) namespace: String,
    /// Only this name; empty for all.
    pub(crate) name: String,
    labels: Option<Selector>,
    fields: Vec<FieldTerm>,
    /// The kind in whose terms `fields` are, where that is not the stored one.
    view: Option<View>,
}

#[derive(Clone)]
struct View(KindRef);

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.kind)
    }
}

impl Filter {
    /// The selection that the query's `labelSelector` and `fieldSelector` make in `namespace`.
    pub(crate) fn from_query(kind: &KindRef, namespace: &str, query: &Query) -> Result<Self, Status> {
        let labels = match query.text("labelSelector") {
            "" => None,
            text => Some(Selector::parse(text).map_err(|e| Status::bad_request(e.to_string()))?),
        };
        let mut filter = Self { namespace: namespace.to_owned(), labels, ..Self::default() };
        let fields = FieldSelector::parse(query.text("fieldSelector"));
        for term in fields.map_err(|e| Status::bad_request(e.to_string()))?.terms {
            filter.add_field(kind, term)?;
        }
        Ok(filter)
    }

    /// Everything in `namespace`.
    pub(crate) fn of_namespace(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..Self::default() }
    }

    /// The same, with fields in terms of `kind`, of which the stored form is another's.
    pub(crate) fn viewed_as(mut self, kind: &KindRef) -> Self {
        self.view = Some(View(kind.clone()));
        self
    }

    /// The same for the one object `name`.
    pub(crate) fn named(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// Whether it can only be decided on objects in the form of `kind`, which is not the one they are in: a conversion may
    /// move fields and change labels.
    pub(crate) fn asks_form_of(&self, kind: &KindRef) -> bool {
        (self.labels.is_some() || !self.fields.is_empty())
            && kind.custom().is_some_and(|custom| custom.asks_webhook() || !custom.is_stored)
    }

    /// What of it is the same in every form: where an object is.
    pub(crate) fn place(&self) -> Self {
        Self { namespace: self.namespace.clone(), name: self.name.clone(), ..Self::default() }
    }

    fn add_field(&mut self, kind: &KindRef, term: FieldTerm) -> Result<(), Status> {
        match term.field.as_str() {
            "metadata.name" if term.equal && self.name.is_empty() => self.name = term.value,
            "metadata.namespace" if term.equal && self.namespace.is_empty() && kind.scope == Scope::Namespaced => {
                self.namespace = term.value;
            }
            "metadata.name" => self.fields.push(term),
            "metadata.namespace" if kind.selects_namespace() => self.fields.push(term),
            field if kind.rules().selectable_names().contains(&field) => self.fields.push(term),
            field => return Err(Status::bad_request(kind.rules().unselectable(field))),
        }
        Ok(())
    }

    /// The smallest part of the kind in which everything selected is; `None` if that is all of it.
    pub(super) fn part(&self) -> Option<Part> {
        let field =
            self.fields.iter().find(|term| term.equal && self.view.is_none() && !term.field.starts_with(METADATA));
        let (index, value) = match (self.namespace.as_str(), self.name.as_str(), field) {
            ("", "", None) => return None,
            (namespace, "", None) => (Index::Namespace, namespace.to_owned()),
            (_, "", Some(term)) => (Index::Field(term.field.as_str().into()), term.value.clone()),
            ("", name, _) => (Index::Name, name.to_owned()),
            (namespace, name, _) => (Index::Object, format!("{namespace}/{name}")),
        };
        Some(Part { index, value: value.into() })
    }

    /// Whether anything but namespace and name narrows the selection.
    pub(crate) fn selects(&self) -> bool {
        self.labels.is_some() || !self.fields.is_empty() || !self.name.is_empty()
    }

    /// Whether `object` is selected.
    pub(crate) fn matches(&self, object: &Object) -> bool {
        (self.namespace.is_empty() || *self.namespace == *object.namespace)
            && (self.name.is_empty() || *self.name == *object.name)
            && self.labels.as_ref().is_none_or(|labels| labels.matches(&object.labels))
            && self.matches_fields(object)
    }

    fn matches_fields(&self, object: &Object) -> bool {
        if self.fields.is_empty() {
            return true;
        }
        let viewed = self.view.as_ref().map(|View(kind)| {
            let stored = object.value();
            kind.rules().selectable_fields(&kind.rules().served_form(&stored).unwrap_or(stored))
        });
        let fields = viewed.as_ref().unwrap_or(&object.fields);
        self.fields.iter().all(|term| {
            let value = match term.field.as_str() {
                "metadata.name" => &*object.name,
                "metadata.namespace" => &*object.namespace,
                field => value_of(field, fields),
            };
            (value == term.value) == term.equal
        })
    }
}
