//! What the component is asked to do at once.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::handler::{Action, DiagnosticFile, Handler, Reporter, Scope};
use crate::unit::{UnitKey, UnitKind};
use crate::wire;

/// The first message of a stream of actions.
pub(super) fn init(token: &str) -> wire::ActionResponse {
    wire::ActionResponse {
        token: token.to_owned(),
        id: "init".to_owned(),
        status: wire::ActionStatus::Success.into(),
        result: b"{}".to_vec(),
        diagnostics: Vec::new(),
    }
}

/// Does what is asked.
pub(super) async fn answer(
    request: wire::ActionRequest,
    token: String,
    handler: Arc<dyn Handler>,
    reporter: Reporter,
) -> wire::ActionResponse {
    let id = request.id.clone();
    let response = match wire::ActionType::try_from(request.r#type) {
        Ok(wire::ActionType::Custom) => custom(&request, &*handler, &reporter).await.map(done),
        Ok(wire::ActionType::Diagnostics) => diagnostics(&request, &*handler, &reporter).await,
        Err(_) => Err("action type unknown".to_owned()),
    };
    let response = response.unwrap_or_else(|reason| failed(&reason));
    wire::ActionResponse { token, id, ..response }
}

/// There is too much to do already.
pub(super) fn refuse(request: &wire::ActionRequest, token: &str) -> wire::ActionResponse {
    let response = failed("too many actions at the same time: try again");
    wire::ActionResponse { token: token.to_owned(), id: request.id.clone(), ..response }
}

async fn custom(
    request: &wire::ActionRequest,
    handler: &dyn Handler,
    reporter: &Reporter,
) -> Result<Map<String, Value>, String> {
    let unit = unit(request, reporter)?;
    let params = match request.params.as_slice() {
        [] => Map::new(),
        bytes => match serde_json::from_slice(bytes) {
            Ok(Value::Object(params)) => params,
            Ok(Value::Null) => Map::new(),
            Ok(_) => return Err("action params invalid".to_owned()),
            Err(_) => return Err("action params failed to be un-marshaled".to_owned()),
        },
    };
    handler.action(Action { unit, name: request.name.clone(), params }).await
}

async fn diagnostics(
    request: &wire::ActionRequest,
    handler: &dyn Handler,
    reporter: &Reporter,
) -> Result<wire::ActionResponse, String> {
    let scope = if request.level == i32::from(wire::ActionLevel::Unit) {
        Scope::Unit(unit(request, reporter)?)
    } else {
        let params: Value = serde_json::from_slice(&request.params).unwrap_or_default();
        let metrics = params.get("additional_metrics").and_then(Value::as_array);
        let metrics = metrics.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        Scope::Component { metrics }
    };
    let files = handler.diagnostics(scope).await;
    Ok(wire::ActionResponse { diagnostics: files.into_iter().map(file).collect(), ..done(Map::new()) })
}

fn unit(request: &wire::ActionRequest, reporter: &Reporter) -> Result<UnitKey, String> {
    let key =
        UnitKind::from_wire(request.unit_type).map(|kind| UnitKey { kind, id: request.unit_id.clone() });
    key.filter(|key| reporter.session().has(key)).ok_or_else(|| "action unit not found".to_owned())
}

fn file(file: DiagnosticFile) -> wire::Diagnostic {
    wire::Diagnostic {
        name: file.name,
        filename: file.filename,
        description: file.description,
        content_type: file.content_type,
        content: file.content,
        generated: Some(SystemTime::now().into()),
    }
}

fn done(result: Map<String, Value>) -> wire::ActionResponse {
    wire::ActionResponse {
        status: wire::ActionStatus::Success.into(),
        result: Value::Object(result).to_string().into_bytes(),
        ..wire::ActionResponse::default()
    }
}

fn failed(reason: &str) -> wire::ActionResponse {
    wire::ActionResponse {
        status: wire::ActionStatus::Failed.into(),
        result: json!({"error": reason}).to_string().into_bytes(),
        ..wire::ActionResponse::default()
    }
}
