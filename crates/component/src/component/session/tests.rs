use serde_json::json;

use super::*;
use crate::component::start_up::Address;

/// One that nobody has spoken to yet.
pub(crate) fn session() -> Session {
    let start_up = StartUp {
        address: Address::Tcp { host: "localhost".to_owned(), port: 1 },
        server_name: "s".to_owned(),
        token: "t".to_owned(),
        authority: Vec::new(),
        certificate: Vec::new(),
        key: Vec::new(),
        takes_chunks: true,
        max_message_size: 1 << 20,
        agent: Agent::default(),
    };
    Session::new(&start_up, About { name: "x".to_owned(), ..About::default() })
}

fn unit(key: &UnitKey, state: State, config_idx: u64, greet: Option<&str>) -> wire::UnitExpected {
    let config = greet.map(|greet| wire::UnitConfig {
        source: json!({"greet": greet}).as_object().map(to_struct),
        r#type: "greeting".to_owned(),
        ..wire::UnitConfig::default()
    });
    wire::UnitExpected {
        id: key.id.clone(),
        r#type: key.kind.to_wire(),
        state: state_to_wire(state),
        config_idx,
        config,
        log_level: LogLevel::Info.to_wire(),
    }
}

fn expected(units: Vec<wire::UnitExpected>) -> wire::Expected {
    wire::Expected { units, features_idx: 2, component_idx: 3, ..wire::Expected::default() }
}

/// A session with one unit that is healthy.
fn settled() -> (Session, UnitKey) {
    let (mut session, key) = (session(), UnitKey::input("i"));
    session.expected(expected(vec![unit(&key, State::Healthy, 1, Some("you"))]));
    session.report(&key, State::Healthy, "Healthy".to_owned(), None);
    (session, key)
}

#[test]
fn a_new_process_has_nothing_and_says_who_it_is() {
    let first = session().open();
    assert_eq!((first.token.as_str(), first.units.len(), first.features_idx), ("t", 0, 0));
    assert_eq!(first.version.map(|version| version.name), Some("x".to_owned()));
    assert_eq!(first.supports, [i32::from(wire::Feature::Chunks)]);
}

#[test]
fn what_was_taken_is_said_with_its_index() {
    let (mut session, key) = (session(), UnitKey::input("i"));
    let news = session.expected(expected(vec![unit(&key, State::Healthy, 1, Some("you"))]));
    let [Change::Added(added)] = &news.changes[..] else { panic!("{news:?}") };
    assert_eq!((added.kind.as_str(), added.config.get("greet")), ("greeting", Some(&json!("you"))));
    let observed = session.observed();
    assert_eq!((observed.features_idx, observed.component_idx), (2, 3));
    assert_eq!((observed.units[0].config_idx, observed.units[0].state), (1, state_to_wire(State::Starting)));
    assert_eq!(observed.version, None);
}

#[test]
fn what_is_heard_again_is_no_news_and_nothing_is_said() {
    let (mut session, key) = settled();
    session.report(&key, State::Degraded, "not well".to_owned(), None);
    let before = session.observed();
    for _ in 0..3 {
        let news = session.expected(expected(vec![unit(&key, State::Healthy, 1, Some("you"))]));
        assert!(news.is_empty(), "{news:?}");
        let news = session.expected(expected(vec![unit(&key, State::Healthy, 1, None)]));
        assert!(news.is_empty(), "{news:?}");
    }
    assert_eq!(session.observed(), before);
}

#[test]
fn a_stream_that_is_opened_again_asks_for_an_answer() {
    let (mut session, _) = settled();
    assert_eq!(session.observed().features_idx, 2);
    let first = session.open();
    assert_eq!((first.features_idx, first.units.len()), (0, 1));
    assert_eq!(first.units[0].state, state_to_wire(State::Healthy));
    assert!(first.version.is_some());
    // Until the agent has answered.
    assert_eq!(session.observed().features_idx, 0);
}

#[test]
fn a_change_is_told_once() {
    let (mut session, key) = settled();
    let news = session.expected(expected(vec![unit(&key, State::Healthy, 2, Some("me"))]));
    let [Change::Changed(changed)] = &news.changes[..] else { panic!("{news:?}") };
    assert_eq!(changed.config.get("greet"), Some(&json!("me")));
    let observed = session.observed();
    assert_eq!(
        (observed.units[0].config_idx, observed.units[0].state),
        (2, state_to_wire(State::Configuring))
    );
    let mut louder = unit(&key, State::Healthy, 2, None);
    louder.log_level = LogLevel::Debug.to_wire();
    let news = session.expected(expected(vec![louder]));
    assert!(matches!(&news.changes[..], [Change::Changed(unit)] if unit.level == LogLevel::Debug));
}

#[test]
fn an_index_without_a_configuration_is_not_taken() {
    let (mut session, key) = settled();
    session.expected(expected(vec![unit(&key, State::Healthy, 7, None)]));
    assert_eq!(session.observed().units[0].config_idx, 1);
    let other = UnitKey::input("other");
    let news = session.expected(expected(vec![unit(&other, State::Healthy, 1, None)]));
    assert_eq!(news.changes, [Change::Removed(key)]);
    assert!(session.observed().units.is_empty());
}

#[test]
fn a_unit_stops_and_is_spoken_of_until_it_is_missing() {
    let (mut session, key) = settled();
    let stop = || expected(vec![unit(&key, State::Stopped, 1, None)]);
    assert_eq!(session.expected(stop()).changes, [Change::Stop(key.clone())]);
    assert_eq!(session.observed().units[0].state, state_to_wire(State::Stopping));
    assert!(session.units().is_empty());
    // What was on its way says nothing.
    session.report(&key, State::Healthy, "Healthy".to_owned(), None);
    assert_eq!(session.observed().units[0].state, state_to_wire(State::Stopping));
    session.report(&key, State::Stopped, "Stopped".to_owned(), None);
    assert!(session.expected(stop()).is_empty());
    assert_eq!(session.observed().units[0].state, state_to_wire(State::Stopped));
    assert_eq!(session.expected(expected(Vec::new())).changes, [Change::Removed(key.clone())]);
    assert!(session.observed().units.is_empty());
    session.report(&key, State::Healthy, "Healthy".to_owned(), None);
    assert!(session.observed().units.is_empty());
}

#[test]
fn a_unit_that_never_was_has_stopped() {
    let (mut session, key) = (session(), UnitKey::output("o"));
    let news = session.expected(expected(vec![unit(&key, State::Stopped, 4, None)]));
    assert!(news.is_empty(), "{news:?}");
    let observed = session.observed();
    assert_eq!((observed.units[0].config_idx, observed.units[0].state), (4, state_to_wire(State::Stopped)));
}

#[test]
fn an_input_and_an_output_may_share_an_id() {
    let mut session = session();
    let (input, output) = (UnitKey::input("x"), UnitKey::output("x"));
    let units = vec![unit(&input, State::Healthy, 1, Some("a")), unit(&output, State::Healthy, 1, Some("b"))];
    assert_eq!(session.expected(expected(units)).changes.len(), 2);
    session.report(&output, State::Failed, "no".to_owned(), None);
    let states: Vec<i32> = session.observed().units.iter().map(|unit| unit.state).collect();
    assert_eq!(states, [state_to_wire(State::Starting), state_to_wire(State::Failed)]);
}

#[test]
fn the_agent_is_news_when_it_has_changed() {
    let mut session = session();
    let with_agent = || wire::Expected {
        agent: Some(wire::AgentInfo { id: "a".to_owned(), ..wire::AgentInfo::default() }),
        ..wire::Expected::default()
    };
    assert_eq!(session.expected(with_agent()).agent.map(|agent| agent.id), Some("a".to_owned()));
    assert_eq!(session.expected(with_agent()).agent, None);
    // An agent that says nothing of itself has not changed.
    assert_eq!(session.expected(wire::Expected::default()).agent, None);
    assert_eq!(session.agent().id, "a");
}

#[test]
fn a_unit_that_is_wanted_again_is_added_again() {
    let (mut session, key) = settled();
    session.expected(expected(vec![unit(&key, State::Stopped, 1, None)]));
    session.report(&key, State::Stopped, "Stopped".to_owned(), None);
    // The configuration is the one that it had: an agent need not send it again.
    let news = session.expected(expected(vec![unit(&key, State::Healthy, 1, None)]));
    let [Change::Added(added)] = &news.changes[..] else { panic!("{news:?}") };
    assert_eq!(added.config["greet"], "you");
    assert_eq!(session.observed().units[0].state, state_to_wire(State::Starting));
}
