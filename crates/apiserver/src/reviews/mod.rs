//! Kinds that are asked and not stored: reviews of access and of tokens, token requests, bindings by name.

mod access;
mod token;

use axum::body::Body;
use http::{Response, StatusCode};
use sampan_api::kind::KindRef;
use sampan_api::schema;
use sampan_api::status::Status;
use serde_json::Value;

use crate::admission::{self, Request};
use crate::forms::Wanted;
use crate::registry::{Attempt, built_in};
use crate::server::{Answer, Call, Server, read_body};
use crate::verbs::{attempt, decode, media};

pub(crate) use self::access::user_info;
pub(crate) use self::token::token_request;

/// A decoded review.
struct Review {
    wanted: Wanted,
    object: Value,
    attempt: Attempt,
}

impl Review {
    async fn read(kind: &KindRef, call: &Call, body: Body) -> Result<Self, Status> {
        let definition = schema::definition(kind.schema).ok_or_else(|| Status::internal("the kind has no schema"))?;
        Self::read_as(kind, call, body, definition).await
    }

    async fn read_as(
        kind: &KindRef,
        call: &Call,
        body: Body,
        definition: &'static schema::Definition,
    ) -> Result<Self, Status> {
        let wanted = Wanted::from_request(call.headers(), &call.query)?;
        let attempt = attempt(kind, call)?;
        let media = media(call)?;
        let body = read_body(body).await?;
        let (object, warnings) = decode(&body, media, definition, attempt.validation)?;
        attempt.notes.warn_all(warnings);
        Ok(Self { wanted, object, attempt })
    }

    /// The same when admission has had its say.
    async fn admitted(mut self, server: &Server) -> Result<Self, Status> {
        server.registry.cache.fresh().await?;
        let request = Request::create(&self.attempt);
        self.object = admission::pass(&server.registry, &request, self.object).await?;
        Ok(self)
    }

    /// The review with its verdict.
    fn answer(mut self, status: Value) -> Response<Body> {
        self.object["status"] = status;
        self.wanted.response(StatusCode::CREATED, self.wanted.value(&self.object))
    }
}

/// Answers the creation of a kind that is not stored.
pub(crate) async fn answer(server: &Server, kind: &KindRef, call: Call, body: Body) -> Answer {
    if call.info.verb != "create" {
        return Err(Status::method_not_allowed());
    }
    let identity = &call.identity;
    let review = Review::read(kind, &call, body).await?;
    if kind.kind == "Binding" {
        return bind(server, review).await;
    }
    let review = review.admitted(server).await?;
    let rights = &server.registry.rights;
    match kind.kind {
        "SelfSubjectAccessReview" => access::own(rights, identity, review).await,
        "SubjectAccessReview" | "LocalSubjectAccessReview" => access::of_others(rights, review).await,
        "SelfSubjectRulesReview" => access::rules(rights, identity, review),
        "SelfSubjectReview" => Ok(access::who_am_i(identity, review)),
        "TokenReview" => token::review(server, review).await,
        _ => Err(Status::method_not_allowed()),
    }
}

/// `POST bindings`: the Pod is the one that has the Binding's name.
async fn bind(server: &Server, review: Review) -> Answer {
    let name = review.object["metadata"]["name"].as_str().unwrap_or_default();
    let attempt = Attempt { kind: built_in("", "Pod")?.into(), subresource: "binding", ..review.attempt.named(name) };
    server.registry.bind(&attempt, review.object).await?;
    let status =
        serde_json::json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 });
    Ok(review.wanted.response(StatusCode::CREATED, review.wanted.value(&status)))
}
