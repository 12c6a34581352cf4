//! Signals, as CRI and images name them.

use sampan_cri::v1::Signal;

use crate::error::{Error, Result};

/// The first and the last real-time signal, as programs built with glibc count: what images name does not depend on what
/// this program is built with.
const REALTIME: (i32, i32) = (34, 64);

/// The number of the signal that asks a container to stop: the container's own, else its image's, else SIGTERM.
pub(crate) fn stop_signal(own: Signal, image: &str) -> Result<i32> {
    if own != Signal::RuntimeDefault {
        return number(own.as_str_name().trim_start_matches("SIGNAL_"));
    }
    match image {
        "" => Ok(libc::SIGTERM),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().filter(|number| *number <= REALTIME.1).ok_or_else(|| unknown(digits))
        }
        name => number(name),
    }
}

fn number(name: &str) -> Result<i32> {
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    let realtime = |text: &str| text.parse::<i32>().ok();
    if let Some(offset) = short.strip_prefix("RTMIN") {
        let offset = offset.trim_start_matches("PLUS").trim_start_matches('+');
        return Ok(REALTIME.0 + if offset.is_empty() { 0 } else { realtime(offset).ok_or_else(|| unknown(name))? });
    }
    if let Some(offset) = short.strip_prefix("RTMAX") {
        let offset = offset.trim_start_matches("MINUS").trim_start_matches('-');
        return Ok(REALTIME.1 - if offset.is_empty() { 0 } else { realtime(offset).ok_or_else(|| unknown(name))? });
    }
    let known = match short {
        "CLD" => "CHLD",
        "POLL" => "IO",
        "IOT" => "ABRT",
        other => other,
    };
    let signal = format!("SIG{known}").parse::<nix::sys::signal::Signal>();
    signal.map(|signal| signal as i32).map_err(|_| unknown(name))
}

fn unknown(name: &str) -> Error {
    Error::Invalid(format!("unknown signal {name:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_defaults() {
        let check = |own, image, want: Option<i32>| assert_eq!(stop_signal(own, image).ok(), want, "{own:?} {image}");
        let none = Signal::RuntimeDefault;
        check(none, "", Some(libc::SIGTERM));
        check(none, "SIGQUIT", Some(libc::SIGQUIT));
        check(none, "quit", Some(libc::SIGQUIT));
        check(none, "9", Some(libc::SIGKILL));
        check(none, "SIGRTMIN+3", Some(37));
        check(none, "SIGNONSENSE", None);
        check(none, "4000", None);
        check(Signal::Sigint, "SIGQUIT", Some(libc::SIGINT));
        check(Signal::Sigrtminplus3, "", Some(37));
        check(Signal::Sigpoll, "", Some(libc::SIGIO));
    }
}
