//! Whether a package is whole, and from whom it should be.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA512, digest};
use ring::signature::{ED25519, UnparsedPublicKey};

use super::UpgradeError;

/// Ed25519 public keys that packages may be signed with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys(Vec<[u8; 32]>);

impl Keys {
    /// From base64, 32 bytes each.
    ///
    /// # Errors
    /// One is no key.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Keys, String> {
        let keys = texts.into_iter().map(|text| {
            let key = STANDARD.decode(text.trim()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
            key.ok_or_else(|| format!("{text:?} is not an Ed25519 public key: 32 bytes in base64"))
        });
        keys.collect::<Result<_, _>>().map(Keys)
    }

    /// The keys that this program was built with.
    #[must_use]
    pub fn built_in() -> Keys {
        let given = option_env!("FLEET_AGENT_UPGRADE_KEYS").unwrap_or_default();
        Keys::parse(given.split(',').filter(|key| !key.is_empty())).unwrap_or_default()
    }

    /// These and those.
    #[must_use]
    pub fn and(mut self, others: Keys) -> Keys {
        self.0.extend(others.0);
        self
    }
}

/// What a package must prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// That one of these has signed it.
    Signed(Keys),
    /// Nothing but that it is whole: somebody at the machine said so.
    Unsigned,
}

/// Verifies a package with what lies beside it. `name` is the package's.
///
/// # Errors
/// It is not whole, or nobody known has signed it.
pub(super) fn verify(
    name: &str,
    package: &[u8],
    sums: &str,
    signature: Option<&str>,
    trust: &Trust,
) -> Result<(), UpgradeError> {
    let own = hex::encode(digest(&SHA512, package).as_ref());
    let told = sums.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let sum = words.next()?;
        let of = words.next().map(|of| of.trim_start_matches('*'));
        of.is_none_or(|of| of.rsplit('/').next() == Some(name)).then_some(sum)
    });
    if !told.into_iter().any(|sum| sum.eq_ignore_ascii_case(&own)) {
        return Err(UpgradeError::Package(format!("its SHA-512 is not the one of {name}.sha512")));
    }
    let Trust::Signed(Keys(keys)) = trust else { return Ok(()) };
    if keys.is_empty() {
        let problem = "no key is known that packages are signed with: name them in agent.upgrade.keys of the configuration file";
        return Err(UpgradeError::Signature(problem.to_owned()));
    }
    let signature = signature.and_then(|text| STANDARD.decode(text.trim()).ok());
    let signature =
        signature.ok_or_else(|| UpgradeError::Signature(format!("{name}.sig is no signature in base64")))?;
    let is_signed =
        |key: &[u8; 32]| UnparsedPublicKey::new(&ED25519, key).verify(package, &signature).is_ok();
    if keys.iter().any(is_signed) {
        return Ok(());
    }
    Err(UpgradeError::Signature(format!("{name}.sig is by none of the keys that are known")))
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    #[test]
    fn a_package_must_be_whole_and_signed() {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let keys = Keys::parse([STANDARD.encode(pair.public_key().as_ref()).as_str()]).unwrap();
        let package = b"package";
        let sum = format!("{}  a.tar.gz\n", hex::encode(digest(&SHA512, package).as_ref()));
        let signature = STANDARD.encode(pair.sign(package));
        let check = |package: &[u8], sums: &str, signature: Option<&str>, trust: Trust| {
            verify("a.tar.gz", package, sums, signature, &trust)
        };
        let signed = Trust::Signed(keys);
        check(package, &sum, Some(&signature), signed.clone()).unwrap();
        check(package, &sum, None, Trust::Unsigned).unwrap();
        assert!(matches!(
            check(b"other", &sum, Some(&signature), signed.clone()),
            Err(UpgradeError::Package(_))
        ));
        let of_other = sum.replace("a.tar.gz", "b.tar.gz");
        assert!(matches!(
            check(package, &of_other, Some(&signature), signed.clone()),
            Err(UpgradeError::Package(_))
        ));
        for wrong in [None, Some("no"), Some("AAAA")] {
            assert!(matches!(check(package, &sum, wrong, signed.clone()), Err(UpgradeError::Signature(_))));
        }
        let nobody = Trust::Signed(Keys::default());
        assert!(matches!(check(package, &sum, Some(&signature), nobody), Err(UpgradeError::Signature(_))));
    }
}
