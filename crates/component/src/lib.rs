//! What an agent and the component processes that it supervises say to each other, and both halves of it.
//!
//! An agent does not do all of its policy's work itself: some is done by *components*, processes of their own that it
//! starts, configures over gRPC, watches, and stops. A component has *units*: its one output, and its inputs. The
//! protocol is the one that existing components and agents speak; `proto/component.proto` has it.
//!
//! What this crate must not know: what a policy is, how agents speak to the server of the agents, what a component
//! does with its configuration.
//!
//! | module | what |
//! |---|---|
//! | [`component`] | the half of a component process |
//! | [`supervisor`] | the half of an agent |
//! | [`unit`](mod@unit) | what both speak of: units, their states, levels of logging |
//! | [`value`] | JSON, and the same in messages |
//! | [`chunks`] | large messages in pieces |
//! | [`wire`] | the messages themselves, generated |
//!
//! # A supervisor in a few lines
//!
//! ```no_run
//! # use fleet_component::supervisor::{AgentFacts, Platform, Settings, Specs, Supervisor, Wanted};
//! # use std::{path::Path, time::Duration};
//! # async fn run(wanted: Wanted) -> Result<(), Box<dyn std::error::Error>> {
//! let (specs, problems) = Specs::load(Path::new("/opt/agent/components"), Platform::here());
//! for problem in problems {
//!     eprintln!("{problem}");
//! }
//! let facts = AgentFacts { version: "9.6.0".to_owned(), ..AgentFacts::default() };
//! let supervisor = Supervisor::start(Settings::new("/opt/agent", facts)).await?;
//! supervisor.apply(specs.components(&wanted)).await;
//! let mut states = supervisor.states();
//! states.changed().await?;
//! for component in states.borrow().components.values() {
//!     println!("{} is {}: {}", component.id, component.state, component.message);
//! }
//! supervisor.stop(Duration::from_secs(25)).await;
//! # Ok(()) }
//! ```

pub mod chunks;
pub mod component;
pub mod supervisor;
mod tls;
pub mod unit;
pub mod value;
pub mod wire;

/// The largest message in bytes, unless the supervisor says otherwise.
pub const MAX_MESSAGE_SIZE: usize = 100 * 1024 * 1024;
