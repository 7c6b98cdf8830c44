//! The discovery document: what a generated client relies on.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;

use fleet_protocol::fleet_v1::DISCOVERY;
use serde_json::Value;

fn document() -> Value {
    serde_json::from_str(DISCOVERY).unwrap()
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect()
}

#[test]
fn the_endpoint_is_a_placeholder() {
    let document = document();
    let expected = [
        ("kind", "discovery#restDescription"),
        ("discoveryVersion", "v1"),
        ("id", "fleet:v1"),
        ("name", "schema"),
        ("version", "v1"),
        ("protocol", "rest"),
        ("baseUrl", "$ENDPOINT/fleet/v1/"),
        ("basePath", "/fleet/v1/"),
        ("rootUrl", "$ENDPOINT/"),
        ("servicePath", "fleet/v1/"),
        ("batchPath", "batch"),
    ];
    for (key, value) in expected {
        assert_eq!(document[key], value, "{key}");
    }
}

#[test]
fn the_methods_of_the_original_are_there() {
    let document = document();
    // resource, method, id, HTTP method, path, parameters, request, response
    let expected = [
        ("Machines", "List", "fleet.Machine.List", "GET", "machines", "nextPageToken", "", "MachinePage"),
        ("Units", "List", "fleet.Unit.List", "GET", "units", "nextPageToken", "", "UnitPage"),
        ("Units", "Get", "fleet.Unit.Get", "GET", "units/{unitName}", "unitName", "", "Unit"),
        ("Units", "Delete", "fleet.Unit.Delete", "DELETE", "units/{unitName}", "unitName", "", ""),
        ("Units", "Set", "fleet.Unit.Set", "PUT", "units/{unitName}", "unitName", "Unit", ""),
        ("UnitState", "Get", "fleet.UnitState.Get", "GET", "state/{unitName}", "unitName", "", "UnitState"),
        (
            "UnitState",
            "List",
            "fleet.UnitState.List",
            "GET",
            "state",
            "machineID nextPageToken unitName",
            "",
            "UnitStatePage",
        ),
    ];
    for (resource, name, id, verb, path, parameters, request, response) in expected {
        let method = &document["resources"][resource]["methods"][name];
        assert_eq!(method["id"], id);
        assert_eq!(method["httpMethod"], verb, "{id}");
        assert_eq!(method["path"], path, "{id}");
        let names = keys(&method["parameters"]);
        assert_eq!(names, parameters.split(' ').map(str::to_owned).collect(), "{id}");
        for name in names {
            let parameter = &method["parameters"][&name];
            let in_path = path.contains(&format!("{{{name}}}"));
            assert_eq!(parameter["type"], "string", "{id}");
            assert_eq!(parameter["location"], if in_path { "path" } else { "query" }, "{id}");
            assert_eq!(parameter["required"] == true, in_path, "{id}");
        }
        assert_eq!(method["request"]["$ref"].as_str().unwrap_or_default(), request, "{id}");
        assert_eq!(method["response"]["$ref"].as_str().unwrap_or_default(), response, "{id}");
    }
}

#[test]
fn the_schemas_have_the_fields_of_the_original() {
    let document = document();
    let expected = [
        ("Machine", "id metadata primaryIP"),
        ("MachinePage", "machines nextPageToken"),
        ("UnitOption", "name section value"),
        ("Unit", "currentState desiredState machineID name options"),
        ("UnitPage", "nextPageToken units"),
        ("UnitState", "hash machineID name systemdActiveState systemdLoadState systemdSubState"),
        ("UnitStatePage", "nextPageToken states"),
        ("Explanation", "currentState desiredState global machineID name reasons restarts states"),
        ("ExplainedState", "currentState error machineID restarts systemdActiveState systemdSubState"),
        ("Reason", "machines reason"),
        ("RestartRequest", ""),
    ];
    assert_eq!(keys(&document["schemas"]), expected.iter().map(|(id, _)| (*id).to_owned()).collect());
    for (id, fields) in expected {
        let schema = &document["schemas"][id];
        assert_eq!(schema["id"], id);
        assert_eq!(schema["type"], "object", "{id}");
        let fields = fields.split(' ').filter(|field| !field.is_empty()).map(str::to_owned).collect();
        assert_eq!(keys(&schema["properties"]), fields, "{id}");
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn check(value: &Value, schemas: &BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(target)) = map.get("$ref") {
                    assert!(schemas.contains(target), "{target}");
                }
                map.values().for_each(|value| check(value, schemas));
            }
            Value::Array(values) => values.iter().for_each(|value| check(value, schemas)),
            _ => {}
        }
    }
    let document = document();
    check(&document, &keys(&document["schemas"]));
}
