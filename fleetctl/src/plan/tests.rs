use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn key(kind: ObjectKind, id: &str) -> Key {
    Key { kind, id: id.to_owned() }
}

fn wanted(kind: ObjectKind, id: &str, spec: &Value) -> Desired {
    let text = json!({"kind": kind.word(), "id": id, "spec": spec}).to_string();
    let (mut found, mut mistakes) = (BTreeMap::new(), Vec::new());
    read_documents_of("test", &text, &mut found, &mut mistakes);
    assert_eq!(mistakes, []);
    found.into_values().next().unwrap()
}

fn request(desired: Vec<Desired>, prunable: &[Key]) -> Request {
    Request {
        desired: desired.into_iter().map(|object| (object.key.clone(), object)).collect(),
        prunable: prunable.iter().cloned().collect(),
        sends_secrets: false,
    }
}

fn told(plan: &Plan) -> Vec<String> {
    let sign = |action| match action {
        Action::Create => '+',
        Action::Update => '~',
        Action::Delete => '-',
    };
    plan.steps.iter().map(|step| format!("{} {}", sign(step.action), step.key)).collect()
}

#[test]
fn what_others_name_is_made_first_and_deleted_last() {
    let kinds = ObjectKind::ALL;
    let desired = kinds.map(|kind| wanted(kind, "new", &json!({"name": "n"}))).to_vec();
    let old: Vec<Key> = kinds.map(|kind| key(kind, "old")).to_vec();
    let actual: Actual = old.iter().map(|key| (key.clone(), json!({"id": "old"}))).collect();
    assert_eq!(
        told(&plan(&request(desired, &old), &actual)),
        [
            "+ Proxy/new",
            "+ FleetServerHost/new",
            "+ Output/new",
            "+ DownloadSource/new",
            "+ AgentPolicy/new",
            "+ PackagePolicy/new",
            "- PackagePolicy/old",
            "- AgentPolicy/old",
            "- DownloadSource/old",
            "- Output/old",
            "- FleetServerHost/old",
            "- Proxy/old",
        ]
    );
}

#[test]
fn a_new_default_comes_before_the_old_one_gives_it_up() {
    let actual = Actual::from([(key(ObjectKind::Output, "a"), json!({"id": "a", "is_default": true}))]);
    let desired = vec![
        wanted(ObjectKind::Output, "a", &json!({"is_default": false})),
        wanted(ObjectKind::Output, "b", &json!({"is_default": true})),
        wanted(ObjectKind::Proxy, "p", &json!({})),
    ];
    assert_eq!(told(&plan(&request(desired, &[]), &actual)), ["+ Proxy/p", "+ Output/b", "~ Output/a"]);
}

#[test]
fn the_version_of_a_kafka_output_is_its_own() {
    let object = json!({"id": "k", "type": "kafka", "version": "2.6.0"});
    let (_, text) = document_of(ObjectKind::Output, &object).unwrap();
    assert!(text.contains("version: \"2.6.0\""), "{text}");
}

#[test]
fn only_what_was_made_before_is_deleted() {
    let actual = Actual::from([
        (key(ObjectKind::Output, "own"), json!({"id": "own"})),
        (key(ObjectKind::Output, "others"), json!({"id": "others"})),
    ]);
    let prunable = [key(ObjectKind::Output, "own"), key(ObjectKind::Output, "gone")];
    assert_eq!(told(&plan(&request(Vec::new(), &prunable), &actual)), ["- Output/own"]);
}

#[test]
fn fields_that_a_file_does_not_name_stay() {
    let policy = key(ObjectKind::AgentPolicy, "web");
    let object = json!({"id": "web", "name": "Web", "namespace": "default", "inactivity_timeout": 5, "agents": 3,
        "overrides": {"a": 1, "b": 2}, "revision": 4, "description": "x"});
    let actual = Actual::from([(policy, object)]);
    let of = |spec: Value| plan(&request(vec![wanted(ObjectKind::AgentPolicy, "web", &spec)], &[]), &actual);
    assert_eq!(of(json!({"name": "Web"})), Plan { steps: Vec::new(), unchanged: 1 });
    let plan = of(json!({"name": "New", "overrides": {"a": 1}, "description": null}));
    let [step] = plan.steps.as_slice() else { panic!("{plan:?}") };
    assert_eq!(
        step.changes.iter().map(shown).collect::<Vec<_>>(),
        ["- /description: \"x\"", "~ /name: \"Web\" -> \"New\"", "- /overrides/b: 2"]
    );
    assert_eq!(
        Value::Object(step.body.clone()),
        json!({"name": "New", "namespace": "default", "inactivity_timeout": 5, "overrides": {"a": 1},
            "description": null, "revision": 4})
    );
}

#[test]
fn what_the_server_completes_is_no_difference() {
    let object = json!({"id": "p", "name": "nginx", "package": {"name": "nginx", "version": "1.0.0", "title": "N"},
        "inputs": {"nginx-logfile": {"enabled": true, "streams": {"nginx.access": {"enabled": true,
            "vars": {"paths": ["/a"], "tags": ["t"]}}}}, "nginx-nginx/metrics": {"enabled": true}},
        "version": "WzEsMV0="});
    let actual = Actual::from([(key(ObjectKind::PackagePolicy, "p"), object)]);
    let of = |paths: Value| {
        let inputs = json!({"nginx-logfile": {"streams": {"nginx.access": {"vars": {"paths": paths}}}}});
        let spec = json!({"package": {"name": "nginx", "version": "1.0.0"}, "inputs": inputs});
        plan(&request(vec![wanted(ObjectKind::PackagePolicy, "p", &spec)], &[]), &actual)
    };
    assert_eq!(of(json!(["/a"])).unchanged, 1);
    let plan = of(json!(["/b"]));
    let step = &plan.steps[0];
    assert_eq!(step.changes[0].path, "/inputs/nginx-logfile/streams/nginx.access/vars/paths");
    assert_eq!(step.body["inputs"]["nginx-logfile"]["streams"]["nginx.access"]["vars"]["tags"], json!(["t"]));
    assert_eq!(step.body["version"], "WzEsMV0=");
}

#[test]
fn secrets_are_sent_only_when_asked_for_and_never_shown() {
    let object = json!({"id": "o", "secrets": {"ssl": {"key": {"id": "s1"}}}});
    let actual = Actual::from([(key(ObjectKind::Output, "o"), object)]);
    let spec = json!({"secrets": {"ssl": {"key": "hunter2"}}});
    let mut asked = request(vec![wanted(ObjectKind::Output, "o", &spec)], &[]);
    assert_eq!(plan(&asked, &actual).unchanged, 1);
    asked.sends_secrets = true;
    let plan = plan(&asked, &actual);
    assert_eq!(plan.steps[0].body["secrets"]["ssl"]["key"], "hunter2");
    assert!(!shown(&plan.steps[0].changes[0]).contains("hunter2"), "{plan:?}");
}

#[test]
fn mistakes_are_told_with_their_place() {
    let text = "kind: Output\nid: a\nspec: {}\n---\nkind: Outputs\nid: a\nspec: {}\n---\nkind: Output\nid: a\nspec: {}\n---\n\
        id: b\n---\nkind: Output\nid: 12\n---\nkind: Output\nid: b\n---\nkind: Output\nid: b\nspec: []\n---\n\
        kind: Output\nid: b\nspecs: {}\n---\n[]\n---\nkind: PackagePolicy\nid: c\nspec: {inputs: []}\n";
    let (mut found, mut mistakes) = (BTreeMap::new(), Vec::new());
    read_documents_of("f.yaml", text, &mut found, &mut mistakes);
    read_documents_of("g.yaml", "a: [", &mut found, &mut mistakes);
    assert_eq!(found.len(), 1);
    let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    let expected = [
        "f.yaml:5: kind: \"Outputs\" is none: one of Proxy,",
        "f.yaml:9: Output/a is described in f.yaml:1 already",
        "f.yaml:13: kind: it is missing",
        "f.yaml:15: id: 12 is no text: put it in quotes",
        "f.yaml:18: spec: it is missing",
        "f.yaml:21: spec: fields and their values are needed",
        "f.yaml:25: specs: there is no such field",
        "f.yaml:29: an object is needed",
        "f.yaml:31: spec.inputs: a list is the older form",
        "g.yaml:2: this is not YAML",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told} / {expected}");
    }
}

/// A server that takes what it is told, completes it, and counts revisions.
fn carry_out(plan: &Plan, actual: &mut Actual) {
    for step in &plan.steps {
        match step.action {
            Action::Delete => assert!(actual.remove(&step.key).is_some()),
            Action::Create => {
                let mut object = Value::Object(step.body.clone());
                object["revision"] = 1.into();
                object["completed"] = true.into();
                assert!(actual.insert(step.key.clone(), object).is_none());
            }
            Action::Update => {
                let object = actual.get_mut(&step.key).unwrap();
                let has_base = !step.key.kind.kind().base.is_empty();
                assert_eq!(step.body.get("revision"), has_base.then_some(&object["revision"]));
                let fields = object.as_object_mut().unwrap();
                for (field, value) in &step.body {
                    if value.is_null() {
                        fields.remove(field);
                    } else {
                        fields.insert(field.clone(), value.clone());
                    }
                }
                fields["revision"] = (fields["revision"].as_u64().unwrap() + 1).into();
            }
        }
    }
}

fn any_spec() -> impl Strategy<Value = Map<String, Value>> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from),
        (0..3u8).prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            prop::collection::btree_map("[a-c]", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    let field =
        prop_oneof!["[a-c]", Just("inputs".to_owned()), Just("vars".to_owned()), Just("secrets".to_owned())];
    prop::collection::btree_map(field, value, 0..4).prop_map(|map| map.into_iter().collect())
}

fn any_key() -> impl Strategy<Value = Key> {
    (0..ObjectKind::ALL.len(), "[a-c]").prop_map(|(kind, id)| Key { kind: ObjectKind::ALL[kind], id })
}

fn any_desired() -> impl Strategy<Value = BTreeMap<Key, Desired>> {
    prop::collection::btree_map(any_key(), any_spec(), 0..8).prop_map(|objects| {
        let desired = |(key, spec): (Key, Map<String, Value>)| {
            (key.clone(), Desired { key, spec, place: String::new() })
        };
        objects.into_iter().map(desired).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// From any state of a server, one plan is enough, and what nobody named is as it was.
    #[test]
    fn a_plan_reaches_its_end_at_once(
        first in any_desired(), second in any_desired(), prunable in prop::collection::btree_set(any_key(), 0..6),
    ) {
        let mut actual = Actual::new();
        let first = Request { desired: first, ..Request::default() };
        carry_out(&plan(&first, &actual), &mut actual);
        prop_assert_eq!(plan(&first, &actual).steps, vec![]);
        let before = actual.clone();
        let second = Request { desired: second, prunable, sends_secrets: false };
        let steps = plan(&second, &actual);
        let named: BTreeSet<&Key> = steps.steps.iter().map(|step| &step.key).collect();
        prop_assert_eq!(named.len(), steps.steps.len(), "each object is touched once");
        carry_out(&steps, &mut actual);
        prop_assert_eq!(plan(&second, &actual).steps, vec![]);
        for (key, object) in before.iter().filter(|(key, _)| !named.contains(key)) {
            prop_assert_eq!(actual.get(key), Some(object));
        }
        for key in second.desired.keys() {
            prop_assert!(actual.contains_key(key));
        }
    }

    /// What is exported is what the server has: applied again it changes nothing, exported again it is the same.
    #[test]
    fn exported_documents_change_nothing(desired in any_desired()) {
        let mut actual = Actual::new();
        carry_out(&plan(&Request { desired, ..Request::default() }, &actual), &mut actual);
        let (mut found, mut mistakes) = (BTreeMap::new(), Vec::new());
        let mut objects = 0;
        for (key, object) in &actual {
            // Inputs as a list are no form that a server answers with.
            if key.kind == ObjectKind::PackagePolicy && object.get("inputs").is_some_and(Value::is_array) {
                continue;
            }
            let (own, text) = document_of(key.kind, object).unwrap();
            prop_assert_eq!(&own, key);
            read_documents_of(&text, &text, &mut found, &mut mistakes);
            objects += 1;
        }
        prop_assert_eq!(&mistakes, &vec![]);
        prop_assert_eq!(found.len(), objects);
        prop_assert_eq!(plan(&Request { desired: found, ..Request::default() }, &actual).steps, vec![]);
    }
}
