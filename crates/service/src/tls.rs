//! TLS, mostly for servers: certificates from files or texts, and a configuration that can change while connections
//! are open.
//!
//! | module | what |
//! |---|---|
//! | [`material`] | what a server is told: certificate, key, whom it asks for a certificate, versions |
//! | [`names`] | versions, cipher suites and curves by the names that configuration files use |
//! | [`error`] | what can be wrong with all that, and the fix |
//! | [`acceptor`] | handshakes with the configuration of the moment, each within a bounded time |
//! | [`client`] | for requests to others |
//! | [`reload`] | a task that looks at the files and swaps the configuration |
//!
//! All of it uses *ring* as its one provider of cryptography, given explicitly: there is no global default.

pub mod acceptor;
pub mod client;
pub mod error;
mod load;
pub mod material;
pub mod names;
pub mod reload;
mod verify;

pub use acceptor::{AcceptError, Acceptor};
pub use client::{ClientTls, Identity, Verification};
pub use error::TlsError;
pub use material::{ClientAuthentication, Loaded, Passphrase, Pem, ServerTls};
pub use reload::{Look, Reload};
