//! Archives: what is unpacked, and what is refused.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::{Cursor, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use fleet_integration::archive::{LARGEST_FILE, MOST_FILES};
use fleet_integration::{Archive, ArchiveError};
use zip::write::SimpleFileOptions;

/// A zip of files; a path that ends in a slash is a folder.
fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (path, content) in files {
        if path.ends_with('/') {
            zip.add_directory(*path, SimpleFileOptions::default()).unwrap();
        } else {
            zip.start_file(*path, SimpleFileOptions::default()).unwrap();
            zip.write_all(content).unwrap();
        }
    }
    zip.finish().unwrap().into_inner()
}

/// A tar.gz of files. Paths are written as they are: the library would refuse bad ones.
fn tar_gz(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        let name = &mut header.as_gnu_mut().unwrap().name;
        name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_entry_type(if path.ends_with('/') {
            tar::EntryType::Directory
        } else {
            tar::EntryType::Regular
        });
        header.set_cksum();
        tar.append(&header, *content).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

const GOOD: [(&str, &[u8]); 5] = [
    ("acme-1.0.0/", b""),
    ("acme-1.0.0/manifest.yml", b"name: acme"),
    ("acme-1.0.0/docs/README.md", b"# Acme"),
    ("acme-1.0.0/_dev/build/docs/README.md", b"no"),
    ("acme-1.0.0/data_stream/log/_dev/test/x.log", b"no"),
];

#[test]
fn files_are_found_by_their_paths_below_the_top_folder() {
    for archive in [Archive::zip(&zip(&GOOD)).unwrap(), Archive::tar_gz(&tar_gz(&GOOD)).unwrap()] {
        assert_eq!(archive.top(), "acme-1.0.0");
        assert_eq!(archive.paths().collect::<Vec<_>>(), ["docs/README.md", "manifest.yml"]);
        assert_eq!(archive.file("manifest.yml").unwrap().as_ref(), b"name: acme");
        assert_eq!(archive.below("docs/").count(), 1);
    }
}

#[test]
fn a_folder_is_as_good_as_an_archive() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("acme/docs")).unwrap();
    std::fs::create_dir_all(folder.path().join("acme/_dev")).unwrap();
    for file in ["manifest.yml", "docs/README.md", "_dev/x"] {
        std::fs::write(folder.path().join("acme").join(file), file).unwrap();
    }
    let archive = Archive::directory(&folder.path().join("acme")).unwrap();
    assert_eq!(archive.paths().collect::<Vec<_>>(), ["docs/README.md", "manifest.yml"]);
    assert!(matches!(Archive::directory(&folder.path().join("none")), Err(ArchiveError::Read { .. })));
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("acme/docs/link")).unwrap();
    assert!(matches!(Archive::directory(&folder.path().join("acme")), Err(ArchiveError::BadPath { .. })));
}

#[test]
fn paths_that_lead_elsewhere_are_refused() {
    for path in [
        "../manifest.yml",
        "acme-1/../../etc/passwd",
        "acme-1/a/../../b",
        "/etc/passwd",
        "acme-1/a\\..\\b",
        "acme-1/a//b",
        "C:/x",
        "acme-1/a\u{7}b",
    ] {
        let files: [(&str, &[u8]); 2] = [("acme-1/manifest.yml", b"x"), (path, b"x")];
        for result in [Archive::zip(&zip(&files)), Archive::tar_gz(&tar_gz(&files))] {
            assert!(matches!(result, Err(ArchiveError::BadPath { .. })), "{path}: {result:?}");
        }
    }
    let long = format!("acme-1/{}", "x".repeat(2000));
    assert!(matches!(Archive::zip(&zip(&[(&long, b"")])), Err(ArchiveError::BadPath { .. })));
}

#[test]
fn a_package_has_one_top_folder() {
    let files: [(&str, &[u8]); 2] = [("acme-1/manifest.yml", b"x"), ("acme-2/manifest.yml", b"x")];
    for result in [Archive::zip(&zip(&files)), Archive::tar_gz(&tar_gz(&files))] {
        assert!(matches!(result, Err(ArchiveError::TwoTops { .. })), "{result:?}");
    }
}

#[test]
fn links_and_devices_are_refused() {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    writer.add_symlink("acme-1/link", "/etc/passwd", SimpleFileOptions::default()).unwrap();
    let bytes = writer.finish().unwrap().into_inner();
    assert!(matches!(Archive::zip(&bytes), Err(ArchiveError::BadPath { .. })));
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Char, tar::EntryType::Fifo] {
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_path("acme-1/link").unwrap();
        header.set_link_name("/etc/passwd").unwrap();
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_cksum();
        tar.append(&header, std::io::empty()).unwrap();
        let bytes = tar.into_inner().unwrap().finish().unwrap();
        assert!(matches!(Archive::tar_gz(&bytes), Err(ArchiveError::BadPath { .. })), "{kind:?}");
    }
}

#[test]
fn a_file_that_is_there_twice_is_refused() {
    let files: [(&str, &[u8]); 2] = [("acme-1/manifest.yml", b"a"), ("acme-1/./manifest.yml", b"b")];
    for result in [Archive::zip(&zip(&files)), Archive::tar_gz(&tar_gz(&files))] {
        assert!(matches!(result, Err(ArchiveError::Duplicate { .. })), "{result:?}");
    }
    // Names of the same length, so that one can be written over the other.
    let bytes = zip(&[("acme-1/manifest.yml", b"a"), ("acme-1/manifesT.yml", b"b")]);
    let bytes = replaced(&bytes, b"manifesT.yml", b"manifest.yml");
    assert!(
        matches!(Archive::zip(&bytes), Err(ArchiveError::Duplicate { .. })),
        "{:?}",
        Archive::zip(&bytes)
    );
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for at in 0..bytes.len() - from.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + from.len()].copy_from_slice(to);
        }
    }
    bytes
}

#[test]
fn bombs_are_refused_before_they_go_off() {
    let large = vec![0; usize::try_from(LARGEST_FILE).unwrap() + 1];
    let files: [(&str, &[u8]); 1] = [("acme-1/a", &large)];
    for result in [Archive::zip(&zip(&files)), Archive::tar_gz(&tar_gz(&files))] {
        assert!(matches!(result, Err(ArchiveError::FileTooLarge { .. })), "{result:?}");
    }
    // A zip that says that its file is small.
    let bytes = zip(&files);
    let size = u32::try_from(large.len()).unwrap().to_le_bytes();
    let lying = replaced(&bytes, &size, &10_u32.to_le_bytes());
    assert!(Archive::zip(&lying).is_err());
    // Compressed once: what counts is what it takes to unpack it.
    let largest = zip(&[("acme-1/a", &large[1..])]);
    let mut one = zip::ZipArchive::new(Cursor::new(&largest)).unwrap();
    let mut all = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for index in 0..9 {
        all.raw_copy_file_rename(one.by_index_raw(0).unwrap(), format!("acme-1/{index}")).unwrap();
    }
    let result = Archive::zip(&all.finish().unwrap().into_inner());
    assert!(matches!(result, Err(ArchiveError::ContentTooLarge)), "{result:?}");
    let many: Vec<String> = (0..=MOST_FILES).map(|index| format!("acme-1/_dev/{index}")).collect();
    let files: Vec<(&str, &[u8])> = many.iter().map(|path| (path.as_str(), &b""[..])).collect();
    for result in [Archive::zip(&zip(&files)), Archive::tar_gz(&tar_gz(&files))] {
        assert!(matches!(result, Err(ArchiveError::TooManyFiles)), "{result:?}");
    }
}

#[test]
fn what_is_no_archive_is_told() {
    for bytes in [&b""[..], b"PK\x03\x04", b"<html>", &zip(&GOOD)[..50]] {
        assert!(matches!(Archive::zip(bytes), Err(ArchiveError::Damaged { .. })));
        assert!(matches!(Archive::tar_gz(bytes), Err(ArchiveError::Damaged { .. } | ArchiveError::Empty)));
    }
    assert!(matches!(Archive::zip(&zip(&[("acme-1/", b"")])), Err(ArchiveError::Empty)));
    match Archive::zip(&zip(&[("acme-1/_dev/x", b"x")])) {
        Err(error) => assert_eq!(error.to_string(), "the archive has no files"),
        Ok(_) => panic!("it is of no use"),
    }
}
