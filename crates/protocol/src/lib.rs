//! Wire types of the APIs that Fleet serves.
