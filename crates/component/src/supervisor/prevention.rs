//! Conditions under which an input does not run (`runtime.preventions` of spec files).
//!
//! They compare facts of this machine with constants: `${runtime.arch} == 'arm64' and ${user.root} == false`.

mod expression;

use super::spec::{Platform, Prevention};

use expression::{Expression, Literal};

/// Whether the input may run here; else why not. A condition that cannot be read prevents: what it protects from is
/// not known.
pub(super) fn check(preventions: &[Prevention], platform: &Platform) -> Result<(), String> {
    if preventions.is_empty() {
        return Ok(());
    }
    let facts = Facts::gather(platform);
    for prevention in preventions {
        let holds = Expression::parse(&prevention.condition).map(|it| it.holds(&|name| facts.find(name)));
        match holds {
            Ok(false) => {}
            Ok(true) => return Err(prevention.message.clone()),
            Err(error) => {
                return Err(format!(
                    "the condition {:?} of its spec file is not valid: {error}",
                    prevention.condition
                ));
            }
        }
    }
    Ok(())
}

/// What conditions may ask for.
struct Facts {
    os: String,
    arch: String,
    platform: String,
    family: String,
    major: f64,
    minor: f64,
    is_root: bool,
}

impl Facts {
    fn gather(platform: &Platform) -> Facts {
        let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        let field = |name: &str| {
            let line = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.unwrap_or_default().trim_matches(['"', '\'']).to_owned()
        };
        let id = field("ID");
        let version = field("VERSION_ID");
        let mut numbers = version.split('.').map(|part| part.parse().unwrap_or_default());
        let like = field("ID_LIKE");
        Facts {
            os: platform.os().to_owned(),
            arch: platform.arch().to_owned(),
            family: family(&id, &like).to_owned(),
            platform: id,
            major: numbers.next().unwrap_or_default(),
            minor: numbers.next().unwrap_or_default(),
            is_root: rustix::process::geteuid().is_root(),
        }
    }

    fn find(&self, name: &str) -> Literal {
        match name {
            "runtime.os" => Literal::Text(self.os.clone()),
            "runtime.arch" | "runtime.native_arch" => Literal::Text(self.arch.clone()),
            "runtime.platform" => Literal::Text(self.platform.clone()),
            "runtime.family" => Literal::Text(self.family.clone()),
            "runtime.major" => Literal::Number(self.major),
            "runtime.minor" => Literal::Number(self.minor),
            "user.root" => Literal::Boolean(self.is_root),
            "install.in_default" => Literal::Boolean(false),
            _ => Literal::Null,
        }
    }
}

fn family<'a>(id: &'a str, like: &'a str) -> &'a str {
    const FAMILIES: [(&str, &[&str]); 4] = [
        ("debian", &["debian", "ubuntu"]),
        ("redhat", &["rhel", "fedora", "centos", "amzn"]),
        ("suse", &["suse", "sles", "opensuse"]),
        ("arch", &["arch"]),
    ];
    let is_one = |name: &str| id == name || like.split_whitespace().any(|other| other == name);
    FAMILIES
        .iter()
        .find(|(_, members)| members.iter().any(|member| is_one(member)))
        .map_or(id, |(family, _)| family)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prevention(condition: &str) -> Vec<Prevention> {
        vec![Prevention { condition: condition.to_owned(), message: "not here".to_owned() }]
    }

    #[test]
    fn a_condition_that_holds_prevents() {
        let linux = Platform::new("linux", "amd64");
        assert_eq!(check(&prevention("${runtime.os} == 'linux'"), &linux), Err("not here".to_owned()));
        assert_eq!(check(&prevention("${runtime.os} == 'windows'"), &linux), Ok(()));
        assert_eq!(check(&[], &linux), Ok(()));
    }

    #[test]
    fn a_condition_that_cannot_be_read_prevents() {
        let problem = check(&prevention("${runtime.os} =="), &Platform::here()).expect_err("a problem");
        assert!(problem.contains("spec file"), "{problem}");
    }

    #[test]
    fn families_are_found_by_what_a_system_is_like() {
        assert_eq!(family("linuxmint", "ubuntu debian"), "debian");
        assert_eq!(family("alpine", ""), "alpine");
    }
}
