//! The runtime against the real kernel, as root, through its socket.
//!
//! Every test has directories, control groups and a socket of its own, whose names carry the process id; what is left
//! after a test is itself an assertion, and what a killed run has left is removed by the next one. The program is its own
//! shim: called with `shim`, it becomes one. With `MUST_MATCH=1` a word that no test's name contains is an error.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod pods {
    pub(crate) mod containers;
    pub(crate) mod fixture;
    pub(crate) mod images;
    pub(crate) mod pulls;
    pub(crate) mod registry;
    pub(crate) mod restart;
    pub(crate) mod sessions;
    pub(crate) mod users;
}

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;

use pods::fixture::Fixture;

type Test = fn(Fixture) -> Pin<Box<dyn Future<Output = Fixture>>>;

/// Tests are async functions that take a fixture and give it back, so that its remains can be checked.
macro_rules! tests {
    ($($module:ident :: $name:ident),* $(,)?) => {
        &[$((stringify!($module), stringify!($name), |fixture| Box::pin(pods::$module::$name(fixture)))),*]
    };
}

const TESTS: &[(&str, &str, Test)] = tests![
    containers::runs_and_logs,
    containers::reports_exit_codes,
    containers::says_why_a_command_cannot_run,
    containers::is_killed_for_memory,
    containers::is_throttled,
    containers::stops_gracefully_or_not,
    containers::has_its_namespaces,
    containers::is_confined,
    containers::honours_users_and_mounts,
    containers::is_not_led_out_of_its_root,
    containers::leaves_the_nodes_devices_alone,
    containers::shares_processes_when_asked,
    containers::sees_its_targets_processes,
    containers::has_a_terminal,
    containers::rotates_logs,
    containers::updates_limits,
    containers::announces_what_happens,
    containers::refuses_a_missing_image,
    containers::knows_its_runtime_by_name,
    sessions::runs_commands,
    sessions::gives_up_on_slow_commands,
    sessions::streams_a_command,
    sessions::streams_a_terminal,
    sessions::attaches,
    sessions::forwards_ports,
    sessions::ends_with_its_client,
    images::imports_oci_and_docker_archives,
    images::confines_layers,
    images::refuses_bombs,
    pulls::pulls_by_tag_and_digest,
    pulls::authenticates,
    pulls::keeps_credentials_at_home,
    pulls::refuses_what_is_not_what_it_says,
    pulls::goes_on_where_it_was,
    pulls::shares_a_pull,
    pulls::asks_mirrors_first,
    pulls::goes_through_a_proxy,
    pulls::leaves_imported_images_alone,
    pulls::refuses_traps_in_configurations,
    pulls::mounts_images,
    pulls::keeps_volumes_of_images_writable,
    users::are_nobody_on_the_node,
    users::have_terminals_and_each_other,
    users::are_refused_where_they_make_no_sense,
    restart::adopts_what_runs,
    restart::cleans_up_what_was_half_made,
    restart::notices_a_dead_shim,
    restart::outlives_what_is_not_understood,
    restart::breaks_off_starts_that_nobody_waits_for,
    restart::kills_a_shim_that_hangs,
    restart::serves_many_at_once,
    restart::is_fast,
];

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    if std::env::args_os().nth(1).is_some_and(|verb| verb == "shim") {
        args.next();
        return ExitCode::from(u8::try_from(sampan_runtime::shim::main(args)).unwrap_or(1));
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--list") {
        TESTS.iter().for_each(|(module, name, _)| println!("{module}::{name}: test"));
        return ExitCode::SUCCESS;
    }
    let filters: Vec<_> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let is_meant = |filter: &str, (module, name, _): &(&str, &str, Test)| format!("{module}::{name}").contains(filter);
    let missed: Vec<_> = filters.iter().filter(|filter| !TESTS.iter().any(|test| is_meant(filter, test))).collect();
    if std::env::var_os("MUST_MATCH").is_some() && !missed.is_empty() {
        eprintln!("no test is called {missed:?}");
        return ExitCode::FAILURE;
    }
    let wanted = |test: &&_| filters.is_empty() || filters.iter().any(|filter| is_meant(filter, test));
    blocking(Fixture::sweep());
    let failed = TESTS.iter().filter(wanted).filter(|test| !passes(test)).count();
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs what tidies up to its end.
fn blocking(tidying: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(tidying);
}

fn passes((module, name, test): &(&str, &str, Test)) -> bool {
    let begin = std::time::SystemTime::UNIX_EPOCH.elapsed();
    let outcome = std::panic::catch_unwind(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::new(name).await;
            let fixture = tokio::time::timeout(std::time::Duration::from_secs(60), test(fixture)).await;
            fixture.expect("the test hangs").finish().await;
        });
    });
    let took = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap() - begin.unwrap();
    if outcome.is_err() {
        blocking(Fixture::clean_up(name));
    }
    println!("test {module}::{name} ... {} ({took:.2?})", if outcome.is_ok() { "ok" } else { "FAILED" });
    outcome.is_ok()
}
