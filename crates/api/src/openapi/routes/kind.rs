//! What can be done with the objects of a kind.

use super::super::parameters::{self, NAME, NAMESPACE, PRETTY, Parameter};
use super::{ANY, Action, Answer, Body, Operation, Route, pascal, prefix, short_group, subresources, tag, watches};
use crate::kind::{KindRef, Scope, Subresource, Verbs};
use crate::schema;

/// The content types of patches.
const PATCHES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "application/apply-patch+cbor",
];

/// The same for custom kinds, which have no merge keys.
const CUSTOM_PATCHES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/apply-patch+yaml",
    "application/apply-patch+cbor",
];

/// The forms in which objects are given.
pub(super) const OBJECTS: &[&str] =
    &["application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "application/cbor"];

/// The same for custom kinds, which have no protobuf form.
const CUSTOM_OBJECTS: &[&str] = &["application/json", "application/yaml", "application/cbor"];

/// The forms of lists, and of the watches that they may be.
pub(super) const LISTS: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/cbor",
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
    "application/cbor-seq",
];

/// The same for custom kinds.
const CUSTOM_LISTS: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/cbor",
    "application/json;stream=watch",
    "application/cbor-seq",
];

/// All routes of a kind.
pub(super) fn of_kind(kind: &KindRef) -> Vec<Route> {
    let make = Maker::of(kind);
    let (collection, below) = (make.collection_path(""), make.parameters());
    let object = format!("{collection}/{{name}}");
    let with_name: Vec<Parameter> = [NAME].into_iter().chain(below.iter().copied()).collect();
    let mut routes = vec![Route {
        path: collection,
        parameters: below,
        operations: match kind.verbs {
            Verbs::All => vec![make.list(""), make.create(), make.delete_all()],
            Verbs::OneByOne => vec![make.list(""), make.create()],
            Verbs::CreateOnly => vec![make.create()],
            Verbs::ReadOnly => vec![make.list("")],
        },
    }];
    if kind.verbs == Verbs::CreateOnly {
        return routes;
    }
    routes.push(Route {
        path: object.clone(),
        parameters: with_name.clone(),
        operations: match kind.verbs.are_of_stored() {
            true => vec![make.read(), make.update(), make.patch(), make.delete()],
            false => vec![make.read()],
        },
    });
    if kind.scope == Scope::Namespaced {
        let path = format!("{}/{}", prefix(kind.group, kind.version), kind.plural);
        routes.push(Route { path, parameters: vec![PRETTY], operations: vec![make.list("ForAllNamespaces")] });
    }
    for subresource in kind.subresources {
        routes.extend(subresources::of(kind, subresource, &object, &with_name));
    }
    if kind.verbs.are_of_stored() && kind.custom().is_none() {
        routes.extend(watches::of(&make));
    }
    routes
}

/// Makes the operations on a kind's objects, or on one of their subresources.
pub(super) struct Maker<'a> {
    pub(super) kind: &'a KindRef,
    pub(super) subresource: Option<&'a Subresource>,
    /// The type of what is read and written.
    definition: &'static str,
}

impl<'a> Maker<'a> {
    /// Of the objects themselves.
    pub(super) fn of(kind: &'a KindRef) -> Self {
        Self { kind, subresource: None, definition: kind.schema }
    }

    /// Of a subresource that is read and written as `definition`.
    pub(super) fn below(kind: &'a KindRef, subresource: &'a Subresource, definition: &'static str) -> Self {
        Self { kind, subresource: Some(subresource), definition }
    }

    /// The parameters of the path of the collection.
    pub(super) fn parameters(&self) -> Vec<Parameter> {
        match self.kind.scope {
            Scope::Namespaced => vec![NAMESPACE, PRETTY],
            Scope::Cluster => vec![PRETTY],
        }
    }

    /// The path of the collection, in a namespace if it can be; `between` is `/watch` or nothing.
    pub(super) fn collection_path(&self, between: &str) -> String {
        let prefix = prefix(self.kind.group, self.kind.version);
        match self.kind.scope {
            Scope::Namespaced => format!("{prefix}{between}/namespaces/{{namespace}}/{}", self.kind.plural),
            Scope::Cluster => format!("{prefix}{between}/{}", self.kind.plural),
        }
    }

    /// `AppsV1NamespacedDeployment`, `CoreV1NamespacedPodStatus`
    pub(super) fn noun(&self, between: &str) -> String {
        let scope = if self.kind.scope == Scope::Namespaced { "Namespaced" } else { "" };
        let (group, version) = (pascal(short_group(self.kind.group)), pascal(self.kind.version));
        let below = self.subresource.map_or_else(String::new, |subresource| pascal(subresource.name));
        format!("{group}{version}{between}{scope}{}{below}", self.kind.kind)
    }

    pub(super) fn action(&self, verb: &'static str) -> Option<Action> {
        let own = (self.kind.group, self.kind.version, self.kind.kind);
        Some(Action { verb, gvk: self.subresource.map_or(own, |subresource| subresource.gvk) })
    }

    /// `read the specified Pod`, `read status of the specified Pod`
    fn specified(&self, verb: &str) -> String {
        match self.subresource {
            Some(subresource) => format!("{verb} {} of the specified {}", subresource.name, self.kind.kind),
            None => format!("{verb} the specified {}", self.kind.kind),
        }
    }

    fn is_custom(&self) -> bool {
        self.kind.custom().is_some()
    }

    /// A read of the object, from which the other operations differ.
    pub(super) fn read(&self) -> Operation {
        Operation {
            method: "get",
            id: format!("read{}", self.noun("")),
            description: self.specified("read"),
            body: Body::Nothing,
            consumes: ANY,
            parameters: &[],
            statuses: &[200],
            answer: Answer::Object(self.definition),
            produces: if self.is_custom() { CUSTOM_OBJECTS } else { OBJECTS },
            action: self.action("get"),
            tag: tag(self.kind.group, self.kind.version),
        }
    }

    fn list(&self, suffix: &str) -> Operation {
        let noun = if suffix.is_empty() { self.noun("") } else { self.noun("").replace("Namespaced", "") };
        Operation {
            id: format!("list{noun}{suffix}"),
            description: format!("list or watch objects of kind {}", self.kind.kind),
            parameters: parameters::LIST,
            answer: Answer::List(self.definition),
            produces: if self.is_custom() { CUSTOM_LISTS } else { LISTS },
            action: self.action("list"),
            ..self.read()
        }
    }

    pub(super) fn create(&self) -> Operation {
        let (kind, article) = (self.kind.kind, article(self.kind.kind));
        Operation {
            method: "post",
            id: format!("create{}", self.noun("")),
            description: match self.subresource {
                Some(subresource) => format!("create {} of{article}{kind}", subresource.name),
                None => format!("create{article}{kind}"),
            },
            body: Body::Object(self.definition),
            parameters: parameters::CREATE,
            statuses: &[200, 201, 202],
            action: self.action("post"),
            ..self.read()
        }
    }

    pub(super) fn update(&self) -> Operation {
        Operation {
            method: "put",
            id: format!("replace{}", self.noun("")),
            description: self.specified("replace"),
            body: Body::Object(self.definition),
            parameters: parameters::UPDATE,
            statuses: &[200, 201],
            action: self.action("put"),
            ..self.read()
        }
    }

    pub(super) fn patch(&self) -> Operation {
        Operation {
            method: "patch",
            id: format!("patch{}", self.noun("")),
            description: self.specified("partially update"),
            body: Body::Patch,
            consumes: if self.is_custom() { CUSTOM_PATCHES } else { PATCHES },
            parameters: parameters::PATCH,
            statuses: &[200, 201],
            action: self.action("patch"),
            ..self.read()
        }
    }

    pub(super) fn delete(&self) -> Operation {
        let definition = |kind| schema::of_kind("", "v1", kind).map(|definition| definition.name);
        let status = definition("Status").unwrap_or(self.definition);
        let returns_object = self.kind.rules().deletion_returns_object();
        Operation {
            method: "delete",
            id: format!("delete{}", self.noun("")),
            description: format!("delete{}{}", article(self.kind.kind), self.kind.kind),
            body: definition("DeleteOptions").map_or(Body::Nothing, Body::Options),
            parameters: parameters::DELETE,
            statuses: &[200, 202],
            answer: Answer::Object(if returns_object { self.definition } else { status }),
            action: self.action("delete"),
            ..self.read()
        }
    }

    fn delete_all(&self) -> Operation {
        let status = schema::of_kind("", "v1", "Status").map_or(self.definition, |status| status.name);
        Operation {
            id: format!("delete{}", self.noun("Collection")),
            description: format!("delete collection of {}", self.kind.kind),
            parameters: parameters::DELETE_COLLECTION,
            statuses: &[200],
            answer: Answer::Object(status),
            action: self.action("deletecollection"),
            ..self.delete()
        }
    }
}

/// What stands before a kind's name in a sentence, between spaces: ` a `, ` an `, and nothing before plurals.
fn article(kind: &str) -> &'static str {
    if kind.ends_with('s') && !kind.ends_with("ss") {
        " "
    } else if kind.starts_with(['A', 'E', 'I', 'O', 'U']) {
        " an "
    } else {
        " a "
    }
}
