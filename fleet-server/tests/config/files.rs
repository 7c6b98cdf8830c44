//! Which file is read.

use std::collections::BTreeMap;

use fleet_server::config::Source;

#[test]
fn a_file_that_is_named_must_be_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("none.yml");
    let source = Source { file: Some(path.clone()), ..Source::default() };
    let problems = source.load_with(&BTreeMap::new(), 0).unwrap_err();
    let expected = format!("configuration: the file {} cannot be read: No such file", path.display());
    assert!(problems.mistakes[0].to_string().starts_with(&expected), "{problems:?}");
    let source = Source { file: Some(directory.path().to_owned()), ..Source::default() };
    assert!(source.load_with(&BTreeMap::new(), 0).is_err());
}

#[test]
fn the_default_one_may_be_missing() {
    // The working directory of a test is its crate's.
    assert!(!std::path::Path::new(fleet_server::config::DEFAULT_FILE).exists());
    let source = Source { file: None, overrides: vec!["management.port=9".to_owned()] };
    let (config, warnings) = source.load_with(&BTreeMap::new(), 0).unwrap();
    assert_eq!((config.management.port, warnings.len()), (9, 0));
}

#[test]
fn a_file_that_never_ends_is_no_configuration() {
    let source = Source { file: Some("/dev/zero".into()), ..Source::default() };
    let problems = source.load_with(&BTreeMap::new(), 0).unwrap_err();
    assert!(problems.mistakes[0].text.contains("is larger than"), "{problems:?}");
}
