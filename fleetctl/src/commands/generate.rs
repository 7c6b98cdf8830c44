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
    console.data(&script);
    Ok(0)
}

/// `man`: a page for the program and one for each command.
pub(crate) fn manual(directory: &Path) -> Outcome {
    let definition = definition();
    write_page(directory, "fleetctl.1", &Man::new(definition.clone()))?;
    for command in definition.get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = format!("fleetctl-{}", command.get_name());
        let page = command.clone().display_name(name.clone()).name(name.clone());
        write_page(directory, &format!("{name}.1"), &Man::new(page))?;
    }
    Ok(0)
}

fn write_page(directory: &Path, name: &str, page: &Man) -> Result<(), Failure> {
    let path = directory.join(name);
    let mut text = Vec::new();
    page.render(&mut text)
        .and_then(|()| std::fs::write(&path, text))
        .map_err(|error| Failure::new(format!("Cannot write {}: {}", path.display(), io_words(&error))))
}
