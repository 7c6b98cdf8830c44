//! Unit files: reading, normal form, hash.

use fleet_unit::{UnitFile, UnitHash, UnitOption};

type Triple = (&'static str, &'static str, &'static str);

#[expect(clippy::panic, reason = "a helper of tests")]
fn options(text: &str) -> Vec<(String, String, String)> {
    let options = UnitFile::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}")).into_options();
    options.into_iter().map(|option| (option.section, option.name, option.value)).collect()
}

#[test]
fn hashes_are_those_of_the_original() {
    let cases = [
        (
            "[Service]\nExecStart=/bin/bash -c \"while true; do echo Hello, World!; sleep 1; done\"\n",
            "3750b3e9f3962a56c7582929426e9abb012754cf",
        ),
        (
            "[Unit]\nDescription=Test Unit\n\n[Service]\nExecStart=/bin/bash -c \"while true; do echo Hello, \
             World!; sleep 1; done\"\n\n[X-Fleet]\nConflicts=conflict.*.service\n",
            "52e8acb19db0f3f776c7b8c6bf2209fa41ce46ac",
        ),
        (
            "[Unit]\nBindsTo=hello.service\n\n[Service]\nExecStart=/bin/bash -c \"while true; do echo \
             discovery.service unit file; sleep 1; done\"\n\n[Install]\nWantedBy=hello.service\n\n[X-Fleet]\n\
             MachineOf=hello.service\n",
            "6959f458ac2e8f227fcb18ffaf08176f2b638d35",
        ),
        ("[Service]\nExecStart=/bin/sleep 1000\n", "2d432f4a06608c1a8b2848b66c836793a1d48ce6"),
        ("[Service]\nExecStart=/bin/sleep 100\n", "1c6fb6f3684bafb0c173d8b8b957ceff031180c1"),
        ("", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
    ];
    for (text, hash) in cases {
        let file = UnitFile::parse(text).unwrap();
        assert_eq!(file.to_string(), text, "already in normal form");
        assert_eq!(file.hash().to_string(), hash);
        assert_eq!(file.hash().short(), hash[..7]);
        assert_eq!(hash.parse::<UnitHash>(), Ok(file.hash()));
    }
}

#[test]
fn what_is_no_hash_is_refused() {
    for text in ["", "2d432f4", "zd432f4a06608c1a8b2848b66c836793a1d48ce6", "ä", &"0".repeat(41)] {
        let error = text.parse::<UnitHash>().unwrap_err().to_string();
        assert!(error.starts_with("a unit's hash is 40 hexadecimal digits, not "), "{error}");
    }
}

#[test]
fn the_normal_form_groups_sections_and_drops_what_means_nothing() {
    let text =
        "ignored=1\n\n[B]\n;comment\n x = 1 \n# comment \\\n still comment\n[Empty]\n[A]\ny=\t\n[B]\nz=2";
    let file = UnitFile::parse(text).unwrap();
    assert_eq!(file.to_string(), "[B]\nx=1\nz=2\n\n[A]\ny=\n");
    assert!(file.has_section("A") && !file.has_section("Empty"));
    assert_eq!(UnitFile::parse(&file.to_string()).unwrap(), file);
}

#[test]
fn options_are_read_as_the_original_reads_them() {
    // Facts: what go-systemd's reader answers to these texts.
    let cases: &[(&str, &[Triple])] = &[
        ("", &[]),
        ("no section", &[]),
        ("[A]", &[]),
        ("[A]\n", &[]),
        ("[A]\nx=1", &[("A", "x", "1")]),
        ("[A]\nx=", &[("A", "x", "")]),
        ("[A]\n=1\n", &[("A", "", "1")]),
        ("[A]\nx=1=2\n", &[("A", "x", "1=2")]),
        ("[A]\nx y = 1 # no comment\n", &[("A", "x y", "1 # no comment")]),
        ("[A]\n<<<=bar\n", &[("A", "<<<", "bar")]),
        ("junk [A]\nx=1\n", &[("A", "x", "1")]),
        ("junk # [A]\n[B]\nx=1\n", &[("B", "x", "1")]),
        ("# c \\ \n[A]\n[B]\nx=1\n", &[("B", "x", "1")]),
        ("# c \\  \n[A]\nx=1\n", &[("A", "x", "1")]),
        ("[ A ]  \nx=1\n", &[(" A ", "x", "1")]),
        ("[]\nx=1\n", &[("", "x", "1")]),
        ("[A\nB]\nx=1\n", &[("A\nB", "x", "1")]),
        ("[[A]\nx=1\n", &[("[A", "x", "1")]),
        ("[A]\n  [B]\nx=1\n", &[("B", "x", "1")]),
        ("[A]\r\nx=1\r\n\r\ny=2\r\n", &[("A", "x", "1"), ("A", "y", "2")]),
        ("[A]\nx=a\\\n  b\\\n#c\ny=2\n", &[("A", "x", "a\\\n  b\\\n#c"), ("A", "y", "2")]),
        ("[A]\nx=\\\na\n", &[("A", "x", "\\\na")]),
        ("[A]\nx=a\\\n\ny=2\n", &[("A", "x", "a\\\n"), ("A", "y", "2")]),
        ("[A]\nx=a\\\n  \ny=2\n", &[("A", "x", "a\\\n"), ("A", "y", "2")]),
        ("[A]\nx=a\\", &[("A", "x", "a\\")]),
        ("[A]\nx=a\\\n", &[("A", "x", "a\\\n")]),
        ("[A]\nx=a\\ \ny=2\n", &[("A", "x", "a\\"), ("A", "y", "2")]),
        ("[A]\n\u{a0}x\u{a0}=\u{3000}1\u{85}\n", &[("A", "x", "1")]),
        ("\u{feff}[A]\nx=größe\n", &[("A", "x", "größe")]),
    ];
    for (text, expected) in cases {
        let got = options(text);
        let got: Vec<_> = got.iter().map(|(s, n, v)| (s.as_str(), n.as_str(), v.as_str())).collect();
        assert_eq!(&got, expected, "{text:?}");
    }
}

#[test]
fn bad_files_say_why() {
    let long = format!("[A]\nx={}\n", "y".repeat(2046));
    let long_comment = format!("[A]\n#{}\n", "y".repeat(2047));
    let far = format!("[A]\n{}x={}\n", "a=b\n".repeat(1000), "y".repeat(3000));
    let hidden = format!("[A]\nx=\r{}\n", "y".repeat(2046));
    let cases = [
        ("[A", "unable to find end of section"),
        ("[A]\n[", "unable to find end of section"),
        ("[A]garbage\n", "found garbage after section name A: garbage"),
        ("[A] # no comment here\n", "found garbage after section name A: # no comment here"),
        ("[A]\nnonsense\n", "unexpected newline encountered while parsing option name"),
        ("[A]\nnonsense\rx=1\n", "unexpected newline encountered while parsing option name"),
        ("[A]\nnonsense", "unexpected end of file encountered while parsing option name"),
        (&long, "line too long (max 2048 bytes)"),
        (&long_comment, "line too long (max 2048 bytes)"),
        (&far, "line too long (max 2048 bytes)"),
        (&hidden, "line too long (max 2048 bytes)"),
    ];
    for (text, expected) in cases {
        assert_eq!(UnitFile::parse(text).unwrap_err().to_string(), expected, "{text:.40?}");
    }
    let longest = format!("[A]\nx={}\n", "y".repeat(2045));
    assert_eq!(UnitFile::parse(&longest).unwrap().to_string(), longest);
}

#[test]
fn options_of_the_api_make_the_file_that_a_text_would() {
    let file = UnitFile::from_options(vec![
        UnitOption::new("Service", " ExecStart ", " /bin/true\n"),
        UnitOption::new("Unit", "Description", "Foo"),
        UnitOption::new("Service", "ExecStop", "a\\\n"),
    ]);
    assert_eq!(
        file.to_string(),
        "[Service]\nExecStart=/bin/true\nExecStop=a\\\n\n\n[Unit]\nDescription=Foo\n"
    );
    assert_eq!(UnitFile::parse(&file.to_string()).unwrap(), file);
    assert_eq!(file.description(), "Foo");
}

#[test]
fn json_is_the_list_of_options_with_keys_in_order() {
    let file = UnitFile::parse("[Service]\nExecStart=/bin/true\nEnvironment=\n").unwrap();
    let json = serde_json::to_string(&file).unwrap();
    assert_eq!(
        json,
        r#"[{"name":"ExecStart","section":"Service","value":"/bin/true"},{"name":"Environment","section":"Service"}]"#
    );
    assert_eq!(serde_json::from_str::<UnitFile>(&json).unwrap(), file);
}
