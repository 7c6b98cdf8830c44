//! What servers of one store share: keyring, authority, signing key.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleet_access::authority::Authority;
use fleet_access::documents::{AUTHORITY, KEYRING, SIGNING_KEY};
use fleet_access::master_key::MasterKey;
use fleet_access::seal::{Context, Keyring, KeyringError, OpenError, Sealed};
use fleet_access::signer::{Signer, SignerError};
use fleet_access::timestamp::Timestamp;
use fleet_store::decorate::{Faults, Faulty, Metered, Operation};
use fleet_store::embedded::Embedded;
use fleet_store::{Expect, ListRequest, Store, Write};

struct World {
    directory: tempfile::TempDir,
    store: Arc<dyn Store>,
    master: MasterKey,
}

fn world() -> World {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(Embedded::open(&directory.path().join("store.db")).unwrap());
    World { directory, store, master: MasterKey::generate().unwrap() }
}

impl World {
    async fn keyring(&self) -> Keyring {
        Keyring::open(Arc::clone(&self.store), self.master.clone()).await.unwrap()
    }

    /// All that is stored, as text.
    async fn stored(&self) -> String {
        let mut text = String::new();
        for collection in [&KEYRING, &AUTHORITY, &SIGNING_KEY] {
            for document in self.store.list(collection, ListRequest::all()).await.unwrap().documents {
                text.push_str(std::str::from_utf8(&document.body).unwrap());
            }
        }
        text
    }
}

const PLACE: Context<'static> = Context { collection: "secrets", id: "7", field: "value" };

#[tokio::test]
async fn what_is_sealed_opens_in_its_place_alone() {
    let keyring = world().keyring().await;
    let sealed = keyring.seal(PLACE, b"hunter2").unwrap();
    assert_ne!(sealed, keyring.seal(PLACE, b"hunter2").unwrap());
    assert_eq!(keyring.unseal_text(PLACE, &sealed).unwrap().reveal(), "hunter2");
    for other in [
        Context { collection: "secretz", ..PLACE },
        Context { id: "8", ..PLACE },
        Context { field: "values", ..PLACE },
        Context { id: "7v", field: "alue", ..PLACE },
    ] {
        assert!(matches!(keyring.unseal(other, &sealed), Err(OpenError::Broken { .. })));
    }
}

#[tokio::test]
async fn what_was_changed_does_not_open() {
    let keyring = world().keyring().await;
    let sealed = keyring.seal(PLACE, b"hunter2").unwrap();
    let json = serde_json::to_string(&sealed).unwrap();
    assert!(!json.contains("hunter2"));
    for index in 3..json.len() - 1 {
        let mut bytes = json.clone().into_bytes();
        bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
        let changed: Sealed = serde_json::from_slice(&bytes).unwrap();
        assert!(keyring.unseal(PLACE, &changed).is_err(), "{index}");
    }
    for text in ["", "1.", "1..", "2.a.b", "plain"] {
        let changed: Sealed = serde_json::from_value(text.into()).unwrap();
        assert!(keyring.unseal(PLACE, &changed).is_err(), "{text}");
    }
}

#[tokio::test]
async fn another_master_key_does_not_fit_and_says_so() {
    let world = world();
    let sealed = world.keyring().await.seal(PLACE, b"x").unwrap();
    let other = MasterKey::generate().unwrap();
    let error = Keyring::open(Arc::clone(&world.store), other.clone()).await.unwrap_err();
    assert!(matches!(error, KeyringError::MasterKeyDoesNotFit { .. }));
    let text = error.to_string();
    assert!(text.contains(&world.master.id()) && text.contains(&other.id()), "{text}");
    // It was not replaced either.
    assert_eq!(*world.keyring().await.unseal(PLACE, &sealed).unwrap(), *b"x");
}

#[tokio::test]
async fn a_new_data_key_reaches_other_servers_and_leaves_the_old_readable() {
    let world = world();
    let (one, two) = (world.keyring().await, world.keyring().await);
    let old = one.seal(PLACE, b"old").unwrap();
    let key_id = one.rotate().await.unwrap();
    let new = one.seal(PLACE, b"new").unwrap();
    assert_eq!(new.key_id(), Some(key_id.as_str()));
    assert_ne!(old.key_id(), new.key_id());

    assert!(matches!(two.unseal(PLACE, &new), Err(OpenError::UnknownKey { .. })));
    assert_eq!(*two.unseal_fresh(PLACE, &new).await.unwrap(), *b"new");
    assert_eq!(two.seal(PLACE, b"").unwrap().key_id(), Some(key_id.as_str()));
    let three = world.keyring().await;
    for keyring in [one, two, three] {
        assert_eq!(*keyring.unseal(PLACE, &old).unwrap(), *b"old");
        assert_eq!(*keyring.unseal(PLACE, &new).unwrap(), *b"new");
    }
}

#[tokio::test]
async fn concurrent_rotations_lose_no_key() {
    let world = world();
    let (one, two) = (world.keyring().await, world.keyring().await);
    let (first, second) = tokio::join!(one.rotate(), two.rotate());
    assert_ne!(first.unwrap(), second.unwrap());
    let sealed = [one.seal(PLACE, b"1").unwrap(), two.seal(PLACE, b"2").unwrap()];
    let three = world.keyring().await;
    assert_eq!(*three.unseal(PLACE, &sealed[0]).unwrap(), *b"1");
    assert_eq!(*three.unseal(PLACE, &sealed[1]).unwrap(), *b"2");
}

#[tokio::test]
async fn the_master_key_can_be_changed() {
    let world = world();
    let (one, two) = (world.keyring().await, world.keyring().await);
    let sealed = one.seal(PLACE, b"x").unwrap();
    let new = MasterKey::generate().unwrap();
    one.change_master_key(new.clone()).await.unwrap();

    let again = Keyring::open(Arc::clone(&world.store), new).await.unwrap();
    for keyring in [&one, &two, &again] {
        assert_eq!(*keyring.unseal(PLACE, &sealed).unwrap(), *b"x");
    }
    one.rotate().await.unwrap();
    let old = Keyring::open(Arc::clone(&world.store), world.master.clone()).await;
    assert!(matches!(old, Err(KeyringError::MasterKeyDoesNotFit { .. })));
    // A server that runs with the old one goes on, and does not write with it.
    assert!(matches!(two.rotate().await, Err(KeyringError::MasterKeyDoesNotFit { .. })));
    assert_eq!(*two.unseal(PLACE, &sealed).unwrap(), *b"x");
}

#[tokio::test]
async fn a_damaged_data_key_is_named() {
    let world = world();
    let sealed = world.keyring().await.seal(PLACE, b"x").unwrap();
    let key_id = sealed.key_id().unwrap().to_owned();
    let document = world.store.get(&KEYRING, "all").await.unwrap().unwrap();
    let mut value: serde_json::Value = serde_json::from_slice(&document.body).unwrap();
    value["keys"][&key_id]["wrapped"] = "AAAA".into();
    let write = Write::put("all", Expect::Any, serde_json::to_vec(&value).unwrap());
    world.store.write(&KEYRING, write, None).await.unwrap();
    let error = Keyring::open(Arc::clone(&world.store), world.master.clone()).await.unwrap_err();
    assert!(error.to_string().contains(&key_id), "{error}");
}

/// Servers that start at the same time, each on a thread of its own.
fn race<T: Send + 'static>(world: &World, start: fn(Arc<dyn Store>, MasterKey) -> T) -> Vec<T> {
    let threads: Vec<_> = (0..6)
        .map(|_| {
            let (store, master) = (Arc::clone(&world.store), world.master.clone());
            std::thread::spawn(move || start(store, master))
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn servers_that_race_end_with_one_authority_and_one_signing_key() {
    let world = world();
    let started = race(&world, |store, master| {
        block_on(async {
            let keyring = Keyring::open(Arc::clone(&store), master).await.unwrap();
            let authority = Authority::open(Arc::clone(&store), &keyring).await.unwrap();
            let signer = Signer::open(store, &keyring).await.unwrap();
            (authority.fingerprint().to_owned(), signer.keys().public_key().to_owned())
        })
    });
    assert!(started.iter().all(|server| server == &started[0]), "{started:?}");
    let stored = block_on(world.stored());
    assert_eq!(stored.matches("BEGIN CERTIFICATE").count(), 1);
    assert!(!stored.contains("PRIVATE"));
    // And it is the same after a restart.
    let World { directory, store, master } = world;
    drop(store);
    let store: Arc<dyn Store> = Arc::new(Embedded::open(&directory.path().join("store.db")).unwrap());
    let again = block_on(async {
        let keyring = Keyring::open(Arc::clone(&store), master).await.unwrap();
        Authority::open(Arc::clone(&store), &keyring).await.unwrap()
    });
    assert_eq!(again.fingerprint(), started[0].0);
}

#[tokio::test]
async fn servers_over_a_store_that_loses_answers_end_with_one_authority() {
    for seed in 0..20 {
        let world = world();
        let (one, two) = (flaky_server(&world, 2 * seed), flaky_server(&world, 2 * seed + 1));
        let (one, two) = tokio::join!(one, two);
        assert_eq!(one, two, "seed {seed}");
        let calm = world.keyring().await;
        let authority = Authority::open(Arc::clone(&world.store), &calm).await.unwrap();
        assert_eq!(Some(authority.fingerprint()), one.as_deref(), "seed {seed}");
    }
}

/// Starts a server again and again until it runs; its store refuses and loses every third call. What it sealed
/// on the way can be read by all.
async fn flaky_server(world: &World, seed: u64) -> Option<String> {
    let faults = Faults { refused: 0.1, request_lost: 0.1, answer_lost: 0.15, ..Faults::NONE };
    let store: Arc<dyn Store> = Arc::new(Faulty::new(Arc::clone(&world.store), seed, faults));
    for _ in 0..1000 {
        let Ok(keyring) = Keyring::open(Arc::clone(&store), world.master.clone()).await else { continue };
        if keyring.rotate().await.is_err() {
            continue;
        }
        let sealed = keyring.seal(PLACE, b"x").unwrap();
        let Ok(authority) = Authority::open(Arc::clone(&store), &keyring).await else { continue };
        assert_eq!(*world.keyring().await.unseal(PLACE, &sealed).unwrap(), *b"x");
        return Some(authority.fingerprint().to_owned());
    }
    None
}

#[tokio::test]
async fn an_unknown_data_key_is_looked_for_once_a_second_at_most() {
    let world = world();
    let calls = Arc::new(AtomicUsize::new(0));
    let observer = {
        let calls = Arc::clone(&calls);
        move |_: Operation, _: Duration, _: bool| {
            calls.fetch_add(1, Ordering::Relaxed);
        }
    };
    let store: Arc<dyn Store> = Arc::new(Metered::new(Arc::clone(&world.store), Arc::new(observer)));
    let keyring = Keyring::open(store, world.master.clone()).await.unwrap();
    let stray: Sealed = serde_json::from_value("1.feedfeedfeedfeed.AAAA".into()).unwrap();
    let (before, begun) = (calls.load(Ordering::Relaxed), Instant::now());
    for _ in 0..1000 {
        let opened = keyring.unseal_fresh(PLACE, &stray).await;
        assert!(matches!(opened, Err(OpenError::UnknownKey { .. })));
    }
    let looks = calls.load(Ordering::Relaxed) - before;
    assert!((1..=1 + begun.elapsed().as_secs() as usize).contains(&looks), "{looks}");
}

#[tokio::test]
async fn a_signature_is_verified_with_the_public_key_as_agents_get_it() {
    let world = world();
    let keyring = world.keyring().await;
    let signer = Signer::open(Arc::clone(&world.store), &keyring).await.unwrap();
    let signature = STANDARD.decode(signer.keys().sign(b"what was said").unwrap()).unwrap();
    let spki = STANDARD.decode(signer.keys().public_key()).unwrap();
    let (rest, key) =
        <x509_parser::x509::SubjectPublicKeyInfo<'_> as x509_parser::prelude::FromDer<_>>::from_der(&spki)
            .unwrap();
    assert!(rest.is_empty());
    assert_eq!(key.algorithm.algorithm, x509_parser::oid_registry::OID_KEY_TYPE_EC_PUBLIC_KEY);
    let public = ring::signature::UnparsedPublicKey::new(
        &ring::signature::ECDSA_P256_SHA256_ASN1,
        &*key.subject_public_key.data,
    );
    assert!(public.verify(b"what was said", &signature).is_ok());
    assert!(public.verify(b"what was not", &signature).is_err());
    let key = serde_json::from_slice::<serde_json::Value>(
        &world.store.get(&SIGNING_KEY, "current").await.unwrap().unwrap().body,
    )
    .unwrap();
    assert_eq!(key["public_key"], signer.keys().public_key());
}

#[tokio::test]
async fn a_new_signing_key_stands_beside_the_one_before_until_that_is_retired() {
    let world = world();
    let keyring = world.keyring().await;
    let signer = Signer::open(Arc::clone(&world.store), &keyring).await.unwrap();
    let other = Signer::open(Arc::clone(&world.store), &keyring).await.unwrap();
    let first = other.keys().public_key().to_owned();
    let old = other.keys().sign(b"said").unwrap();
    let now = Timestamp::from_unix(1_800_000_000);
    let (before, after) = signer.rotate(false, now).await.unwrap();
    assert_eq!((before.public_key(), after.previous_public_key()), (&*first, Some(&*first)));
    assert_ne!(after.public_key(), first);
    // Another server learns of it when it looks, and can sign for those who know the old key alone.
    assert_eq!(other.keys().rotations(), 0);
    let keys = other.refresh().await.unwrap();
    assert_eq!((keys.public_key(), keys.rotations()), (after.public_key(), 1));
    assert_eq!(keys.signed_by(b"said", &keys.sign_for(&first, b"said").unwrap()), Some(&*first));
    let both = [keys.sign(b"said").unwrap(), keys.sign_as_before(b"said").unwrap().unwrap()];
    assert_eq!(keys.signed_by(b"said", &both[0]), Some(after.public_key()));
    assert_eq!(keys.signed_by(b"said", &both[1]), Some(&*first));
    assert_eq!(keys.signed_by(b"not said", &both[1]), None);
    // One change at a time, unless somebody gives up who knows the old key alone.
    assert!(matches!(other.rotate(false, now).await, Err(SignerError::Unfinished(at)) if at == now));
    let lease = world.store.grant(std::time::Duration::from_secs(60)).await.unwrap().id;
    other.retire("another", lease).await.unwrap();
    assert_eq!(other.keys().previous_public_key(), Some(&*first));
    other.retire(&first, lease).await.unwrap();
    let keys = signer.refresh().await.unwrap();
    assert_eq!((keys.public_key(), keys.previous_public_key()), (after.public_key(), None));
    // What it signed is known as such all the same.
    assert_eq!(keys.signed_by(b"said", &old), Some(&*first));
    assert!(keys.sign_as_before(b"said").unwrap().is_none());
    signer.rotate(false, now).await.unwrap();
    assert_eq!(signer.rotate(true, now).await.unwrap().1.rotations(), 3);
}
