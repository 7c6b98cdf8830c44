//! Completions and manual pages, from the definition of the command line.

use std::path::Path;

use clap_complete::shells::{Bash, Fish, Zsh};
use clap_mangen::Man;

use crate::cli::{Shell, definition};
use crate::context::{Failure, Outcome};
use crate::error::io_words;
use crate::output::Console;

/// `completion`
pub(crate) fn completion(console: &Console, shell: Shell) -> Outcome {
    let mut definition = definition();
    let mut script = Vec::new();
    match shell {
        Shell::Bash => clap_complete::generate(Bash, &mut definition, "fleetctl", &mut script),
        Shell::Zsh => clap_complete::generate(Zsh, &mut definition, "fleetctl", &mut script),
        Shell::Fish => clap_complete::generate(Fish, &mut definition, "fleetctl", &mut script),
    }
    let script = String::from_utf8_lossy(&script);
    console.data(with_names(shell, &script).as_bytes());
    Ok(0)
}

/// In bash names are added to what the script has found, by a function around its own.
const NAMES_IN_BASH: &str = r#"
# Names that the server knows.
_fleetctl_with_names() {
    local name
    _fleetctl "$@"
    while IFS= read -r name; do
        COMPREPLY+=("$name")
    done < <("${COMP_WORDS[0]}" __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}

if [[ "${BASH_VERSINFO[0]}" -eq 4 && "${BASH_VERSINFO[1]}" -ge 4 || "${BASH_VERSINFO[0]}" -gt 4 ]]; then
    complete -F _fleetctl_with_names -o nosort -o bashdefault -o default fleetctl
else
    complete -F _fleetctl_with_names -o bashdefault -o default fleetctl
fi
"#;

/// The same in zsh, before the end of the script, which calls the function or registers it.
const NAMES_IN_ZSH: &str = r#"# Names that the server knows.
functions[_fleetctl_words]=$functions[_fleetctl]
_fleetctl() {
    local -a names
    names=("${(@f)$("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    names=(${names:#})
    (( $#names )) && compadd -a names
    _fleetctl_words "$@"
}

"#;

const END_OF_ZSH: &str = "if [ \"$funcstack[1]\" = \"_fleetctl\" ]; then";

const NAMES_IN_FISH: &str = r"
# Names that the server knows.
complete -c fleetctl -n '__fish_seen_subcommand_from agent policy integration package output host proxy download-source enroll-key service-token action user api-key profile' -a '(fleetctl __complete -- (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
";

/// The script with names that only a server knows.
fn with_names(shell: Shell, script: &str) -> String {
    match shell {
        Shell::Bash => format!("{script}{NAMES_IN_BASH}"),
        Shell::Zsh => match script.rfind(END_OF_ZSH) {
            Some(end) => format!("{}{NAMES_IN_ZSH}{}", &script[..end], &script[end..]),
            None => script.to_owned(),
        },
        Shell::Fish => format!("{script}{NAMES_IN_FISH}"),
    }
}

/// `man`: a page for the program, and one for each command and verb.
pub(crate) fn manual(directory: &Path) -> Outcome {
    let definition = definition();
    write_page(directory, "fleetctl.1", &Man::new(definition.clone()))?;
    write_pages(directory, "fleetctl", &definition)?;
    Ok(0)
}

fn write_pages(directory: &Path, parent: &str, command: &clap::Command) -> Result<(), Failure> {
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        let name = format!("{parent}-{}", inner.get_name());
        let page = inner.clone().display_name(name.clone()).name(name.clone());
        write_page(directory, &format!("{name}.1"), &Man::new(page))?;
        write_pages(directory, &name, inner)?;
    }
    Ok(())
}

fn write_page(directory: &Path, name: &str, page: &Man) -> Result<(), Failure> {
    let path = directory.join(name);
    let mut text = Vec::new();
    page.render(&mut text)
        .and_then(|()| std::fs::write(&path, text))
        .map_err(|error| Failure::new(format!("Cannot write {}: {}", path.display(), io_words(&error))))
}
