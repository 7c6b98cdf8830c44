//! Secrets in files of their own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fleet_service::config::document::{Document, TextFile, read_secret_file};

use crate::{World, yaml};

fn file(directory: &Path, text: &[u8], mode: u32) -> PathBuf {
    let path = directory.join(format!("secret-{mode:o}"));
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

fn secret(world: &World, form: TextFile) -> (Option<String>, Result<Vec<String>, String>) {
    let document = world.open();
    let secret = document.root().secret_or_file("token", "token_path", form);
    let warnings = |document: Document| {
        let warnings = document.finish().map_err(|problems| crate::mistakes(&problems))?;
        Ok(warnings.iter().map(ToString::to_string).collect())
    };
    (secret.map(|secret| secret.reveal().to_owned()), warnings(document))
}

#[test]
fn one_line_end_is_taken_off() {
    let directory = tempfile::tempdir().unwrap();
    let cases: [(&[u8], &str, &str); 5] = [
        (b"s3cret", "s3cret", "s3cret"),
        (b"s3cret\n", "s3cret", "s3cret"),
        (b"s3cret\r\n", "s3cret", "s3cret"),
        (b"s3cret\n\n", "s3cret\n", "s3cret"),
        (b" s3cret \n", " s3cret ", "s3cret"),
    ];
    for (text, line, trimmed) in cases {
        let path = file(directory.path(), text, 0o600);
        let world = yaml(&format!("token_path: {}", path.display()));
        assert_eq!(secret(&world, TextFile::Line), (Some(line.to_owned()), Ok(Vec::new())));
        assert_eq!(secret(&world, TextFile::Trimmed).0.as_deref(), Some(trimmed));
    }
}

#[test]
fn what_stands_in_the_configuration_wins() {
    let world = yaml("token: inline\ntoken_path: /does/not/exist");
    let warning = "test.yml:2: token_path has no effect: token is given as well, and wins".to_owned();
    assert_eq!(secret(&world, TextFile::Line), (Some("inline".to_owned()), Ok(vec![warning])));
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path(), b"from file", 0o400);
    let world = yaml(&format!("token: ''\ntoken_path: {}", path.display()));
    assert_eq!(secret(&world, TextFile::Line).0.as_deref(), Some("from file"));
}

#[test]
fn a_file_that_others_can_read_is_refused_with_the_fix() {
    let directory = tempfile::tempdir().unwrap();
    for mode in [0o640, 0o604, 0o644, 0o660, 0o606, 0o620] {
        let path = file(directory.path(), b"hidden", mode);
        let world = yaml(&format!("a: 1\ntoken_path: {}", path.display()));
        let (secret, outcome) = secret(&world, TextFile::Line);
        let path = path.display();
        assert_eq!(secret, None);
        assert_eq!(
            outcome.unwrap_err(),
            format!(
                "test.yml:2: token_path: the file {path} has the mode {mode:04o}, so that others can read or \
                 change it: run chmod 600 {path}"
            )
        );
    }
    for mode in [0o600, 0o400, 0o700] {
        let path = file(directory.path(), b"hidden", mode);
        assert_eq!(read_secret_file(&path, None).unwrap().reveal(), "hidden");
    }
}

#[test]
fn credentials_of_systemd_are_taken_as_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path(), b"hidden", 0o440);
    let world = yaml(&format!("token_path: {}", path.display()));
    assert_eq!(secret(&world, TextFile::Line).0, None);
    let world = world.variable("CREDENTIALS_DIRECTORY", &directory.path().display().to_string());
    assert_eq!(secret(&world, TextFile::Line).0.as_deref(), Some("hidden"));
}

#[test]
fn what_cannot_be_a_secret_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let cases = [
        (directory.path().join("none"), "cannot be read: No such file or directory"),
        (directory.path().to_owned(), "is not a regular file"),
        (file(directory.path(), b"\xff", 0o600), "is not UTF-8 text"),
        (file(directory.path(), b"\n", 0o400), "is empty"),
        (file(directory.path(), &[b'x'; 70_000], 0o500), "is larger than 65536 bytes"),
    ];
    for (path, expected) in cases {
        let world = yaml(&format!("token_path: {}", path.display()));
        let error = secret(&world, TextFile::Line).1.unwrap_err();
        assert!(error.starts_with("test.yml:1: token_path: ") && error.contains(expected), "{error}");
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
}

#[test]
fn a_secret_is_never_shown() {
    let world = yaml("token: [hidden]");
    assert!(!secret(&world, TextFile::Line).1.unwrap_err().contains("hidden"));
    let secret = yaml("token: hidden").open().root().secret("token").unwrap();
    assert!(!format!("{secret} {secret:?}").contains("hidden"));
}
