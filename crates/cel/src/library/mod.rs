//! The functions that expressions may call, one library a file.
//!
//! A library declares its functions as text (see [`crate::check::declarations`]) and runs them. The selection and the
//! versions are those of Kubernetes.

pub(crate) mod authorizer;
pub(crate) mod conversions;
mod derived_lists;
pub(crate) mod format;
mod go_address;
mod json_patch;
pub(crate) mod lists;
pub(crate) mod named_formats;
pub(crate) mod net;
mod optionals;
mod quantities;
pub(crate) mod regexes;
pub(crate) mod semver;
mod sets;
mod standard;
mod strings;
pub(crate) mod text;
pub(crate) mod time;
pub(crate) mod urls;

use crate::value::Value;

/// What running a function gives: `None` if it does not take such arguments.
pub(crate) type Ran<'a> = Option<Result<Value<'a>, String>>;

/// A library.
pub(crate) struct Library {
    /// Its functions, one overload a line.
    pub(crate) declarations: &'static str,
    /// Runs the function of this name.
    pub(crate) run: for<'a> fn(&str, &[Value<'a>]) -> Ran<'a>,
}

/// All of them.
pub(crate) static ALL: &[&Library] = &[
    &standard::LIBRARY,
    &conversions::LIBRARY,
    &time::LIBRARY,
    &optionals::LIBRARY,
    &strings::LIBRARY,
    &lists::LIBRARY,
    &derived_lists::LIBRARY,
    &sets::LIBRARY,
    &regexes::LIBRARY,
    &urls::LIBRARY,
    &net::LIBRARY,
    &quantities::LIBRARY,
    &semver::LIBRARY,
    &named_formats::LIBRARY,
    &authorizer::LIBRARY,
    &json_patch::LIBRARY,
];
