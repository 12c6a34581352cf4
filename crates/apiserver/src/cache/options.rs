//! What a list or a watch asks for besides its selection: read from the query, refused in upstream's words.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sampan_api::field::{Error, Path};
use sampan_api::status::{Resource, Status};
use sampan_store::Revision;
use serde::{Deserialize, Serialize};

use crate::request::Query;

/// How `resourceVersion` is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// What is there now.
    Newest,
    /// What is in memory, however old.
    Any,
    /// At least this revision.
    NotOlderThan(Revision),
    /// Exactly this revision.
    Exact(Revision),
}

/// What a list asks for besides the selection.
#[derive(Clone, Debug)]
pub(crate) struct ListOptions {
    /// At which revision.
    pub(crate) at: Match,
    /// The size of a page.
    pub(crate) limit: Option<usize>,
    /// The key behind which the page begins.
    pub(super) after: Option<String>,
}

impl ListOptions {
    /// The same list behind `token`, in a page of another size.
    pub(crate) fn behind(token: &Token, size: usize) -> Self {
        Self { at: token.at(), limit: Some(size), after: Some(token.start.clone()) }
    }

    /// Reads `resourceVersion`, `resourceVersionMatch`, `limit` and `continue`.
    pub(crate) fn from_query(query: &Query) -> Result<Self, Status> {
        refuse(list_faults(query))?;
        let (version, matching) = (query.text("resourceVersion"), query.text("resourceVersionMatch"));
        let limit = query.number::<i64>("limit")?.and_then(|limit| usize::try_from(limit).ok());
        let limit = limit.filter(|limit| *limit > 0);
        if !query.text("continue").is_empty() {
            let token = Token::decode(query.text("continue"))?;
            if !matches!(version, "" | "0") {
                return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
            }
            return Ok(Self { at: token.at(), limit, after: Some(token.start) });
        }
        let revision =
            revision_of(version).map_err(|e| Status::bad_request(format!("invalid resource version: {e}")))?;
        let at = match (revision, matching) {
            (None, _) => Match::Newest,
            (Some(0), _) => Match::Any,
            (Some(revision), "Exact") => Match::Exact(revision),
            // What clients mean that are older than resourceVersionMatch.
            (Some(revision), "") if limit.is_some() => Match::Exact(revision),
            (Some(revision), _) => Match::NotOlderThan(revision),
        };
        // As upstream: whoever takes what is at hand takes it whole.
        Ok(Self { at, limit: limit.filter(|_| at != Match::Any), after: None })
    }
}

/// 422 if there are faults.
fn refuse(faults: Vec<Error>) -> Result<(), Status> {
    if faults.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(Resource { group: "meta.k8s.io", name: "ListOptions" }, "", &faults))
}

/// What a list may not say.
fn list_faults(query: &Query) -> Vec<Error> {
    let (version, matching) = (query.text("resourceVersion"), query.text("resourceVersionMatch"));
    let path = Path::new("resourceVersionMatch");
    let mut faults = Vec::new();
    if !matching.is_empty() {
        if version.is_empty() {
            faults
                .push(Error::forbidden(&path, "resourceVersionMatch is forbidden unless resourceVersion is provided"));
        }
        if !query.text("continue").is_empty() {
            faults.push(Error::forbidden(&path, "resourceVersionMatch is forbidden when continue is provided"));
        }
        if !matches!(matching, "Exact" | "NotOlderThan") {
            faults.push(Error::not_supported(&path, matching, &["Exact", "NotOlderThan", ""]));
        }
        if (matching, version) == ("Exact", "0") {
            let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            faults.push(Error::forbidden(&path, why));
        }
    }
    if query.get("sendInitialEvents").is_some() {
        faults.push(Error::forbidden(&Path::new("sendInitialEvents"), "sendInitialEvents is forbidden for list"));
    }
    faults
}

/// Refuses what a watch may not say.
pub(crate) fn check_watch(query: &Query) -> Result<(), Status> {
    let matching = query.text("resourceVersionMatch");
    let path = Path::new("resourceVersionMatch");
    let mut faults = Vec::new();
    let sends_initial = query.get("sendInitialEvents").is_some();
    if sends_initial && matching != "NotOlderThan" {
        let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        faults.push(Error::forbidden(&path, why));
    }
    if !matching.is_empty() {
        if !sends_initial {
            let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            faults.push(Error::forbidden(&path, why));
        }
        if matching != "NotOlderThan" {
            faults.push(Error::not_supported(&path, matching, &["NotOlderThan"]));
        }
        if !query.text("continue").is_empty() {
            faults.push(Error::forbidden(&path, "resourceVersionMatch is forbidden when continue is provided"));
        }
    }
    refuse(faults)
}

/// A `resourceVersion` as a revision; `None` when it is empty.
pub(crate) fn revision_of(text: &str) -> Result<Option<Revision>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        let why = if is_number { "value out of range" } else { "invalid syntax" };
        let detail = format!("strconv.ParseUint: parsing {text:?}: {why}");
        Error::invalid(&Path::new("resourceVersion"), text, detail)
    })
}

/// Where the next page begins, as the client carries it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Token {
    #[serde(default)]
    v: String,
    /// The list's revision; negative for "whatever is there by then".
    #[serde(default)]
    rv: i64,
    /// The last key of the page before.
    #[serde(default)]
    start: String,
}

impl Token {
    /// The token for the page behind the key `start` of a list that shows `revision`.
    pub(crate) fn new(revision: Revision, start: &str) -> Self {
        Self { v: "meta.k8s.io/v1".into(), rv: revision.try_into().unwrap_or(i64::MAX), start: start.into() }
    }

    /// The token for the same page of a list that shows something else by then.
    pub(super) fn inconsistent(start: &str) -> Self {
        Self { rv: -1, ..Self::new(0, start) }
    }

    /// The token as clients carry it.
    pub(crate) fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    fn at(&self) -> Match {
        Revision::try_from(self.rv).map_or(Match::Newest, Match::Exact)
    }

    fn decode(text: &str) -> Result<Self, Status> {
        let fault =
            |why: String| Status::bad_request(format!("invalid continue token: continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|error| fault(error.to_string()))?;
        let token: Self = serde_json::from_slice(&bytes).map_err(|error| fault(error.to_string()))?;
        match &token {
            Self { v, .. } if v != "meta.k8s.io/v1" => {
                Err(fault(format!("server does not recognize this encoded version {v}")))
            }
            Self { rv: 0, .. } => {
                Err(fault("incorrect encoded start resourceVersion (version meta.k8s.io/v1)".to_owned()))
            }
            Self { start, .. } if start.is_empty() => {
                Err(fault("encoded start key empty (version meta.k8s.io/v1)".to_owned()))
            }
            // Nothing above the kind's own keys can be reached: they begin with its prefix, whatever comes behind it.
            _ => Ok(token),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::of(&format!("/?{text}").parse().unwrap()).unwrap()
    }

    fn token(rv: i64, start: &str) -> String {
        Token { v: "meta.k8s.io/v1".to_owned(), rv, start: start.to_owned() }.encode()
    }

    /// `want` is how the list is read, or the refusal's code and text.
    #[track_caller]
    fn list(text: &str, want: Result<(Match, Option<usize>), (u16, &str)>) {
        let got = ListOptions::from_query(&query(text)).map(|options| (options.at, options.limit));
        let got = got.map_err(|status| (status.code, status.message));
        assert_eq!(got, want.map_err(|(code, text)| (code, text.to_owned())), "{text}");
    }

    #[test]
    fn lists_at_a_revision() {
        list("", Ok((Match::Newest, None)));
        list("limit=5", Ok((Match::Newest, Some(5))));
        list("limit=-1", Ok((Match::Newest, None)));
        list("resourceVersion=0", Ok((Match::Any, None)));
        list("resourceVersion=0&limit=5", Ok((Match::Any, None)));
        list("resourceVersion=0&resourceVersionMatch=NotOlderThan", Ok((Match::Any, None)));
        list("resourceVersion=7", Ok((Match::NotOlderThan(7), None)));
        list("resourceVersion=7&limit=5", Ok((Match::Exact(7), Some(5))));
        list("resourceVersion=7&limit=0", Ok((Match::NotOlderThan(7), None)));
        list("resourceVersion=7&resourceVersionMatch=Exact", Ok((Match::Exact(7), None)));
        list("resourceVersion=7&resourceVersionMatch=NotOlderThan&limit=5", Ok((Match::NotOlderThan(7), Some(5))));
    }

    #[test]
    fn continued_lists() {
        list(&format!("continue={}&limit=2", token(7, "a/b")), Ok((Match::Exact(7), Some(2))));
        list(&format!("continue={}&resourceVersion=0&limit=2", token(7, "a/b")), Ok((Match::Exact(7), Some(2))));
        list(&format!("continue={}&limit=2", token(-1, "a/b")), Ok((Match::Newest, Some(2))));
        list(
            &format!("continue={}&resourceVersion=7", token(7, "a")),
            Err((400, "specifying resource version is not allowed when using continue")),
        );
        let continued = |token: &str, want: &str| {
            let text = format!("invalid continue token: continue key is not valid: {want}");
            list(&format!("continue={token}"), Err((400, &text)));
        };
        continued("a*b", "Invalid symbol 42, offset 1.");
        continued(&token(0, "a"), "incorrect encoded start resourceVersion (version meta.k8s.io/v1)");
        continued(&token(7, ""), "encoded start key empty (version meta.k8s.io/v1)");
        continued(&URL_SAFE_NO_PAD.encode("{\"v\":\"v9\"}"), "server does not recognize this encoded version v9");
    }

    const REFUSED: &str = "ListOptions.meta.k8s.io \"\" is invalid: ";

    #[test]
    fn refused_lists() {
        let check = |text: &str, want: &str| list(text, Err((422, &format!("{REFUSED}{want}"))));
        check(
            "resourceVersionMatch=Exact",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
        );
        check(
            "resourceVersionMatch=Exact&resourceVersion=0",
            "resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
        );
        check(
            "resourceVersionMatch=Other&resourceVersion=7",
            "resourceVersionMatch: Unsupported value: \"Other\": supported values: \"Exact\", \"NotOlderThan\", \"\"",
        );
        check(
            "resourceVersionMatch=Exact&resourceVersion=7&continue=x",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided",
        );
        check("sendInitialEvents=false", "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list");
        check(
            "resourceVersionMatch=x",
            "[resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided, \
             resourceVersionMatch: Unsupported value: \"x\": supported values: \"Exact\", \"NotOlderThan\", \"\"]",
        );
        let not_a_number = "invalid resource version: resourceVersion: Invalid value: \"x\": strconv.ParseUint: parsing \"x\": invalid syntax";
        list("resourceVersion=x", Err((400, not_a_number)));
    }

    #[test]
    fn watches() {
        #[track_caller]
        fn check(text: &str, want: &[&str]) {
            let got = check_watch(&query(text)).err().map(|status| status.message).unwrap_or_default();
            let want = match want {
                [] => String::new(),
                [one] => format!("{REFUSED}{one}"),
                many => format!("{REFUSED}[{}]", many.join(", ")),
            };
            assert_eq!(got, want, "{text}");
        }
        let requires =
            "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        let forbidden = "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        let unsupported = "resourceVersionMatch: Unsupported value: \"Exact\": supported values: \"NotOlderThan\"";
        check("resourceVersion=7&allowWatchBookmarks=true", &[]);
        check("sendInitialEvents=true&resourceVersionMatch=NotOlderThan", &[]);
        check("sendInitialEvents=false&resourceVersionMatch=NotOlderThan&resourceVersion=7", &[]);
        check("sendInitialEvents=true", &[requires]);
        check("resourceVersionMatch=NotOlderThan&resourceVersion=7", &[forbidden]);
        check("sendInitialEvents=true&resourceVersionMatch=Exact", &[requires, unsupported]);
        check("resourceVersionMatch=Exact", &[forbidden, unsupported]);
        check(
            "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&continue=x",
            &["resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided"],
        );
    }
}
