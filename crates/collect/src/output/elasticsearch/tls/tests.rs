use std::io::{Read, Write};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ClientConnection, ServerConfig, ServerConnection};
use serde_json::{Value, json};

use super::*;

/// An authority, and a server's certificate for `engine.test` by it.
struct Party {
    authority: CertificateDer<'static>,
    pem: String,
    server: Arc<ServerConfig>,
}

fn party() -> Party {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let end =
        CertificateParams::new(vec!["engine.test".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let chain = vec![end.der().clone(), authority.der().clone()];
    let server = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    Party { authority: authority.der().clone(), pem: authority.pem(), server: Arc::new(server) }
}

/// A handshake in memory: whether both are content.
fn shake(ssl: &Value, party: &Party, name: &'static str) -> Result<(), String> {
    let config = json!({"ssl": ssl});
    let tls = Tls::read(&Config::new(config.as_object().unwrap())).map_err(|mistake| mistake.to_string())?;
    let config = Arc::new(tls.client().map_err(|mistake| mistake.to_string())?);
    let mut client = ClientConnection::new(config, ServerName::try_from(name).unwrap()).unwrap();
    let mut server = ServerConnection::new(Arc::clone(&party.server)).unwrap();
    for _ in 0..10 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets().map_err(|error| error.to_string())?;
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().map_err(|error| error.to_string())?;
        }
    }
    client.writer().write_all(b"hello").unwrap();
    let mut wire = Vec::new();
    client.write_tls(&mut wire).unwrap();
    server.read_tls(&mut wire.as_slice()).unwrap();
    server.process_new_packets().map_err(|error| error.to_string())?;
    let mut text = [0; 5];
    server.reader().read_exact(&mut text).map_err(|error| error.to_string())?;
    Ok(())
}

#[test]
fn an_engine_is_trusted_as_far_as_the_policy_says() {
    let (ours, other) = (party(), party());
    let fingerprint = |party: &Party| -> String {
        digest(&SHA256, &party.authority).as_ref().iter().map(|byte| format!("{byte:02X}")).collect()
    };
    let by_authority = json!({"certificate_authorities": [ours.pem]});
    assert_eq!(shake(&by_authority, &ours, "engine.test"), Ok(()));
    assert!(shake(&by_authority, &other, "engine.test").is_err());
    assert!(shake(&by_authority, &ours, "elsewhere.test").is_err());

    let by_fingerprint = json!({"ca_trusted_fingerprint": fingerprint(&ours)});
    assert_eq!(shake(&by_fingerprint, &ours, "engine.test"), Ok(()));
    assert!(shake(&by_fingerprint, &other, "engine.test").is_err());
    assert!(shake(&by_fingerprint, &ours, "elsewhere.test").is_err(), "the name still counts");

    let any_name = json!({"certificate_authorities": [ours.pem], "verification_mode": "certificate"});
    assert_eq!(shake(&any_name, &ours, "elsewhere.test"), Ok(()));
    assert!(shake(&any_name, &other, "engine.test").is_err());

    assert_eq!(shake(&json!({"verification_mode": "none"}), &other, "elsewhere.test"), Ok(()));
}

#[test]
fn mistakes_name_the_setting() {
    let ours = party();
    for (ssl, words) in [
        (json!({"verification_mode": "maybe"}), "ssl.verification_mode"),
        (json!({"ca_trusted_fingerprint": "abc"}), "ssl.ca_trusted_fingerprint"),
        (json!({"certificate_authorities": ["/nonexistent/ca.pem"]}), "cannot be read"),
        (json!({"certificate_authorities": ["/dev/zero"]}), "authorities: /dev/zero is not a regular file"),
        (json!({"certificate_authorities": ["-----BEGIN NOTHING-----"]}), "holds no certificate"),
        (json!({"certificate": ours.pem}), "ssl.key"),
    ] {
        let error = shake(&ssl, &ours, "engine.test").unwrap_err();
        assert!(error.contains(words), "{ssl}: {error}");
    }
}
