//! Who may do what, proven by keys and passwords; and what must stay secret, kept encrypted in the store.
//!
//! What this crate must not know: HTTP, agents, policies, and which backend a store has. It checks a key; who
//! sent it, and with what header, is the caller's matter.
//!
//! | module | what |
//! |---|---|
//! | [`key`] | API keys: random, shown once, kept as a digest, checked in microseconds |
//! | [`replace_token`] | the slow hash of the token by which an agent takes over its own record |
//! | [`password`] | people's passwords: argon2id, and a short memory of what was verified |
//! | [`slow`] | hashes that are slow by intent, bounded so that they starve nobody |
//! | [`master_key`] | the one secret that a server is given: a file or a systemd credential |
//! | [`seal`] | secrets at rest: data keys in the store, wrapped by the master key |
//! | [`authority`] | the certificate authority that servers of one store share, and its server certificates |
//! | [`signer`] | the key that signs what agents must be able to trust |
//! | [`rights`] | what somebody may do: rights, roles, grants on single policies |
//! | [`users`] | people: made, changed, taken away, never the last administrator |
//! | [`api_keys`] | what lets scripts work in somebody's name, never with more than that somebody may |
//! | [`sessions`] | who is signed in, known to all servers |
//! | [`throttle`] | how often somebody may try to sign in |
//! | [`audit`] | who changed what: written, read, bounded, without secrets |
//! | [`documents`] | what all of this keeps in the store |

pub mod api_keys;
pub mod audit;
pub mod authority;
mod create_once;
pub mod documents;
pub mod key;
mod lock;
pub mod master_key;
pub mod password;
pub mod random;
mod recent;
pub mod replace_token;
pub mod rights;
pub mod seal;
pub mod sessions;
pub mod signer;
pub mod slow;
pub mod throttle;
pub mod users;
pub use fleet_store::timestamp;
