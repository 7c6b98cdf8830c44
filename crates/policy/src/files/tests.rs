use std::time::Duration;

use bytes::Bytes;
use fleet_store::embedded::Embedded;
use futures_util::TryStreamExt;
use futures_util::future::try_join_all;
use ring::digest::digest;
use tempfile::TempDir;

use super::*;
use crate::documents::{FILE_PARTS, FileTargets};

fn now() -> Timestamp {
    Timestamp::from_unix(1_800_000_000)
}

fn open() -> (TempDir, Files) {
    open_with(FileLimits { storage: 1 << 30, receiving: 4 })
}

fn open_with(limits: FileLimits) -> (TempDir, Files) {
    let directory = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(Embedded::open(&directory.path().join("store")).unwrap());
    (directory, Files::new(&store, limits))
}

fn sha(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes).as_ref())
}

/// Bytes that differ from place to place.
fn content(size: usize) -> Bytes {
    (0..size).map(|at| u8::try_from((at / 7 + at / 4099) % 251).unwrap()).collect::<Vec<u8>>().into()
}

fn begin(size: u64) -> Begin<'static> {
    Begin {
        name: "diagnostics.zip",
        size,
        mime_type: "application/zip",
        src: "agent",
        agent_id: "one",
        action_id: "action",
        ..Begin::default()
    }
}

fn chunks(content: &Bytes) -> Vec<Bytes> {
    let chunk = usize::try_from(CHUNK).unwrap();
    (0..content.len()).step_by(chunk).map(|at| content.slice(at..content.len().min(at + chunk))).collect()
}

fn transit(chunks: &[Bytes]) -> String {
    transit_hash(chunks.iter().map(|chunk| digest(&SHA256, chunk)))
}

async fn read(files: &Files, file: &File, range: std::ops::Range<u64>) -> Vec<u8> {
    let stream = files.read(file, range).await.unwrap();
    stream.try_collect::<Vec<Bytes>>().await.unwrap().concat()
}

async fn parts(files: &Files) -> usize {
    files.store.list(&FILE_PARTS, ListRequest::all()).await.unwrap().documents.len()
}

async fn status(files: &Files, file: &File) -> FileStatus {
    files.find(&file.id).await.unwrap().unwrap().value.file.status
}

#[tokio::test]
async fn chunks_come_in_any_order_and_make_a_file() {
    let (_directory, files) = open();
    let content = content(9 << 20);
    let file = files.begin(begin(content.len() as u64), now()).await.unwrap();
    assert_eq!(status(&files, &file).await, FileStatus::AwaitingUpload);
    let chunks = chunks(&content);
    let sending = (0..).zip(&chunks).collect::<Vec<(u32, &Bytes)>>().into_iter().rev();
    try_join_all(sending.map(|(number, chunk)| files.take_chunk(&file, number, chunk, now()))).await.unwrap();
    assert_eq!(status(&files, &file).await, FileStatus::Uploading);
    let stored = parts(&files).await;
    // A repetition changes nothing, and leaves nothing behind.
    files.take_chunk(&file, 1, &chunks[1], now()).await.unwrap();
    assert_eq!(parts(&files).await, stored);
    for _ in 0..2 {
        let file = files.find(&file.id).await.unwrap().unwrap();
        files.finish(file, &transit(&chunks), now()).await.unwrap();
    }
    let file = files.find(&file.id).await.unwrap().unwrap();
    assert_eq!(file.value.file.status, FileStatus::Ready);
    let size = content.len() as u64;
    let part = PART as u64;
    for range in [0..size, 0..1, size - 1..size, part - 3..part + 3, CHUNK - 5..CHUNK + 5, 7..7] {
        let expected = &content[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
        assert!(read(&files, &file, range.clone()).await == expected, "{range:?}");
    }
    let again = files.take_chunk(&file, 0, &chunks[0], now()).await;
    assert!(matches!(again, Err(FileError::Closed)));
}

#[tokio::test]
async fn another_version_of_a_chunk_replaces_it_whole() {
    let (_directory, files) = open();
    let (first, second) = (content(PART * 2), Bytes::from(vec![9; PART * 2]));
    let file = files.begin(begin(first.len() as u64), now()).await.unwrap();
    files.take_chunk(&file, 0, &first, now()).await.unwrap();
    files.take_chunk(&file, 0, &second, now()).await.unwrap();
    assert_eq!(parts(&files).await, 2, "those of the first are gone");
    let file = files.find(&file.id).await.unwrap().unwrap();
    files.finish(file.clone(), &transit(std::slice::from_ref(&second)), now()).await.unwrap();
    let file = files.find(&file.id).await.unwrap().unwrap();
    assert!(read(&files, &file, 0..second.len() as u64).await == second);
}

#[tokio::test]
async fn what_is_not_what_it_should_be_is_refused() {
    let (_directory, files) = open();
    let content = content(PART + 10);
    let file = files.begin(begin(content.len() as u64), now()).await.unwrap();
    let too_high = files.take_chunk(&file, 1, &content, now()).await;
    assert!(matches!(too_high, Err(FileError::NoSuchChunk { chunks: 1 })));
    for wrong in [content.slice(1..), [content.clone(), content.slice(..1)].concat().into()] {
        let outcome = files.take_chunk(&file, 0, &wrong, now()).await;
        assert!(matches!(outcome, Err(FileError::ChunkSize { .. })));
    }
    let mut receiving = files.receive(file.clone(), 0, &sha(b"something else"), now()).await.unwrap();
    receiving.push(&content).await.unwrap();
    assert!(matches!(receiving.end().await, Err(FileError::HashMismatch)));
    assert_eq!(parts(&files).await, 0);
    let late = now() + Duration::from_secs(WINDOW_SECONDS + 1);
    assert!(matches!(files.take_chunk(&file, 0, &content, late).await, Err(FileError::Expired)));
    let ended = files.finish(file.clone(), &sha(b""), now()).await;
    assert!(matches!(ended, Err(FileError::MissingChunks { have: 0, chunks: 1 })));
    assert_eq!(status(&files, &file).await, FileStatus::UploadError);
}

#[tokio::test]
async fn a_wrong_transit_hash_gives_the_upload_up() {
    let (_directory, files) = open();
    let content = content(PART + 10);
    let file = files.begin(begin(content.len() as u64), now()).await.unwrap();
    files.take_chunk(&file, 0, &content, now()).await.unwrap();
    let file = files.find(&file.id).await.unwrap().unwrap();
    let ended = files.finish(file.clone(), &sha(b"other"), now()).await;
    assert!(matches!(ended, Err(FileError::HashMismatch)));
    assert_eq!((status(&files, &file).await, parts(&files).await), (FileStatus::UploadError, 0));
}

#[tokio::test]
async fn announcements_are_checked() {
    let (_directory, files) = open_with(FileLimits { storage: 1000, receiving: 1 });
    let invalid = [
        Begin { name: "", ..begin(1) },
        Begin { name: "a\nb", ..begin(1) },
        Begin { size: 0, ..begin(1) },
        Begin { mime_type: "", ..begin(1) },
        Begin { mime_type: "a\r\nb: c", ..begin(1) },
        Begin { action_id: "", ..begin(1) },
        Begin { src: "elsewhere", ..begin(1) },
        Begin { hash: crate::documents::FileHash { sha256: Some("x".to_owned()), md5: None }, ..begin(1) },
    ];
    for begin in invalid {
        let text = format!("{begin:?}");
        assert!(matches!(files.begin(begin, now()).await, Err(FileError::Invalid(_))), "{text}");
    }
    assert!(matches!(files.begin(begin(LARGEST + 1), now()).await, Err(FileError::TooLarge(_))));
    // One agent has half of the room, all of them have all of it.
    let file = files.begin(begin(400), now()).await.unwrap();
    assert!(matches!(files.begin(begin(101), now()).await, Err(FileError::NoRoom(500))));
    let of = |agent_id, size| Begin { agent_id, ..begin(size) };
    files.begin(of("two", 400), now()).await.unwrap();
    assert!(matches!(files.begin(of("three", 201), now()).await, Err(FileError::NoRoom(1000))));
    files.delete(file, now()).await.unwrap();
    assert!(files.begin(of("three", 201), now()).await.is_ok());
    let (_directory, files) = open_with(FileLimits { storage: 0, receiving: 1 });
    assert!(matches!(files.begin(begin(1), now()).await, Err(FileError::Disabled)));
}

#[tokio::test]
async fn what_is_over_is_removed() {
    let (_directory, files) = open();
    let content = content(PART + 10);
    let abandoned = files.begin(begin(content.len() as u64), now()).await.unwrap();
    files.take_chunk(&abandoned, 0, &content, now()).await.unwrap();
    // An attempt that broke off in the middle.
    let mut broken = files.receive(abandoned.clone(), 0, &sha(b"never ends"), now()).await.unwrap();
    broken.push(&content.slice(..PART)).await.unwrap();
    drop(broken);
    let targets = Some(FileTargets { target_agents: vec!["one".to_owned()] });
    let to_host = Begin { targets, agent_id: "", src: "fleet", action_id: "", ..begin(content.len() as u64) };
    let kept = files.begin(to_host, now()).await.unwrap();
    files.take_chunk(&kept, 0, &content, now()).await.unwrap();
    let kept = files.find(&kept.id).await.unwrap().unwrap();
    files.finish(kept.clone(), &transit(&[content]), now()).await.unwrap();
    assert_eq!(parts(&files).await, 5);
    assert_eq!(files.of_agent("one").await.unwrap().len(), 1);

    assert_eq!(files.clean_up(now(), None).await.unwrap(), 0);
    let day_later = now() + Duration::from_secs(WINDOW_SECONDS + 1);
    assert_eq!(files.clean_up(day_later, None).await.unwrap(), 1);
    assert_eq!(status(&files, &abandoned).await, FileStatus::Deleted);
    assert_eq!(status(&files, &kept).await, FileStatus::Ready);
    assert_eq!(parts(&files).await, 3, "those of the other file, and of the attempt that broke off");
    let later = day_later + Duration::from_secs(KEEP_SECONDS + 1);
    assert_eq!(files.clean_up(later, None).await.unwrap(), 2);
    assert_eq!(parts(&files).await, 0);
    assert!(files.find(&kept.id).await.unwrap().is_none());
}

#[tokio::test]
async fn an_agent_has_only_so_many_files() {
    let (_directory, files) = open();
    let mut outcome = Ok(());
    let mut count = 0;
    while outcome.is_ok() && count < 1000 {
        outcome = files.begin(begin(1), now()).await.map(drop);
        count += 1;
    }
    assert!(matches!(outcome, Err(FileError::TooMany(500))), "{outcome:?}");
    assert_eq!(count, 501);
    assert!(files.begin(Begin { agent_id: "two", ..begin(1) }, now()).await.is_ok());
}
