//! From what users type to names of units.

use fleet_unit::UnitKind;

/// The name that an argument stands for: the last part of a path, with `.service` unless it has the suffix
/// of a unit type.
pub(crate) fn unit_name(argument: &str) -> String {
    with_type(base(argument))
}

/// The argument with `.service` unless it has the suffix of a unit type.
pub(crate) fn with_type(argument: &str) -> String {
    if UnitKind::ALL
        .iter()
        .any(|kind| argument.strip_suffix(kind.as_str()).is_some_and(|stem| stem.ends_with('.')))
    {
        argument.to_owned()
    } else {
        format!("{argument}.service")
    }
}

fn base(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (argument, name) in [
            ("hello", "hello.service"),
            ("hello.service", "hello.service"),
            ("units/hello.service", "hello.service"),
            ("/a/b/hello@1", "hello@1.service"),
            ("foo.target", "foo.target"),
            ("foo.swap", "foo.swap"),
            ("foo.bar", "foo.bar.service"),
            ("dir/foo.timer/", "foo.timer"),
            ("service", "service.service"),
            ("foo.1", "foo.1.service"),
        ] {
            assert_eq!(unit_name(argument), name, "{argument}");
        }
        assert_eq!(with_type("units/hello"), "units/hello.service");
    }
}
