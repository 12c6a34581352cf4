//! What a client accepts: `application/json;as=Table;v=v1;g=meta.k8s.io, application/json`.

use http::{HeaderMap, header};
use sampan_api::status::Status;

use crate::request::Query;

/// What the client wants to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The shape of the answer.
    pub(crate) shape: Shape,
    /// Its encoding.
    pub(crate) encoding: Encoding,
    /// Whether it is for human eyes.
    pub(crate) pretty: bool,
}

/// The shape of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The object itself.
    Plain,
    /// `meta.k8s.io/v1 Table`.
    Table(Include),
    /// `meta.k8s.io/v1 PartialObjectMetadata`.
    Partial,
}

/// What of the object a table's row carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Include {
    /// Nothing.
    None,
    /// Its metadata.
    Metadata,
    /// All of it.
    Object,
}

/// An encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// What the server can make, as errors list it.
const OFFERED: &str = "application/json, application/yaml";
/// At most this many alternatives of an Accept header are looked at.
const MAX_ALTERNATIVES: usize = 32;

/// One alternative of an Accept header.
pub(crate) struct MediaType<'h> {
    pub(crate) name: &'h str,
    parameters: Vec<(&'h str, &'h str)>,
}

impl<'h> MediaType<'h> {
    /// Reads one alternative.
    pub(crate) fn parse(text: &'h str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        Self { name, parameters: parts.filter_map(|p| p.split_once('=')).collect() }
    }

    /// The value of a parameter; empty if it is not there.
    pub(crate) fn parameter(&self, name: &str) -> &'h str {
        self.parameters.iter().find(|(n, _)| *n == name).map_or("", |(_, value)| value)
    }
}

/// The alternatives of the request's Accept header, most wanted first.
pub(crate) fn accepted(headers: &HeaderMap) -> Vec<MediaType<'_>> {
    let texts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types: Vec<_> =
        texts.flat_map(|text| text.split(',')).take(MAX_ALTERNATIVES).map(MediaType::parse).collect();
    let quality = |t: &MediaType<'_>| t.parameter("q").parse::<f32>().unwrap_or(1.0);
    types.sort_by(|a, b| quality(b).total_cmp(&quality(a)));
    types
}

impl Wanted {
    /// Plain JSON.
    pub(crate) fn json() -> Self {
        Self { shape: Shape::Plain, encoding: Encoding::Json, pretty: false }
    }

    /// Reads the Accept header; 406 if nothing in it can be made.
    pub(crate) fn from_request(headers: &HeaderMap, query: &Query) -> Result<Self, Status> {
        let include = match query.text("includeObject") {
            "" | "Metadata" => Include::Metadata,
            "None" => Include::None,
            "Object" => Include::Object,
            other => return Err(Status::bad_request(format!("unrecognized includeObject value: \"{other}\""))),
        };
        let types = accepted(headers);
        if types.is_empty() {
            return Ok(Self { pretty: query.flag("pretty"), ..Self::json() });
        }
        let made = types.iter().find_map(|t| Some((shape(t, include)?, encoding(t.name)?)));
        let (shape, encoding) = made.ok_or_else(|| Status::not_acceptable(OFFERED))?;
        Ok(Self { shape, encoding, pretty: query.flag("pretty") })
    }
}

fn encoding(name: &str) -> Option<Encoding> {
    match name {
        "application/json" | "application/*" | "*/*" | "" => Some(Encoding::Json),
        "application/yaml" => Some(Encoding::Yaml),
        _ => None,
    }
}

fn shape(media_type: &MediaType<'_>, include: Include) -> Option<Shape> {
    let meta = media_type.parameter("g") == "meta.k8s.io" && media_type.parameter("v") == "v1";
    match media_type.parameter("as") {
        "" => Some(Shape::Plain),
        "Table" if meta => Some(Shape::Table(include)),
        "PartialObjectMetadata" | "PartialObjectMetadataList" if meta => Some(Shape::Partial),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(accept: &str, want: Result<(Shape, Encoding), u16>) {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        let got = Wanted::from_request(&headers, &Query::default());
        assert_eq!(got.map(|w| (w.shape, w.encoding)).map_err(|s| s.code), want, "{accept}");
    }

    #[test]
    fn accept() {
        use Encoding::{Json, Yaml};
        let table = Shape::Table(Include::Metadata);
        check("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Ok((table.clone(), Json)));
        check("application/json;as=Table;v=v2;g=meta.k8s.io,application/json", Ok((Shape::Plain, Json)));
        check("application/vnd.kubernetes.protobuf,application/json", Ok((Shape::Plain, Json)));
        check("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", Ok((Shape::Partial, Json)));
        check("application/yaml", Ok((Shape::Plain, Yaml)));
        check("application/json;q=0.5, application/yaml", Ok((Shape::Plain, Yaml)));
        check("*/*", Ok((Shape::Plain, Json)));
        check("application/vnd.kubernetes.protobuf", Err(406));
    }
}
