//! TLS as a server.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod handshakes;
mod hostile;
mod pki;
mod settings;
