//! The identity provider: what it says of itself, and of people.

use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fleet_access::rights::Role;
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreGenderClaim, CoreJwsSigningAlgorithm,
    CoreProviderMetadata, CoreTokenResponse,
};
use openidconnect::{
    AccessTokenHash, AdditionalClaims, AuthType, AuthorizationCode, ClientId, ClientSecret, CsrfToken,
    IssuerUrl, Nonce, OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope,
    TokenResponse, UserInfoClaims,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::requests::Http;
use crate::config::management::Oidc;

/// What the provider says of itself and its keys is asked for again after this time.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// After a token that does not fit, it is asked for again at once, as the provider may have other keys now; but not
/// more often than this.
const LEAST_REFRESH: Duration = Duration::from_secs(60);
/// The longest name in bytes.
const MAX_NAME: usize = 200;
/// Groups beyond this number are not looked at.
const MOST_GROUPS: usize = 10_000;

/// Signatures that are accepted: those with a public key. With a shared one, whoever knows our secret could vouch.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

type Cause = Box<dyn Error + Send + Sync>;

/// Why nobody is signed in.
#[derive(Debug, thiserror::Error)]
pub(in super::super::super) enum OidcError {
    /// What the configuration says cannot be used.
    #[error("management.oidc cannot be used")]
    Config(#[source] Cause),
    /// The provider does not say who it is.
    #[error("the identity provider's description cannot be read")]
    Discover(#[source] Cause),
    /// It does not take the code.
    #[error("the identity provider gives no token")]
    Token(#[source] Cause),
    /// What it says is not signed as it should be, or not meant for us.
    #[error("the identity provider's token is not good")]
    Verify(#[source] Cause),
    /// It does not say more about somebody.
    #[error("the identity provider says nothing about the user")]
    UserInfo(#[source] Cause),
    /// There is no name.
    #[error("the identity provider tells no claim {0}: see management.oidc.claims.name")]
    NoName(String),
    /// It is no name.
    #[error("the claim {0} of the identity provider is no name: at most {MAX_NAME} printable characters")]
    BadName(String),
}

/// What a sign-in that is under way keeps to itself.
#[derive(Serialize, Deserialize)]
pub(super) struct Secrets {
    pub(super) state: String,
    nonce: Nonce,
    verifier: PkceCodeVerifier,
}

/// Somebody whom the provider vouches for.
#[derive(Debug)]
pub(super) struct Person {
    /// With a colon in front, as no user of the store has one.
    pub(super) name: String,
    pub(super) roles: BTreeSet<Role>,
}

/// The identity provider.
#[derive(Debug)]
pub(crate) struct Provider {
    config: Oidc,
    known: Mutex<Known>,
    http: Http,
}

/// What the provider says of itself.
#[derive(Debug, Default)]
struct Known {
    metadata: Option<(Instant, CoreProviderMetadata)>,
    /// When it was asked for again because of a token.
    refreshed: Option<Instant>,
}

/// All other claims.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Others {
    #[serde(flatten)]
    claims: HashMap<String, Value>,
}

impl AdditionalClaims for Others {}

impl Provider {
    /// The one that is configured. It is asked when somebody signs in.
    #[must_use]
    pub(crate) fn new(config: Oidc) -> Provider {
        Provider { http: Http::new(config.ca.clone()), config, known: Mutex::default() }
    }

    pub(super) fn issuer(&self) -> &str {
        &self.config.issuer
    }

    /// Where to send the browser, and what to keep.
    pub(super) async fn begin(&self) -> Result<(String, Secrets), OidcError> {
        let metadata = self.metadata().await?;
        let client = CoreClient::from_provider_metadata(metadata, self.client_id(), self.client_secret())
            .set_redirect_uri(self.redirect_uri()?);
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let request = client.authorize_url(
            CoreAuthenticationFlow::AuthorizationCode,
            CsrfToken::new_random,
            Nonce::new_random,
        );
        let scopes = self.config.scopes.iter().filter(|scope| *scope != "openid").cloned().map(Scope::new);
        let (url, state, nonce) = request.add_scopes(scopes).set_pkce_challenge(challenge).url();
        Ok((url.into(), Secrets { state: state.into_secret(), nonce, verifier }))
    }

    /// Who it was.
    pub(super) async fn finish(&self, code: String, secrets: Secrets) -> Result<Person, OidcError> {
        let metadata = self.metadata().await?;
        let token = self.exchange(metadata.clone(), code, secrets.verifier).await?;
        let claims = match self.verified(metadata, &token, &secrets.nonce) {
            Ok(claims) => claims,
            Err(error) => {
                let metadata = self.refreshed().await?.ok_or(error)?;
                self.verified(metadata, &token, &secrets.nonce)?
            }
        };
        let wanted = [&self.config.name_claim, &self.config.roles_claim];
        let claims = match wanted.iter().all(|claim| claims.contains_key(*claim)) {
            true => claims,
            false => self.with_user_info(claims, &token).await?,
        };
        self.person(&claims)
    }

    async fn exchange(
        &self,
        metadata: CoreProviderMetadata,
        code: String,
        verifier: PkceCodeVerifier,
    ) -> Result<CoreTokenResponse, OidcError> {
        let methods = metadata.token_endpoint_auth_methods_supported();
        let takes = |method| methods.is_none_or(|methods| methods.contains(&method));
        // A provider that says nothing takes the header (OpenID Connect Discovery, 3).
        let way = match takes(CoreClientAuthMethod::ClientSecretBasic) {
            true => AuthType::BasicAuth,
            false => AuthType::RequestBody,
        };
        let client = CoreClient::from_provider_metadata(metadata, self.client_id(), self.client_secret())
            .set_auth_type(way)
            .set_redirect_uri(self.redirect_uri()?);
        let request = client.exchange_code(AuthorizationCode::new(code));
        let request = request.map_err(|error| OidcError::Discover(error.into()))?.set_pkce_verifier(verifier);
        request.request_async(&self.http).await.map_err(|error| OidcError::Token(error.into()))
    }

    /// The claims of the token, if it is what it should be.
    fn verified(
        &self,
        metadata: CoreProviderMetadata,
        token: &CoreTokenResponse,
        nonce: &Nonce,
    ) -> Result<Map<String, Value>, OidcError> {
        let client = CoreClient::from_provider_metadata(metadata, self.client_id(), self.client_secret());
        let verifier = client.id_token_verifier().set_allowed_algs(ALGORITHMS);
        let bad = |error: Cause| OidcError::Verify(error);
        let id_token = token.id_token().ok_or_else(|| bad("there is no ID token".into()))?;
        let claims = id_token.claims(&verifier, nonce).map_err(|error| bad(error.into()))?;
        if let Some(expected) = claims.access_token_hash() {
            let algorithm = id_token.signing_alg().map_err(|error| bad(error.into()))?;
            let key = id_token.signing_key(&verifier).map_err(|error| bad(error.into()))?;
            let actual = AccessTokenHash::from_token(token.access_token(), algorithm, key);
            if actual.map_err(|error| bad(error.into()))? != *expected {
                return Err(bad("the access token is another one's".into()));
            }
        }
        payload(&id_token.to_string()).ok_or_else(|| bad("the ID token holds no object".into()))
    }

    /// The same claims, and what the provider says beside.
    async fn with_user_info(
        &self,
        claims: Map<String, Value>,
        token: &CoreTokenResponse,
    ) -> Result<Map<String, Value>, OidcError> {
        let metadata = self.metadata().await?;
        if metadata.userinfo_endpoint().is_none() {
            return Ok(claims);
        }
        let client = CoreClient::from_provider_metadata(metadata, self.client_id(), self.client_secret());
        let bad = |error: Cause| OidcError::UserInfo(error);
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default().to_owned();
        let subject = openidconnect::SubjectIdentifier::new(subject);
        let request = client.user_info(token.access_token().clone(), Some(subject));
        let request = request.map_err(|error| bad(error.into()))?;
        let more: UserInfoClaims<Others, CoreGenderClaim> =
            request.request_async(&self.http).await.map_err(|error| bad(error.into()))?;
        let Value::Object(mut more) = serde_json::to_value(&more).map_err(|error| bad(error.into()))? else {
            return Ok(claims);
        };
        // What is signed wins.
        more.extend(claims);
        Ok(more)
    }

    fn person(&self, claims: &Map<String, Value>) -> Result<Person, OidcError> {
        let Oidc { name_claim, roles_claim, roles, .. } = &self.config;
        let name = claims.get(name_claim).and_then(Value::as_str);
        let name = name.ok_or_else(|| OidcError::NoName(name_claim.clone()))?.trim();
        if name.is_empty() || name.len() > MAX_NAME || name.contains(char::is_control) {
            return Err(OidcError::BadName(name_claim.clone()));
        }
        let groups: Vec<&str> = match claims.get(roles_claim) {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(many)) => many.iter().take(MOST_GROUPS).filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let roles = groups.into_iter().filter_map(|group| roles.get(group)).flatten().copied().collect();
        Ok(Person { name: format!("oidc:{name}"), roles })
    }

    /// What the provider says of itself. One asks, the others wait for it.
    async fn metadata(&self) -> Result<CoreProviderMetadata, OidcError> {
        let mut known = self.known.lock().await;
        if let Some((read, metadata)) = &known.metadata
            && read.elapsed() < REMEMBERED
        {
            return Ok(metadata.clone());
        }
        let metadata = self.discover().await?;
        known.metadata = Some((Instant::now(), metadata.clone()));
        Ok(metadata)
    }

    /// What it says now; `None` if that was asked a moment ago.
    async fn refreshed(&self) -> Result<Option<CoreProviderMetadata>, OidcError> {
        let mut known = self.known.lock().await;
        if known.refreshed.is_some_and(|refreshed| refreshed.elapsed() < LEAST_REFRESH) {
            return Ok(None);
        }
        known.refreshed = Some(Instant::now());
        let metadata = self.discover().await?;
        known.metadata = Some((Instant::now(), metadata.clone()));
        Ok(Some(metadata))
    }

    async fn discover(&self) -> Result<CoreProviderMetadata, OidcError> {
        let issuer = IssuerUrl::new(self.config.issuer.clone());
        let issuer = issuer.map_err(|error| OidcError::Config(error.into()))?;
        let metadata = CoreProviderMetadata::discover_async(issuer, &self.http).await;
        metadata.map_err(|error| OidcError::Discover(error.into()))
    }

    fn client_id(&self) -> ClientId {
        ClientId::new(self.config.client_id.clone())
    }

    fn client_secret(&self) -> Option<ClientSecret> {
        let secret = self.config.client_secret.as_ref();
        secret.map(|secret| ClientSecret::new(secret.reveal().to_owned()))
    }

    fn redirect_uri(&self) -> Result<RedirectUrl, OidcError> {
        RedirectUrl::new(self.config.redirect_uri.clone()).map_err(|error| OidcError::Config(error.into()))
    }
}

/// The middle of a token that has been verified (RFC 7515, 7.1), with all of its claims.
fn payload(token: &str) -> Option<Map<String, Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&bytes).ok()
}
