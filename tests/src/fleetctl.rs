//! `fleetctl` as a person runs it, on this host, against a cluster.

use std::path::PathBuf;

use crate::binaries;
use crate::command::{Output, Run};
use crate::error::HarnessError;

/// A `fleetctl` that is set up but not run yet. It has a home and an ssh-agent of the cluster's own.
#[derive(Debug)]
pub struct Fleetctl {
    program: PathBuf,
    home: PathBuf,
    agent: PathBuf,
    endpoint: String,
    given: Given,
    input: Vec<u8>,
}

/// How the endpoint is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Given {
    Flag,
    Environment,
    NotAtAll,
}

impl Fleetctl {
    pub(crate) fn new(program: PathBuf, home: PathBuf, agent: PathBuf, endpoint: String) -> Self {
        Self { program, home, agent, endpoint, given: Given::Flag, input: Vec::new() }
    }

    /// Tells the endpoint by `FLEETCTL_ENDPOINT` instead of by the flag.
    #[must_use]
    pub fn endpoint_by_environment(mut self) -> Self {
        self.given = Given::Environment;
        self
    }

    /// Tells no endpoint: for `--tunnel`, for instance.
    #[must_use]
    pub fn without_endpoint(mut self) -> Self {
        self.given = Given::NotAtAll;
        self
    }

    /// Text for its standard input.
    #[must_use]
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Runs it to its end (60 s at most).
    ///
    /// # Errors
    /// When it cannot be run or takes too long. A non-zero exit is not an error here.
    pub async fn run<I>(self, args: I) -> Result<Output, HarnessError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let mut run = Run::new([&self.program]).env("HOME", &self.home).env("SSH_AUTH_SOCK", &self.agent);
        match self.given {
            Given::Flag => run = run.args([format!("--endpoint={}", self.endpoint)]),
            Given::Environment => run = run.env("FLEETCTL_ENDPOINT", &self.endpoint),
            Given::NotAtAll => {}
        }
        let args: Vec<String> = args.into_iter().map(|word| word.as_ref().to_owned()).collect();
        run.args(args).input(self.input).output().await
    }
}

/// Runs `fleetctl` on this host without any cluster.
///
/// # Errors
/// When it cannot be built or run. A non-zero exit is not an error here.
pub async fn fleetctl_alone<I>(args: I) -> Result<Output, HarnessError>
where
    I: IntoIterator<Item: AsRef<str>>,
{
    alone("fleetctl", args).await
}

/// Runs `fleetd` on this host without any cluster: for what it does at once, such as `--check-config`.
///
/// # Errors
/// When it cannot be built or run. A non-zero exit is not an error here.
pub async fn fleetd_alone<I>(args: I) -> Result<Output, HarnessError>
where
    I: IntoIterator<Item: AsRef<str>>,
{
    alone("fleetd", args).await
}

async fn alone<I>(program: &str, args: I) -> Result<Output, HarnessError>
where
    I: IntoIterator<Item: AsRef<str>>,
{
    let program = binaries::folder().await?.join(program);
    let args: Vec<String> = args.into_iter().map(|word| word.as_ref().to_owned()).collect();
    Run::new([program]).env("HOME", "/nonexistent").args(args).output().await
}
