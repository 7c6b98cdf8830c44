//! `fleetctl enroll-key`, `service-token`, `api-key` and `uninstall-token`: what is told once, or only to those who ask for
//! it. And `signing-key`, which nobody is told.

use serde_json::{Map, Value, json};

use super::session::Session;
use super::user::{grants_of, with_roles};
use super::{generic, print};
use crate::cli::nouns::{
    ApiKeyVerb, Create, CreateApiKey, CreateEnrollKey, EnrollKeyList, EnrollKeyVerb, Output, RotateKey,
    ServiceTokenVerb, SigningKeyVerb, UninstallTokenVerb,
};
use crate::context::Outcome;
use crate::management::{
    API_KEY, ENROLL_KEY, POLICY, Query, SERVICE_TOKEN, SIGNING_KEY, UNINSTALL_TOKEN, quoted,
};

/// `enroll-key`
pub(super) async fn enroll_key(session: &Session, verb: &EnrollKeyVerb) -> Outcome {
    match verb {
        EnrollKeyVerb::List(flags) => list_enroll_keys(session, flags).await,
        EnrollKeyVerb::Show(flags) => generic::show(session, &ENROLL_KEY, flags).await,
        EnrollKeyVerb::Create(flags) => create_enroll_key(session, flags).await,
        EnrollKeyVerb::Delete(flags) => generic::delete(session, &ENROLL_KEY, flags).await,
    }
}

async fn list_enroll_keys(session: &Session, flags: &EnrollKeyList) -> Outcome {
    let mut list = flags.list.clone();
    if let Some(policy) = &flags.policy {
        let term = format!("policy_id:{}", quoted(&session.id(&POLICY, policy).await?));
        list.kuery = Some(match list.kuery {
            Some(kuery) => format!("{term} and ({kuery})"),
            None => term,
        });
    }
    generic::list(session, &ENROLL_KEY, Query::default(), &list).await
}

async fn create_enroll_key(session: &Session, flags: &CreateEnrollKey) -> Outcome {
    let mut body = json!({"policy_id": session.id(&POLICY, &flags.policy).await?});
    let optional = [
        ("name", flags.name.as_deref().map(Value::from)),
        ("expiration", flags.expires.as_deref().map(Value::from)),
        ("max_uses", flags.max_uses.map(Value::from)),
    ];
    for (field, value) in optional {
        if let Some(value) = value {
            body[field] = value;
        }
    }
    let key = generic::post(session, &ENROLL_KEY, body).await?;
    generic::created(session, &ENROLL_KEY, &key, flags.output);
    told_once(session, flags.output, key.get("api_key"));
    Ok(0)
}

/// `uninstall-token`
pub(super) async fn uninstall_token(session: &Session, verb: &UninstallTokenVerb) -> Outcome {
    match verb {
        UninstallTokenVerb::List(flags) => {
            let query = match &flags.policy {
                Some(policy) => Query::default().with("policyId", session.id(&POLICY, policy).await?),
                None => Query::default(),
            };
            generic::list(session, &UNINSTALL_TOKEN, query, &flags.list).await
        }
        UninstallTokenVerb::Show(flags) => generic::show(session, &UNINSTALL_TOKEN, flags).await,
    }
}

/// `signing-key`
pub(super) async fn signing_key(session: &Session, verb: &SigningKeyVerb) -> Outcome {
    match verb {
        SigningKeyVerb::Show { output } => {
            let mut shown = session.client.get(SIGNING_KEY.path).await?;
            let key = shown.get_mut("item").map(Value::take).unwrap_or(shown);
            print::object(&session.console, &SIGNING_KEY, &key, *output);
            Ok(0)
        }
        SigningKeyVerb::Rotate(flags) => rotate(session, *flags).await,
    }
}

async fn rotate(session: &Session, flags: RotateKey) -> Outcome {
    let question = match flags.force {
        true => {
            "Make a new key, although protected agents that know neither it nor this one must be installed again?"
        }
        false => "Make a new key that signs for agents?",
    };
    session.confirm(flags.yes, question).await?;
    let force = if flags.force { "&force=true" } else { "" };
    let path = format!("{}/rotate_key_pair?acknowledge=true{force}", SIGNING_KEY.path);
    let done = session.client.post(&path, &Value::Null).await?;
    let left = done.pointer("/item/previous/agents_left").and_then(Value::as_u64).unwrap_or(0);
    let what = if left == 1 { "agent does" } else { "agents do" };
    session.console.line(format_args!(
        "Changed the signing key: {left} {what} not have it yet, and the one before stays until then"
    ));
    Ok(0)
}

/// `service-token`
pub(super) async fn service_token(session: &Session, verb: &ServiceTokenVerb) -> Outcome {
    match verb {
        ServiceTokenVerb::List(flags) => {
            generic::list(session, &SERVICE_TOKEN, Query::default(), flags).await
        }
        ServiceTokenVerb::Create(flags) => create_service_token(session, flags).await,
        ServiceTokenVerb::Delete(flags) => generic::delete(session, &SERVICE_TOKEN, flags).await,
    }
}

async fn create_service_token(session: &Session, flags: &Create) -> Outcome {
    let body = generic::body_of(&SERVICE_TOKEN, flags)?;
    let token = generic::post(session, &SERVICE_TOKEN, Value::Object(body)).await?;
    generic::created(session, &SERVICE_TOKEN, &token, flags.output);
    told_once(session, flags.output, token.get("value"));
    Ok(0)
}

/// `api-key`
pub(super) async fn api_key(session: &Session, verb: &ApiKeyVerb) -> Outcome {
    match verb {
        ApiKeyVerb::List(flags) => generic::list(session, &API_KEY, Query::default(), flags).await,
        ApiKeyVerb::Create(flags) => create_api_key(session, flags).await,
        ApiKeyVerb::Delete(flags) => generic::delete(session, &API_KEY, flags).await,
    }
}

async fn create_api_key(session: &Session, flags: &CreateApiKey) -> Outcome {
    let mut body = Map::new();
    body.insert("name".to_owned(), flags.name.as_str().into());
    with_roles(&mut body, &flags.role, grants_of(session, &flags.grant).await?);
    if let Some(time) = &flags.expires_at {
        body.insert("expires_at".to_owned(), time.as_str().into());
    }
    let mut answer = session.client.post(API_KEY.path, &Value::Object(body)).await?;
    if let Some(Output::Json | Output::Yaml) = flags.output {
        print::object(&session.console, &API_KEY, &answer, flags.output.unwrap_or(Output::Yaml));
        return Ok(0);
    }
    let secret = answer.get_mut("api_key").map(Value::take);
    let key = answer.get_mut("item").map(Value::take).unwrap_or(answer);
    generic::created(session, &API_KEY, &key, flags.output);
    told_once(session, flags.output, secret.as_ref());
    Ok(0)
}

/// The secret of something new, in a line of its own. Data for programs has it already.
fn told_once(session: &Session, output: Option<Output>, secret: Option<&Value>) {
    if let (None | Some(Output::Table), Some(secret)) = (output, secret.and_then(Value::as_str)) {
        session.console.line(secret);
    }
}
