use std::collections::BTreeSet;
use std::time::Duration;

use fleet_access::documents::USERS;
use fleet_access::rights::{Grant, Proof, Right, Role};
use fleet_access::users::{ADMIN, REMEMBERED, UserChange, UserError};
use fleet_store::decorate::Faults;
use fleet_store::{Expect, Write};

use crate::{World, now, secret, somebody};

fn roles(roles: &[Role]) -> UserChange {
    UserChange { roles: Some(roles.iter().copied().collect()), ..UserChange::default() }
}

fn disable() -> UserChange {
    UserChange { enabled: Some(false), ..UserChange::default() }
}

#[tokio::test]
async fn the_first_administrator_is_made_once_and_gets_the_password_that_is_given() {
    let world = World::new();
    let users = world.users();
    let made_up = users.ensure_admin(None, now()).await.unwrap().unwrap();
    assert!(world.users().ensure_admin(None, now()).await.unwrap().is_none());
    let admin = users.verify(ADMIN, &made_up, true).await.unwrap().unwrap();
    assert!(admin.is_working_admin());

    let given = secret("chosen by hand");
    assert!(users.ensure_admin(Some(&given), now()).await.unwrap().is_none());
    assert!(users.verify(ADMIN, &made_up, true).await.unwrap().is_none());
    let again = users.verify(ADMIN, &given, true).await.unwrap().unwrap();
    assert_ne!(again.stamp, admin.stamp);
    users.ensure_admin(Some(&given), now()).await.unwrap();
    assert_eq!(users.verify(ADMIN, &given, true).await.unwrap().unwrap().stamp, again.stamp);
}

#[tokio::test]
async fn an_administrator_of_an_older_version_is_read() {
    let world = World::new();
    let users = world.users();
    users.create(somebody("ann", &[Role::Admin]), now()).await.unwrap();
    let ann = users.get("ann").await.unwrap().unwrap().value;
    let old = serde_json::json!({"name": "old", "password": ann.password, "roles": ["admin"]});
    let write = Write::put("old", Expect::Absent, serde_json::to_vec(&old).unwrap());
    world.store.write(&USERS, write, None).await.unwrap();
    let old = users.verify("old", &secret("correct horse"), true).await.unwrap().unwrap();
    assert!(old.is_working_admin());
}

#[tokio::test]
async fn somebody_is_made_listed_changed_and_taken_away() {
    let world = World::new();
    let users = world.users();
    users.ensure_admin(None, now()).await.unwrap();
    let grant = Grant { policy_id: "web".to_owned(), role: Role::Editor };
    let mut ann = somebody("ann", &[Role::Viewer]);
    ann.grants.insert(grant.clone());
    let made = users.create(ann.clone(), now()).await.unwrap();
    let again = users.create(ann, now()).await.unwrap_err();
    assert!(matches!(&again, UserError::Exists(name) if name == "ann"), "{again}");

    let who = users.known("ann").await.unwrap().unwrap().principal(Proof::Password);
    assert!(who.allows(Right::ReadPolicies) && !who.allows(Right::WritePolicies));
    assert!(who.allows_on(Right::WritePolicies, "web"));

    let names: Vec<String> = users.list().await.unwrap().into_iter().map(|user| user.id).collect();
    assert_eq!(names, ["admin", "ann"]);

    let later = now() + Duration::from_secs(60);
    let change = UserChange { full_name: Some("Ann Example".to_owned()), ..UserChange::default() };
    let named = users.update("ann", change, Some(made.revision), later).await.unwrap();
    assert_eq!((named.value.full_name.as_str(), named.value.updated_at), ("Ann Example", later));
    assert_eq!(named.value.stamp, made.value.stamp, "a name ends no session");
    assert_eq!(named.value.grants, BTreeSet::from([grant]));

    let stale = users.update("ann", disable(), Some(made.revision), later).await.unwrap_err();
    assert!(matches!(stale, UserError::Changed(_)), "{stale}");
    let stale = users.delete("ann", Some(made.revision)).await.unwrap_err();
    assert!(matches!(stale, UserError::Changed(_)), "{stale}");
    assert_eq!(users.delete("ann", Some(named.revision)).await.unwrap().full_name, "Ann Example");
    assert!(users.known("ann").await.unwrap().is_none());
    let gone = users.update("ann", disable(), None, later).await.unwrap_err();
    assert!(matches!(gone, UserError::NotFound(_)), "{gone}");
}

#[tokio::test]
async fn what_changes_rights_or_password_changes_the_stamp() {
    let world = World::new();
    let users = world.users();
    let mut stamp = users.create(somebody("ann", &[]), now()).await.unwrap().value.stamp;
    let grants = [Grant { policy_id: "web".to_owned(), role: Role::Viewer }].into();
    for change in [
        roles(&[Role::Editor]),
        UserChange { grants: Some(grants), ..UserChange::default() },
        UserChange { password: Some(secret("another one")), ..UserChange::default() },
        disable(),
    ] {
        let next = users.update("ann", change, None, now()).await.unwrap().value.stamp;
        assert_ne!(next, stamp);
        stamp = next;
    }
    let same = users.update("ann", roles(&[Role::Editor]), None, now()).await.unwrap();
    assert!(!same.value.enabled);
}

#[tokio::test]
async fn only_the_right_password_of_somebody_enabled_is_a_way_in() {
    let world = World::new();
    let users = world.users();
    users.create(somebody("ann", &[]), now()).await.unwrap();
    let (right, other) = (secret("correct horse"), secret("another one"));
    assert!(users.verify("ann", &right, false).await.unwrap().is_some());
    assert!(users.verify("ann", &other, false).await.unwrap().is_none());
    assert!(users.verify("bob", &right, false).await.unwrap().is_none());
    assert!(users.verify("", &right, false).await.unwrap().is_none());
    assert!(users.verify("a\0b", &right, true).await.unwrap().is_none());

    let change = UserChange { password: Some(other.clone()), ..UserChange::default() };
    users.update("ann", change, None, now()).await.unwrap();
    assert!(users.verify("ann", &right, false).await.unwrap().is_none());
    assert!(users.verify("ann", &other, false).await.unwrap().is_some());
    users.update("ann", disable(), None, now()).await.unwrap();
    assert!(users.verify("ann", &other, false).await.unwrap().is_none());
}

#[tokio::test]
async fn what_another_server_changes_is_seen_soon_and_at_once_by_a_fresh_look() {
    let world = World::new();
    let (here, there) = (world.users(), world.users());
    here.create(somebody("ann", &[]), now()).await.unwrap();
    let right = secret("correct horse");
    assert!(here.verify("ann", &right, false).await.unwrap().is_some());
    there.update("ann", disable(), None, now()).await.unwrap();
    assert!(here.verify("ann", &right, true).await.unwrap().is_none());
    tokio::time::pause();
    tokio::time::advance(REMEMBERED).await;
    tokio::time::resume();
    assert!(here.verify("ann", &right, false).await.unwrap().is_none());
}

#[tokio::test]
async fn bad_names_passwords_and_grants_are_refused() {
    let world = World::new();
    let users = world.users();
    let mut bad = somebody("a:b", &[]);
    assert!(matches!(users.create(bad.clone(), now()).await, Err(UserError::Name(_))));
    bad.name = "ann".to_owned();
    bad.password = secret("short");
    assert!(matches!(users.create(bad.clone(), now()).await, Err(UserError::Password(_))));
    bad.password = secret("long enough");
    bad.full_name = "a\nb".to_owned();
    assert!(matches!(users.create(bad.clone(), now()).await, Err(UserError::FullName)));
    bad.full_name.clear();
    bad.grants.insert(Grant { policy_id: String::new(), role: Role::Viewer });
    assert!(matches!(users.create(bad.clone(), now()).await, Err(UserError::Grants(_))));
    bad.grants.clear();
    users.create(bad, now()).await.unwrap();
    let weak = UserChange { password: Some(secret("ANN")), ..UserChange::default() };
    assert!(matches!(users.update("ann", weak, None, now()).await, Err(UserError::Password(_))));
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let world = World::new();
    let users = world.users();
    users.ensure_admin(None, now()).await.unwrap();
    users.create(somebody("ann", &[Role::Editor]), now()).await.unwrap();
    users.create(somebody("off", &[Role::Admin]), now()).await.unwrap();
    users.update("off", disable(), None, now()).await.unwrap();
    let is_last = |result: Result<_, UserError>| matches!(result, Err(UserError::LastAdmin(_)));
    assert!(is_last(users.delete(ADMIN, None).await.map(drop)));
    assert!(is_last(users.update(ADMIN, disable(), None, now()).await.map(drop)));
    assert!(is_last(users.update(ADMIN, roles(&[Role::Editor]), None, now()).await.map(drop)));
    // Another one may take the place; a disabled one may go.
    users.update("ann", roles(&[Role::Admin]), None, now()).await.unwrap();
    users.delete("off", None).await.unwrap();
    users.delete(ADMIN, None).await.unwrap();
    assert!(is_last(users.delete("ann", None).await.map(drop)));
}

#[tokio::test]
async fn two_servers_do_not_take_the_last_two_administrators_at_once() {
    for round in 0..8 {
        let world = World::new();
        let (here, there) = (world.users(), world.users());
        here.create(somebody("ann", &[Role::Admin]), now()).await.unwrap();
        here.create(somebody("bob", &[Role::Admin]), now()).await.unwrap();
        let (ann, bob) = tokio::join!(here.delete("ann", None), there.update("bob", disable(), None, now()));
        assert_ne!(ann.is_ok(), bob.is_ok(), "round {round}: {ann:?} {bob:?}");
        let left = here.list().await.unwrap();
        assert_eq!(left.iter().filter(|user| user.value.is_working_admin()).count(), 1);
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_trouble_and_no_refusal() {
    let world = World::new();
    let users = world.users();
    users.create(somebody("ann", &[Role::Admin]), now()).await.unwrap();
    world.faulty.set(Faults::DOWN);
    let right = secret("correct horse");
    assert!(matches!(users.verify("ann", &right, true).await, Err(UserError::Read(_))));
    assert!(matches!(users.delete("ann", None).await, Err(UserError::Read(_))));
    world.faulty.set(Faults::NONE);
    assert!(users.verify("ann", &right, true).await.unwrap().is_some());
}
