//! Query and path parameters of requests.

/// A parameter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    /// `string`, `integer`, `boolean`
    pub(super) ty: &'static str,
    /// Whether it is part of the path and not of the query.
    pub(super) in_path: bool,
    pub(super) description: &'static str,
}

const fn query(name: &'static str, ty: &'static str, description: &'static str) -> Parameter {
    Parameter { name, ty, in_path: false, description }
}

const fn path(name: &'static str, description: &'static str) -> Parameter {
    Parameter { name, ty: "string", in_path: true, description }
}

pub(super) const NAME: Parameter = path("name", "Name of the object.");
pub(super) const NAMESPACE: Parameter = path("namespace", "Namespace of the object.");
pub(super) const PATH: Parameter = path("path", "Path that the request is passed on to.");
pub(super) const PRETTY: Parameter = query("pretty", "string", "If 'true', the output is indented.");

const DRY_RUN: Parameter =
    query("dryRun", "string", "'All': run every step of the request but do not persist the outcome.");
const FIELD_MANAGER: Parameter =
    query("fieldManager", "string", "Name of the actor that makes the change, at most 128 printable characters.");
const FIELD_VALIDATION: Parameter = query(
    "fieldValidation",
    "string",
    "What to do about unknown and duplicate fields: 'Ignore', 'Warn' (the default) or 'Strict'.",
);
const FORCE: Parameter =
    query("force", "boolean", "Apply only: take over conflicting fields that other field managers own.");
const FIELD_SELECTOR: Parameter = query("fieldSelector", "string", "Restricts the objects by their fields.");
const LABEL_SELECTOR: Parameter = query("labelSelector", "string", "Restricts the objects by their labels.");
const LIMIT: Parameter = query("limit", "integer", "Most objects to return at once; more come with 'continue'.");
const CONTINUE: Parameter = query("continue", "string", "Where an earlier, limited list went on.");
const RESOURCE_VERSION: Parameter =
    query("resourceVersion", "string", "Which version the answer must be of or not older than.");
const RESOURCE_VERSION_MATCH: Parameter =
    query("resourceVersionMatch", "string", "How 'resourceVersion' applies to a list: 'Exact' or 'NotOlderThan'.");
const TIMEOUT_SECONDS: Parameter = query("timeoutSeconds", "integer", "When a list or watch ends at the latest.");
const GRACE_PERIOD: Parameter = query("gracePeriodSeconds", "integer", "Time for the object to end in good order.");
const PROPAGATION: Parameter =
    query("propagationPolicy", "string", "What becomes of dependents: 'Orphan', 'Background' or 'Foreground'.");
const ORPHAN: Parameter = query("orphanDependents", "boolean", "Deprecated: use 'propagationPolicy'.");
const WATCH: Parameter = query("watch", "boolean", "Stream changes instead of listing.");
const BOOKMARKS: Parameter = query("allowWatchBookmarks", "boolean", "Whether a watch may send bookmarks.");
const INITIAL_EVENTS: Parameter =
    query("sendInitialEvents", "boolean", "Whether a watch begins with the objects that exist.");

const CONTAINER: Parameter =
    query("container", "string", "Which container is meant. Can be left out where the Pod has only one.");
const PROXY_PATH: Parameter = query("path", "string", "Path that the request is passed on to.");
const COMMAND: Parameter = query("command", "string", "Program and arguments to run; given once for each of them.");
const STDIN: Parameter = query("stdin", "boolean", "Whether to send standard input.");
const STDOUT: Parameter = query("stdout", "boolean", "Whether to receive standard output.");
const STDERR: Parameter = query("stderr", "boolean", "Whether to receive standard error.");
const TTY: Parameter = query("tty", "boolean", "Whether there is a terminal.");
const PORTS: Parameter = query("ports", "integer", "Ports to forward; needed over WebSockets.");

pub(super) const CREATE: &[Parameter] = &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION];
pub(super) const UPDATE: &[Parameter] = CREATE;
pub(super) const PATCH: &[Parameter] = &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION, FORCE];
pub(super) const DELETE: &[Parameter] = &[DRY_RUN, GRACE_PERIOD, ORPHAN, PROPAGATION];
pub(super) const LIST: &[Parameter] = &[
    BOOKMARKS,
    CONTINUE,
    FIELD_SELECTOR,
    LABEL_SELECTOR,
    LIMIT,
    RESOURCE_VERSION,
    RESOURCE_VERSION_MATCH,
    INITIAL_EVENTS,
    TIMEOUT_SECONDS,
    WATCH,
];
pub(super) const DELETE_COLLECTION: &[Parameter] = &[
    CONTINUE,
    DRY_RUN,
    FIELD_SELECTOR,
    GRACE_PERIOD,
    LABEL_SELECTOR,
    LIMIT,
    ORPHAN,
    PROPAGATION,
    RESOURCE_VERSION,
    RESOURCE_VERSION_MATCH,
    TIMEOUT_SECONDS,
];

/// What a log can be narrowed to.
pub(super) const LOG: [Parameter; 9] = [
    CONTAINER,
    query("follow", "boolean", "Whether to go on with what is written from now on."),
    query("insecureSkipTLSVerifyBackend", "boolean", "Whether to take the log from a node that cannot prove its name."),
    query("limitBytes", "integer", "Where to stop, in bytes."),
    query("previous", "boolean", "Whether to show the container before the last restart."),
    query("sinceSeconds", "integer", "How far to look back; must be positive."),
    query("stream", "string", "'All' (the default), 'Stdout' or 'Stderr'."),
    query("tailLines", "integer", "How many lines to show of the end."),
    query("timestamps", "boolean", "Whether each line begins with its time."),
];

/// The parameters of a connection, by the kind of its options.
pub(super) fn connection(options: &str) -> &'static [Parameter] {
    match options {
        "PodAttachOptions" => &[CONTAINER, STDERR, STDIN, STDOUT, TTY],
        "PodExecOptions" => &[COMMAND, CONTAINER, STDERR, STDIN, STDOUT, TTY],
        "PodPortForwardOptions" => &[PORTS],
        "NodeProxyOptions" | "PodProxyOptions" | "ServiceProxyOptions" => &[PROXY_PATH],
        _ => &[],
    }
}
