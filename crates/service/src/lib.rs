//! What every daemon shares: configuration, listeners, logging, metrics, signals and the way out.
//!
//! What this crate must not know: units, machines, stores, policies, HTTP. A daemon puts these parts together
//! in its `main`: read the configuration, start logging, open the listeners, run its tasks under a
//! [`Drain`](drain::Drain), tell systemd that it is ready, wait for a signal, and drain.
//!
//! | module | what |
//! |---|---|
//! | [`config`] | an INI file, or nested keys in YAML, under the environment; all mistakes told at once |
//! | [`listen`] | sockets from systemd and from addresses, unix and TCP, as one |
//! | [`logging`] | log lines on stderr, for journald or for a person; the level can change at run time |
//! | [`named_file`] | files that settings name, read within bounds |
//! | [`notify`] | telling systemd: ready, reloading, stopping, still alive |
//! | [`metrics`] | counters, gauges and histograms in the text format of Prometheus |
//! | [`error`](mod@error) | an error with its causes, in one line |
//! | [`drain`] | tasks with names, and an end within a bounded time |
//! | [`signals`] | TERM, INT, HUP and USR1 as one stream |
//! | [`tls`] | TLS for servers, with certificates that can change while connections are open |

pub mod config;
pub mod drain;
pub mod error;
pub mod listen;
pub mod logging;
pub mod metrics;
pub mod named_file;
pub mod notify;
pub mod signals;
pub mod tls;
