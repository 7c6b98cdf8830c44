//! Whatever is wanted and said, in whatever order.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::strategy::Union;
use serde_json::json;

use super::*;
use crate::chunks::{Assembler, split};
use crate::component::session::Session;
use crate::component::session::tests::session;
use crate::component::{Change, News};

/// Two who agree are silent after so many messages.
const MOST_ROUNDS: usize = 20;

fn any_key() -> impl Strategy<Value = UnitKey> {
    (0..4_u8, any::<bool>()).prop_map(|(id, is_input)| {
        if is_input { UnitKey::input(format!("u{id}")) } else { UnitKey::output(format!("u{id}")) }
    })
}

/// A unit as a policy has it: one in eight cannot be configured.
fn any_unit() -> impl Strategy<Value = (UnitKey, u8, LogLevel)> {
    let level = prop_oneof![Just(LogLevel::Info), Just(LogLevel::Debug)];
    (any_key(), 0..8_u8, level)
}

fn component(units: Vec<(UnitKey, u8, LogLevel)>, limit: u8) -> Component {
    let units: BTreeMap<UnitKey, (u8, LogLevel)> =
        units.into_iter().map(|(key, version, level)| (key, (version, level))).collect();
    let units = units.into_iter().map(|(key, (version, level))| {
        let config = wire::UnitConfig {
            r#type: "t".to_owned(),
            source: json!({"version": version}).as_object().map(to_struct),
            ..wire::UnitConfig::default()
        };
        let config = if version == 7 { Err("it cannot be".to_owned()) } else { Ok(Arc::new(config)) };
        Unit { key, level, config }
    });
    Component {
        id: "c".to_owned(),
        kind: "t".to_owned(),
        output: "default".to_owned(),
        program: Err("not run".to_owned()),
        units: units.collect(),
        features: Map::new(),
        limits: Map::from_iter([("go_max_procs".to_owned(), Value::from(limit))]),
    }
}

fn any_component() -> impl Strategy<Value = Component> {
    (vec(any_unit(), 0..6), 0..3_u8).prop_map(|(units, limit)| component(units, limit))
}

/// What nobody would say.
fn any_observed() -> impl Strategy<Value = wire::Observed> {
    let id = prop_oneof![any_key().prop_map(|key| key.id), ".{0,6}"];
    let number = || Union::new([(-1..8_i32).boxed(), any::<i32>().boxed()]);
    let idx = || Union::new([(0..4_u64).boxed(), any::<u64>().boxed()]);
    let unit =
        (id, number(), idx(), number(), ".{0,8}").prop_map(|(id, kind, config_idx, state, message)| {
            wire::UnitObserved { id, r#type: kind, config_idx, state, message, payload: None }
        });
    (vec(unit, 0..40), idx(), idx()).prop_map(|(units, features_idx, component_idx)| wire::Observed {
        units,
        features_idx,
        component_idx,
        ..wire::Observed::default()
    })
}

#[derive(Clone, Debug)]
enum Step {
    Want(Component),
    Observed(wire::Observed),
    Bytes(Vec<u8>),
    Opened,
    Started,
    Forced,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any_component().prop_map(Step::Want),
        any_observed().prop_map(Step::Observed),
        vec(any::<u8>(), 0..64).prop_map(Step::Bytes),
        Just(Step::Opened),
        Just(Step::Started),
        Just(Step::Forced),
    ]
}

/// What an agent must never say.
fn check(expected: &wire::Expected) {
    let mut seen = BTreeSet::new();
    for unit in &expected.units {
        assert!(seen.insert((unit.r#type, &unit.id)), "twice: {expected:?}");
        assert!(unit.config_idx > 0, "{expected:?}");
        assert!(matches!(state_from_wire(unit.state), State::Healthy | State::Stopped), "{expected:?}");
    }
}

/// Both halves, with what is on its way between them.
struct Pair {
    tracker: Tracker,
    session: Session,
    said: Vec<wire::Observed>,
    told: Option<wire::Expected>,
    last: wire::Observed,
}

impl Pair {
    fn new() -> Pair {
        let mut tracker = Tracker::new(wire::AgentInfo::default(), crate::MAX_MESSAGE_SIZE);
        tracker.process_started("Starting");
        let (session, last) = (session(), wire::Observed::default());
        let mut pair = Pair { tracker, session, said: Vec::new(), told: None, last };
        pair.open();
        pair
    }

    /// Another stream: what was on its way is lost.
    fn open(&mut self) {
        (self.said, self.told) = (Vec::new(), None);
        self.tracker.stream_opened();
        self.last = self.session.open();
        self.said.push(self.last.clone());
    }

    fn want(&mut self, component: &Component) {
        if self.tracker.want(component) {
            self.told = Some(self.tracker.expected());
        }
    }

    /// One message arrives on each side. Returns whether there was one.
    fn step(&mut self) -> bool {
        let is_busy = self.told.is_some() || !self.said.is_empty();
        if let Some(expected) = self.told.take() {
            check(&expected);
            let news = self.session.expected(expected);
            self.carry_out(news);
        }
        if !self.said.is_empty() {
            let observed = self.said.remove(0);
            if self.tracker.observed(observed) {
                self.told = Some(self.tracker.expected());
            }
        }
        let now = self.session.observed();
        if now != self.last {
            self.last = now.clone();
            self.said.push(now);
        }
        is_busy
    }

    fn carry_out(&mut self, news: News) {
        for change in news.changes {
            match change {
                Change::Added(unit) | Change::Changed(unit) => {
                    self.session.report(&unit.key, State::Healthy, "Healthy".to_owned(), None);
                }
                Change::Stop(key) => self.session.report(&key, State::Stopped, "Stopped".to_owned(), None),
                Change::Removed(_) => {}
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Turn {
    Want(Component),
    Open,
    Step(u8),
}

fn any_turn() -> impl Strategy<Value = Turn> {
    prop_oneof![any_component().prop_map(Turn::Want), Just(Turn::Open), (0..4_u8).prop_map(Turn::Step),]
}

proptest! {
    #[test]
    fn nothing_that_is_said_brings_an_agent_out_of_its_way(steps in vec(any_step(), 0..40)) {
        let mut tracker = Tracker::new(wire::AgentInfo::default(), crate::MAX_MESSAGE_SIZE);
        let mut wanted = 0;
        let mut leaving = 0;
        for step in steps {
            match step {
                Step::Want(component) => {
                    leaving += wanted;
                    wanted = component.units.len();
                    tracker.want(&component);
                }
                Step::Observed(observed) => drop(tracker.observed(observed)),
                Step::Bytes(bytes) => {
                    if let Ok(observed) = wire::Observed::decode(bytes.as_slice()) {
                        tracker.observed(observed);
                    }
                }
                Step::Opened => tracker.stream_opened(),
                Step::Started => tracker.process_started("Starting"),
                Step::Forced => tracker.force(State::Failed, "Failed"),
            }
            check(&tracker.expected());
            assert!(tracker.units().len() <= wanted + leaving + MOST_UNKNOWN);
        }
    }

    #[test]
    fn both_halves_agree_in_the_end_whatever_happens(turns in vec(any_turn(), 1..30), last in any_component()) {
        let mut pair = Pair::new();
        for turn in turns {
            match turn {
                Turn::Want(component) => pair.want(&component),
                Turn::Open => pair.open(),
                Turn::Step(times) => for _ in 0..times {
                    pair.step();
                },
            }
        }
        pair.want(&last);
        let rounds = (0..=MOST_ROUNDS).find(|_| !pair.step());
        assert!(rounds.is_some(), "they do not come to an end");
        let has: BTreeMap<UnitKey, (Value, LogLevel)> = pair.session.units().into_iter()
            .map(|unit| (unit.key, (unit.config["version"].clone(), unit.level)))
            .collect();
        let should: BTreeMap<UnitKey, (Value, LogLevel)> = last.units.iter()
            .filter_map(|unit| {
                let source = unit.config.as_ref().ok()?.source.as_ref()?;
                Some((unit.key.clone(), (from_struct(source)["version"].clone(), unit.level)))
            })
            .collect();
        assert_eq!(has, should);
        for (key, status) in pair.tracker.units() {
            let state = if should.contains_key(&key) { State::Healthy } else { State::Failed };
            assert_eq!(status.state, state, "{key}: {status:?}");
        }
    }

    #[test]
    fn a_component_takes_whatever_it_is_told(messages in vec(vec(any::<u8>(), 0..64), 0..8), more in vec(any_observed(), 0..8)) {
        let mut session = session();
        let observed = more.iter().map(Message::encode_to_vec);
        // The two kinds of messages are not alike, and one is read as the other.
        for bytes in messages.into_iter().chain(observed) {
            if let Ok(expected) = wire::Expected::decode(bytes.as_slice()) {
                let units = expected.units.len();
                session.expected(expected);
                assert!(session.observed().units.len() <= units);
            }
        }
    }

    #[test]
    fn pieces_are_within_their_bound_and_make_the_whole(units in vec(0..400_usize, 0..60), max in 1500..4000_usize) {
        let unit = |length: usize| wire::UnitObserved { message: "m".repeat(length), ..Default::default() };
        let units: Vec<_> = units.into_iter().map(unit).collect();
        let whole = wire::Observed { token: "t".to_owned(), units, pid: 3, ..wire::Observed::default() };
        let pieces = split(whole.clone(), max, std::time::SystemTime::now());
        let pieces = pieces.unwrap_or_else(|error| panic!("{error}"));
        assert!(pieces.iter().all(|piece| piece.encoded_len() <= max));
        let mut assembler = Assembler::new(1 << 20);
        let made: Vec<_> = pieces.into_iter().filter_map(|piece| assembler.take(piece).ok().flatten()).collect();
        assert_eq!(made, [whole]);
    }
}
