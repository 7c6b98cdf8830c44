//! The description of the API for programs: OpenAPI 3.1, made of the table of routes.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use http::header::CONTENT_TYPE;
use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::routes::{Access, Operation};

/// Where the schemas of types lie in the document.
const SCHEMAS: &str = "/components/schemas";

/// The document.
pub(super) fn describe(table: &[Arc<Operation>], version: &str) -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.definitions_path = SCHEMAS.into();
            // The document says itself which dialect its schemas are in.
            settings.meta_schema = None;
        })
        .into_generator();
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for operation in table {
        let described = describe_one(operation, &mut generator);
        // What takes the rest of a path is a parameter like any other.
        paths
            .entry(operation.path.replace("{*", "{"))
            .or_default()
            .insert(operation.method.as_str().to_lowercase(), described);
    }
    let mut schemas = generator.take_definitions(true);
    schemas.insert("Error".to_owned(), error());
    json!({
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "Fleet",
            "version": version,
            "description": "Policies, integrations, agents and people. Every path may begin with /s/<space>.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "password": {"type": "http", "scheme": "basic"},
                "apiKey": {
                    "type": "apiKey", "in": "header", "name": "Authorization",
                    "description": "ApiKey <base64 of id:key>",
                },
                "session": {"type": "apiKey", "in": "cookie", "name": super::people::cookies::SESSION},
            },
        },
    })
}

/// Serves the document. Anybody may read it: it says nothing about this server but its version.
pub(super) fn served(document: Arc<str>) -> Router {
    Router::new().route(
        "/api/fleet/openapi.json",
        axum::routing::get(async move || ([(CONTENT_TYPE, "application/json")], document.to_string())),
    )
}

fn describe_one(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let mut described = json!({
        "summary": operation.summary,
        "operationId": id(operation),
        "tags": [tag(operation.path)],
        "parameters": parameters(operation, generator),
        "responses": responses(operation, generator),
    });
    if let Some(body) = operation.body {
        let schema = body(generator);
        described["requestBody"] = json!({"content": {"application/json": {"schema": schema}}});
    }
    match operation.access {
        Access::Open => described["security"] = json!([]),
        Access::Needs(right) => {
            described["security"] = json!([{"password": []}, {"apiKey": []}, {"session": []}]);
            described["x-right"] = right.as_str().into();
        }
    }
    described
}

/// What the group of a route is called: the part of the path behind `/api/fleet/`.
fn tag(path: &str) -> &str {
    path.strip_prefix("/api/fleet/").and_then(|rest| rest.split('/').next()).unwrap_or("server")
}

fn id(operation: &Operation) -> String {
    let path = operation.path.trim_start_matches("/api/fleet");
    let words =
        path.split(|character: char| !character.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let words: Vec<&str> = words.collect();
    format!("{}-{}", operation.method.as_str().to_lowercase(), words.join("-"))
}

fn parameters(operation: &Operation, generator: &mut SchemaGenerator) -> Vec<Value> {
    let names = operation.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = names
        .map(|name| {
            let name = name.trim_start_matches('*');
            json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "minLength": 1}})
        })
        .collect();
    for query in &operation.query {
        let schema = resolve(query(generator), generator);
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .map(|names| names.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        for (name, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let required = required.contains(&name.as_str());
            parameters.push(json!({"name": name, "in": "query", "required": required, "schema": schema}));
        }
    }
    parameters
}

/// A schema that may only be a reference to where the generator keeps it.
fn resolve(schema: Schema, generator: &SchemaGenerator) -> Value {
    let value = schema.to_value();
    let name = value.get("$ref").and_then(Value::as_str).and_then(|reference| reference.rsplit('/').next());
    name.and_then(|name| generator.definitions().get(name)).cloned().unwrap_or(value)
}

fn responses(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let schema = match operation.answer {
        Some(answer) => answer(generator).to_value(),
        None if operation.media == "application/json" => json!({"type": "object"}),
        None => json!({}),
    };
    let mut content = json!({operation.media: {"schema": schema}});
    if let Some(media) = operation.other_media {
        content[media] = json!({"schema": {}});
    }
    json!({
        "200": {"description": "Done", "content": content},
        "default": {
            "description": "Not done, and why",
            "content": {"application/json": {"schema": {"$ref": format!("#{SCHEMAS}/Error")}}},
        },
    })
}

fn error() -> Value {
    json!({
        "type": "object",
        "required": ["statusCode", "error", "message"],
        "properties": {
            "statusCode": {"type": "integer"},
            "error": {"type": "string", "description": "What the status code is called"},
            "message": {"type": "string", "description": "Which field, what is wrong with it, and what would be right"},
        },
    })
}
