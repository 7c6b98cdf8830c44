//! What each command does that asks a fleet-server.
//!
//! | module | what |
//! |---|---|
//! | `session` | one run against one server |
//! | `generic` | the verbs that most nouns have: list, show, create, delete |
//! | `edit` | changing an object in an editor, without losing what others change |
//! | `print` | tables and data |
//! | `input` | bodies from files and flags |
//! | `complete` | names from the server, for completion scripts |
//! | `folder` | folders of files for `apply`, and what is remembered in them |

mod action;
mod agent;
mod apply;
mod audit;
mod complete;
mod edit;
mod event;
mod export;
mod folder;
mod generic;
mod input;
mod integration;
mod keys;
mod package;
mod policy;
mod print;
mod profile;
mod session;
mod user;
mod watch;
mod webhook;

use std::sync::Arc;

use crate::cli::Environment;
use crate::cli::nouns::{Noun, PlainVerb, Remote, ServerArgs};
use crate::context::{Failure, Outcome};
use crate::management::{DOWNLOAD_SOURCE, HOST, Kind, OUTPUT, PROXY};
use crate::output::Console;
use crate::settings::Settings;

use session::Session;

/// The environment of a run.
struct World<'a> {
    console: &'a Arc<Console>,
    settings: &'a Settings,
    environment: &'a Environment,
}

impl World<'_> {
    async fn session(&self, server: &ServerArgs) -> Result<Session, Failure> {
        Session::open(self.console, self.settings, self.environment, &server.flags()).await
    }
}

/// Runs a command. `None`: it lacks its verb.
pub(crate) async fn run(
    console: &Arc<Console>,
    settings: &Settings,
    environment: &Environment,
    command: &Remote,
) -> Result<Option<u8>, Failure> {
    let world = World { console, settings, environment };
    // One after the other in the same place, so that the largest of them bounds the future.
    macro_rules! noun {
        ($noun:expr, $run:expr) => {{
            let Noun { server, verb: Some(verb) } = $noun else { return Ok(None) };
            let session = world.session(server).await?;
            Box::pin($run(&session, verb)).await
        }};
    }
    let outcome: Outcome = match command {
        Remote::Agent(noun) => noun!(noun, agent::run),
        Remote::Policy(noun) => noun!(noun, policy::run),
        Remote::Integration(noun) => noun!(noun, integration::run),
        Remote::Package(noun) => noun!(noun, package::run),
        Remote::Output(noun) => noun!(noun, |session, verb| plain(session, &OUTPUT, verb)),
        Remote::Host(noun) => noun!(noun, |session, verb| plain(session, &HOST, verb)),
        Remote::Proxy(noun) => noun!(noun, |session, verb| plain(session, &PROXY, verb)),
        Remote::DownloadSource(noun) => {
            noun!(noun, |session, verb| plain(session, &DOWNLOAD_SOURCE, verb))
        }
        Remote::EnrollKey(noun) => noun!(noun, keys::enroll_key),
        Remote::ServiceToken(noun) => noun!(noun, keys::service_token),
        Remote::Action(noun) => noun!(noun, action::run),
        Remote::User(noun) => noun!(noun, user::run),
        Remote::ApiKey(noun) => noun!(noun, keys::api_key),
        Remote::Audit(noun) => noun!(noun, audit::run),
        Remote::Event(noun) => noun!(noun, event::run),
        Remote::Webhook(noun) => noun!(noun, webhook::run),
        Remote::UninstallToken(noun) => noun!(noun, keys::uninstall_token),
        Remote::SigningKey(noun) => noun!(noun, keys::signing_key),
        Remote::Apply(flags) => Box::pin(apply::run(&world, flags)).await,
        Remote::Export(flags) => Box::pin(export::run(&world, flags)).await,
        Remote::Login(login) => Box::pin(profile::login(&world, login)).await,
        Remote::Profile(command) => match &command.verb {
            Some(verb) => profile::run(&world, verb),
            None => return Ok(None),
        },
        Remote::Complete { words } => {
            Box::pin(complete::run(&world, words)).await;
            Ok(0)
        }
    };
    outcome.map(Some)
}

async fn plain(session: &Session, kind: &'static Kind, verb: &PlainVerb) -> Outcome {
    match verb {
        PlainVerb::List(list) => generic::list(session, kind, kind.query(), list).await,
        PlainVerb::Show(show) => generic::show(session, kind, show).await,
        PlainVerb::Create(create) => generic::create(session, kind, create).await,
        PlainVerb::Edit(edit) => edit::run(session, kind, edit).await,
        PlainVerb::Delete(delete) => generic::delete(session, kind, delete).await,
    }
}
