//! Names of files, whatever somebody else calls something.

/// The name without what could lead elsewhere, and no longer than `longest`; `None`: nothing of it is left.
pub(super) fn plain(name: &str, longest: usize) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let plain: String = name.chars().take(longest).map(|c| if is_plain(c) { c } else { '_' }).collect();
    (!plain.trim_matches('.').is_empty()).then_some(plain)
}

/// That of a component's file or directory.
pub(super) fn of_component(id: &str) -> String {
    const LONGEST: usize = 200;
    plain(id, LONGEST).unwrap_or_else(|| "_".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_folder() {
        let plain = |name| plain(name, 8);
        assert_eq!(plain("a.yml").as_deref(), Some("a.yml"));
        assert_eq!(plain("../x\0").as_deref(), Some(".._x_"));
        assert_eq!(plain("0123456789").as_deref(), Some("01234567"));
        for nothing in ["", ".", ".."] {
            assert_eq!(plain(nothing), None);
        }
    }
}
