//! The agents that are stored.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fleet_policy::documents::{AGENT_STATES, AGENTS, Agent, AgentState, AgentVersion, CheckinStatus, Host};
use fleet_policy::timestamp::Timestamp;
use fleet_store::{Error, Expect, Typed};

use crate::agents::store::Store;
use crate::error::BenchError;

/// Documents that are written in one call.
const BATCH: usize = 1000;
const VERSIONS: [&str; 5] = ["8.19.1", "9.4.2", "9.5.0", "9.5.1", "9.6.0"];

/// What differs from agent to agent is spread by this, so that no order is that in which they are stored.
fn spread(number: usize, over: usize) -> usize {
    number.wrapping_mul(7919) % over
}

fn agent(number: usize, policies: &[String], now: i64) -> Agent {
    let age = i64::try_from(spread(number, 1_000_000)).unwrap_or(0);
    Agent {
        active: true,
        policy_id: policies[number % policies.len()].as_str().into(),
        enrolled_at: Timestamp::from_unix(now - 3600 - age),
        agent: AgentVersion { version: VERSIONS[spread(number, VERSIONS.len())].into(), upgradeable: true },
        host: Host {
            hostname: format!("host-{:06}.site-{}.example", spread(number, 1_000_003), number % 100).into(),
            platform: "debian".into(),
            architecture: "x86_64".into(),
        },
        tags: vec![format!("site-{}", number % 100).into(), format!("ring-{}", number % 4).into()],
        access_api_key_id: format!("seed{number:016}").into(),
        ..Agent::default()
    }
}

fn state(number: usize, policy: &str, now: i64) -> AgentState {
    let status = if number.is_multiple_of(20) { CheckinStatus::Degraded } else { CheckinStatus::Online };
    AgentState {
        last_checkin: Some(Timestamp::from_unix(now) + Duration::from_secs(3600)),
        last_checkin_status: Some(status),
        last_checkin_message: "Running".into(),
        agent_policy_id: Some(policy.into()),
        policy_revision_idx: 1,
        ..AgentState::default()
    }
}

/// Stores `count` agents of these policies. All of them were heard of a moment ago, and are for as long as is
/// measured. No server may run.
pub(super) async fn seed(store: &Store, policies: &[String], count: usize) -> Result<(), BenchError> {
    let fault = |error: Error| BenchError::Wrong(error.to_string());
    let store = store.open()?;
    let agents = Typed::<Agent>::new(Arc::clone(&store), &AGENTS);
    let states = Typed::<AgentState>::new(Arc::clone(&store), &AGENT_STATES);
    let now = Timestamp::of(SystemTime::now()).unix();
    let numbers: Vec<usize> = (0..count).collect();
    for numbers in numbers.chunks(BATCH) {
        let (mut first, mut second) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
        for number in numbers {
            let id = format!("5eed0000-0000-4000-8000-{:012}", spread(*number, 999_999_999_989));
            let agent = agent(*number, policies, now);
            let state = state(*number, &agent.policy_id, now);
            first.push(agents.encode(&id, &agent, Expect::Absent, None).map_err(fault)?);
            second.push(states.encode(&id, &state, Expect::Absent, None).map_err(fault)?);
        }
        let (first, second) = tokio::join!(agents.write_many(first, None), states.write_many(second, None));
        for answer in first.into_iter().chain(second) {
            answer.map_err(|error| BenchError::Wrong(format!("an agent cannot be stored: {error}")))?;
        }
    }
    Ok(())
}
