use fleet_store::Scope;
use fleet_store::embedded::Embedded;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::*;

fn open() -> (TempDir, DeployedPolicies) {
    let directory = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(Embedded::open(&directory.path().join("store")).unwrap());
    (directory, DeployedPolicies::new(&store))
}

/// A policy of about so many bytes, which hardly compress.
fn policy(revision_idx: u64, bytes: usize) -> DeployedPolicy {
    let noise =
        (0_u64..).map(|number| hex::encode(digest(&SHA256, &(number + revision_idx).to_le_bytes()).as_ref()));
    let inputs: Vec<Value> = noise.take(bytes / 64).map(|id| json!({ "id": id })).collect();
    DeployedPolicy {
        policy_id: "web".to_owned(),
        revision_idx,
        unenroll_timeout: Some(7),
        data: Map::from_iter([("inputs".to_owned(), inputs.into())]),
        ..DeployedPolicy::default()
    }
}

async fn parts(policies: &DeployedPolicies) -> Vec<String> {
    let page = policies.heads().store().list(&POLICY_PARTS, ListRequest::all()).await.unwrap();
    page.documents.into_iter().map(|document| document.id).collect()
}

#[tokio::test]
async fn a_policy_that_is_larger_than_a_document_is_read_as_it_was_written() {
    let (_directory, policies) = open();
    let (small, large, larger) = (policy(1, 1000), policy(2, 3 << 20), policy(3, 5 << 20));
    policies.put("web", &small, None).await.unwrap();
    assert!(parts(&policies).await.is_empty());
    for next in [&large, &larger] {
        let before = policies.get("web").await.unwrap();
        policies.put("web", next, before.as_ref()).await.unwrap();
        let found = policies.get("web").await.unwrap().unwrap().value;
        assert_eq!((found.revision_idx, &found.data), (next.revision_idx, &next.data));
        let kept = parts(&policies).await;
        let own = format!("web/{:010}/", next.revision_idx);
        assert!(kept.len() > 1 && kept.iter().all(|part| part.starts_with(&own)), "{kept:?}");
    }
    let heads = policies.heads().list(Scope::All).await.unwrap();
    assert_eq!(heads.values[0].value.unenroll_timeout, Some(7));

    let before = policies.get("web").await.unwrap();
    policies.put("web", &policy(4, 1000), before.as_ref()).await.unwrap();
    assert!(parts(&policies).await.is_empty(), "a policy that has become small has none");
    let before = policies.get("web").await.unwrap();
    policies.put("web", &policy(5, 3 << 20), before.as_ref()).await.unwrap();
    policies.delete("web").await.unwrap();
    assert!(policies.get("web").await.unwrap().is_none());
    assert!(parts(&policies).await.is_empty());
}

#[tokio::test]
async fn whoever_is_slower_leaves_what_is_out_as_it_is() {
    let (_directory, policies) = open();
    policies.put("web", &policy(1, 3 << 20), None).await.unwrap();
    let seen = policies.heads().get("web").await.unwrap().unwrap();
    let before = policies.get("web").await.unwrap();
    policies.put("web", &policy(2, 3 << 20), before.as_ref()).await.unwrap();
    let late = policies.put("web", &policy(1, 2 << 20), before.as_ref()).await;
    assert!(matches!(late, Err(WriteError::Conflict { .. })), "{late:?}");
    // Who saw the head before reads what took its place.
    let read = policies.whole(seen).await.unwrap().unwrap();
    assert_eq!(read.value.data, policy(2, 3 << 20).data);
    // What was left behind goes with the next revision.
    let before = policies.get("web").await.unwrap();
    policies.put("web", &policy(3, 3 << 20), before.as_ref()).await.unwrap();
    let kept = parts(&policies).await;
    assert!(kept.iter().all(|part| part.starts_with("web/0000000003/")), "{kept:?}");
}

#[tokio::test]
async fn parts_that_are_not_whole_are_no_policy() {
    let (_directory, policies) = open();
    policies.put("web", &policy(1, 3 << 20), None).await.unwrap();
    let first = parts(&policies).await.remove(0);
    let store = policies.heads().store();
    let broken = Write::put(first.as_str(), Expect::Any, encode_part(b"something else"));
    store.write(&POLICY_PARTS, broken, None).await.unwrap();
    assert_eq!(policies.get("web").await.unwrap_err().kind, ErrorKind::Corrupt);
    store.write(&POLICY_PARTS, Write::delete(first, Expect::Any), None).await.unwrap();
    assert_eq!(policies.get("web").await.unwrap_err().kind, ErrorKind::Corrupt);

    let refused = policies.put("web", &policy(2, LARGEST_POLICY + 1), None).await.unwrap_err();
    let WriteError::NotDone(error) = refused else { panic!("{refused:?}") };
    assert!(error.kind == ErrorKind::Invalid && error.message.contains("web"), "{error}");
}
