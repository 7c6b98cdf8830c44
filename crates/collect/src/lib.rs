//! What an agent collects and ships: inputs, processors, queues, outputs.
//!
//! What this crate must not know: policy servers, the Fleet protocol, how an agent enrols. It is handed a [`Plan`] and
//! carries it out; how that goes is told by [`Collector::states`] and [`Collector::metrics`].
//!
//! | module | what |
//! |---|---|
//! | [`collector`] | a plan carried out: what is the same goes on untouched |
//! | [`config`] | reading settings; what nobody knows is told, not refused |
//! | [`event`], [`stream`], [`batch`] | events, what those of a stream have in common, and batches of them as JSON |
//! | [`host`] | the facts of the machine |
//! | `processor` | what a policy does to events |
//! | `procfs` | what the system tells of itself in files |
//! | [`input`] | where events come from; `input::file` reads files, `input::system` measures the machine, `input::net` and `input::otlp` take what others send, `input::prometheus` asks for it |
//! | `parser` | lines and entries of the journal, made into records: JSON, several lines as one |
//! | [`syslog`] | messages of syslog, taken apart |
//! | [`registry`] | how far each source has been read and acknowledged |
//! | [`outlet`], `queue` | the way to an output: in memory, and on the disk for what nobody could read again |
//! | `spare` | memory of batches, for those to come |
//! | `output` | where events go |
//!
//! # How an event travels
//!
//! An input makes it, the stream's processors change it, and it is written as JSON once, into a [`Batch`](batch::Batch).
//! The batch waits in the output's [`Outlet`](outlet::Outlet); when that is full, the input waits. The output settles
//! the batch when every event of it is where it belongs; that settles the batch's tickets, and the source's position
//! moves, in order ([`Tracker`](batch::Tracker)). Positions are written to disk once a second. So an event that was
//! read is sent at least once; and since a file's events have ids made of their place, the engine has it once.
//!
//! # How to add an input
//!
//! 1. A module in `input/` with a `DEFINITION`: the policy's `type`s, `logs` or `metrics`, and a `build` function; and
//!    a row in [`input::DEFINITIONS`](input). That is all that others see of it.
//! 2. `build` reads the stream's settings from `builder.config` (a [`Mistake`](config::Mistake) names the setting and
//!    the fix), calls `builder.stream(..)` once with the top-level fields that its events will have, and gives back a
//!    `Box<dyn Input>`. It opens nothing.
//! 3. [`Input::run`](input::Input::run) collects until `context.stop` is cancelled: `context.batch()`,
//!    `context.stream().push(&mut batch, event, id)` for each event, `context.send(batch).await`. The last one waits
//!    while the output has no room: that is the back-pressure, read nothing meanwhile.
//! 4. A source that can be read again keeps a position: a [`Tracker`](batch::Tracker) whose function writes to
//!    `context.positions()`, and `batch.tell(tracker.ticket(position))` before sending. After a restart it begins at
//!    `context.positions().get(..)`. A source that cannot be read again sends with
//!    [`Context::store`](input::Context::store), which comes back when the batch is safe on the disk.
//! 5. `context.healthy(..)` and `context.degraded(..)` tell how it is; an error from `run` means *Failed*, and it is
//!    run again later. `context.pause(..)` waits, or tells that it is time to stop.

pub mod batch;
pub mod clock;
pub mod collector;
pub mod config;
mod disk;
pub mod event;
pub mod host;
pub mod input;
mod link;
pub mod metrics;
pub mod outlet;
mod output;
mod parser;
pub mod plan;
mod processor;
mod procfs;
mod queue;
pub mod registry;
mod spare;
pub mod state;
pub mod stream;
pub mod syslog;

pub use collector::{Collector, StartError, handles, handles_output, mistake_of_output};
pub use metrics::Metrics;
pub use plan::{AgentFacts, InputUnit, OutputUnit, Plan, Settings};
pub use state::{State, States, Status, UnitStatus};
