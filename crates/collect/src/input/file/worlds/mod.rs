//! Invented worlds: programs that write and rotate, a reader that is slow, dies and comes back. Whatever they do, each
//! whole line arrives, and nothing arrives that is not a line.

mod disk;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::notify::Notices;
use super::options::Options;
use super::read::Room;
use super::tail::Tail;
use crate::batch::Batch;
use crate::config::Config;
use crate::metrics::Counters;
use crate::plan::AgentFacts;
use crate::processor::Chain;
use crate::registry::Registry;
use crate::stream::{DataStream, OwnFields, Parts, Stream};
use disk::{Disk, Silence};

/// What happens in a world.
#[derive(Clone, Debug)]
enum Step {
    /// The program writes lines.
    Write(u8),
    /// It writes the beginning of a line, whose end comes with its next one.
    Begin,
    /// The file is renamed, and the program writes into a new one: at once, or only with its next line but one.
    Rename { late: bool },
    /// The file is copied and truncated; the reader looks while the copy is still empty, or is written.
    CopyTruncate { watched: bool },
    /// The oldest file but one is compressed.
    Compress,
    /// The oldest file is deleted, if the reader has it open or knows all of it.
    Delete,
    /// The reader looks for files, and reads a batch.
    Read(u8),
    /// The output acknowledges the first so many batches.
    Acknowledge(u8),
    /// Positions are written to the disk.
    Flush,
    /// The system has lost count of what happened.
    Overflow,
    /// Somebody sets the time of day so many hours ahead of the time that passes.
    SetClock(i64),
    /// The reader is killed; the first so many batches that were on their way arrive all the same.
    Kill(u8),
}

impl Step {
    /// Whether the promise of a pattern that finds one name alone holds through it. What is compressed it never finds.
    /// And whether somebody may still write into a file that has left its name is told by its time alone: if the clock
    /// is set forward meanwhile, it seems to be long quiet, and is let go.
    fn is_for_narrow(&self) -> bool {
        !matches!(self, Step::Compress | Step::SetClock(_))
    }
}

fn step(copy: bool) -> impl Strategy<Value = Step> {
    let rotate = if copy {
        any::<bool>().prop_map(|watched| Step::CopyTruncate { watched }).boxed()
    } else {
        any::<bool>().prop_map(|late| Step::Rename { late }).boxed()
    };
    prop_oneof![
        6 => (1..20u8).prop_map(Step::Write),
        1 => Just(Step::Begin),
        2 => rotate,
        1 => Just(Step::Compress),
        1 => Just(Step::Delete),
        6 => (1..30u8).prop_map(Step::Read),
        4 => (0..4u8).prop_map(Step::Acknowledge),
        2 => Just(Step::Flush),
        1 => Just(Step::Overflow),
        1 => prop::sample::select(&[-TEN_YEARS, -24, 0, 24, TEN_YEARS][..]).prop_map(Step::SetClock),
        1 => (0..3u8).prop_map(Step::Kill),
    ]
}

struct World {
    disk: Disk,
    directory: TempDir,
    registry: Arc<Registry>,
    tail: Option<Tail>,
    options: Arc<Options>,
    stream: Arc<Stream>,
    now: u64,
    /// By how many milliseconds the time of day is ahead.
    ahead: i64,
    /// Where the program writes, and whether it has begun a line.
    writer: u64,
    begun: Option<String>,
    /// The program goes on in the old file for so many lines.
    late: u8,
    count: usize,
    written: BTreeSet<String>,
    arrived: BTreeMap<String, usize>,
    flying: VecDeque<Batch>,
    /// Lines may arrive twice: the reader was killed, or could not know better.
    repeats: bool,
    /// The pattern finds a file under its first name alone.
    narrow: bool,
    /// The reader is told what happens.
    told: bool,
}

/// In hours.
const TEN_YEARS: i64 = 10 * 365 * 24;
/// When a world begins, in milliseconds since 1970: late enough that a clock that is set back goes on from there.
const TODAY: u64 = 50 * 365 * 24 * 3_600_000;
const LOG: &str = "/logs/app.log";

fn path(number: usize) -> PathBuf {
    if number == 0 { LOG.into() } else { format!("{LOG}.{number}").into() }
}

fn compressed(number: usize) -> PathBuf {
    format!("{LOG}.{number}.gz").into()
}

impl World {
    fn new(identity: &str) -> World {
        World::over(identity, &format!("{LOG}*"), true)
    }

    fn over(identity: &str, pattern: &str, told: bool) -> World {
        let config = json!({
            "paths": [pattern],
            "file_identity": {identity: null},
            "prospector.scanner.fingerprint": {"length": 64},
            "prospector.scanner.check_interval": "1s",
        });
        let config = Config::new(config.as_object().unwrap());
        let options = Arc::new(Options::read(&config, "filestream").unwrap());
        let disk = Disk::default();
        disk.at(TODAY + 1_000_000);
        let writer = disk.create(Path::new(LOG));
        disk.hold(writer);
        let directory = tempfile::tempdir().unwrap();
        let registry = Arc::new(Registry::open(directory.path()).unwrap().0);
        let mut world = World {
            disk,
            directory,
            registry,
            tail: None,
            options,
            stream: stream(&config),
            now: 1_000_000,
            ahead: 0,
            writer,
            begun: None,
            late: 0,
            count: 0,
            written: BTreeSet::new(),
            arrived: BTreeMap::new(),
            flying: VecDeque::new(),
            repeats: false,
            narrow: pattern == LOG,
            told,
        };
        world.revive();
        world
    }

    fn revive(&mut self) {
        let positions = self.registry.positions("stream");
        let system = Arc::new(self.disk.clone());
        let notices: Box<dyn Notices> =
            if self.told { Box::new(self.disk.tell(&self.options)) } else { Box::new(Silence) };
        let (options, stream) = (Arc::clone(&self.options), Arc::clone(&self.stream));
        self.tail = Some(Tail::new(options, system, stream, positions, notices));
    }

    fn run(&mut self, step: &Step) {
        self.now += 700;
        self.mark();
        match step {
            Step::Write(count) => self.write(*count),
            Step::Begin => self.begin(),
            Step::Rename { late } => self.rename(*late),
            Step::CopyTruncate { watched } => self.copy_truncate(*watched),
            Step::Compress => {
                // Who compresses waits until nobody writes into the file any more.
                if self.disk.exists(&path(2)) && self.disk.inode(&path(2)) != Some(self.writer) {
                    self.repeats |= self.is_little_known(&path(2));
                    self.disk.compress(&path(2), &compressed(2));
                }
            }
            Step::Delete => self.delete(),
            Step::Read(events) => self.read(usize::from(*events)),
            Step::Acknowledge(count) => self.acknowledge(*count),
            Step::Flush => self.registry.flush().unwrap(),
            Step::Overflow => self.overflow(),
            Step::SetClock(hours) => self.ahead = hours * 3_600_000,
            Step::Kill(count) => self.kill(*count),
        }
    }

    /// A copy of which the reader knows a few bytes only cannot be told from another file that begins alike: it is
    /// read again.
    fn is_little_known(&self, path: &Path) -> bool {
        let inode = self.disk.inode(path);
        let mut files = self.tail.iter().flat_map(|tail| &tail.files);
        files.any(|file| Some(file.about.node.inode) == inode && file.about.head.length < 64)
    }

    fn write(&mut self, count: u8) {
        for _ in 0..count {
            let line = self.begun.take().unwrap_or_else(|| {
                self.count += 1;
                let line = format!("line {} {}", self.count, "x".repeat(self.count % 17));
                self.disk.append(self.writer, line.as_bytes());
                line
            });
            self.disk.append(self.writer, b"\n");
            self.written.insert(line);
        }
        if self.late > 0 {
            self.late -= 1;
            if self.late == 0 {
                self.reopen();
            }
        }
    }

    fn begin(&mut self) {
        if self.begun.is_none() {
            self.count += 1;
            let line = format!("line {} begun", self.count);
            self.disk.append(self.writer, line.as_bytes());
            self.begun = Some(line);
        }
    }

    fn reopen(&mut self) {
        self.disk.let_go(self.writer);
        self.writer = self.disk.inode(Path::new(LOG)).unwrap();
        self.disk.hold(self.writer);
    }

    fn rename(&mut self, late: bool) {
        // A program finishes its line before it turns to another file.
        if self.begun.is_some() || self.late > 0 {
            self.write(2);
        }
        if self.late > 0 || self.disk.exists(&path(3)) || self.disk.exists(&compressed(3)) {
            return;
        }
        if self.narrow && !self.told {
            // Between two rotations the reader looks once: what it has never seen under that name it cannot know.
            self.now += 600;
            self.look();
        }
        for number in [2, 1, 0] {
            self.disk.rename(&path(number), &path(number + 1));
            self.disk.rename(&compressed(number), &compressed(number + 1));
        }
        self.disk.create(Path::new(LOG));
        if late {
            self.late = 1;
        } else {
            self.reopen();
        }
    }

    fn overflow(&mut self) {
        if self.narrow {
            // What a file was called in between is lost for ever then: the reader must have seen it.
            self.look();
        }
        self.disk.overflow();
    }

    /// What is written from now on is marked with the time of day.
    fn mark(&self) {
        self.disk.at((TODAY + self.now).saturating_add_signed(self.ahead));
    }

    fn look(&mut self) {
        let now = self.now;
        self.tail.iter_mut().for_each(|tail| tail.look(now));
    }

    fn copy_truncate(&mut self, watched: bool) {
        if self.begun.is_some() {
            self.write(1);
        }
        if self.disk.exists(&path(3)) || self.disk.exists(&compressed(3)) {
            return;
        }
        for number in [2, 1] {
            self.disk.rename(&path(number), &path(number + 1));
            self.disk.rename(&compressed(number), &compressed(number + 1));
        }
        let content = self.disk.read(Path::new(LOG));
        let copy = self.disk.begin_copy(&path(1));
        if watched {
            self.look();
        }
        self.disk.append(copy, &content);
        if watched {
            self.read(10);
        }
        self.disk.truncate(self.writer);
    }

    /// Only when that loses nothing by itself: after everything has been read and acknowledged.
    fn delete(&mut self) {
        self.drain();
        self.registry.flush().unwrap();
        for path in [path(3), compressed(3)] {
            if self.disk.inode(&path) != Some(self.writer) {
                self.disk.remove(&path);
            }
        }
    }

    fn read(&mut self, events: usize) {
        let mut batch = Batch::new(Arc::clone(&self.stream));
        let now = self.now;
        let Some(tail) = &mut self.tail else { return };
        tail.look(now);
        let turn = tail.read(now, Room { events, bytes: 1 << 20 }, &mut batch);
        if turn.scan {
            tail.next_scan = now;
        }
        if batch.has_news() {
            self.flying.push_back(batch);
        }
    }

    fn arrive(&mut self, batch: &Batch) {
        for index in 0..batch.len() {
            let document: Value = serde_json::from_slice(batch.document(index)).unwrap();
            *self.arrived.entry(document["message"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }

    fn acknowledge(&mut self, count: u8) {
        for _ in 0..count {
            let Some(batch) = self.flying.pop_front() else { return };
            self.arrive(&batch);
            batch.settle();
        }
    }

    fn kill(&mut self, count: u8) {
        self.repeats = true;
        if self.narrow {
            // What it is told, it forgets.
            self.look();
        }
        for batch in std::mem::take(&mut self.flying).into_iter().take(usize::from(count)) {
            self.arrive(&batch);
        }
        self.tail = None;
        // What was not flushed is gone.
        self.registry = Arc::new(Registry::open(self.directory.path()).unwrap().0);
        self.revive();
    }

    /// Time goes by, and nothing happens but reading.
    fn drain(&mut self) {
        for _ in 0..12 {
            self.now += 1100;
            self.mark();
            self.read(10_000);
            self.acknowledge(u8::MAX);
        }
    }

    fn judge(&mut self, once: bool) -> Result<(), TestCaseError> {
        if self.begun.is_some() {
            self.write(1);
        }
        self.drain();
        let arrived: BTreeSet<String> = self.arrived.keys().cloned().collect();
        let missing: Vec<&String> = self.written.difference(&arrived).collect();
        let invented: Vec<&String> = arrived.difference(&self.written).collect();
        prop_assert!(missing.is_empty(), "missing: {missing:?}");
        prop_assert!(invented.is_empty(), "not written: {invented:?}");
        if once && !self.repeats {
            let twice: Vec<_> = self.arrived.iter().filter(|(_, count)| **count > 1).collect();
            prop_assert!(twice.is_empty(), "twice: {twice:?}");
        }
        Ok(())
    }
}

fn stream(config: &Config) -> Arc<Stream> {
    let agent =
        AgentFacts { id: "a".into(), version: "1".into(), name: "a".into(), ephemeral_id: "e".into() };
    let parts = Parts {
        input: "input",
        id: "stream",
        kind: "filestream",
        config,
        data_stream: DataStream::read(config, "logs").unwrap(),
        agent: &agent,
        host_name: "host",
        chain: Chain::default(),
        own: OwnFields::Only(&["@timestamp", "log", "message"]),
        counters: Counters::default(),
    };
    Arc::new(Stream::build(parts).unwrap())
}

proptest! {
    #[test]
    fn lines_survive_rotation_by_rename(steps in proptest::collection::vec(step(false), 1..80)) {
        let mut world = World::new("fingerprint");
        steps.iter().for_each(|step| world.run(step));
        world.judge(true)?;
    }

    #[test]
    fn lines_survive_rotation_by_rename_with_native_identity(steps in proptest::collection::vec(step(false), 1..80)) {
        let mut world = World::new("native");
        steps.iter().for_each(|step| world.run(step));
        world.judge(true)?;
    }

    #[test]
    fn lines_survive_rotation_that_nothing_tells(steps in proptest::collection::vec(step(false), 1..80)) {
        let mut world = World::over("fingerprint", &format!("{LOG}*"), false);
        steps.iter().for_each(|step| world.run(step));
        world.judge(true)?;
    }

    /// However often the file is renamed before the reader comes to look.
    #[test]
    fn lines_survive_quick_rotation_out_of_sight(steps in proptest::collection::vec(step(false), 1..80)) {
        let mut world = World::over("fingerprint", LOG, true);
        steps.iter().filter(|step| step.is_for_narrow()).for_each(|step| world.run(step));
        world.judge(true)?;
    }

    #[test]
    fn lines_survive_rotation_out_of_sight(steps in proptest::collection::vec(step(false), 1..80)) {
        let mut world = World::over("fingerprint", LOG, false);
        steps.iter().filter(|step| step.is_for_narrow()).for_each(|step| world.run(step));
        world.judge(true)?;
    }

    #[test]
    fn lines_survive_copying_and_truncation(steps in proptest::collection::vec(step(true), 1..80)) {
        let mut world = World::new("fingerprint");
        steps.iter().for_each(|step| world.run(step));
        world.judge(false)?;
    }
}

#[test]
fn a_copy_that_is_met_while_it_is_empty_is_no_new_file() {
    let mut world = World::new("fingerprint");
    for _ in 0..2 {
        world.run(&Step::Write(20));
        world.drain();
        world.run(&Step::CopyTruncate { watched: true });
        world.run(&Step::Write(20));
        world.drain();
    }
    world.judge(true).unwrap();
    assert_eq!(world.arrived.len(), 80);
}

#[test]
fn a_compressed_file_that_is_met_while_it_is_empty_is_unpacked() {
    let mut world = World::new("fingerprint");
    let inode = world.disk.create(&compressed(1));
    world.read(10);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, b"hello\n").unwrap();
    world.disk.append(inode, &encoder.finish().unwrap());
    world.drain();
    assert_eq!(world.arrived.into_keys().collect::<Vec<_>>(), ["hello"]);
}

/// Its clock stands at the beginning of time: so does the file's, which is no sign that it is as it was.
#[test]
fn what_was_truncated_while_nobody_looked_is_found_in_its_copy_on_a_machine_without_a_clock() {
    let mut world = World::new("fingerprint");
    for step in [
        Step::Write(6),
        Step::Read(1),
        Step::SetClock(-10 * TEN_YEARS),
        Step::Kill(0),
        Step::CopyTruncate { watched: false },
    ] {
        world.run(&step);
    }
    world.judge(false).unwrap();
}
