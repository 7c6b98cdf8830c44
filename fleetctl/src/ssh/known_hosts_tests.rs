use std::os::unix::fs::PermissionsExt;

use super::*;

const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
const TWO: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";

fn key(text: &str) -> PublicKey {
    PublicKey::from_openssh(text).unwrap()
}

fn entries(text: &str) -> Entries {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    KnownHosts::new(file.path().to_owned()).read().unwrap()
}

fn judge(text: &str, host: &str, port: u16) -> Verdict {
    entries(text).judge(&names_of(host, port), &key(ONE))
}

#[test]
fn hosts_by_name_pattern_and_port() {
    for (hosts, host, port, verdict) in [
        ("a", "a", 22, Verdict::Known),
        ("A", "a", 22, Verdict::Known),
        ("a", "A", 22, Verdict::Known),
        ("a", "b", 22, Verdict::Unknown),
        ("a,b", "b", 22, Verdict::Known),
        ("a", "a", 2222, Verdict::Unknown),
        ("[a]:2222", "a", 2222, Verdict::Known),
        ("[a]:2222", "a", 22, Verdict::Unknown),
        ("10.0.0.?", "10.0.0.1", 22, Verdict::Known),
        ("10.0.*", "10.0.7.1", 22, Verdict::Known),
        ("*,!b", "b", 22, Verdict::Unknown),
        ("*,!b", "c", 22, Verdict::Known),
        ("!b", "c", 22, Verdict::Unknown),
        ("[*]:2222", "x", 2222, Verdict::Known),
        ("::1", "::1", 22, Verdict::Known),
        ("[::1]", "::1", 22, Verdict::Known),
        ("[::1]:23", "::1", 23, Verdict::Known),
    ] {
        assert_eq!(judge(&format!("{hosts} {ONE} comment\n"), host, port), verdict, "{hosts} {host}:{port}");
    }
}

#[test]
fn another_key_is_a_mismatch_unless_one_of_them_fits() {
    assert_eq!(judge(&format!("a {TWO}\n"), "a", 22), Verdict::Mismatch);
    assert_eq!(judge(&format!("a {TWO}\na {ONE}\n"), "a", 22), Verdict::Known);
    assert_eq!(judge(&format!("a {TWO}\n* {ONE}\n"), "a", 22), Verdict::Known);
}

#[test]
fn a_revoked_key_is_refused_whatever_else_is_said() {
    assert_eq!(judge(&format!("a {ONE}\n@revoked * {ONE}\n"), "a", 22), Verdict::Revoked);
    assert_eq!(judge(&format!("@revoked * {TWO}\na {ONE}\n"), "a", 22), Verdict::Known);
    assert_eq!(judge(&format!("@revoked * {TWO}\n"), "a", 22), Verdict::Unknown);
}

#[test]
fn authorities_and_comments_are_passed_over() {
    let read = entries(&format!("# a\n\n@cert-authority * {ONE}\n"));
    assert_eq!(read.judge(&names_of("a", 22), &key(ONE)), Verdict::Unknown);
    assert!(read.warnings.is_empty(), "{:?}", read.warnings);
}

#[test]
fn hashed_names_as_openssh_makes_them() {
    // printf 'example.com ssh-ed25519 …' > k && ssh-keygen -H -f k
    let salt = BASE64_STANDARD.encode([7u8; 20]);
    let hash = BASE64_STANDARD.encode(hash_name(&[7u8; 20], "example.com").unwrap());
    let line = format!("|1|{salt}|{hash} {ONE}\n");
    assert_eq!(judge(&line, "example.com", 22), Verdict::Known);
    assert_eq!(judge(&line, "Example.com", 22), Verdict::Known);
    assert_eq!(judge(&line, "example.org", 22), Verdict::Unknown);
    assert_eq!(judge(&line, "example.com", 23), Verdict::Unknown);
}

#[test]
fn lines_that_cannot_be_read_are_told_with_their_place() {
    let read =
        entries(&format!("a\nb ssh-ed25519 AAAA\n@other a {ONE}\n|2|x|y {ONE}\n|1|?|y {ONE}\nc {ONE}\n"));
    let warnings: Vec<&str> = read
        .warnings
        .iter()
        .filter_map(|text| text.rsplit('/').next()?.split_once(':'))
        .map(|(_, rest)| rest)
        .collect();
    assert_eq!(
        warnings,
        [
            "1 - bad format (insufficient fields)",
            "2 - error parsing key",
            "3 - unknown marker",
            "4 - unknown hash of a host name",
            "5 - bad hash of a host name",
        ]
    );
    assert_eq!(read.judge(&names_of("c", 22), &key(ONE)), Verdict::Known);
}

#[test]
fn a_new_host_is_added_to_a_file_that_only_its_user_can_read() {
    let directory = tempfile::tempdir().unwrap();
    let file = KnownHosts::new(directory.path().join("new/known_hosts"));
    assert_eq!(file.read().unwrap().judge(&names_of("a", 22), &key(ONE)), Verdict::Unknown);
    file.add("a", &key(ONE)).unwrap();
    file.add("[b]:2222", &key(TWO)).unwrap();
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), format!("a {ONE}\n[b]:2222 {TWO}\n"));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(file.path()), 0o600);
    assert_eq!(mode(file.path().parent().unwrap()), 0o700);
    assert_eq!(file.read().unwrap().judge(&names_of("a", 22), &key(ONE)), Verdict::Known);
}

#[test]
fn a_last_line_without_its_end_stays_a_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = KnownHosts::new(directory.path().join("known_hosts"));
    std::fs::write(file.path(), format!("a {ONE}")).unwrap();
    file.add("b", &key(TWO)).unwrap();
    file.add("c", &key(ONE)).unwrap();
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), format!("a {ONE}\nb {TWO}\nc {ONE}\n"));
}

#[test]
fn the_kinds_of_key_a_host_is_known_by() {
    let read = entries(&format!("a {ONE}\nb {TWO}\n@revoked a {TWO}\n"));
    assert_eq!(read.algorithms(&names_of("a", 22)), [Algorithm::Ed25519]);
    assert_eq!(read.algorithms(&names_of("c", 22)), []);
}

#[test]
fn wildcards() {
    for (pattern, name, fits) in [
        ("*", "", true),
        ("*", "abc", true),
        ("a*c", "abbc", true),
        ("a*c", "abcb", false),
        ("?", "", false),
        ("a?", "ab", true),
        ("**b", "aab", true),
        ("", "a", false),
        ("", "", true),
        ("*a*b*", "xaybz", true),
    ] {
        assert_eq!(wildcard(pattern, name), fits, "{pattern} {name}");
    }
}
