//! `fleetctl action`

use serde_json::json;

use super::generic;
use super::print;
use super::session::Session;
use crate::cli::nouns::ActionVerb;
use crate::client::percent_encode;
use crate::context::Outcome;
use crate::management::{ACTION, Query};

pub(super) async fn run(session: &Session, verb: &ActionVerb) -> Outcome {
    match verb {
        ActionVerb::List(list) => generic::list(session, &ACTION, Query::default(), list).await,
        ActionVerb::Status(show) => {
            let action = session.object(&ACTION, &show.name).await?;
            print::object(&session.console, &ACTION, &action, show.output);
            Ok(0)
        }
        ActionVerb::Cancel { action } => {
            session
                .client
                .post(&format!("agents/actions/{}/cancel", percent_encode(action)), &json!({}))
                .await?;
            session.console.line(format_args!("Cancelled action {action}"));
            Ok(0)
        }
    }
}
