//! Reading the command line.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, CommandFactory, FromArgMatches};

use super::flags::{Cli, GlobalFlags};
use super::nouns::ServerArgs;
use super::usage::{self, UsageError};

/// The variables of the process's environment that are text.
pub type Environment = BTreeMap<String, String>;

/// A command line that could be read.
#[derive(Debug)]
pub(crate) struct Parsed {
    /// The flags and the command.
    pub(crate) cli: Cli,
    /// Which flags the user gave, where a default means something else.
    pub(crate) given: Given,
    /// The name of the command, in full, and of its verb, for their help. Empty without a command.
    pub(crate) command_path: Vec<String>,
}

/// Flags that mean more when they are given than their default says.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Given {
    /// `--request-timeout`: its default is that of requests to etcd; those to the API have a longer one.
    pub(crate) request_timeout: bool,
    /// `--endpoint`.
    pub(crate) endpoint: bool,
}

/// The definition of the command line, for help, completions and manual pages.
pub(crate) fn definition() -> clap::Command {
    let mut definition = Cli::command();
    definition.build();
    definition
}

/// Reads `arguments` (the program's name first); a `FLEETCTL_*` variable stands for a flag that is not given.
/// Empty variables are as if they were not set.
pub(crate) fn parse(arguments: &[OsString], environment: &Environment) -> Result<Parsed, UsageError> {
    let definition = lenient(Cli::command());
    let from_environment = flags_of(&definition, environment)?;
    let mut words: Vec<OsString> = arguments.iter().take(1).cloned().collect();
    words.extend(from_environment.into_iter().map(OsString::from));
    words.extend(arguments.iter().skip(1).cloned());
    let matches = match definition.clone().try_get_matches_from(&words) {
        Ok(matches) => matches,
        Err(error) => {
            let is_incomplete = error.kind() == ErrorKind::MissingRequiredArgument;
            let asks_for_help = if is_incomplete { asks_for_help(&definition, &words) } else { None };
            return asks_for_help.ok_or_else(|| usage::explain(&definition, &words, &error));
        }
    };
    let given = Given {
        request_timeout: is_given(&matches, "request_timeout"),
        endpoint: is_given(&matches, "endpoint"),
    };
    let command_path = command_path(&matches);
    let cli = Cli::from_arg_matches(&matches).map_err(|error| usage::explain(&definition, &words, &error))?;
    Ok(Parsed { cli, given, command_path })
}

/// A command line that lacks what its command needs, but asks for help.
fn asks_for_help(definition: &clap::Command, words: &[OsString]) -> Option<Parsed> {
    let matches = without_needs(definition.clone()).try_get_matches_from(words).ok()?;
    let mut global = GlobalFlags::from_arg_matches(&matches).ok()?;
    global.help = deepest(&matches).get_one::<bool>("help").copied().unwrap_or_default();
    let cli = Cli { command: None, global };
    cli.global.help.then(|| Parsed { cli, given: Given::default(), command_path: command_path(&matches) })
}

/// A command line that is being written: its command, the verb of that, and which server it is about.
#[derive(Debug)]
pub(crate) struct Beginning {
    pub(crate) path: Vec<String>,
    pub(crate) server: ServerArgs,
    pub(crate) global: GlobalFlags,
    /// The flag whose value comes next.
    pub(crate) flag: Option<String>,
}

/// Reads the beginning of a command line, without the program's name; nothing if it makes no sense.
pub(crate) fn beginning(words: &[String]) -> Option<Beginning> {
    let definition = without_needs(lenient(Cli::command()));
    let read = |words: &[String]| {
        let words = std::iter::once("fleetctl").chain(words.iter().map(String::as_str));
        definition.clone().try_get_matches_from(words).ok()
    };
    // A flag at the end lacks its value as yet.
    let (matches, flag) = match (read(words), words.split_last()) {
        (Some(matches), _) => (matches, None),
        (None, Some((last, before))) => (read(before)?, Some(last.strip_prefix("--")?.to_owned())),
        (None, None) => return None,
    };
    let innermost = deepest(&matches);
    // Commands that ask no server have no such flags, and asking for one that is not defined is a panic.
    let asks_server = innermost.try_contains_id("server").is_ok();
    let server =
        if asks_server { ServerArgs::from_arg_matches(innermost).ok()? } else { ServerArgs::default() };
    Some(Beginning {
        path: command_path(&matches),
        server,
        global: GlobalFlags::from_arg_matches(innermost).ok()?,
        flag,
    })
}

fn without_needs(definition: clap::Command) -> clap::Command {
    definition.mut_args(|arg| arg.required(false)).mut_subcommands(without_needs)
}

fn deepest(mut matches: &ArgMatches) -> &ArgMatches {
    while let Some((_, inner)) = matches.subcommand() {
        matches = inner;
    }
    matches
}

fn command_path(mut matches: &ArgMatches) -> Vec<String> {
    let mut path = Vec::new();
    while let Some((name, inner)) = matches.subcommand() {
        path.push(name.to_owned());
        matches = inner;
    }
    path
}

/// The boolean words that flags have always taken.
pub(super) fn go_bool(word: &str) -> Result<bool, String> {
    match word {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

/// The definition with every switch also taking `=true` and `=false`, as scripts write it. The help is made
/// from the plain definition, where that would only be noise.
fn lenient(definition: clap::Command) -> clap::Command {
    definition.mut_args(lenient_switch).mut_subcommands(lenient)
}

fn lenient_switch(switch: Arg) -> Arg {
    if !matches!(switch.get_action(), ArgAction::SetTrue) {
        return switch;
    }
    switch
        .action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_value("false")
        .default_missing_value("true")
        .value_parser(go_bool)
}

/// The flags that variables stand for, as words of a command line. They come before the user's own, which
/// so win.
fn flags_of(definition: &clap::Command, environment: &Environment) -> Result<Vec<String>, UsageError> {
    let mut words = Vec::new();
    let flags = definition.get_arguments().filter(|flag| flag.is_global_set() && !is_command_like(flag));
    for flag in flags {
        for name in flag.get_long_and_visible_aliases().into_iter().flatten().chain(deprecated_names(flag)) {
            let variable = format!("FLEETCTL_{}", name.to_uppercase().replace('-', "_"));
            let Some(value) = environment.get(&variable).filter(|value| !value.is_empty()) else { continue };
            let word = format!("--{name}={value}");
            definition
                .clone()
                .try_get_matches_from(["fleetctl", &word])
                .map_err(|error| usage::explain(definition, &[], &error).because_of(&variable))?;
            words.push(word);
        }
    }
    Ok(words)
}

/// `--help` and `--version` are asked for, not set: `FLEETCTL_VERSION` means something else to whoever set it.
fn is_command_like(flag: &Arg) -> bool {
    matches!(flag.get_id().as_str(), "help" | "version")
}

fn deprecated_names(flag: &Arg) -> impl Iterator<Item = &str> {
    flag.get_all_aliases().into_iter().flatten().filter(|alias| alias.len() > 1)
}

fn is_given(matches: &ArgMatches, flag: &str) -> bool {
    matches.value_source(flag) == Some(ValueSource::CommandLine)
}

#[cfg(test)]
mod tests {
    use super::super::commands::Command;
    use super::*;

    fn read(line: &str, variables: &[(&str, &str)]) -> Result<Parsed, UsageError> {
        let words: Vec<OsString> =
            std::iter::once("fleetctl").chain(line.split_whitespace()).map(OsString::from).collect();
        let environment =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        parse(&words, &environment)
    }

    #[test]
    fn the_definition_is_sound() {
        lenient(Cli::command()).debug_assert();
        Cli::command().debug_assert();
    }

    #[test]
    fn global_flags_stand_before_and_after_the_command() {
        for line in [
            "--endpoint http://a:1 list-units",
            "list-units --endpoint http://a:1",
            "list-units --endpoint=http://a:1",
        ] {
            assert_eq!(read(line, &[]).unwrap().cli.global.endpoint, "http://a:1", "{line}");
        }
        assert_eq!(read("--endpoint a list-units --endpoint b", &[]).unwrap().cli.global.endpoint, "b");
        assert_eq!(read("--endpoint a --endpoint b list-units", &[]).unwrap().cli.global.endpoint, "b");
    }

    #[test]
    fn variables_stand_for_flags_that_are_not_given() {
        let variables =
            [("FLEETCTL_ENDPOINT", "http://env:1"), ("FLEETCTL_DEBUG", "true"), ("FLEETCTL_TUNNEL", "")];
        let parsed = read("list-units", &variables).unwrap();
        assert_eq!(parsed.cli.global.endpoint, "http://env:1");
        assert!(parsed.cli.global.debug);
        assert_eq!(parsed.cli.global.tunnel, "");
        assert!(parsed.given.endpoint);
        assert_eq!(read("--endpoint=x list-units", &variables).unwrap().cli.global.endpoint, "x");
        assert_eq!(read("list-units --endpoint=x", &variables).unwrap().cli.global.endpoint, "x");
    }

    #[test]
    fn every_variable_of_the_original_is_read() {
        let variables = [
            ("FLEETCTL_DRIVER", "etcd"),
            ("FLEETCTL_SSH_USERNAME", "root"),
            ("FLEETCTL_SSH_TIMEOUT", "2.5"),
            ("FLEETCTL_REQUEST_TIMEOUT", "7"),
            ("FLEETCTL_STRICT_HOST_KEY_CHECKING", "false"),
            ("FLEETCTL_KNOWN_HOSTS_FILE", "/k"),
            ("FLEETCTL_ETCD_KEY_PREFIX", "/p"),
            ("FLEETCTL_CA_FILE", "/ca"),
            ("FLEETCTL_ETCD_CERTFILE", "/cert"),
            ("FLEETCTL_KEY_FILE", "/key"),
            ("FLEETCTL_EXPERIMENTAL_API", "0"),
            ("FLEETCTL_TUNNEL", "bastion"),
        ];
        let parsed = read("list-units", &variables).unwrap();
        let global = &parsed.cli.global;
        assert_eq!((global.driver.as_str(), global.ssh_username.as_str()), ("etcd", "root"));
        assert!((global.ssh_timeout - 2.5).abs() < 1e-9 && (global.request_timeout - 7.0).abs() < 1e-9);
        assert!(!global.strict_host_key_checking && !global.experimental_api && parsed.given.request_timeout);
        assert_eq!((global.known_hosts_file.as_str(), global.etcd_key_prefix.as_str()), ("/k", "/p"));
        assert_eq!(
            (global.ca_file.as_str(), global.cert_file.as_str(), global.key_file.as_str()),
            ("/ca", "/cert", "/key")
        );
        assert_eq!(global.tunnel, "bastion");
    }

    #[test]
    fn variables_ask_for_nothing() {
        let variables = [("FLEETCTL_VERSION", "1.0.0"), ("FLEETCTL_HELP", "true"), ("FLEETCTL_BOGUS", "1")];
        let parsed = read("list-units", &variables).unwrap();
        assert!(!parsed.cli.global.version && !parsed.cli.global.help);
    }

    #[test]
    fn a_bad_variable_is_named() {
        let error = read("list-units", &[("FLEETCTL_REQUEST_TIMEOUT", "abc")]).unwrap_err();
        assert!(error.to_string().contains("FLEETCTL_REQUEST_TIMEOUT"), "{error}");
    }

    #[test]
    fn unique_prefixes_of_commands_are_enough() {
        for (line, command) in [
            ("list-m", "list-machines"),
            ("c x", "cat"),
            ("d x", "destroy"),
            ("star x", "start"),
            ("sta x", ""),
            ("su x", "submit"),
            ("co bash", "completion"),
            ("list", ""),
            ("u", "unload"),
            ("v", ""),
            ("j x", "journal"),
        ] {
            match read(line, &[]) {
                Ok(parsed) => assert_eq!(parsed.command_path, [command], "{line}"),
                Err(error) => assert_eq!(command, "", "{line}: {error}"),
            }
        }
    }

    /// What scripts may have shortened since before there were commands for fleet-server.
    #[test]
    fn every_prefix_that_was_unique_still_is() {
        const COMMANDS: [&str; 21] = [
            "cat",
            "completion",
            "destroy",
            "explain",
            "fd-forward",
            "help",
            "journal",
            "list-machines",
            "list-unit-files",
            "list-units",
            "load",
            "man",
            "restart",
            "ssh",
            "start",
            "status",
            "stop",
            "submit",
            "unload",
            "verify",
            "version",
        ];
        let definition = lenient(Cli::command());
        for command in COMMANDS {
            for length in 1..=command.len() {
                let prefix = &command[..length];
                let fitting = COMMANDS.iter().filter(|other| other.starts_with(prefix)).count();
                if fitting > 1 && prefix != command {
                    continue;
                }
                // What the command needs does not matter here.
                let matches =
                    without_needs(definition.clone()).try_get_matches_from(["fleetctl", prefix]).unwrap();
                assert_eq!(matches.subcommand_name(), Some(command), "{prefix}");
            }
        }
    }

    #[test]
    fn nouns_have_verbs_and_help_where_words_are_missing() {
        let parsed = read("agent --server https://a list --limit 5", &[]).unwrap();
        assert_eq!(parsed.command_path, ["agent", "list"]);
        let parsed = read("policy show --help", &[]).unwrap();
        assert!(parsed.cli.global.help && parsed.cli.command.is_none());
        assert_eq!(parsed.command_path, ["policy", "show"]);
        assert!(read("policy show", &[]).unwrap_err().to_string().contains("<NAME>"));
        let error = read("policy shwo x", &[]).unwrap_err().to_string();
        assert!(error.starts_with("unknown command \"shwo\" for \"fleetctl policy\""), "{error}");
        assert!(error.contains("\tshow"), "{error}");
    }

    #[test]
    fn switches_take_true_and_false() {
        let parsed = read("--debug=false list-units --full=1 --no-legend=f", &[]).unwrap();
        let Some(Command::ListUnits(list)) = parsed.cli.command else { panic!("not list-units") };
        assert!(list.options.full && !list.options.no_legend && !parsed.cli.global.debug);
    }

    #[test]
    fn short_flags_and_the_long_forms_they_once_had() {
        for line in ["list-units -l", "list-units --l", "list-units --full"] {
            let Some(Command::ListUnits(list)) = read(line, &[]).unwrap().cli.command else {
                panic!("{line}")
            };
            assert!(list.options.full, "{line}");
        }
        for line in ["journal -f a", "journal --f a", "journal a --follow"] {
            let Some(Command::Journal(journal)) = read(line, &[]).unwrap().cli.command else {
                panic!("{line}")
            };
            assert!(journal.follow, "{line}");
        }
        for line in ["ssh -A a", "ssh --A a", "ssh --forward-agent a"] {
            let Some(Command::Ssh(ssh)) = read(line, &[]).unwrap().cli.command else { panic!("{line}") };
            assert!(ssh.forward_agent, "{line}");
        }
    }

    #[test]
    fn what_follows_the_machine_is_the_command_to_run_there() {
        for (line, target, command) in [
            ("ssh m", Some("m"), vec![]),
            ("ssh m ls -la /tmp", Some("m"), vec!["ls", "-la", "/tmp"]),
            ("ssh m -- ls -la", Some("m"), vec!["ls", "-la"]),
            ("ssh m --ssh-port 2222 uname -a", Some("m"), vec!["uname", "-a"]),
            ("ssh", None, vec![]),
        ] {
            let Some(Command::Ssh(ssh)) = read(line, &[]).unwrap().cli.command else { panic!("{line}") };
            assert_eq!(ssh.target.as_deref(), target, "{line}");
            assert_eq!(ssh.command, command, "{line}");
        }
    }

    #[test]
    fn flags_that_scripts_pass_in_vain_are_tolerated() {
        for line in [
            "status --no-block a",
            "status a --block-attempts=2",
            "submit --no-block a",
            "restart --no-block a",
        ] {
            assert!(read(line, &[]).is_ok(), "{line}");
        }
    }
}
