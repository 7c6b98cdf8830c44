use fleet_protocol::agent::UpgradeDetails;
use proptest::prelude::*;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn now() -> Timestamp {
    Timestamp::from_unix(1_800_000_000)
}

fn required(versions: &[(&str, f64)]) -> Vec<Share> {
    let required: Vec<RequiredVersion> = versions
        .iter()
        .map(|(version, percentage)| RequiredVersion {
            version: (*version).to_owned(),
            percentage: *percentage,
        })
        .collect();
    shares(&required, Version::parse("9.6.0").unwrap())
}

fn agent(version: &str) -> Agent {
    let mut agent = Agent { active: true, ..Agent::default() };
    agent.agent.version = version.into();
    agent.agent.upgradeable = true;
    agent
}

fn candidate(id: usize, agent: &Agent, state: &AgentState, status: Status) -> Candidate {
    Candidate::of(&format!("{id:05}").into(), agent, state, status, now()).unwrap()
}

fn many(version: &str, count: usize) -> Vec<Candidate> {
    let agent = agent(version);
    (0..count).map(|id| candidate(id, &agent, &AgentState::default(), Status::Online)).collect()
}

fn counts(shares: &[Share], agents: &[Candidate]) -> Vec<(String, usize)> {
    let planned = plan(shares, agents, now(), usize::MAX);
    planned.into_iter().map(|(index, ids)| (shares[index].text.clone(), ids.len())).collect()
}

#[test]
fn each_version_gets_its_share() {
    let old = many("9.4.0", 10);
    assert_eq!(counts(&required(&[("9.6.0", 30.0)]), &old), [("9.6.0".to_owned(), 3)]);
    let both = required(&[("9.5.0", 33.0), ("9.6.0", 67.0)]);
    assert_eq!(counts(&both, &old), [("9.6.0".to_owned(), 7), ("9.5.0".to_owned(), 3)]);
    assert_eq!(counts(&required(&[("9.6.0", 100.0)]), &many("9.6.0", 3)), []);
    assert_eq!(counts(&required(&[("9.3.0", 100.0)]), &old), [], "nobody goes back");
    assert_eq!(counts(&required(&[("9.7.0", 100.0)]), &old), [], "the server goes first");
    assert_eq!(counts(&required(&[("latest", 100.0)]), &old), []);
    let bounded = plan(&required(&[("9.6.0", 100.0)]), &old, now(), 4);
    assert_eq!(bounded[0].1.len(), 4);
}

#[test]
fn who_is_on_the_way_or_there_already_counts() {
    let shares = required(&[("9.6.0", 50.0)]);
    let mut agents = many("9.4.0", 8);
    let details = |state: &str| AgentState {
        upgrade_details: Some(Box::new(UpgradeDetails {
            target_version: "9.6.0".to_owned(),
            state: state.to_owned(),
            action_id: String::new(),
            metadata: None,
        })),
        ..AgentState::default()
    };
    agents.push(candidate(8, &agent("9.4.0"), &details("UPG_DOWNLOADING"), Status::Updating));
    agents.push(candidate(9, &agent("9.6.0"), &AgentState::default(), Status::Offline));
    assert_eq!(counts(&shares, &agents), [("9.6.0".to_owned(), 3)]);
}

#[test]
fn who_cannot_be_asked_is_not() {
    let shares = required(&[("9.6.0", 100.0)]);
    let state = AgentState::default();
    let mut packaged = agent("9.4.0");
    packaged.agent.upgradeable = false;
    let asked = Agent { upgrade_started_at: Some(now() - HOUR), ..agent("9.4.0") };
    let lost = Agent { upgrade_started_at: Some(now() - 3 * HOUR), ..agent("9.4.0") };
    let agents = [
        candidate(0, &agent("9.4.0"), &state, Status::Offline),
        candidate(1, &packaged, &state, Status::Online),
        candidate(2, &asked, &state, Status::Updating),
        candidate(3, &lost, &state, Status::Online),
        candidate(4, &agent("9.4.0"), &state, Status::Error),
    ];
    let planned = plan(&shares, &agents, now(), usize::MAX);
    assert_eq!(planned, [(0, vec!["00003".into(), "00004".into()])]);
    let gone = Agent { active: false, ..agent("9.4.0") };
    assert!(Candidate::of(&"x".into(), &gone, &state, Status::Unenrolled, now()).is_none());
}

#[test]
fn who_failed_keeps_the_place_and_is_asked_later_each_time() {
    let shares = required(&[("9.6.0", 10.0)]);
    let mut agents = many("9.4.0", 9);
    let mut failed = agent("9.4.0");
    let begun = now() - 20 * HOUR;
    note(&mut failed, "9.6.0", begun);
    assert_eq!(failed.upgrade_started_at, Some(begun));
    let told = |at| AgentState { upgraded_at: Some(at), ..AgentState::default() };
    let mut ask = |failed: &Agent, at: Timestamp| {
        let id: Arc<str> = "failed".into();
        agents.truncate(9);
        agents.push(Candidate::of(&id, failed, &told(at), Status::Online, at).unwrap());
        plan(&shares, &agents, at, usize::MAX)
    };
    let again: [(usize, Vec<Arc<str>>); 1] = [(0, vec!["failed".into()])];
    assert_eq!(ask(&failed, begun + HOUR / 3), [], "nobody else takes the place");
    assert_eq!(ask(&failed, begun + HOUR / 2), again);
    let second = begun + HOUR / 2;
    note(&mut failed, "9.6.0", second);
    assert_eq!(ask(&failed, second + HOUR / 2), []);
    assert_eq!(ask(&failed, second + HOUR), again);
    for attempt in 0..20 {
        note(&mut failed, "9.6.0", second + attempt * HOUR);
    }
    assert_eq!(failed.auto_upgrade.as_ref().unwrap().attempts.len(), MOST_ATTEMPTS);
    assert_eq!(ask(&failed, second + 42 * HOUR), []);
    assert_eq!(ask(&failed, second + 43 * HOUR), again, "once a day, for ever");
    // For another version it begins afresh.
    note(&mut failed, "9.5.0", now());
    assert_eq!(failed.auto_upgrade.as_ref().unwrap().attempts, [now()]);
}

#[test]
fn who_runs_a_version_of_which_there_are_enough_goes_on() {
    let agents = many("9.5.0", 10);
    let shares = required(&[("9.5.0", 40.0), ("9.6.0", 60.0)]);
    assert_eq!(counts(&shares, &agents), [("9.6.0".to_owned(), 6)]);
}

proptest! {
    /// Whatever the shares are: as many as fit are asked, nobody twice, and then there is nothing left to do.
    #[test]
    fn a_plan_comes_to_an_end(
        versions in prop::collection::vec(3_u32..7, 0..60),
        first in 0.0..60.0_f64,
        second in 0.0..40.0_f64,
    ) {
        let shares = required(&[("9.5.0", first), ("9.6.0", second)]);
        let mut agents: Vec<Agent> = versions.iter().map(|minor| agent(&format!("9.{minor}.0"))).collect();
        let look = |agents: &[Agent]| -> Vec<Candidate> {
            let all = agents.iter().enumerate();
            all.map(|(id, agent)| candidate(id, agent, &AgentState::default(), Status::Online)).collect()
        };
        let planned = plan(&shares, &look(&agents), now(), usize::MAX);
        let mut seen = std::collections::HashSet::new();
        for (index, ids) in &planned {
            for id in ids {
                prop_assert!(seen.insert(Arc::clone(id)));
                let agent = &mut agents[id.parse::<usize>().unwrap()];
                prop_assert!(Version::parse(&agent.agent.version).unwrap() < shares[*index].version);
                agent.agent.version = shares[*index].text.as_str().into();
            }
        }
        prop_assert_eq!(plan(&shares, &look(&agents), now(), usize::MAX), []);
    }
}
