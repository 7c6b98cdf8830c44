//! What goes on about people beside requests.

use std::sync::Arc;

use fleet_access::audit::Writer;
use fleet_service::drain::Drain;

use crate::fleet::Fleet;
use crate::management::People;

/// Writes the audit trail, and removes what is over, as tasks of `drain`.
pub(super) fn start(people: &People, trail: Writer, fleet: &Arc<Fleet>, drain: &Drain) {
    let token = drain.token().clone();
    drain.spawn("audit-trail", trail.run(token.clone().cancelled_owned()));
    let (people, fleet) = (people.clone(), Arc::clone(fleet));
    drain.spawn("people", async move {
        token.run_until_cancelled(people.keep_tidy(&*fleet.clock)).await;
    });
}
