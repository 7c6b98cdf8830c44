//! What every daemon shares: configuration, listeners, logging, metrics, drain.
