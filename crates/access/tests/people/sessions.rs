use std::time::Duration;

use fleet_access::documents::{SIGN_INS, User};
use fleet_access::rights::Role;
use fleet_access::sessions::{
    NewSession, RENEW_EVERY, SessionOptions, Sessions, Whose, csrf_token, fits, is_csrf_token,
};
use fleet_access::users::UserChange;
use fleet_store::decorate::Faults;
use fleet_store::{Expect, ListRequest, Write};

use crate::{World, now, somebody};

const HOUR: Duration = Duration::from_secs(3600);

async fn user(world: &World, name: &str) -> User {
    world.users().create(somebody(name, &[Role::Viewer]), now()).await.unwrap().value
}

fn sessions(world: &World) -> Sessions {
    Sessions::new(&world.store, SessionOptions::default())
}

async fn begin(sessions: &Sessions, user: &User, later: Duration) -> NewSession {
    sessions.create(Whose::User(user), "192.0.2.7", now() + later).await.unwrap()
}

async fn is_there(sessions: &Sessions, session: &NewSession, later: Duration) -> bool {
    sessions.find(session.token.reveal(), now() + later).await.unwrap().is_some()
}

#[tokio::test]
async fn every_server_knows_a_session_until_it_is_signed_out() {
    let world = World::new();
    let (here, there) = (sessions(&world), sessions(&world));
    let ann = user(&world, "ann").await;
    let session = begin(&here, &ann, Duration::ZERO).await;
    let found = there.find(session.token.reveal(), now()).await.unwrap().unwrap();
    assert_eq!(found, session.document);
    assert!(fits(&found, &ann));
    there.end(session.token.reveal()).await.unwrap();
    assert!(!is_there(&here, &session, Duration::ZERO).await);
    here.end(session.token.reveal()).await.unwrap();
}

#[tokio::test]
async fn what_is_stored_is_no_way_in() {
    let world = World::new();
    let sessions = sessions(&world);
    let session = begin(&sessions, &user(&world, "ann").await, Duration::ZERO).await;
    let token = session.token.reveal();
    let stored = world.store.list(&SIGN_INS, ListRequest::all()).await.unwrap().documents;
    let text = format!("{} {}", stored[0].id, std::str::from_utf8(&stored[0].body).unwrap());
    assert!(!text.contains(token) && !text.contains(csrf_token(token).reveal()), "{text}");
    for forged in ["", stored[0].id.as_str(), &token[1..], &"0".repeat(43)] {
        assert!(sessions.find(forged, now()).await.unwrap().is_none(), "{forged}");
    }
}

#[tokio::test]
async fn the_token_against_forged_requests_is_that_of_its_session() {
    let world = World::new();
    let sessions = sessions(&world);
    let ann = user(&world, "ann").await;
    let (one, other) =
        (begin(&sessions, &ann, Duration::ZERO).await, begin(&sessions, &ann, Duration::ZERO).await);
    let (one, other) = (one.token.reveal(), other.token.reveal());
    assert!(is_csrf_token(one, csrf_token(one).reveal()));
    assert!(!is_csrf_token(other, csrf_token(one).reveal()));
    assert!(!is_csrf_token(one, "") && !is_csrf_token(one, one));
}

#[tokio::test]
async fn a_session_ends_when_it_is_not_used_and_at_its_end_in_any_case() {
    let world = World::new();
    let sessions = sessions(&world);
    let ann = user(&world, "ann").await;
    let unused = begin(&sessions, &ann, Duration::ZERO).await;
    assert!(!is_there(&sessions, &unused, 8 * HOUR).await);
    let used = begin(&sessions, &ann, Duration::ZERO).await;
    for hour in (7..168).step_by(7) {
        assert!(is_there(&sessions, &used, hour * HOUR).await, "{hour}");
    }
    assert!(!is_there(&sessions, &used, 168 * HOUR).await);
}

#[tokio::test]
async fn that_it_is_used_is_written_now_and_then() {
    let world = World::new();
    let sessions = sessions(&world);
    let session = begin(&sessions, &user(&world, "ann").await, Duration::ZERO).await;
    let revision = async || {
        let documents = world.store.list(&SIGN_INS, ListRequest::all()).await.unwrap().documents;
        documents[0].revision
    };
    let first = revision().await;
    let almost = RENEW_EVERY - Duration::from_secs(1);
    assert!(is_there(&sessions, &session, almost).await);
    assert_eq!(revision().await, first);
    assert!(is_there(&sessions, &session, RENEW_EVERY).await);
    assert!(revision().await > first);
}

#[tokio::test]
async fn a_session_that_cannot_be_renewed_is_good_all_the_same() {
    let world = World::new();
    let sessions = sessions(&world);
    let session = begin(&sessions, &user(&world, "ann").await, Duration::ZERO).await;
    let mut seen = 0;
    for _ in 0..64 {
        // Reads succeed now and then; whether the write after one does must not matter.
        world.faulty.set(Faults { refused: 0.5, ..Faults::NONE });
        let found = sessions.find(session.token.reveal(), now() + 2 * HOUR).await;
        world.faulty.set(Faults::NONE);
        if let Ok(found) = found {
            assert!(found.is_some());
            seen += 1;
        }
    }
    assert!(seen > 0);
}

#[tokio::test]
async fn a_change_of_the_user_ends_what_began_before_it() {
    let world = World::new();
    let (users, sessions) = (world.users(), sessions(&world));
    let ann = user(&world, "ann").await;
    let before = begin(&sessions, &ann, Duration::ZERO).await.document;
    let change = UserChange { roles: Some([Role::Editor].into()), ..UserChange::default() };
    let changed = users.update("ann", change, None, now()).await.unwrap().value;
    assert!(!fits(&before, &changed));
    let after = begin(&sessions, &changed, Duration::ZERO).await.document;
    assert!(fits(&after, &changed));
    // Somebody else of the same name is somebody else.
    users.delete("ann", None).await.unwrap();
    assert!(!fits(&after, &user(&world, "ann").await));
    assert!(!fits(&after, &user(&world, "bob").await));
}

#[tokio::test]
async fn the_oldest_of_too_many_gives_way() {
    let world = World::new();
    let options = SessionOptions { most_per_user: 3, ..SessionOptions::default() };
    let sessions = Sessions::new(&world.store, options);
    let ann = user(&world, "ann").await;
    let other = begin(&sessions, &user(&world, "bob").await, Duration::ZERO).await;
    let mut all = Vec::new();
    for hour in 0..5 {
        all.push(begin(&sessions, &ann, hour * HOUR).await);
    }
    let mut left = Vec::new();
    for session in &all {
        left.push(is_there(&sessions, session, 5 * HOUR).await);
    }
    assert_eq!(left, [false, false, true, true, true]);
    assert!(is_there(&sessions, &other, 5 * HOUR).await);
    assert_eq!(sessions.end_all_of("ann").await.unwrap(), 3);
    assert!(!is_there(&sessions, &all[4], 5 * HOUR).await);
    assert!(is_there(&sessions, &other, 5 * HOUR).await);
}

#[tokio::test]
async fn what_is_over_is_removed_and_what_cannot_be_read_too() {
    let world = World::new();
    let sessions = sessions(&world);
    let ann = user(&world, "ann").await;
    begin(&sessions, &ann, Duration::ZERO).await;
    let young = begin(&sessions, &ann, HOUR).await;
    let garbage = Write::put("garbage", Expect::Absent, "{}");
    world.store.write(&SIGN_INS, garbage, None).await.unwrap();
    assert_eq!(sessions.remove_expired(now() + 8 * HOUR).await.unwrap(), 2);
    assert!(is_there(&sessions, &young, 8 * HOUR).await);
    assert_eq!(world.store.list(&SIGN_INS, ListRequest::all()).await.unwrap().documents.len(), 1);
}

#[tokio::test]
async fn somebody_whom_a_provider_vouches_for_brings_the_roles_along() {
    let world = World::new();
    let sessions = sessions(&world);
    let roles = [Role::Editor].into();
    let whose = Whose::Provided { name: "oidc:ann", roles: &roles };
    let session = sessions.create(whose, "::1", now()).await.unwrap();
    let found = sessions.find(session.token.reveal(), now()).await.unwrap().unwrap();
    assert_eq!((found.roles, found.stamp), (roles, None));
}
