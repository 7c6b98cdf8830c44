//! Whatever stands in the file, the server's configuration is read to its end.

use proptest::prelude::*;

use crate::World;

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        Just("[x, {y: z}]".to_owned()),
        Just("{0: x, a.b: y}".to_owned()),
        Just("'${X:${Y}}'".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| number.to_string()),
        "[a-z0-9:/.\\[\\]-]{0,20}".prop_map(|text| format!("'{text}'")),
        "[0-9]{1,20}[a-z]{0,2}",
        "\\PC{0,20}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_value_at_any_key(
        rows in prop::collection::vec((any::<prop::sample::Index>(), value()), 1..8),
        override_ in value(),
    ) {
        let known = crate::yaml("").input(fleet_server::config::known_keys);
        let mut world = World::default();
        for (index, value) in &rows {
            let key = index.get(&known);
            // A file that exists would be read.
            world.text.push_str(&format!("{key}: {value}\n"));
            world.overrides.push(format!("{key}={override_}"));
        }
        let _ = world.load();
        world.overrides.clear();
        let _ = world.load();
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let file = Some((std::path::Path::new("test.yml"), bytes.as_slice()));
        let _ = fleet_server::config::load(&fleet_server::config::Input { file, ..Default::default() });
    }
}
