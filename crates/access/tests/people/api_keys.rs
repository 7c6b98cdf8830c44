use std::time::Duration;

use fleet_access::api_keys::{ApiKeyError, ApiKeys, KeyRefusal, LONGEST_UNWATCHED, MOST_PER_USER, NewApiKey};
use fleet_access::documents::API_KEYS;
use fleet_access::key::ApiKey;
use fleet_access::rights::{Grant, Principal, Proof, Right, Role};
use fleet_access::users::{REMEMBERED, UserChange, Users};
use fleet_store::ListRequest;
use fleet_store::decorate::Faults;

use crate::{World, now, somebody};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn keys(world: &World) -> (Users, ApiKeys) {
    let users = world.users();
    (users.clone(), ApiKeys::new(&world.store, users))
}

fn new(name: &str, roles: &[Role]) -> NewApiKey {
    NewApiKey {
        name: name.to_owned(),
        roles: roles.iter().copied().collect(),
        grants: [].into(),
        expires_at: None,
    }
}

fn grant(policy_id: &str, role: Role) -> Grant {
    Grant { policy_id: policy_id.to_owned(), role }
}

async fn principal(users: &Users, name: &str, roles: &[Role]) -> Principal {
    users.create(somebody(name, roles), now()).await.unwrap().value.principal(Proof::Password)
}

#[tokio::test]
async fn a_key_works_in_its_owners_name_until_it_is_revoked() {
    let world = World::new();
    let (users, keys) = keys(&world);
    let ann = principal(&users, "ann", &[Role::Editor]).await;
    let (key, document) = keys.create(&ann, new("deploy", &[Role::Viewer]), now()).await.unwrap();
    let sent = ApiKey::parse(key.encode().reveal()).unwrap();
    let who = keys.verify(&sent, now()).await.unwrap();
    assert_eq!((&*who.name, who.proof), ("ann", Proof::ApiKey));
    assert!(who.allows(Right::ReadAgents) && !who.allows(Right::ControlAgents));

    let forged = ApiKey::parse_pair(&format!("{}:{}", key.id(), "x".repeat(22))).unwrap();
    assert!(matches!(keys.verify(&forged, now()).await, Err(KeyRefusal::Unknown)));
    let unknown = ApiKey::generate().unwrap();
    assert!(matches!(keys.verify(&unknown, now()).await, Err(KeyRefusal::Unknown)));

    let listed = keys.list(Some("ann")).await.unwrap();
    assert_eq!(listed[0].value, document);
    assert_eq!(keys.list(Some("bob")).await.unwrap(), []);
    keys.revoke(key.id(), listed[0].revision).await.unwrap();
    assert!(matches!(keys.verify(&sent, now()).await, Err(KeyRefusal::Unknown)));
    assert!(keys.revoke(key.id(), listed[0].revision).await.is_err());
}

#[tokio::test]
async fn what_is_stored_is_no_key() {
    let world = World::new();
    let (users, keys) = keys(&world);
    let ann = principal(&users, "ann", &[]).await;
    let (key, _) = keys.create(&ann, new("deploy", &[]), now()).await.unwrap();
    let stored = world.store.list(&API_KEYS, ListRequest::all()).await.unwrap().documents;
    let text = std::str::from_utf8(&stored[0].body).unwrap();
    let pair = key.pair();
    let (id, secret) = pair.reveal().split_once(':').unwrap();
    assert_eq!(stored[0].id, id);
    assert!(!text.contains(secret), "{text}");
}

#[tokio::test]
async fn a_key_is_over_at_its_end_and_gone_later() {
    let world = World::new();
    let (users, keys) = keys(&world);
    let ann = principal(&users, "ann", &[]).await;
    let end = now() + DAY;
    let ending = NewApiKey { expires_at: Some(end), ..new("deploy", &[]) };
    let (key, _) = keys.create(&ann, ending, now()).await.unwrap();
    assert!(keys.verify(&key, now()).await.is_ok());
    assert!(matches!(keys.verify(&key, end).await, Err(KeyRefusal::Expired(at)) if at == end));
    assert_eq!(keys.remove_expired(end + 29 * DAY).await.unwrap(), 0);
    assert_eq!(keys.remove_expired(end + 30 * DAY).await.unwrap(), 1);
    assert!(matches!(keys.verify(&key, end).await, Err(KeyRefusal::Unknown)));
}

#[tokio::test]
async fn nobody_makes_a_key_that_does_more_than_they_may() {
    let world = World::new();
    let (users, keys) = keys(&world);
    let mut ann = principal(&users, "ann", &[Role::Viewer]).await;
    ann.grants.insert(grant("web", Role::Editor));
    let refusal = async |new| keys.create(&ann, new, now()).await.unwrap_err().to_string();
    assert!(refusal(new("k", &[Role::Editor])).await.contains("the role editor"));
    let on = |policy: &str, role| NewApiKey { grants: [grant(policy, role)].into(), ..new("k", &[]) };
    assert!(refusal(on("db", Role::Editor)).await.contains("the role editor on policy db"));
    for new in [on("web", Role::Editor), on("web", Role::Viewer), on("db", Role::Viewer)] {
        keys.create(&ann, new, now()).await.unwrap();
    }
    let by_key = Principal { proof: Proof::ApiKey, ..ann.clone() };
    assert!(matches!(keys.create(&by_key, new("k", &[]), now()).await, Err(ApiKeyError::ByKey)));
}

#[tokio::test]
async fn a_key_loses_what_its_owner_loses() {
    let world = World::new();
    let (users, keys) = keys(&world);
    let ann = principal(&users, "ann", &[Role::Editor]).await;
    let wide = NewApiKey { grants: [grant("web", Role::Editor)].into(), ..new("k", &[Role::Editor]) };
    let (key, _) = keys.create(&ann, wide, now()).await.unwrap();
    assert!(keys.verify(&key, now()).await.unwrap().allows(Right::WritePolicies));

    let narrow = UserChange {
        roles: Some([Role::Viewer].into()),
        grants: Some([grant("web", Role::Editor)].into()),
        ..UserChange::default()
    };
    users.update("ann", narrow, None, now()).await.unwrap();
    let who = keys.verify(&key, now()).await.unwrap();
    assert!(!who.allows(Right::WritePolicies) && who.allows_on(Right::WritePolicies, "web"));

    let disable = UserChange { enabled: Some(false), ..UserChange::default() };
    users.update("ann", disable, None, now()).await.unwrap();
    assert!(matches!(keys.verify(&key, now()).await, Err(KeyRefusal::Unknown)));

    // Somebody else who is given the name does not get the keys.
    users.delete("ann", None).await.unwrap();
    users.create(somebody("ann", &[Role::Admin]), now() + DAY).await.unwrap();
    assert!(matches!(keys.verify(&key, now() + DAY).await, Err(KeyRefusal::Unknown)));
    assert_eq!(keys.revoke_all_of("ann").await.unwrap(), 1);
    assert_eq!(keys.list(None).await.unwrap(), []);
}

#[tokio::test]
async fn names_ends_and_numbers_have_bounds() {
    let world = World::new();
    let (users, keys) = keys(&world);
    let ann = principal(&users, "ann", &[]).await;
    for name in ["", "a\nb", &"x".repeat(257)] {
        assert!(matches!(keys.create(&ann, new(name, &[]), now()).await, Err(ApiKeyError::Name)));
    }
    let past = NewApiKey { expires_at: Some(now()), ..new("k", &[]) };
    assert!(matches!(keys.create(&ann, past, now()).await, Err(ApiKeyError::Past)));
    for number in 0..MOST_PER_USER {
        keys.create(&ann, new(&number.to_string(), &[]), now()).await.unwrap();
    }
    assert!(matches!(keys.create(&ann, new("k", &[]), now()).await, Err(ApiKeyError::TooMany(_))));
    let bob = principal(&users, "bob", &[]).await;
    keys.create(&bob, new("k", &[]), now()).await.unwrap();
}

#[tokio::test]
async fn keys_of_those_whom_a_provider_vouches_for_have_an_end() {
    let world = World::new();
    let (_, keys) = keys(&world);
    let ann = Principal {
        name: "oidc:ann".into(),
        proof: Proof::Session,
        roles: [Role::Editor].into(),
        grants: [].into(),
    };
    let until = |end| NewApiKey { expires_at: end, ..new("k", &[Role::Editor]) };
    for end in [None, Some(now() + LONGEST_UNWATCHED + DAY)] {
        assert!(matches!(keys.create(&ann, until(end), now()).await, Err(ApiKeyError::Unwatched)));
    }
    let (key, _) = keys.create(&ann, until(Some(now() + LONGEST_UNWATCHED)), now()).await.unwrap();
    assert!(keys.verify(&key, now()).await.unwrap().allows(Right::WritePolicies));
}

#[tokio::test]
async fn trouble_in_the_store_is_no_refusal_and_another_servers_revocation_is_seen_soon() {
    let world = World::new();
    let (users, here) = keys(&world);
    let (_, there) = keys(&world);
    let ann = principal(&users, "ann", &[]).await;
    let (key, _) = here.create(&ann, new("k", &[]), now()).await.unwrap();
    world.faulty.set(Faults::DOWN);
    assert!(matches!(here.verify(&key, now()).await, Err(KeyRefusal::Read(_))));
    world.faulty.set(Faults::NONE);
    assert!(here.verify(&key, now()).await.is_ok());
    assert_eq!(there.revoke_all_of("ann").await.unwrap(), 1);
    tokio::time::pause();
    tokio::time::advance(REMEMBERED).await;
    tokio::time::resume();
    assert!(matches!(here.verify(&key, now()).await, Err(KeyRefusal::Unknown)));
}
