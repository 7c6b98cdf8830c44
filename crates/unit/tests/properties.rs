//! What holds for every file, whatever is in it.

use fleet_unit::{Requirements, UnitFile, UnitName, UnitOption, glob};
use proptest::prelude::*;

/// Texts made of what means something to the reader.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("[Unit]\n"),
        Just("[X-Fleet]\n"),
        Just("["),
        Just("]"),
        Just("\n"),
        Just("\r\n"),
        Just("\r"),
        Just("="),
        Just("#"),
        Just(";"),
        Just("\\"),
        Just("\\\n"),
        Just("\\ \n"),
        Just(" "),
        Just("\t"),
        Just("\u{a0}"),
        Just("a"),
        Just("Global=1\n"),
        Just("x = y\n"),
        Just("ü"),
        Just("MachineMetadata=\"a=b\" \"c\"\n"),
        Just("Conflicts=[ *\n"),
        Just("%i"),
        Just(
            "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"
        ),
    ];
    prop::collection::vec(piece, 0..80).prop_map(|pieces| pieces.concat())
}

fn options() -> impl Strategy<Value = Vec<UnitOption>> {
    let option = ("[A-C]", "[a-z \\\\=\\[]{0,4}", "[a-z \\\\\n=]{0,12}")
        .prop_map(|(section, name, value)| UnitOption::new(section, name, value));
    prop::collection::vec(option, 0..12)
}

fn check(file: &UnitFile) -> Result<(), TestCaseError> {
    // A value may end in a bare backslash, which joins it to what follows: validation refuses such a file.
    match Requirements::validate(file).map_err(|error| error.to_string()) {
        Err(error) if error.contains("cannot be written") => {}
        _ => match UnitFile::parse(&file.to_string()) {
            Ok(again) => {
                prop_assert_eq!(&again, file);
                prop_assert_eq!(again.hash(), file.hash());
                prop_assert_eq!(again.to_string(), file.to_string());
                let remade = UnitFile::from_options(file.options().to_vec());
                prop_assert_eq!(remade.options(), file.options());
            }
            Err(error) => prop_assert!(Requirements::validate(file).is_err(), "{}", error),
        },
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_file_that_was_read_is_read_again_as_itself(text in text()) {
        if let Ok(file) = UnitFile::parse(&text) {
            prop_assert!(UnitFile::parse(&file.to_string()).is_ok() || Requirements::validate(&file).is_err());
            check(&file)?;
        }
    }

    #[test]
    fn a_file_that_validates_is_read_again_as_itself(options in options()) {
        check(&UnitFile::from_options(options))?;
    }

    #[test]
    fn nothing_panics(text in any::<String>(), name in "[a-z@%.]{1,8}") {
        let file = UnitFile::parse(&format!("[X-Fleet]\nConflicts={text}")).unwrap_or_default();
        let name = UnitName::parse(&format!("a{name}.service")).ok();
        let _ = name.map(|name| Requirements::of(&name, &file));
        let _ = Requirements::validate(&file);
        let _ = UnitFile::parse(&text).map(|file| file.hash());
        let _ = UnitName::parse(&text).map_err(|error| error.to_string());
        let _ = glob::matches(&text, &text);
    }

    #[test]
    fn a_literal_pattern_matches_itself(name in "[a-z@.-]{0,12}") {
        prop_assert!(glob::matches(&name, &name));
        let pattern = format!("*{name}*");
        let longer = format!("x{name}y");
        prop_assert!(glob::matches(&pattern, &longer));
    }
}
