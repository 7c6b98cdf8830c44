use std::io::Read;

use flate2::read::ZlibDecoder;
use fleet_store::decorate::{Faults, Faulty};
use fleet_store::embedded::Embedded;
use fleet_store::{Expect, Write};
use futures_util::future::join_all;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::timestamp::Timestamp;

fn open() -> (TempDir, Artifacts) {
    let directory = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(Embedded::open(&directory.path().join("store")).unwrap());
    (directory, Artifacts::new(&store, 1 << 20, Duration::from_secs(60)))
}

fn make(decoded: impl Into<Bytes>) -> Make {
    Make {
        identifier: "list-v1".to_owned(),
        kind: "list".to_owned(),
        decoded: decoded.into(),
        ..Make::default()
    }
}

/// Bytes that hardly compress.
fn noise(size: usize) -> Vec<u8> {
    let blocks = (0_u64..).map(|number| digest(&SHA256, &number.to_le_bytes()));
    blocks.flat_map(|block| block.as_ref().to_vec()).take(size).collect()
}

async fn made(artifacts: &Artifacts, decoded: &[u8]) -> (String, Artifact) {
    let artifact = artifacts.make(make(decoded.to_vec()), Timestamp::from_unix(0)).await.unwrap();
    (Artifact::id(&artifact.identifier, &artifact.decoded_sha256), artifact)
}

#[tokio::test]
async fn what_is_made_is_sent_compressed() {
    let (_directory, artifacts) = open();
    for (decoded, parts) in [(b"{}".to_vec(), 0), (noise(2_000_000), 4)] {
        let (id, artifact) = made(&artifacts, &decoded).await;
        assert_eq!((artifact.parts, artifact.body.is_some()), (parts, parts == 0));
        let encoded = artifacts.get(&id).await.unwrap().unwrap();
        assert_eq!(encoded.len() as u64, artifact.encoded_size);
        let mut unpacked = Vec::new();
        ZlibDecoder::new(&*encoded).read_to_end(&mut unpacked).unwrap();
        assert!(unpacked == decoded);
        assert_eq!(made(&artifacts, &decoded).await.1, artifact, "it stays");
        assert!(artifacts.remove(&id).await.unwrap() && !artifacts.remove(&id).await.unwrap());
        assert!(artifacts.get(&id).await.unwrap().is_none());
    }
    assert!(artifacts.loads().is_empty());
}

#[tokio::test]
async fn all_who_wait_share_one_load() {
    let (_directory, artifacts) = open();
    // Too large for the cache.
    let (id, _) = made(&artifacts, &noise(2_000_000)).await;
    // More than are loaded at a time. The store is slow, so that all begin before any ends.
    let slow = Faults { delayed: 1.0, longest_delay: Duration::from_millis(50), ..Faults::NONE };
    let slow: Arc<dyn Store> = Arc::new(Faulty::new(Arc::clone(&artifacts.store), 1, slow));
    let artifacts = Artifacts::new(&slow, 1 << 20, Duration::from_secs(60));
    let loaded = join_all((0..20).map(|_| artifacts.get(&id))).await;
    let first = loaded[0].as_ref().unwrap().as_ref().unwrap().as_ptr();
    assert!(loaded.iter().all(|load| load.as_ref().unwrap().as_ref().unwrap().as_ptr() == first));
    assert!(artifacts.loads().is_empty());
}

#[tokio::test]
async fn only_a_few_are_loaded_at_a_time() {
    let (_directory, artifacts) = open();
    let mut ids = Vec::new();
    for number in 0..=LOADED_TOGETHER {
        ids.push(made(&artifacts, format!("artifact {number}").as_bytes()).await.0);
    }
    let places = artifacts.places.try_acquire_many(u32::try_from(LOADED_TOGETHER).unwrap()).unwrap();
    assert!(matches!(artifacts.get(&ids[0]).await, Err(ArtifactError::Busy)));
    drop(places);
    assert!(artifacts.get(&ids[0]).await.unwrap().is_some());
    let _places = artifacts.places.try_acquire_many(u32::try_from(LOADED_TOGETHER).unwrap()).unwrap();
    assert!(artifacts.get(&ids[0]).await.unwrap().is_some(), "from the cache");
}

#[tokio::test]
async fn what_is_not_what_it_should_be_is_not_sent() {
    let (_directory, artifacts) = open();
    let (id, artifact) = made(&artifacts, b"right").await;
    let wrong = Artifact { body: Some(STANDARD.encode("wrong")), ..artifact };
    artifacts.artifacts.put(&id, &wrong, Expect::Any, None, None).await.unwrap();
    assert!(matches!(artifacts.get(&id).await, Err(ArtifactError::Corrupt(_))));
    let (id, artifact) = made(&artifacts, &noise(1_000_000)).await;
    let write = Write::delete(artifact.part_id(1), Expect::Any);
    artifacts.store.write(&ARTIFACT_PARTS, write, None).await.unwrap();
    assert!(matches!(artifacts.get(&id).await, Err(ArtifactError::Corrupt(_))));
}

#[test]
fn policies_name_artifacts() {
    let Value::Object(data) = json!({"inputs": [
        {"id": "x"},
        {"artifact_manifest": {"artifacts": {"a": {"decoded_sha256": "AB"}, "b": {}, "c": 5}}},
        {"artifact_manifest": {"artifacts": {"d": {"decoded_sha256": "cd"}}}},
    ]}) else {
        panic!("an object")
    };
    let named = named_by(&DeployedPolicy { data, ..DeployedPolicy::default() });
    assert_eq!(named.iter().map(|id| &**id).collect::<Vec<_>>(), ["a-ab", "d-cd"]);
    assert!(named_by(&DeployedPolicy::default()).is_empty());
}

#[test]
fn what_is_asked_for_has_a_form() {
    let sha = "ab".repeat(32);
    assert_eq!(checked_id("list-v1", &sha.to_ascii_uppercase()).unwrap(), format!("list-v1-{sha}"));
    for (identifier, sha) in [("", sha.as_str()), ("a/b", &sha), ("a%20", &sha), ("a", "x"), ("a", "")] {
        assert!(
            matches!(checked_id(identifier, sha), Err(ArtifactError::Invalid(_))),
            "{identifier:?} {sha:?}"
        );
    }
}
