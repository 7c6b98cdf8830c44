//! Which agent of the machine is meant.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::super::flags::Globals;
use super::super::{Failure, failure};
use crate::install::{InstallError, Layout, Record};

/// Where an agent is installed without another word.
const BASE: &str = "/opt";

/// Where an agent is, or is to be.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct Place {
    /// The directory below which the programs lie [default: /opt]
    #[arg(long, value_name = "DIR")]
    base_path: Option<PathBuf>,
    /// One of several agents of this machine, by this name
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// The same as --namespace=Development
    #[arg(long)]
    develop: bool,
    /// Ask nothing
    #[arg(short = 'n', long)]
    pub(super) non_interactive: bool,
}

impl Place {
    /// Where an agent is to be.
    pub(super) fn layout(&self, globals: &Globals) -> Result<Layout, InstallError> {
        if let Some(home) = &globals.path_home {
            let (field, given) = ("--path.home", home.display().to_string());
            let problem = "where the programs go is said by --base-path: they lie in Fleet/Agent below it";
            return Err(InstallError::Field { field, given, problem });
        }
        self.named()
    }

    fn named(&self) -> Result<Layout, InstallError> {
        let namespace = self.namespace.as_deref().or(self.develop.then_some("Development"));
        Layout::new(self.base_path.as_deref().unwrap_or(Path::new(BASE)), namespace)
    }

    /// Where an agent is: the one that the flags name, else the one that this program belongs to, else the usual one.
    pub(super) fn installed(&self, globals: &Globals) -> Result<(Layout, Option<Record>), InstallError> {
        if let Some(home) = &globals.path_home {
            let home = std::path::absolute(home).unwrap_or_else(|_| home.clone());
            let found = Layout::installed(&home).ok_or(InstallError::NotInstalled { home })?;
            return Ok((found.0, Some(found.1)));
        }
        let is_named = self.base_path.is_some() || self.namespace.is_some() || self.develop;
        let own = if is_named { None } else { Layout::of_program() };
        let layout = match own {
            Some(layout) => layout,
            None => self.named()?,
        };
        let record = Layout::installed(&layout.paths.home).map(|(_, record)| record);
        Ok((layout, record))
    }
}

pub(super) fn must_be_root(verb: &'static str) -> Result<(), InstallError> {
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err(InstallError::NotRoot(verb)) }
}

/// Asks whoever is at the terminal.
pub(super) fn agreed(question: &str) -> Result<bool, Failure> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Err(failure("there is no terminal to ask at: give --non-interactive or --force"));
    }
    let mut out = std::io::stdout().lock();
    write!(out, "{question} [Y/n] ")?;
    out.flush()?;
    let mut answer = String::new();
    input.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "" | "y" | "yes"))
}
