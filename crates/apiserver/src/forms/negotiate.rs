//! What a client accepts: `application/json;as=Table;v=v1;g=meta.k8s.io, application/json`.

use http::{HeaderMap, header};
use sampan_api::kind::Kind;
use sampan_api::status::Status;
use sampan_api::{cbor, protobuf, schema};

use crate::request::Query;
use crate::server::Call;

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
    /// Protobuf in Kubernetes' envelope.
    Protobuf,
    /// CBOR.
    Cbor,
}

impl Encoding {
    /// All of them, the first most liked.
    const ALL: [Self; 4] = [Self::Json, Self::Yaml, Self::Protobuf, Self::Cbor];

    /// Its media type.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => protobuf::MEDIA_TYPE,
            Self::Cbor => cbor::MEDIA_TYPE,
        }
    }

    /// The media type of a watch; YAML has no way to tell where an event ends.
    pub(crate) fn stream_media_type(self) -> Option<&'static str> {
        match self {
            Self::Json => Some("application/json"),
            Self::Yaml => None,
            Self::Protobuf => Some("application/vnd.kubernetes.protobuf;stream=watch"),
            Self::Cbor => Some(cbor::SEQUENCE_MEDIA_TYPE),
        }
    }

    /// Whether an Accept header's media type names it.
    fn is(self, name: &str) -> bool {
        matches!(name, "*/*" | "application/*" | "") || name.eq_ignore_ascii_case(self.media_type())
    }
}

/// What can be made on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    /// Whether objects have a protobuf form. Their metadata has one in any case.
    protobuf: bool,
    /// Whether there are tables. What is only asked and never stored has none.
    tables: bool,
    /// Whether it is a watch.
    stream: bool,
}

impl Offer {
    const OBJECT: Self = Self { protobuf: true, tables: false, stream: false };

    fn of(kind: &Kind, stream: bool) -> Self {
        let protobuf = schema::definition(kind.schema).is_some_and(|definition| definition.message.is_some());
        Self { protobuf, tables: true, stream }
    }

    fn has(self, encoding: Encoding, shape: &Shape) -> bool {
        match (encoding, shape) {
            (Encoding::Yaml, _) if self.stream => false,
            (Encoding::Protobuf, Shape::Plain) => self.protobuf,
            (Encoding::Protobuf | Encoding::Cbor, Shape::Table(_)) => false,
            (_, Shape::Table(_)) => self.tables,
            _ => true,
        }
    }

    /// Whether an Accept header's media type names the encoding, here.
    fn is(self, encoding: Encoding, name: &str) -> bool {
        encoding.is(name) || (self.stream && encoding.stream_media_type() == Some(name))
    }

    /// 406, with what there is.
    fn refuse(self) -> Status {
        let offered = Encoding::ALL.into_iter().filter(|encoding| self.has(*encoding, &Shape::Plain));
        let names = offered.filter_map(|encoding| match encoding {
            Encoding::Json if self.stream => Some("application/json;stream=watch"),
            encoding if self.stream => encoding.stream_media_type(),
            encoding => Some(encoding.media_type()),
        });
        Status::not_acceptable(&names.collect::<Vec<_>>().join(", "))
    }
}

/// Clients that are people: they get JSON for human eyes.
const PEOPLE: [&str; 3] = ["curl", "Wget", "Mozilla/5.0"];
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
    types.sort_by(|a, b| quality(b).total_cmp(&quality(a)).then(wildcards(a).cmp(&wildcards(b))));
    types
}

/// How much a media type leaves open.
fn wildcards(media_type: &MediaType<'_>) -> usize {
    media_type.name.matches('*').count()
}

impl Wanted {
    /// Plain JSON.
    pub(crate) fn json() -> Self {
        Self { shape: Shape::Plain, encoding: Encoding::Json, pretty: false }
    }

    /// Reads the Accept header of a request about an object of a built-in type; 406 if nothing in it can be made.
    pub(crate) fn from_request(headers: &HeaderMap, query: &Query) -> Result<Self, Status> {
        Self::negotiate(headers, query, Offer::OBJECT)
    }

    /// The same for objects of `kind`.
    pub(crate) fn of_kind(kind: &Kind, call: &Call) -> Result<Self, Status> {
        Self::negotiate(call.headers(), &call.query, Offer::of(kind, false))
    }

    /// The same for a watch.
    pub(crate) fn of_watch(kind: &Kind, call: &Call) -> Result<Self, Status> {
        Self::negotiate(call.headers(), &call.query, Offer::of(kind, true))
    }

    /// How a refusal is told: as plain as it can be.
    pub(crate) fn of_status(headers: &HeaderMap) -> Self {
        let made = accepted(headers)
            .iter()
            .filter(|t| shape(t, Include::None) == Some(Shape::Plain))
            .find_map(|t| Encoding::ALL.into_iter().find(|encoding| encoding.is(t.name)));
        Self { encoding: made.unwrap_or(Encoding::Json), ..Self::json() }
    }

    fn negotiate(headers: &HeaderMap, query: &Query, offer: Offer) -> Result<Self, Status> {
        let include = match query.text("includeObject") {
            "" | "Metadata" => Include::Metadata,
            "None" => Include::None,
            "Object" => Include::Object,
            other => return Err(Status::bad_request(format!("unrecognized includeObject value: \"{other}\""))),
        };
        let pretty = wants_pretty(headers, query);
        let types = accepted(headers);
        if types.is_empty() {
            return Ok(Self { pretty, ..Self::json() });
        }
        let made = types.iter().find_map(|t| {
            let shape = shape(t, include)?;
            let encoding = Encoding::ALL.into_iter().find(|e| offer.is(*e, t.name) && offer.has(*e, &shape))?;
            Some(Self { pretty: pretty || t.parameter("pretty") == "1", shape, encoding })
        });
        made.ok_or_else(|| offer.refuse())
    }
}

/// `?pretty=true`, or a client that is somebody.
fn wants_pretty(headers: &HeaderMap, query: &Query) -> bool {
    if !query.text("pretty").is_empty() {
        return query.flag("pretty");
    }
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    PEOPLE.iter().any(|name| agent.starts_with(name))
}

fn shape(media_type: &MediaType<'_>, include: Include) -> Option<Shape> {
    if !matches!(media_type.parameter("stream"), "" | "watch") {
        return None;
    }
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
        let got = Wanted::negotiate(&headers, &Query::default(), Offer { tables: true, ..Offer::OBJECT });
        assert_eq!(got.map(|w| (w.shape, w.encoding)).map_err(|s| s.code), want, "{accept}");
    }

    #[test]
    fn accept() {
        use Encoding::{Cbor, Json, Protobuf, Yaml};
        let table = Shape::Table(Include::Metadata);
        check("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Ok((table.clone(), Json)));
        check("application/json;as=Table;v=v2;g=meta.k8s.io,application/json", Ok((Shape::Plain, Json)));
        check("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io", Err(406));
        check("application/vnd.kubernetes.protobuf,application/json", Ok((Shape::Plain, Protobuf)));
        check("application/vnd.kubernetes.protobuf;q=0.1,application/json", Ok((Shape::Plain, Json)));
        check("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", Ok((Shape::Partial, Json)));
        check(
            "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
            Ok((Shape::Partial, Protobuf)),
        );
        check("application/yaml", Ok((Shape::Plain, Yaml)));
        check("application/cbor", Ok((Shape::Plain, Cbor)));
        check("application/json;q=0.5, application/yaml", Ok((Shape::Plain, Yaml)));
        check("*/*, application/yaml", Ok((Shape::Plain, Yaml)));
        check("application/json;stream=watch", Ok((Shape::Plain, Json)));
        check("application/json;stream=other", Err(406));
        check("*/*", Ok((Shape::Plain, Json)));
        check("text/html", Err(406));
    }

    #[test]
    fn what_is_not_stored_has_no_table() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, "application/json;as=Table;v=v1;g=meta.k8s.io".parse().unwrap());
        let refused = Wanted::from_request(&headers, &Query::default()).unwrap_err();
        assert_eq!((refused.code, refused.reason.as_str()), (406, "NotAcceptable"));
    }

    #[test]
    fn a_custom_resource_has_no_protobuf_but_its_metadata_has() {
        let offer = Offer { protobuf: false, tables: true, stream: false };
        assert!(!offer.has(Encoding::Protobuf, &Shape::Plain));
        assert!(offer.has(Encoding::Protobuf, &Shape::Partial));
        let message = offer.refuse().message;
        assert_eq!(
            message,
            "only the following media types are accepted: application/json, application/yaml, application/cbor"
        );
    }
}
