//! A provider that says what it is told to say: what must not be believed is not.

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use ring::{digest, hmac};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{CALLBACK, LOGIN, SESSION};
use crate::client::{Answer, Client};
use crate::server::Server;

const SECRET: &str = "a secret of the client";

/// What the provider says.
struct Said {
    issuer: String,
    key: EcdsaKeyPair,
    /// The signed one does not stand among the keys that are shown.
    other_key: Option<EcdsaKeyPair>,
    algorithm: &'static str,
    claims: Value,
    user_info: Value,
    has_id_token: bool,
}

type Shared = Arc<Mutex<Said>>;
/// What the provider makes of the truth.
type Lie = fn(&mut Said);

struct Fake {
    said: Shared,
    server: Server,
}

fn key() -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).expect("a key")
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

impl Said {
    fn id_token(&self) -> String {
        let head = encoded(&json!({"alg": self.algorithm, "typ": "JWT"}));
        let text = format!("{head}.{}", encoded(&self.claims));
        let signature = match self.algorithm {
            "ES256" => {
                let key = self.other_key.as_ref().unwrap_or(&self.key);
                key.sign(&SystemRandom::new(), text.as_bytes()).expect("a signature").as_ref().to_vec()
            }
            "HS256" => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
                hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
            }
            _ => Vec::new(),
        };
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

async fn description(State(said): State<Shared>) -> Json<Value> {
    let issuer = said.lock().unwrap().issuer.clone();
    Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/auth"),
        "token_endpoint": format!("{issuer}/token"),
        "userinfo_endpoint": format!("{issuer}/me"),
        "jwks_uri": format!("{issuer}/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        // It claims to do what must not be accepted all the same.
        "id_token_signing_alg_values_supported": ["ES256", "HS256", "none"],
    }))
}

async fn keys(State(said): State<Shared>) -> Json<Value> {
    let said = said.lock().unwrap();
    let public = said.key.public_key().as_ref();
    let part = |range| URL_SAFE_NO_PAD.encode(&public[range]);
    Json(json!({"keys": [{"kty": "EC", "crv": "P-256", "use": "sig", "x": part(1..33), "y": part(33..65)}]}))
}

async fn token(State(said): State<Shared>) -> Json<Value> {
    let said = said.lock().unwrap();
    let mut answer = json!({"access_token": "an access token", "token_type": "Bearer", "expires_in": 60});
    if said.has_id_token {
        answer["id_token"] = said.id_token().into();
    }
    Json(answer)
}

async fn user_info(State(said): State<Shared>) -> Json<Value> {
    Json(said.lock().unwrap().user_info.clone())
}

impl Fake {
    async fn start() -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let issuer = format!("http://{}", listener.local_addr().expect("an address"));
        let said = Arc::new(Mutex::new(Said {
            issuer: issuer.clone(),
            key: key(),
            other_key: None,
            algorithm: "ES256",
            claims: Value::Null,
            user_info: json!({"sub": "ann", "groups": ["staff"]}),
            has_id_token: true,
        }));
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(description))
            .route("/keys", get(keys))
            .route("/token", post(token))
            .route("/me", get(user_info))
            .with_state(Arc::clone(&said));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let server = Server::start(&[
            format!("management.oidc.issuer={issuer}"),
            "management.oidc.client_id=fleet".to_owned(),
            format!("management.oidc.client_secret=\"{SECRET}\""),
            format!("management.oidc.redirect_uri=http://127.0.0.1:5601{CALLBACK}"),
            "management.oidc.roles.viewer=staff".to_owned(),
        ]);
        Fake { said, server }
    }

    /// Signs in, when the provider says what `lie` makes of the truth.
    async fn sign_in(&self, lie: impl FnOnce(&mut Said)) -> Answer {
        let client = Client::anonymous(&self.server);
        let begun = client.get(LOGIN).await;
        let location = begun.header("location").to_owned();
        let parameter = |name: &str| {
            let rest = location.split(&format!("{name}=")).nth(1).unwrap_or_else(|| panic!("{location}"));
            rest.split('&').next().expect("a value").to_owned()
        };
        let cookie = begun.header("set-cookie").split(';').next().expect("a cookie").to_owned();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs();
        {
            let mut said = self.said.lock().unwrap();
            said.claims = json!({
                "iss": said.issuer, "aud": "fleet", "sub": "ann", "nonce": parameter("nonce"),
                "iat": now, "exp": now + 60, "groups": ["staff", 7, "others"],
            });
            said.algorithm = "ES256";
            lie(&mut said);
        }
        let path = format!("{CALLBACK}?code=x&state={}", parameter("state"));
        client.with("cookie", cookie).get(&path).await
    }
}

#[tokio::test]
async fn only_a_token_that_is_as_it_should_be_is_believed() {
    let fake = Fake::start().await;
    let good = fake.sign_in(|_| {}).await;
    assert_eq!(good.status, 303, "{}", good.text);
    let hash =
        |text: &str| URL_SAFE_NO_PAD.encode(&digest::digest(&digest::SHA256, text.as_bytes()).as_ref()[..16]);
    let hashed = fake.sign_in(|said| said.claims["at_hash"] = hash("an access token").into()).await;
    assert_eq!(hashed.status, 303, "{}", hashed.text);

    let lies: [(&str, Lie); 12] = [
        ("another nonce", |said| said.claims["nonce"] = "x".into()),
        ("no nonce", |said| said.claims["nonce"] = Value::Null),
        ("for others", |said| said.claims["aud"] = json!(["others"])),
        ("for others too", |said| said.claims["aud"] = json!(["fleet", "others"])),
        ("of others", |said| said.claims["iss"] = "https://evil.example".into()),
        ("over", |said| said.claims["exp"] = 1.into()),
        ("without an end", |said| said.claims["exp"] = Value::Null),
        ("not signed", |said| said.algorithm = "none"),
        ("signed with what both know", |said| said.algorithm = "HS256"),
        ("with another access token", |said| said.claims["at_hash"] = "AAAAAAAAAAAAAAAAAAAAAA".into()),
        ("without an ID token", |said| said.has_id_token = false),
        ("signed by somebody else", |said| {
            said.has_id_token = true;
            said.other_key = Some(key());
        }),
    ];
    for (name, lie) in lies {
        let answer = fake.sign_in(lie).await;
        assert_eq!(answer.header("set-cookie"), "", "a token {name} is believed");
        answer.refusal(502);
    }
}

#[tokio::test]
async fn other_keys_of_the_provider_are_taken_once_they_are_used() {
    let fake = Fake::start().await;
    assert_eq!(fake.sign_in(|_| {}).await.status, 303);
    assert_eq!(fake.sign_in(|said| said.key = key()).await.status, 303);
    // Not for each token that does not fit.
    fake.sign_in(|said| said.key = key()).await.refusal(502);
}

#[tokio::test]
async fn names_and_groups_are_taken_as_they_are_told() {
    let fake = Fake::start().await;
    let one = fake.sign_in(|said| said.claims["groups"] = "staff".into()).await;
    let cookie = one.header("set-cookie").split(';').next().expect("a cookie").to_owned();
    let who = Client::anonymous(&fake.server).with("cookie", cookie).get(SESSION).await.ok();
    assert_eq!((&who["item"]["username"], &who["item"]["roles"]), (&json!("oidc:ann"), &json!(["viewer"])));

    // What the token does not say, the user information may; but not about somebody else.
    let without = |said: &mut Said| {
        said.claims.as_object_mut().unwrap().remove("groups");
    };
    assert_eq!(fake.sign_in(without).await.status, 303);
    let about_another = fake.sign_in(|said| {
        without(said);
        said.user_info["sub"] = "root".into();
    });
    about_another.await.refusal(502);

    fake.sign_in(|said| said.claims["groups"] = json!({"staff": true})).await.refusal(403);
    fake.sign_in(|said| said.claims["groups"] = json!(["Staff"])).await.refusal(403);
    let long = fake.sign_in(|said| said.claims["sub"] = "x".repeat(201).into()).await.refusal(403);
    assert!(long.contains("the claim sub"), "{long}");
    fake.sign_in(|said| said.claims["sub"] = "a\nb".into()).await.refusal(403);
}
