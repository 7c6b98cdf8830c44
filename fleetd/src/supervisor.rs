//! The service manager that started this process, if it is one of its services.
//!
//! Whoever starts fleetd at a terminal that some service has opened inherits that service's variables
//! (`INVOCATION_ID`, `NOTIFY_SOCKET`, `LISTEN_FDS` …). They say nothing of this process: systemd itself is asked
//! whose main process it is. Sockets and the watchdog carry a process id of their own, and `JOURNAL_STREAM` is
//! compared with the stream; both are looked at where they are used.

use fleet_cluster::systemd::{Operation, OwnService, Systemd};
use fleet_service::notify;
use tracing::{debug, warn};

/// What fleetd is to systemd.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Supervisor {
    is_service: bool,
}

impl Supervisor {
    /// Asks systemd whether this process is a service's. If it does not say, the process counts as one: then
    /// units are left running at its end.
    pub(crate) async fn find(systemd: &dyn Systemd) -> Supervisor {
        let is_service = match systemd.own_service().await {
            Ok(service) => service.is_some(),
            Err(error) => {
                debug!(
                    error = &error as &dyn std::error::Error,
                    "systemd does not say whose process this is"
                );
                true
            }
        };
        Supervisor { is_service }
    }

    /// The daemon has started, or has read its configuration again.
    pub(crate) fn ready(self, status: &str) {
        if self.is_service {
            notify::ready(status);
        }
    }

    /// The daemon is reading its configuration again.
    pub(crate) fn reloading(self) {
        if self.is_service {
            notify::reloading();
        }
    }

    /// The daemon is stopping.
    pub(crate) fn stopping(self, status: &str) {
        if self.is_service {
            notify::stopping(status);
        }
    }

    /// Whether this is the end for good, so that others must take the units over, or a restart.
    ///
    /// systemd is asked which job our service has. Where fleetd is no service, because a person runs it at a
    /// terminal, an end is taken for one for good, as the original does. A signal to the service that systemd
    /// knows nothing of, is not: systemd will start it again.
    pub(crate) async fn is_stopped_for_good(self, systemd: &dyn Systemd) -> bool {
        match systemd.own_service().await {
            Ok(Some(OwnService { job: Some(Operation::Stop) })) => true,
            Ok(Some(OwnService { job: Some(Operation::Restart | Operation::Start) | None })) => false,
            // The main process, which has started this one, may be gone already.
            Ok(None) => !self.is_service,
            Err(error) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "systemd does not say why: units are left running"
                );
                false
            }
        }
    }
}
