//! Unit names, unit files and their [X-Fleet] options.
