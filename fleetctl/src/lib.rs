//! The command-line client for Fleet.
