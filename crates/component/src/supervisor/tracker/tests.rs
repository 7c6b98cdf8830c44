use super::*;

fn config(id: &str) -> wire::UnitConfig {
    wire::UnitConfig { id: id.to_owned(), r#type: "t".to_owned(), ..wire::UnitConfig::default() }
}

fn unit(key: UnitKey, version: &str) -> Unit {
    Unit { key, level: LogLevel::Info, config: Ok(Arc::new(config(version))) }
}

fn component(units: Vec<Unit>) -> Component {
    Component {
        id: "c".to_owned(),
        kind: "t".to_owned(),
        output: "default".to_owned(),
        program: Err("not run".to_owned()),
        units,
        features: Map::new(),
        limits: Map::new(),
    }
}

fn two() -> Component {
    component(vec![unit(UnitKey::input("i"), "1"), unit(UnitKey::output("o"), "1")])
}

/// A tracker whose component has connected, and was told.
fn connected() -> Tracker {
    let mut tracker = Tracker::new(wire::AgentInfo::default(), crate::MAX_MESSAGE_SIZE);
    tracker.want(&two());
    tracker.process_started("Starting");
    tracker.stream_opened();
    tracker
}

fn observed(units: &[(UnitKey, u64, State)]) -> wire::Observed {
    let units = units.iter().map(|(key, config_idx, state)| wire::UnitObserved {
        id: key.id.clone(),
        r#type: key.kind.to_wire(),
        config_idx: *config_idx,
        state: state_to_wire(*state),
        message: state.to_string(),
        payload: None,
    });
    wire::Observed {
        units: units.collect(),
        features_idx: FIRST_INDEX,
        component_idx: FIRST_INDEX,
        ..wire::Observed::default()
    }
}

fn settled(state: State) -> wire::Observed {
    observed(&[(UnitKey::input("i"), 1, state), (UnitKey::output("o"), 1, state)])
}

fn state(tracker: &Tracker, key: &UnitKey) -> (State, String) {
    let units = tracker.units();
    let status = units.get(key).expect("a unit");
    (status.state, status.message.clone())
}

#[test]
fn a_new_process_is_told_everything() {
    let mut tracker = connected();
    assert!(tracker.observed(wire::Observed::default()));
    let expected = tracker.expected();
    assert_eq!(expected.units.len(), 2);
    assert!(expected.units.iter().all(|unit| unit.config.is_some() && unit.config_idx == 1));
    assert!(expected.units.iter().all(|unit| unit.state == state_to_wire(State::Healthy)));
    assert_eq!((expected.features_idx, expected.component_idx), (2, 2));
    // Not enrolled: nothing is said of the agent.
    assert_eq!(expected.agent, None);
    assert_eq!(state(&tracker, &UnitKey::input("i")).0, State::Starting);
}

#[test]
fn a_component_that_is_not_well_is_not_answered_each_time() {
    let mut tracker = connected();
    assert!(tracker.observed(wire::Observed::default()));
    for state in [State::Starting, State::Degraded, State::Failed, State::Configuring, State::Healthy] {
        assert!(!tracker.observed(settled(state)), "{state}");
        assert!(!tracker.observed(settled(state)), "{state}");
    }
}

#[test]
fn a_component_that_takes_nothing_is_told_once_for_what_it_says() {
    let mut tracker = connected();
    assert!(tracker.observed(wire::Observed::default()));
    // It answers by reflex, and always the same.
    assert!(!tracker.observed(wire::Observed::default()));
    assert!(!tracker.observed(wire::Observed::default()));
}

#[test]
fn the_first_message_of_each_stream_is_answered() {
    let mut tracker = connected();
    assert!(tracker.observed(wire::Observed::default()));
    assert!(!tracker.observed(settled(State::Healthy)));
    tracker.stream_opened();
    assert!(tracker.observed(settled(State::Healthy)));
    let expected = tracker.expected();
    assert!(expected.units.iter().all(|unit| unit.config.is_none()));
    assert!(!tracker.observed(settled(State::Healthy)));
}

#[test]
fn a_change_is_of_its_unit_alone() {
    let mut tracker = connected();
    tracker.observed(wire::Observed::default());
    tracker.observed(settled(State::Healthy));
    assert!(!tracker.want(&two()));
    let changed = component(vec![unit(UnitKey::input("i"), "2"), unit(UnitKey::output("o"), "1")]);
    assert!(tracker.want(&changed));
    let expected = tracker.expected();
    let told: Vec<_> = expected
        .units
        .iter()
        .map(|unit| (unit.id.as_str(), unit.config_idx, unit.config.is_some()))
        .collect();
    assert_eq!(told, [("i", 2, true), ("o", 1, false)]);
    // What it says of the old one is how it is; it has heard of the new one already, and says something new.
    assert!(tracker.observed(settled(State::Degraded)));
}

#[test]
fn a_level_alone_needs_no_configuration() {
    let mut tracker = connected();
    tracker.observed(wire::Observed::default());
    tracker.observed(settled(State::Healthy));
    let mut louder = two();
    louder.units[0].level = LogLevel::Debug;
    assert!(tracker.want(&louder));
    let expected = tracker.expected();
    assert!(expected.units.iter().all(|unit| unit.config.is_none() && unit.config_idx == 1));
    assert_eq!(expected.units[0].log_level, LogLevel::Debug.to_wire());
    assert_eq!(tracker.levels()["i"], LogLevel::Debug);
}

#[test]
fn units_are_swapped_in_one_message() {
    let mut tracker = connected();
    tracker.observed(wire::Observed::default());
    tracker.observed(settled(State::Healthy));
    let swapped = component(vec![unit(UnitKey::input("j"), "1"), unit(UnitKey::output("o"), "2")]);
    assert!(tracker.want(&swapped));
    let expected = tracker.expected();
    let told: Vec<_> = expected
        .units
        .iter()
        .map(|unit| (unit.id.as_str(), state_from_wire(unit.state), unit.config_idx))
        .collect();
    assert_eq!(told, [("i", State::Stopped, 1), ("j", State::Healthy, 1), ("o", State::Healthy, 2)]);
    let stopped = |state| {
        observed(&[
            (UnitKey::input("i"), 1, state),
            (UnitKey::input("j"), 1, State::Healthy),
            (UnitKey::output("o"), 2, State::Healthy),
        ])
    };
    assert!(!tracker.observed(stopped(State::Stopping)));
    assert_eq!(state(&tracker, &UnitKey::input("i")).0, State::Stopping);
    // It is told that nothing is to be said of it any more.
    assert!(tracker.observed(stopped(State::Stopped)));
    assert_eq!(tracker.expected().units.len(), 2);
    assert!(!tracker.units().contains_key(&UnitKey::input("i")));
    // And mentions it once more: it has not heard that yet.
    assert!(!tracker.observed(stopped(State::Stopped)));
    let rest =
        observed(&[(UnitKey::input("j"), 1, State::Healthy), (UnitKey::output("o"), 2, State::Healthy)]);
    assert!(!tracker.observed(rest));
}

#[test]
fn a_unit_that_is_not_listed_any_more_has_failed_and_is_configured_again() {
    let mut tracker = connected();
    tracker.observed(wire::Observed::default());
    tracker.observed(settled(State::Healthy));
    let one = observed(&[(UnitKey::input("i"), 1, State::Healthy)]);
    assert!(tracker.observed(one.clone()));
    let lost = (State::Failed, "Failed: not reported in check-in".to_owned());
    assert_eq!(state(&tracker, &UnitKey::output("o")), lost);
    let expected = tracker.expected();
    assert!(expected.units.iter().any(|unit| unit.id == "o" && unit.config.is_some()));
    assert!(!tracker.observed(one));
}

#[test]
fn units_that_nobody_wants_have_failed_until_they_are_gone() {
    let mut tracker = connected();
    tracker.observed(wire::Observed::default());
    let mut strange = settled(State::Healthy);
    strange.units.extend(observed(&[(UnitKey::input("x"), 1, State::Healthy)]).units);
    assert!(tracker.observed(strange));
    let unknown = (State::Failed, "Failed: reported unit is unknown".to_owned());
    assert_eq!(state(&tracker, &UnitKey::input("x")), unknown);
    let mut stopped = settled(State::Healthy);
    stopped.units.extend(observed(&[(UnitKey::input("x"), 1, State::Stopped)]).units);
    assert!(tracker.observed(stopped));
    assert!(!tracker.units().contains_key(&UnitKey::input("x")));
}

#[test]
fn a_unit_without_a_configuration_is_never_sent() {
    let mut tracker = connected();
    let broken = Unit { config: Err("no such thing".to_owned()), ..unit(UnitKey::input("b"), "1") };
    let mut component = two();
    component.units.push(broken);
    tracker.want(&component);
    assert!(tracker.observed(wire::Observed::default()));
    assert_eq!(tracker.expected().units.len(), 2);
    assert!(!tracker.observed(settled(State::Healthy)));
    assert_eq!(state(&tracker, &UnitKey::input("b")), (State::Failed, "Failed: no such thing".to_owned()));
    tracker.force(State::Stopped, "Stopped");
    assert_eq!(state(&tracker, &UnitKey::input("b")).0, State::Failed);
    component.units[2] = unit(UnitKey::input("b"), "1");
    assert!(tracker.want(&component));
    assert_eq!(tracker.expected().units.len(), 3);
}

#[test]
fn another_process_is_told_everything_again() {
    let mut tracker = connected();
    tracker.observed(wire::Observed::default());
    tracker.observed(settled(State::Healthy));
    tracker.want(&component(vec![unit(UnitKey::input("i"), "2")]));
    tracker.force(State::Failed, "it is gone");
    assert_eq!(state(&tracker, &UnitKey::input("i")), (State::Failed, "it is gone".to_owned()));
    tracker.process_started("Starting");
    tracker.stream_opened();
    assert!(tracker.observed(wire::Observed::default()));
    let expected = tracker.expected();
    assert_eq!(expected.units.len(), 1);
    assert!(expected.units[0].config.is_some() && expected.units[0].config_idx == 2);
}

#[test]
fn an_agent_that_has_enrolled_is_told_of() {
    let mut tracker = connected();
    let agent = wire::AgentInfo { id: "a".to_owned(), ..wire::AgentInfo::default() };
    assert!(tracker.set_agent(agent.clone()));
    assert!(!tracker.set_agent(agent.clone()));
    assert_eq!(tracker.expected().agent, Some(agent));
}

#[test]
fn switches_and_limits_have_indices_of_their_own() {
    let mut tracker = connected();
    let mut component = two();
    component.features.insert("fqdn".to_owned(), json!({"enabled": true}));
    assert!(tracker.want(&component));
    let expected = tracker.expected();
    assert_eq!((expected.features_idx, expected.component_idx), (3, 2));
    assert!(expected.features.and_then(|it| it.fqdn).is_some_and(|fqdn| fqdn.is_enabled));
    component.limits.insert("go_max_procs".to_owned(), json!(2));
    assert!(tracker.want(&component));
    let expected = tracker.expected();
    assert_eq!((expected.features_idx, expected.component_idx), (3, 3));
    assert_eq!(expected.component.and_then(|it| it.limits).map(|it| it.go_max_procs), Some(2));
}

#[test]
fn what_a_component_says_has_bounds() {
    let mut tracker = connected();
    let mut hostile = settled(State::Healthy);
    hostile.units[0].message = "ä".repeat(1 << 20);
    let payload = json!({"x": "y".repeat(1 << 20)});
    hostile.units[0].payload = payload.as_object().map(to_struct);
    let strangers: Vec<_> = (0..1000).map(|id| (UnitKey::input(id.to_string()), 1, State::Healthy)).collect();
    hostile.units.extend(observed(&strangers).units);
    hostile.units.push(wire::UnitObserved { r#type: 99, state: -5, ..wire::UnitObserved::default() });
    tracker.observed(hostile);
    let units = tracker.units();
    assert_eq!(units.len(), 2 + MOST_UNKNOWN);
    let status = &units[&UnitKey::input("i")];
    assert!(status.message.len() <= LONGEST_MESSAGE + 3);
    assert_eq!(status.payload, None);
}

#[test]
fn a_unit_that_comes_again_is_not_taken_for_the_one_that_was_there() {
    let mut tracker = connected();
    tracker.observed(settled(State::Healthy));
    let key = UnitKey::input("i");
    let output = unit(UnitKey::output("o"), "1");
    let idx = |tracker: &Tracker| {
        let expected = tracker.expected();
        let unit = expected.units.iter().find(|unit| unit.id == key.id).expect("a unit");
        (unit.config_idx, unit.config.is_some())
    };
    // It stops, and comes again before the component has heard that it is gone.
    tracker.want(&component(vec![output.clone()]));
    tracker
        .observed(observed(&[(key.clone(), 1, State::Stopped), (UnitKey::output("o"), 1, State::Healthy)]));
    assert!(tracker.want(&component(vec![unit(key.clone(), "2"), output.clone()])));
    assert_eq!(idx(&tracker), (2, true));
    // It cannot be configured, and then it can again.
    let broken = Unit { config: Err("no".to_owned()), ..unit(key.clone(), "2") };
    assert!(tracker.want(&component(vec![broken, output.clone()])));
    assert!(tracker.want(&component(vec![unit(key.clone(), "3"), output])));
    assert_eq!(idx(&tracker), (3, true));
}

/// A service goes on while its agent ends: it comes to the next one with what the last one has told it.
#[test]
fn what_an_agent_before_this_one_has_told_is_not_taken_for_this_ones() {
    let mut tracker = Tracker::new(wire::AgentInfo::default(), crate::MAX_MESSAGE_SIZE);
    tracker.want(&two());
    tracker.stream_opened();
    let (input, output) = (UnitKey::input("i"), UnitKey::output("o"));
    let with = |units: &[(UnitKey, u64, State)], idx| wire::Observed {
        features_idx: idx,
        component_idx: idx,
        ..observed(units)
    };
    let has = with(&[(input.clone(), 7, State::Healthy), (output.clone(), 1, State::Healthy)], 2);
    assert!(tracker.observed(has));
    let expected = tracker.expected();
    assert!(expected.units.iter().all(|unit| unit.config_idx == 8 && unit.config.is_some()), "{expected:?}");
    assert_eq!((expected.features_idx, expected.component_idx), (3, 3));
    // From then on it is this agent that counts.
    let taken = [(input, 8, State::Healthy), (output, 8, State::Healthy)];
    assert!(!tracker.observed(with(&taken, 3)));
    assert_eq!(tracker.expected().units[0].config_idx, 8);
}

#[test]
fn nobody_makes_an_agent_count_to_the_end() {
    let mut tracker = Tracker::new(wire::AgentInfo::default(), crate::MAX_MESSAGE_SIZE);
    tracker.want(&two());
    tracker.stream_opened();
    let mut hostile = observed(&[(UnitKey::input("i"), u64::MAX, State::Healthy)]);
    (hostile.features_idx, hostile.component_idx) = (u64::MAX, u64::MAX);
    tracker.observed(hostile);
    let changed = unit(UnitKey::input("i"), "another");
    assert!(tracker.want(&component(vec![changed])));
    assert!(tracker.expected().units.iter().all(|unit| unit.config_idx < LARGEST_INDEX));
}

#[test]
fn a_process_that_begins_anew_is_starting_and_not_failed() {
    let mut tracker = connected();
    tracker.observed(settled(State::Healthy));
    tracker.stream_opened();
    assert!(tracker.observed(wire::Observed::default()));
    assert!(tracker.units().values().all(|unit| unit.state == State::Starting), "{:?}", tracker.units());
}
