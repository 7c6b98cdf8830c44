//! Integration packages: read, check, render.
//!
//! A package says what can be collected from a product and how a person sets that up. This crate unpacks
//! one, reads its manifests, holds what people set up with it (a *package policy*) in the shapes in which it
//! is stored and sent, checks that, and renders it to the inputs and permissions that agents get.
//!
//! What this crate must not know: agents, HTTP, stores.
//!
//! | module | what |
//! |---|---|
//! | [`assets`](mod@assets) | mappings, templates and pipelines for the engine that data goes to |
//! | [`archive`] | zip, tar.gz or a folder, unpacked within bounds |
//! | [`package`] | manifests, read |
//! | [`policy`] | the document of a package policy |
//! | [`defaults`] | what a policy is where nobody changes anything |
//! | [`compile`](mod@compile) | from a policy to inputs and permissions |
//! | [`shapes`] | the full and the simplified shape |
//! | [`check`](mod@check) | is what people set what the package asks for |
//! | [`upgrade`](mod@upgrade) | a policy, brought to another version of its package |
//! | [`finding`] | what is wrong with a field |
//! | [`inputs`] | a package's inputs as an example |
//! | [`otel`] | streams that configure a collector |
//! | [`secrets`] | values that are kept elsewhere |
//! | [`template`] | Handlebars |
//! | [`yaml`] | YAML, bounded, with lines |

pub mod archive;
pub mod assets;
pub mod check;
pub mod compile;
pub mod defaults;
pub mod finding;
pub mod inputs;
pub mod otel;
pub mod package;
pub mod policy;
pub mod secrets;
pub mod shapes;
pub mod template;
pub mod upgrade;
pub mod yaml;

pub use archive::{Archive, ArchiveError};
pub use check::check;
pub use compile::{CompileError, Compiled, Context, compile};
pub use finding::Finding;
pub use inputs::{template_inputs, template_inputs_yaml};
pub use package::{Package, PackageError};
pub use policy::{PackagePolicy, SimplifiedPolicy};
pub use upgrade::{Upgraded, upgrade};
