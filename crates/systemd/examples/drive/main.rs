//! Drives the real systemd of the machine it runs on, one command after another: for trials, and for
//! tests on whole machines.
//!
//! ```text
//! drive [--user] [--units DIRECTORY] [--records DIRECTORY] [--each] COMMAND [ARGUMENT...] [, COMMAND ...]
//! ```
//!
//! `drive` alone lists the commands. Every line of output is one fact. The first failure ends it with exit
//! code 1, unless `--each` is given.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

mod cases;
mod commands;

use std::process::ExitCode;

use fleet_systemd::{Manager, Options};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut options = Options {
        units_directory: "/run/fleet/units".into(),
        records_directory: "/run/fleet/records".into(),
        user: false,
    };
    let mut each = false;
    let mut arguments = std::env::args().skip(1).peekable();
    while let Some(flag) = arguments.next_if(|argument| argument.starts_with("--")) {
        match (flag.as_str(), flag == "--units" || flag == "--records") {
            ("--user", _) => options.user = true,
            ("--each", _) => each = true,
            ("--units", _) => options.units_directory = arguments.next().unwrap_or_default().into(),
            ("--records", _) => options.records_directory = arguments.next().unwrap_or_default().into(),
            _ => return usage(),
        }
    }
    let words: Vec<String> = arguments.collect();
    if words.is_empty() {
        return usage();
    }
    if let Some(("cases", names)) = words.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        return cases::run(&names, options.user)
            .await
            .map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS);
    }
    let manager = match Manager::connect(options).await {
        Ok(manager) => manager,
        Err(error) => return failed(&error.into()),
    };
    let mut code = ExitCode::SUCCESS;
    for command in words.split(|word| word == ",") {
        if let Err(error) = commands::run(&manager, command).await {
            code = failed(&error);
            if !each {
                break;
            }
        }
    }
    code
}

fn usage() -> ExitCode {
    eprintln!("{}", commands::USAGE);
    ExitCode::from(2)
}

fn failed(error: &commands::Failure) -> ExitCode {
    eprintln!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  because: {error}");
        cause = error.source();
    }
    ExitCode::FAILURE
}
