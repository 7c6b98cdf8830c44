//! What names, passwords and grants must be.

use std::collections::BTreeSet;

use crate::rights::Grant;

/// The longest name in bytes.
pub const MAX_NAME: usize = 256;
/// The longest full name in bytes.
pub const MAX_FULL_NAME: usize = 256;
/// The shortest password that people may choose, in characters: NIST SP 800-63B, 3.1.1.2.
pub const MIN_PASSWORD: usize = 8;
/// How many policies somebody may have grants on: beyond that, a role is meant.
pub const MAX_GRANTS: usize = 1000;
/// The longest id of a policy in a grant, in bytes.
const MAX_POLICY_ID: usize = fleet_store::contract::MAX_ID;

/// A name is none for a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// None, or longer than [`MAX_NAME`].
    #[error("a name has 1 to {MAX_NAME} bytes")]
    Length,
    /// A header of HTTP ends the name at a colon.
    #[error("a name holds no colon")]
    Colon,
    /// What cannot be seen or typed.
    #[error("a name holds no control characters, and neither begins nor ends with a space")]
    Characters,
    /// What clients take out of addresses.
    #[error("a name is not \".\" or \"..\", and holds no slash")]
    Path,
}

/// A password is too easy to guess, or cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeakPassword {
    /// Less than [`MIN_PASSWORD`] characters.
    #[error("a password has at least {MIN_PASSWORD} characters: choose a longer one")]
    TooShort,
    /// More than [`MAX_PASSWORD`](crate::password::MAX_PASSWORD) bytes.
    #[error("a password has at most {} bytes: choose a shorter one", crate::password::MAX_PASSWORD)]
    TooLong,
    /// The first that is tried.
    #[error("a password is not the name of its user: choose another one")]
    IsName,
    /// One letter, again and again.
    #[error("a password is more than one character repeated: choose another one")]
    Repeated,
}

/// Grants cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// More than [`MAX_GRANTS`].
    #[error("at most {MAX_GRANTS} grants can be given: give a role instead")]
    TooMany,
    /// A policy's id is empty or longer than any.
    #[error("the policy_id of a grant has 1 to {MAX_POLICY_ID} bytes")]
    PolicyId,
}

/// Whether somebody may be called so.
///
/// # Errors
/// [`NameError`].
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(NameError::Length);
    }
    if name.contains(':') {
        return Err(NameError::Colon);
    }
    if name.contains(char::is_control) || name.trim() != name {
        return Err(NameError::Characters);
    }
    if name == "." || name == ".." || name.contains(['/', '\\']) {
        return Err(NameError::Path);
    }
    Ok(())
}

/// Whether people may choose this password.
///
/// # Errors
/// [`WeakPassword`].
pub fn check_password(name: &str, password: &str) -> Result<(), WeakPassword> {
    if password.len() > crate::password::MAX_PASSWORD {
        return Err(WeakPassword::TooLong);
    }
    if password.chars().count() < MIN_PASSWORD {
        return Err(WeakPassword::TooShort);
    }
    if password.to_lowercase() == name.to_lowercase() {
        return Err(WeakPassword::IsName);
    }
    let first = password.chars().next();
    if password.chars().all(|letter| Some(letter) == first) {
        return Err(WeakPassword::Repeated);
    }
    Ok(())
}

/// Whether these grants can be given.
///
/// # Errors
/// [`GrantError`].
pub fn check_grants(grants: &BTreeSet<Grant>) -> Result<(), GrantError> {
    if grants.len() > MAX_GRANTS {
        return Err(GrantError::TooMany);
    }
    let is_id = |grant: &Grant| (1..=MAX_POLICY_ID).contains(&grant.policy_id.len());
    if grants.iter().all(is_id) { Ok(()) } else { Err(GrantError::PolicyId) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rights::Role;

    #[test]
    fn each_bad_name_has_its_error() {
        let long = "x".repeat(MAX_NAME + 1);
        for (name, expected) in [
            ("", Err(NameError::Length)),
            (long.as_str(), Err(NameError::Length)),
            ("a:b", Err(NameError::Colon)),
            (" a", Err(NameError::Characters)),
            ("a\n", Err(NameError::Characters)),
            ("a\u{0}b", Err(NameError::Characters)),
            ("..", Err(NameError::Path)),
            ("../b", Err(NameError::Path)),
            ("ann", Ok(())),
            ("Ann Müller", Ok(())),
            ("ann@example.org", Ok(())),
        ] {
            assert_eq!(check_name(name), expected, "{name:?}");
        }
    }

    #[test]
    fn each_weak_password_has_its_error() {
        let long = "x".repeat(1025);
        for (password, expected) in [
            ("", Err(WeakPassword::TooShort)),
            ("1234567", Err(WeakPassword::TooShort)),
            ("ééééééé", Err(WeakPassword::TooShort)),
            (long.as_str(), Err(WeakPassword::TooLong)),
            ("Somebody", Err(WeakPassword::IsName)),
            ("aaaaaaaaaaaa", Err(WeakPassword::Repeated)),
            ("somebody2", Ok(())),
        ] {
            assert_eq!(check_password("somebody", password), expected, "{password:?}");
        }
    }

    #[test]
    fn grants_have_bounds() {
        let grant = |policy_id: &str| Grant { policy_id: policy_id.to_owned(), role: Role::Viewer };
        let many = (0..=MAX_GRANTS).map(|number| grant(&number.to_string()));
        assert_eq!(check_grants(&many.collect()), Err(GrantError::TooMany));
        assert_eq!(check_grants(&[grant("")].into()), Err(GrantError::PolicyId));
        assert_eq!(check_grants(&[grant("web")].into()), Ok(()));
    }
}
