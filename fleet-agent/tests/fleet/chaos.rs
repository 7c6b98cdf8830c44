//! Agent, server and engine are killed at random while lines are written and their files rotated: each line is found.
//!
//! `FLEET_CHAOS_SECONDS` says for how long (40), `FLEET_CHAOS_SEED` which random choices are made (any; it is printed).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fleet_test_engine::Engine;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::server::Server;

/// Lines that are written each second.
const RATE: u64 = 2000;
/// A file is rotated after so many lines.
const ROTATED: u64 = 7000;
/// So many rotated files stay: what is older than some minutes is deleted, as it is anywhere.
const KEPT: usize = 80;
/// The longest time without a line more in the engine when nothing is killed any more.
const STALL_MAX: Duration = Duration::from_secs(120);
/// What a search answers at most.
const PAGE: u64 = 10_000;
const STREAM: &str = "logs-chaos-default";

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// A program that writes lines at a steady pace, and rotates its file.
struct Writer {
    thread: JoinHandle<()>,
    is_over: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
}

impl Writer {
    fn start(folder: &Path) -> Writer {
        let (is_over, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (folder, over, count) = (folder.to_owned(), Arc::clone(&is_over), Arc::clone(&written));
        let thread = std::thread::spawn(move || {
            let path = folder.join("app.log");
            let (began, mut number) = (Instant::now(), 0);
            let mut file = File::create(&path).expect("a file");
            let mut rotated: Vec<PathBuf> = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let due = began.elapsed().as_millis() as u64 * RATE / 1000;
                while number < due {
                    writeln!(
                        file,
                        r#"{{"number":{number},"text":"something happened, and it is told here"}}"#
                    )
                    .expect("written");
                    number += 1;
                    if number.is_multiple_of(ROTATED) {
                        let old = folder.join(format!("app.log.{:06}", number / ROTATED));
                        fs::rename(&path, &old).expect("renamed");
                        file = File::create(&path).expect("a file");
                        rotated.push(old);
                    }
                }
                count.store(number, Ordering::Relaxed);
                if rotated.len() > KEPT {
                    fs::remove_file(rotated.remove(0)).expect("removed");
                }
                std::thread::park_timeout(Duration::from_millis(10));
            }
        });
        Writer { thread, is_over, written }
    }

    /// Ends it. How many lines it has written.
    fn stop(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().expect("the writer");
        self.written.load(Ordering::Relaxed)
    }
}

fn overrides(logs: &Path, engine: &Engine) -> Value {
    json!({
        "outputs": {"default": {"hosts": [engine.url()], "backoff": {"init": "200ms", "max": "2s"}}},
        "inputs": [{
            "id": "chaos", "type": "filestream", "use_output": "default", "data_stream": {"namespace": "default"},
            "streams": [{
                "id": "chaos-1",
                "data_stream": {"dataset": "chaos", "type": "logs"},
                "paths": [logs.join("app.log"), logs.join("app.log.*")],
                "prospector": {"scanner": {"check_interval": "1s"}},
                "parsers": [{"ndjson": {"target": "json"}}],
            }],
        }],
    })
}

async fn template(engine: &Engine) {
    let template = json!({
        "index_patterns": ["logs-chaos-*"], "data_stream": {}, "priority": 100,
        "template": {
            "settings": {"number_of_replicas": 0},
            "mappings": {"properties": {"json": {"properties": {"number": {"type": "long"}}}}},
        },
    });
    engine.put("/_index_template/chaos", &template).await.unwrap().success().unwrap();
}

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    Agent,
    Server,
    Engine,
}

const VICTIMS: [Victim; 3] = [Victim::Agent, Victim::Server, Victim::Engine];

struct World {
    engine: Engine,
    server: Server,
    agent: Agent,
    random: StdRng,
    kills: BTreeMap<Victim, u32>,
}

impl World {
    /// Kills one, leaves it dead for a moment, and starts it again.
    async fn kill(&mut self, victim: Victim) {
        *self.kills.entry(victim).or_default() += 1;
        let away = Duration::from_millis(self.random.random_range(0..2500));
        match victim {
            Victim::Agent => self.agent.kill(),
            Victim::Server => self.server.kill(),
            Victim::Engine => self.engine.kill().await.expect("killed"),
        }
        tokio::time::sleep(away).await;
        match victim {
            Victim::Agent => self.agent.run(),
            Victim::Server => self.server.restart(),
            Victim::Engine => self.engine.restart().await.expect("the engine serves again"),
        }
    }

    async fn found(&self) -> u64 {
        self.engine.count(STREAM, &json!({"match_all": {}})).await.unwrap_or_default()
    }

    /// Waits until there are as many documents as lines; as long as it goes on.
    async fn await_lines(&self, written: u64) {
        let (mut last, mut progress) = (0, Instant::now());
        while last < written {
            let found = self.found().await;
            if found > last {
                (last, progress) = (found, Instant::now());
            }
            let log = || self.agent.log().lines().rev().take(20).collect::<Vec<_>>().join("\n");
            assert!(progress.elapsed() < STALL_MAX, "{last} of {written} lines, and no more:\n{}", log());
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// How often each line is in the engine.
    async fn counted(&self, written: u64) -> Vec<u8> {
        let mut counts = vec![0_u8; usize::try_from(written).expect("a count")];
        // Half of what an answer may have: room for lines that are there twice.
        for from in (0..written).step_by(PAGE as usize / 2) {
            let body = json!({
                "size": PAGE, "_source": false, "docvalue_fields": ["json.number"],
                "query": {"range": {"json.number": {"gte": from, "lt": from + PAGE / 2}}},
            });
            let answer = self.engine.post(&format!("/{STREAM}/_search"), &body).await.expect("an answer");
            let answer = answer.success().expect("found");
            for hit in answer["hits"]["hits"].as_array().expect("hits") {
                let number = hit["fields"]["json.number"][0].as_u64().expect("a number");
                counts[usize::try_from(number).expect("a place")] += 1;
            }
        }
        counts
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_line_is_missing_whoever_is_killed() {
    let seconds = from_env("FLEET_CHAOS_SECONDS").unwrap_or(40);
    let seed = from_env("FLEET_CHAOS_SEED").unwrap_or_else(rand::random);
    println!("FLEET_CHAOS_SECONDS={seconds} FLEET_CHAOS_SEED={seed}");
    let engine = Engine::start().await.unwrap();
    template(&engine).await;
    let (server, logs) = (Server::start(), tempfile::tempdir().unwrap());
    let (_, key) = server.policy("chaos", overrides(logs.path(), &engine)).await;
    let mut agent = Agent::new();
    let id = agent.enroll(&server, &key, &[]);
    agent.run();
    let random = StdRng::seed_from_u64(seed);
    let mut world = World { engine, server, agent, random, kills: BTreeMap::new() };

    let (began, writer) = (Instant::now(), Writer::start(logs.path()));
    let mut order = VICTIMS;
    while began.elapsed() < Duration::from_secs(seconds) || world.kills.len() < VICTIMS.len() {
        order.shuffle(&mut world.random);
        for victim in order {
            let pause = Duration::from_millis(world.random.random_range(500..4000));
            tokio::time::sleep(pause).await;
            world.kill(victim).await;
        }
    }
    let written = writer.stop();
    let kills = &world.kills;
    println!(
        "{written} lines in {:.0?}, kills: {kills:?}, found so far: {}",
        began.elapsed(),
        world.found().await
    );

    world.await_lines(written).await;
    let counts = world.counted(written).await;
    let missing: Vec<usize> = (0..counts.len()).filter(|number| counts[*number] == 0).collect();
    let again = counts.iter().filter(|count| **count > 1).count();
    println!("all there after {:.0?}; {again} more than once", began.elapsed());
    let first = &missing[..missing.len().min(20)];
    assert!(missing.is_empty(), "{} of {written} lines are missing, the first: {first:?}", missing.len());
    world.server.await_agent(&id, "online", |agent| agent["status"] == "online").await;
}
