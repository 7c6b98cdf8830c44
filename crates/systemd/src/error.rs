//! Why a call failed, and how that is told.

use std::io;
use std::path::Path;
use std::time::Duration;

use fleet_cluster::systemd::Error;
use zbus::DBusError;

/// Why a D-Bus call failed.
#[derive(Debug)]
pub(crate) enum CallError {
    /// systemd, or the bus for it, said no.
    Refused {
        /// The D-Bus error's name.
        name: String,
        /// Its text.
        text: String,
    },
    /// The bus or systemd is not there.
    Away(String),
    /// No answer came in time.
    Silent(Duration),
    /// The answer made no sense, or the request could not be put into a message.
    Odd(zbus::Error),
}

/// Names of D-Bus errors that mean: the one who was asked is not there (any more).
const GONE: [&str; 5] = [
    "org.freedesktop.DBus.Error.Disconnected",
    "org.freedesktop.DBus.Error.NameHasNoOwner",
    "org.freedesktop.DBus.Error.NoReply",
    "org.freedesktop.DBus.Error.NoServer",
    "org.freedesktop.DBus.Error.ServiceUnknown",
];

impl CallError {
    /// A path that cannot be sent.
    pub(crate) fn not_text(path: &Path) -> CallError {
        let text = format!("{} is not UTF-8, which D-Bus asks for", path.display());
        CallError::Refused { name: "org.freedesktop.DBus.Error.InvalidArgs".to_owned(), text }
    }

    /// Whether systemd does not know the unit: it is not loaded or has no file, or its name is none to this
    /// systemd (`.busname`), so that there cannot be anything of it.
    pub(crate) fn is_nothing_there(&self) -> bool {
        const NAMES: [&str; 4] = [
            "org.freedesktop.systemd1.NoSuchUnit",
            "org.freedesktop.systemd1.BadUnitSetting",
            "org.freedesktop.DBus.Error.FileNotFound",
            "org.freedesktop.DBus.Error.InvalidArgs",
        ];
        matches!(self, CallError::Refused { name, .. } if NAMES.contains(&name.as_str()))
    }

    /// Whether systemd sends us its signals already.
    pub(crate) fn is_already_subscribed(&self) -> bool {
        matches!(self, CallError::Refused { name, .. } if name == "org.freedesktop.systemd1.AlreadySubscribed")
    }

    /// Whether the manager itself is out of reach.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(self, CallError::Away(_) | CallError::Silent(_))
    }

    /// What happened, without what it happened to.
    pub(crate) fn reason(&self) -> String {
        match self {
            CallError::Refused { name, text } => format!("{text} ({name})"),
            CallError::Away(why) => why.clone(),
            CallError::Silent(waited) => format!("no answer within {} s", waited.as_secs()),
            CallError::Odd(error) => format!("an answer that cannot be read: {error}"),
        }
    }

    /// The error of an operation, named by `doing` ("cannot start hello.service").
    pub(crate) fn into_error(self, doing: &str) -> Error {
        let unreachable = self.is_unreachable();
        let message = if unreachable {
            format!("{doing}: systemd is out of reach: {}", self.reason())
        } else {
            format!("{doing}: {}", self.reason())
        };
        Error { unreachable, message, source: None }
    }
}

impl From<zbus::Error> for CallError {
    fn from(error: zbus::Error) -> CallError {
        match error {
            zbus::Error::MethodError(name, text, _) => refused(name.as_str(), text.unwrap_or_default()),
            zbus::Error::FDO(error) => match *error {
                zbus::fdo::Error::ZBus(error) => error.into(),
                error => refused(error.name().as_str(), error.description().unwrap_or_default().to_owned()),
            },
            zbus::Error::InputOutput(error) => CallError::Away(error.to_string()),
            zbus::Error::Connection(error, address) => CallError::Away(format!("{address}: {error}")),
            error => CallError::Odd(error),
        }
    }
}

fn refused(name: &str, text: String) -> CallError {
    if GONE.contains(&name) {
        CallError::Away(text)
    } else {
        CallError::Refused { name: name.to_owned(), text }
    }
}

/// The error of an operation on a file.
pub(crate) fn file_error(doing: &str, path: &Path, error: io::Error) -> Error {
    Error {
        unreachable: false,
        message: format!("{doing}: {} cannot be used", path.display()),
        source: Some(Box::new(error)),
    }
}
