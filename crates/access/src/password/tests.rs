use std::time::Duration;

use super::*;

fn passwords(workers: Workers) -> Passwords {
    let options = PasswordOptions { memory_kib: 64, passes: 1, ..PasswordOptions::default() };
    Passwords::new(options, workers).unwrap()
}

#[tokio::test]
async fn only_the_password_that_was_hashed_fits() {
    let passwords = passwords(Workers::new(1, 4));
    let right = generate().unwrap();
    let stored = passwords.hash(&right).await.unwrap();
    assert!(stored.as_str().starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{}", stored.as_str());
    for _ in 0..2 {
        assert!(passwords.verify("elastic", &right, Some(&stored)).await.unwrap());
        assert!(!passwords.verify("elastic", &Secret::new("wrong"), Some(&stored)).await.unwrap());
        assert!(!passwords.verify("elastic", &right, None).await.unwrap());
    }
    assert!(!passwords.verify("elastic", &Secret::new(""), Some(&stored)).await.unwrap());
    assert!(!passwords.verify("elastic", &Secret::new("x".repeat(2000)), Some(&stored)).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn what_was_verified_needs_no_worker_until_it_is_forgotten() {
    let workers = Workers::new(1, 0);
    let passwords = passwords(workers.clone());
    let (right, other) = (Secret::new("right"), Secret::new("other"));
    let stored = passwords.hash(&right).await.unwrap();
    let changed = passwords.hash(&other).await.unwrap();
    assert!(passwords.verify("u", &right, Some(&stored)).await.unwrap());

    // The only worker is taken until the end of this test.
    let (open, gate) = std::sync::mpsc::sync_channel::<()>(0);
    let (begun_in, begun) = tokio::sync::oneshot::channel();
    let task = tokio::spawn(async move {
        workers
            .run(move || {
                begun_in.send(()).unwrap();
                gate.recv()
            })
            .await
    });
    begun.await.unwrap();
    assert!(passwords.verify("u", &right, Some(&stored)).await.unwrap());
    let busy = |result| matches!(result, Err(PasswordError::Busy(_)));
    assert!(busy(passwords.verify("v", &right, Some(&stored)).await));
    assert!(busy(passwords.verify("u", &right, Some(&changed)).await));
    tokio::time::advance(Duration::from_secs(61)).await;
    assert!(busy(passwords.verify("u", &right, Some(&stored)).await));
    open.send(()).unwrap();
    assert!(task.await.unwrap().unwrap().is_ok());
}

#[test]
fn made_passwords_can_be_read_out() {
    let password = generate().unwrap();
    let groups: Vec<&str> = password.reveal().split('-').collect();
    assert_eq!(groups.len(), 4);
    assert!(groups.iter().all(|group| group.len() == 5));
    assert!(!password.reveal().contains(['0', 'o', '1', 'l', 'i']));
    assert_ne!(password, generate().unwrap());
}

#[test]
fn hashes_of_other_kinds_and_of_too_great_cost_are_refused() {
    let salt_and_key = "c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let parse = |start: &str| PasswordHash::parse(&format!("{start}${salt_and_key}")).is_ok();
    assert!(parse("$argon2id$v=19$m=64,t=1,p=1"));
    assert!(!parse("$argon2i$v=19$m=64,t=1,p=1"));
    assert!(!parse("$argon2id$v=19$m=1000000,t=1,p=1"));
    assert!(!parse("$argon2id$v=19$m=64,t=17,p=1"));
    assert!(!parse("$scrypt$ln=1,r=8,p=1"));
    assert!(PasswordHash::parse("$argon2id$v=19$m=64,t=1,p=1").is_err());
    assert!(PasswordHash::parse("").is_err());
    let json = serde_json::to_string(&PasswordHash("text".to_owned())).unwrap();
    assert!(serde_json::from_str::<PasswordHash>(&json).is_err());
}

#[test]
fn options_have_bounds() {
    for (memory_kib, passes) in [(1, 1), (64, 0), (64, 17), (MAX_MEMORY_KIB + 1, 1)] {
        let options = PasswordOptions { memory_kib, passes, ..PasswordOptions::default() };
        let error = Passwords::new(options, Workers::new(1, 1)).unwrap_err();
        assert!(matches!(error, PasswordError::Options { .. }), "{error}");
    }
}
