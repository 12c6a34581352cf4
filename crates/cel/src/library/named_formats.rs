//! Formats with names: `format.dns1123Label().validate(name)`.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;

use super::urls::Url;
use super::{Library, Ran, time};
use crate::value::{Opaque, Value};

/// The format functions.
pub(crate) static LIBRARY: Library = Library {
    declarations: "
    format.named format_named (string) -> optional_type(kubernetes.NamedFormat)
    format.dns1123Label format_dns1123Label () -> kubernetes.NamedFormat
    format.dns1123Subdomain format_dns1123Subdomain () -> kubernetes.NamedFormat
    format.dns1035Label format_dns1035Label () -> kubernetes.NamedFormat
    format.qualifiedName format_qualifiedName () -> kubernetes.NamedFormat
    format.dns1123LabelPrefix format_dns1123LabelPrefix () -> kubernetes.NamedFormat
    format.dns1123SubdomainPrefix format_dns1123SubdomainPrefix () -> kubernetes.NamedFormat
    format.dns1035LabelPrefix format_dns1035LabelPrefix () -> kubernetes.NamedFormat
    format.labelValue format_labelValue () -> kubernetes.NamedFormat
    format.uri format_uri () -> kubernetes.NamedFormat
    format.uuid format_uuid () -> kubernetes.NamedFormat
    format.byte format_byte () -> kubernetes.NamedFormat
    format.date format_date () -> kubernetes.NamedFormat
    format.datetime format_datetime () -> kubernetes.NamedFormat
    validate format_validate kubernetes.NamedFormat.(string) -> optional_type(list(string))
",
    run,
};

/// A format, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedFormat(&'static str);

const NAMES: [&str; 13] = [
    "dns1123Label",
    "dns1123Subdomain",
    "dns1035Label",
    "qualifiedName",
    "dns1123LabelPrefix",
    "dns1123SubdomainPrefix",
    "dns1035LabelPrefix",
    "labelValue",
    "uri",
    "uuid",
    "byte",
    "date",
    "datetime",
];

fn run<'a>(function: &str, args: &[Value<'a>]) -> Ran<'a> {
    let named = |name: &str| {
        NAMES.iter().find(|known| **known == name).map(|name| Value::Opaque(Opaque::Format(NamedFormat(name))))
    };
    let value = match (function, args) {
        ("format.named", [Value::String(name)]) => Value::optional(named(name)),
        ("validate", [Value::Opaque(Opaque::Format(format)), Value::String(text)]) => {
            let faults = format.faults(text);
            Value::optional((!faults.is_empty()).then(|| Value::list(faults.into_iter().map(Value::text).collect())))
        }
        (function, []) => named(function.strip_prefix("format.")?)?,
        _ => return None,
    };
    Some(Ok(value))
}

/// The sizes of the patterns behind formats, as upstream counts them.
const SHORT_PATTERN: u64 = 30;
const LONG_PATTERN: u64 = 60;
const VALUE_PATTERN: u64 = 40;
const URI_PATTERN: u64 = 1103;
const UUID_PATTERN: u64 = 70;
const BYTE_PATTERN: u64 = 84;
const DATE_PATTERN: u64 = 71;

/// A form that names have.
struct Form {
    regex: LazyLock<Regex>,
    max: usize,
    /// What [`Form::max`] counts, in words.
    unit: &'static str,
    fault: &'static str,
}

static LABEL: Form = Form {
    regex: LazyLock::new(|| pattern("[a-z0-9]([-a-z0-9]*[a-z0-9])?")),
    max: 63,
    unit: "characters",
    fault: "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end \
            with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
            '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
};
static SUBDOMAIN: Form = Form {
    regex: LazyLock::new(|| pattern(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")),
    max: 253,
    unit: "characters",
    fault: "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
            start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
            '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
};
static LABEL_1035: Form = Form {
    regex: LazyLock::new(|| pattern("[a-z]([-a-z0-9]*[a-z0-9])?")),
    max: 63,
    unit: "characters",
    fault: "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
            character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation \
            is '[a-z]([-a-z0-9]*[a-z0-9])?')",
};
static LABEL_VALUE: Form = Form {
    regex: LazyLock::new(|| pattern("(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")),
    max: 63,
    unit: "bytes",
    fault: "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start \
            and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
            validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
};
static QUALIFIED: Form = Form {
    regex: LazyLock::new(|| pattern("([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")),
    max: 63,
    unit: "bytes",
    fault: "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
            alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
            '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
};
static UUID: LazyLock<Regex> =
    LazyLock::new(|| pattern("(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}"));

fn pattern(text: &str) -> Regex {
    Regex::new(&format!("^(?:{text})$")).expect("invariant: a constant pattern is well formed")
}

impl Form {
    fn faults(&self, text: &str) -> Vec<String> {
        let mut faults = Vec::new();
        if text.len() > self.max {
            faults.push(format!("must be no more than {} {}", self.max, self.unit));
        }
        if !self.regex.is_match(text) {
            faults.push(self.fault.to_owned());
        }
        faults
    }

    /// The same for the start of a name that something will be appended to.
    fn prefix_faults(&self, text: &str) -> Vec<String> {
        match text.strip_suffix('-') {
            Some(start) if !start.is_empty() => self.faults(&format!("{start}a")),
            _ => self.faults(text),
        }
    }
}

impl NamedFormat {
    /// The size of the pattern by which a check of this format is paid.
    pub(crate) fn pattern_size(self) -> u64 {
        match self.0 {
            "dns1123Label" | "dns1035Label" | "dns1123LabelPrefix" | "dns1035LabelPrefix" => SHORT_PATTERN,
            "labelValue" => VALUE_PATTERN,
            "uri" => URI_PATTERN,
            "uuid" => UUID_PATTERN,
            "byte" => BYTE_PATTERN,
            "date" | "datetime" => DATE_PATTERN,
            _ => LONG_PATTERN,
        }
    }

    fn faults(self, text: &str) -> Vec<String> {
        let unless = |fine: bool, fault: &str| if fine { Vec::new() } else { vec![fault.to_owned()] };
        match self.0 {
            "dns1123Label" => LABEL.faults(text),
            "dns1123Subdomain" => SUBDOMAIN.faults(text),
            "dns1035Label" => LABEL_1035.faults(text),
            "dns1123LabelPrefix" => LABEL.prefix_faults(text),
            "dns1123SubdomainPrefix" => SUBDOMAIN.prefix_faults(text),
            "dns1035LabelPrefix" => LABEL_1035.prefix_faults(text),
            "labelValue" => LABEL_VALUE.faults(text),
            "qualifiedName" => qualified_name(text),
            "uri" => Url::parse(text).err().into_iter().collect(),
            "uuid" => unless(UUID.is_match(text), "does not match the UUID format"),
            "byte" => unless(STANDARD.decode(text).is_ok(), "invalid base64"),
            "date" => unless(time::parse_date(text).is_some(), "invalid date"),
            _ => unless(time::parse_timestamp(text).is_some(), "invalid datetime"),
        }
    }
}

fn qualified_name(text: &str) -> Vec<String> {
    let (prefix, name) = match text.split('/').collect::<Vec<_>>()[..] {
        [name] => (None, name),
        [prefix, name] => (Some(prefix), name),
        _ => {
            let fault = QUALIFIED.fault.replacen("name part", "a valid label key", 1);
            return vec![fault + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"];
        }
    };
    let mut faults = Vec::new();
    if let Some(prefix) = prefix {
        let of_prefix = if prefix.is_empty() { vec!["must be non-empty".to_owned()] } else { SUBDOMAIN.faults(prefix) };
        faults.extend(of_prefix.into_iter().map(|fault| format!("prefix part {fault}")));
    }
    if name.is_empty() {
        faults.push("name part must be non-empty".to_owned());
    }
    let of_name = QUALIFIED.faults(name).into_iter();
    faults.extend(of_name.map(|fault| if fault.starts_with("must") { format!("name part {fault}") } else { fault }));
    faults
}
