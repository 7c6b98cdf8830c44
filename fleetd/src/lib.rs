//! The daemon on every machine: engine, agent and API.
