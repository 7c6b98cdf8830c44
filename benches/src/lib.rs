//! The numbers in the README, each with the command that makes it.
