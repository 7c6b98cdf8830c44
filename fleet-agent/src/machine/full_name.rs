//! The machine's full name: what its resolver (`/etc/hosts`, DNS) has as the canonical one of its own.

use std::time::Duration;

use dns_lookup::{AddrInfoHints, getaddrinfo};
use nix::libc::AI_CANONNAME;
use serde_json::{Map, Value};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Machine;
use crate::policy::{Finding, wants_full_name};

/// A resolver that does not answer is waited for so long: the agent does nothing else meanwhile.
const LONGEST: Duration = Duration::from_secs(5);

impl Machine {
    /// The same machine, called as a policy wants it; and what is in the way of that.
    pub async fn called_by(self, policy: &Map<String, Value>) -> (Machine, Option<Finding>) {
        if !wants_full_name(policy) {
            return (self.called(None), None);
        }
        let name = full_name(&self.hostname).await;
        let problem = name.is_none().then(|| Finding {
            about: "agent.features.fqdn".to_owned(),
            message: format!(
                "no full name of {} is known here (/etc/hosts, DNS): host.name is the short one",
                self.hostname
            ),
        });
        (self.called(name), problem)
    }
}

/// The full name of the machine of this name, in lower case. `None`: nobody knows it, or not in time.
async fn full_name(hostname: &str) -> Option<String> {
    let name = hostname.to_owned();
    let found = timeout(LONGEST, spawn_blocking(move || canonical(&name))).await;
    full(&found.ok()?.ok()??)
}

fn canonical(hostname: &str) -> Option<String> {
    let hints = AddrInfoHints { flags: AI_CANONNAME, ..AddrInfoHints::default() };
    getaddrinfo(Some(hostname), None, Some(hints))
        .ok()?
        .filter_map(Result::ok)
        .find_map(|found| found.canonname)
}

/// A name without a domain says no more than the machine's own.
fn full(canonical: &str) -> Option<String> {
    let name = canonical.trim_end_matches('.').to_lowercase();
    let is_full = name.split('.').filter(|label| !label.is_empty()).count() > 1;
    (is_full && !name.starts_with("localhost")).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_domain_is_no_full_name() {
        assert_eq!(full("Web1.Example.COM."), Some("web1.example.com".to_owned()));
        for name in ["web1", "web1.", "", ".", "localhost.localdomain"] {
            assert_eq!(full(name), None, "{name:?}");
        }
    }

    #[tokio::test]
    async fn a_machine_that_nobody_knows_has_none() {
        assert_eq!(full_name("no-such-machine.invalid").await, None);
    }
}
