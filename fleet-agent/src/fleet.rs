//! The client's half of the agents' protocol.
//!
//! | module | what |
//! |---|---|
//! | `wire` | what is sent and what is answered |
//! | `settings` | how a server is reached: hosts, TLS, proxy |
//! | `files` | what files of the settings hold, for who may not read them |
//! | `client` | requests: the hosts in turn, bounded answers |
//! | `backoff` | how long to wait after a failure |
//! | `gateway` | the loop of check-ins |
//! | `acker` | results, sent until they are heard |

mod acker;
mod backoff;
mod client;
mod enroll;
mod files;
mod gateway;
mod settings;
mod upload;
mod wire;

pub use acker::{Acker, Outbox, send_acks};
pub use backoff::Backoff;
pub use client::{Answer, Call, CallError, ClientError, FleetClient};
pub use enroll::{EnrolError, Enrolment, Told, enrol, log_attempt};
pub(crate) use files::take_in_files;
pub use gateway::{Delivery, Gateway, LinkState, Report};
pub(crate) use settings::normal_host;
pub use settings::{ConnectionSettings, SettingsError, Ssl};
pub use upload::{Retries, Upload, UploadError, upload};
pub use wire::{
    AckEvent, Action, CheckinAnswer, ComponentReport, EnrolledItem, Signed, UnitReport, UpgradeDetails,
};
