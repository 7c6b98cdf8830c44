//! Makers of objects of one name, who are cut off at any moment.

use std::collections::HashMap;

use fleet_store::embedded::Embedded;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

static OBJECTS: Collection = Collection { name: "objects", indexed: &[] };

struct Called<'a> {
    objects: Typed<Value>,
    name: &'a str,
}

#[async_trait::async_trait]
impl Owners for Called<'_> {
    async fn has(&self, id: &str) -> Result<bool, Error> {
        let found = self.objects.get(id).await?;
        Ok(found.is_some_and(|found| found.value["name"] == self.name))
    }
}

struct World {
    store: Arc<dyn Store>,
    _directory: TempDir,
}

impl World {
    fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(Embedded::open(&directory.path().join("store")).unwrap());
        World { store, _directory: directory }
    }

    fn objects(&self) -> Typed<Value> {
        Typed::new(Arc::clone(&self.store), &OBJECTS)
    }

    async fn take(&self, name: &str, owner: &str, now: u64) -> Result<Taken, ClaimError> {
        let mut taken = Taken::nothing(&self.store, at(now)).await?;
        taken.take("object", name, owner, &Called { objects: self.objects(), name }).await.map(|()| taken)
    }

    async fn write(&self, taken: &Taken, id: &str, name: &str) -> Result<Revision, WriteError> {
        self.objects().put(id, &json!({"name": name}), Expect::Any, None, Some(taken.lease())).await
    }
}

fn at(seconds: u64) -> Timestamp {
    "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + Duration::from_secs(seconds)
}

#[tokio::test]
async fn one_of_two_gets_a_name() {
    let world = World::new();
    let first = world.take("web", "a", 0).await.unwrap();
    assert!(matches!(world.take("web", "b", 1).await, Err(ClaimError::Pending)));
    world.write(&first, "a", "web").await.unwrap();
    first.settle().await;
    assert!(matches!(world.take("web", "b", 2).await, Err(ClaimError::Taken(owner)) if owner == "a"));
    // Renamed: the name is free, whether that was told or not.
    let renamed = world.take("www", "a", 3).await.unwrap();
    world.write(&renamed, "a", "www").await.unwrap();
    renamed.settle().await;
    let second = world.take("web", "b", 4).await.unwrap();
    world.write(&second, "b", "web").await.unwrap();
    second.settle().await;
    release(&world.store, "object", "web", "a").await.unwrap();
    assert!(matches!(world.take("web", "c", 5).await, Err(ClaimError::Taken(owner)) if owner == "b"));
}

#[tokio::test]
async fn who_comes_too_late_writes_nothing() {
    let world = World::new();
    let slow = world.take("web", "a", 0).await.unwrap();
    assert!(matches!(world.take("web", "b", 19).await, Err(ClaimError::Pending)));
    let fast = world.take("web", "b", 21).await.unwrap();
    assert!(matches!(world.write(&slow, "a", "web").await, Err(WriteError::LeaseLost)));
    world.write(&fast, "b", "web").await.unwrap();
    slow.settle().await;
    fast.settle().await;
    assert!(matches!(world.take("web", "a", 22).await, Err(ClaimError::Taken(owner)) if owner == "b"));
}

#[tokio::test]
async fn a_name_that_was_left_is_free_at_once() {
    let world = World::new();
    world.take("web", "a", 0).await.unwrap().leave().await;
    world.take("web", "b", 0).await.unwrap().leave().await;
}

#[tokio::test]
async fn makers_that_are_cut_off_at_any_moment_never_share_a_name() {
    for seed in 0..20 {
        let world = World::new();
        let mut random = StdRng::seed_from_u64(seed);
        let mut now = 0;
        let mut asleep: Vec<(Taken, String, String)> = Vec::new();
        for step in 0..60 {
            now += random.random_range(0..8);
            let (id, name) =
                (format!("o{}", random.random_range(0..6)), format!("n{}", random.random_range(0..3)));
            if let Ok(taken) = world.take(&name, &id, now).await {
                match random.random_range(0..4) {
                    // Cut off before it is written; it may wake up later.
                    0 => asleep.push((taken, id, name)),
                    // Cut off after it is written.
                    1 => drop(world.write(&taken, &id, &name).await),
                    2 => taken.leave().await,
                    _ => {
                        if world.write(&taken, &id, &name).await.is_ok() {
                            taken.settle().await;
                        }
                    }
                }
            }
            if !asleep.is_empty() && random.random_bool(0.3) {
                let (taken, id, name) = asleep.swap_remove(random.random_range(0..asleep.len()));
                if world.write(&taken, &id, &name).await.is_ok() {
                    taken.settle().await;
                }
            }
            let mut owners: HashMap<String, String> = HashMap::new();
            for found in world.objects().list(fleet_store::Scope::All).await.unwrap().values {
                let name = found.value["name"].as_str().unwrap().to_owned();
                let other = owners.insert(name.clone(), found.id.clone());
                assert_eq!(other, None, "seed {seed}, step {step}: {name} is that of {} too", found.id);
            }
        }
    }
}
