//! Configuration: [`document`] reads nested keys (YAML), [`Settings`] an INI file and the environment.
//!
//! # Settings
//!
//! A daemon opens its [`Settings`], asks for each of its options by key, and takes the outcome:
//!
//! ```
//! use std::collections::BTreeMap;
//! use fleet_service::config::{Settings, value};
//!
//! let mut settings = Settings::open("FLEET_", None, &BTreeMap::new());
//! let verbosity = settings.get("verbosity", 0, value::integer(0..=10));
//! let warnings = settings.finish().expect("no mistakes");
//! assert_eq!((verbosity, warnings.len()), (0, 0));
//! ```
//!
//! * An environment variable, prefix and upper-case key, stands over the file, even if it is empty.
//! * An empty value is the default, wherever it stands.
//! * A value that does not parse is a [`Mistake`], and so is a line of the file that means nothing. All are
//!   told at once.
//! * A key that nobody asks for is a [`Warning`], with the key that may have been meant.

pub mod document;
mod ini;
mod nearest;
mod settings;
pub mod value;

pub use settings::{Mistake, Place, Settings, Warning};
pub use value::Secret;
