//! What can be done on which path.

use super::parameters::{self, NAME, NAMESPACE, Parameter};
use crate::kind::{KindRef, Scope, Subresource, Verbs};
use crate::schema;

/// A path with its operations.
pub(super) struct Route {
    /// `/apis/apps/v1/namespaces/{namespace}/deployments`
    pub(super) path: String,
    /// Parameters in the path itself.
    pub(super) parameters: Vec<Parameter>,
    pub(super) operations: Vec<Operation>,
}

/// One operation.
pub(super) struct Operation {
    /// HTTP method in lower case.
    pub(super) method: &'static str,
    /// `x-kubernetes-action`
    pub(super) action: &'static str,
    pub(super) id: String,
    pub(super) description: String,
    /// What the request carries.
    pub(super) body: Body,
    pub(super) parameters: &'static [Parameter],
    /// Statuses of success.
    pub(super) statuses: &'static [u16],
    /// What comes back.
    pub(super) answer: Answer,
    /// Group, version and kind of what is acted on.
    pub(super) gvk: (&'static str, &'static str, &'static str),
    /// `apps_v1`
    pub(super) tag: String,
}

/// What a request carries. Types are told by the names of their schemas.
#[derive(Clone, Copy)]
pub(super) enum Body {
    Nothing,
    /// An object that must be there.
    Object(&'static str),
    /// Options that may be there.
    Options(&'static str),
    /// A patch in one of these forms.
    Patch(&'static [&'static str]),
}

/// What comes back.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    Object(&'static str),
    /// The list of a kind.
    List(&'static str),
    /// A text or a stream.
    Text,
}

/// The content types of patches.
const PATCHES: &[&str] = &[
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// The same for custom kinds, which have no merge keys.
const CUSTOM_PATCHES: &[&str] =
    &["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"];

/// The forms in which objects are given.
pub(super) const PRODUCES: [&str; 2] = ["application/json", "application/yaml"];

/// All routes of a kind.
pub(super) fn of_kind(kind: &KindRef) -> Vec<Route> {
    let make = Maker { kind, definition: kind.schema };
    let collection = make.collection_path();
    let below = match kind.scope {
        Scope::Namespaced => vec![NAMESPACE],
        Scope::Cluster => Vec::new(),
    };
    if kind.verbs == Verbs::CreateOnly {
        return vec![Route { path: collection, parameters: below, operations: vec![make.create()] }];
    }
    let only_reads = kind.verbs == Verbs::ReadOnly;
    let object = format!("{collection}/{{name}}");
    let with_name: Vec<Parameter> = [NAME].into_iter().chain(below.clone()).collect();
    let mut routes = vec![
        Route {
            path: collection,
            parameters: below,
            operations: match only_reads {
                true => vec![make.list("")],
                false => vec![make.list(""), make.create(), make.delete_all()],
            },
        },
        Route {
            path: object.clone(),
            parameters: with_name.clone(),
            operations: match only_reads {
                true => vec![make.read()],
                false => vec![make.read(), make.update(), make.patch(), make.delete()],
            },
        },
    ];
    if kind.scope == Scope::Namespaced {
        let path = format!("{}/{}", make.prefix(), kind.plural);
        routes.push(Route { path, parameters: Vec::new(), operations: vec![make.list("ForAllNamespaces")] });
    }
    routes.extend(kind.subresources.iter().map(|subresource| Route {
        path: format!("{object}/{}", subresource.name),
        parameters: with_name.clone(),
        operations: make.subresource(subresource),
    }));
    routes
}

struct Maker<'a> {
    kind: &'a KindRef,
    definition: &'static str,
}

impl Maker<'_> {
    fn prefix(&self) -> String {
        let kind = self.kind;
        if kind.group.is_empty() {
            format!("/api/{}", kind.version)
        } else {
            format!("/apis/{}/{}", kind.group, kind.version)
        }
    }

    fn collection_path(&self) -> String {
        match self.kind.scope {
            Scope::Namespaced => format!("{}/namespaces/{{namespace}}/{}", self.prefix(), self.kind.plural),
            Scope::Cluster => format!("{}/{}", self.prefix(), self.kind.plural),
        }
    }

    /// `AppsV1NamespacedDeployment`
    fn noun(&self, between: &str) -> String {
        let group = self.kind.group.strip_suffix(".k8s.io").unwrap_or(self.kind.group);
        let group = if group.is_empty() { "core" } else { group };
        let scope = if self.kind.scope == Scope::Namespaced { "Namespaced" } else { "" };
        let (group, version) = (pascal(group), pascal(self.kind.version));
        format!("{group}{version}{between}{scope}{}", self.kind.kind)
    }

    fn tag(&self) -> String {
        let group = self.kind.group.strip_suffix(".k8s.io").unwrap_or(self.kind.group);
        let group = if group.is_empty() { "core" } else { group };
        format!("{}_{}", group.replace('.', "_"), self.kind.version)
    }

    /// A read of the object, from which the other operations differ.
    fn read(&self) -> Operation {
        Operation {
            method: "get",
            action: "get",
            id: format!("read{}", self.noun("")),
            description: format!("read the specified {}", self.kind.kind),
            body: Body::Nothing,
            parameters: &[],
            statuses: &[200],
            answer: Answer::Object(self.definition),
            gvk: (self.kind.group, self.kind.version, self.kind.kind),
            tag: self.tag(),
        }
    }

    fn list(&self, suffix: &str) -> Operation {
        let noun = if suffix.is_empty() { self.noun("") } else { self.noun("").replace("Namespaced", "") };
        Operation {
            action: "list",
            id: format!("list{noun}{suffix}"),
            description: format!("list or watch objects of kind {}", self.kind.kind),
            parameters: parameters::LIST,
            answer: Answer::List(self.definition),
            ..self.read()
        }
    }

    fn create(&self) -> Operation {
        Operation {
            method: "post",
            action: "post",
            id: format!("create{}", self.noun("")),
            description: format!("create a {}", self.kind.kind),
            body: Body::Object(self.definition),
            parameters: parameters::CREATE,
            statuses: &[200, 201, 202],
            ..self.read()
        }
    }

    fn update(&self) -> Operation {
        Operation {
            method: "put",
            action: "put",
            id: format!("replace{}", self.noun("")),
            description: format!("replace the specified {}", self.kind.kind),
            body: Body::Object(self.definition),
            parameters: parameters::UPDATE,
            statuses: &[200, 201],
            ..self.read()
        }
    }

    fn patch(&self) -> Operation {
        Operation {
            method: "patch",
            action: "patch",
            id: format!("patch{}", self.noun("")),
            description: format!("partially update the specified {}", self.kind.kind),
            body: Body::Patch(if self.kind.custom().is_some() { CUSTOM_PATCHES } else { PATCHES }),
            parameters: parameters::PATCH,
            statuses: &[200, 201],
            ..self.read()
        }
    }

    fn delete(&self) -> Operation {
        let status = schema::of_kind("", "v1", "Status").map_or(self.definition, |status| status.name);
        Operation {
            method: "delete",
            action: "delete",
            id: format!("delete{}", self.noun("")),
            description: format!("delete a {}", self.kind.kind),
            body: schema::of_kind("", "v1", "DeleteOptions")
                .map_or(Body::Nothing, |options| Body::Options(options.name)),
            parameters: parameters::DELETE,
            statuses: &[200, 202],
            answer: Answer::Object(status),
            ..self.read()
        }
    }

    fn delete_all(&self) -> Operation {
        Operation {
            action: "deletecollection",
            id: format!("delete{}", self.noun("Collection")),
            description: format!("delete collection of {}", self.kind.kind),
            parameters: parameters::DELETE_COLLECTION,
            statuses: &[200],
            ..self.delete()
        }
    }

    /// The operations of a subresource: those of the object on another type, or connections.
    fn subresource(&self, subresource: &Subresource) -> Vec<Operation> {
        let (group, version, kind) = subresource.gvk;
        let is_own = subresource.gvk == (self.kind.group, self.kind.version, self.kind.kind);
        let other = || schema::of_kind(group, version, kind).map(|definition| definition.name);
        let definition = if is_own { Some(self.definition) } else { other() };
        let of_verb = |verb: &&str| {
            let operation = match *verb {
                "get" => self.read(),
                "create" => self.create(),
                "update" => self.update(),
                "patch" => self.patch(),
                "delete" => self.delete(),
                _ => return None,
            };
            let named = |text: &str| format!("{} of the specified {}", text, self.kind.kind);
            let operation = Operation {
                id: format!("{}{}", operation.id, pascal(subresource.name)),
                gvk: subresource.gvk,
                ..operation
            };
            Some(match definition {
                Some(definition) => operation.on(definition, named(&format!("{verb} {}", subresource.name))),
                None => operation.connect(named(&format!("connect to {}", subresource.name))),
            })
        };
        let mut operations: Vec<Operation> = subresource.verbs.iter().filter_map(of_verb).collect();
        if subresource.name == "log" {
            operations.iter_mut().for_each(|operation| operation.answer = Answer::Text);
        }
        operations
    }
}

impl Operation {
    /// The same on another type.
    fn on(self, definition: &'static str, description: String) -> Self {
        let body = match self.body {
            Body::Object(_) => Body::Object(definition),
            other => other,
        };
        Self { body, answer: Answer::Object(definition), description, ..self }
    }

    /// A connection instead of an exchange of objects.
    fn connect(self, description: String) -> Self {
        let verb_length = self.id.find(char::is_uppercase).unwrap_or_default();
        let id = format!("connect{}{}", pascal(self.method), &self.id[verb_length..]);
        let (body, parameters, statuses): (_, &[Parameter], &[u16]) = (Body::Nothing, &[], &[200]);
        Self { action: "connect", id, body, parameters, statuses, answer: Answer::Text, description, ..self }
    }
}

/// `rbac.authorization` as `RbacAuthorization`.
fn pascal(text: &str) -> String {
    text.split('.')
        .map(|word| {
            let mut letters = word.chars();
            letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
        })
        .collect()
}
