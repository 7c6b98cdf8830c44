//! How people sign in, and what is kept of it.

use std::time::Duration;

use fleet_access::rights::Role;

use crate::yaml;

const OIDC: &str = "management.oidc:
  issuer: https://login.example/realms/main
  client_id: fleet
  client_secret: hunter2
  redirect_uri: https://fleet.example:5601/api/fleet/oidc/callback
  roles: {admin: [root], editor: [ops, root], viewer: staff}
";

#[test]
fn a_provider_is_read_whole() {
    let oidc = yaml(OIDC).config().management.oidc.unwrap();
    assert_eq!((oidc.client_id.as_str(), oidc.client_secret.unwrap().reveal()), ("fleet", "hunter2"));
    assert_eq!((oidc.name_claim.as_str(), oidc.roles_claim.as_str()), ("sub", "groups"));
    assert_eq!(oidc.scopes, ["profile", "email"]);
    assert_eq!(oidc.roles["root"], [Role::Admin, Role::Editor].into());
    assert_eq!(oidc.roles["staff"], [Role::Viewer].into());
    assert_eq!(yaml(OIDC).warnings(), Vec::<String>::new());
    assert!(yaml("").config().management.oidc.is_none());
    assert!(!format!("{:?}", yaml(OIDC).config()).contains("hunter2"));
}

#[test]
fn what_is_missing_of_a_provider_is_told() {
    let mistakes = yaml("management.oidc.scopes: [email]").mistakes();
    for (mistake, key) in mistakes.iter().zip(["issuer", "client_id", "redirect_uri", "roles"]) {
        assert!(mistake.contains(&format!("management.oidc.{key} is missing")), "{mistakes:?}");
    }
    assert_eq!(mistakes.len(), 4);
}

#[test]
fn what_others_could_read_or_change_on_the_way_is_refused() {
    for (key, value) in [
        ("issuer", "http://login.example"),
        ("issuer", "login.example"),
        ("issuer", "https://login.example?x=y"),
        ("redirect_uri", "http://fleet.example/api/fleet/oidc/callback"),
        ("redirect_uri", "https://fleet.example/elsewhere"),
        ("scopes", "[\"a b\"]"),
    ] {
        let mistakes = yaml(OIDC).with(&format!("management.oidc.{key}={value}")).mistakes();
        assert!(mistakes[0].contains(&format!("management.oidc.{key}")), "{mistakes:?}");
    }
    for host in ["localhost:9", "127.0.0.1", "[::1]:9"] {
        yaml(OIDC).with(&format!("management.oidc.issuer=http://{host}")).config();
    }
}

#[test]
fn proxies_are_addresses_and_networks() {
    let proxies = yaml("management.trusted_proxies: [10.0.0.0/8, '::1']").config().management.trusted_proxies;
    assert!(proxies[0].contains("10.1.2.3".parse().unwrap()) && proxies[1].contains("::1".parse().unwrap()));
    let mistakes = yaml("management.trusted_proxies: proxy.example").mistakes();
    assert!(mistakes[0].contains("management.trusted_proxies"), "{mistakes:?}");
}

#[test]
fn sign_ins_and_the_trail_have_bounds() {
    let config =
        yaml("management: {sessions: {idle_timeout: 30m, lifetime: 12h}, audit: {max_entries: 500}}");
    let management = config.config().management;
    assert_eq!(management.sessions.idle_timeout, Duration::from_secs(1800));
    assert_eq!(management.sessions.lifetime, Duration::from_secs(12 * 3600));
    assert_eq!(management.audit.max_entries, 500);
    assert_eq!(yaml("management.sessions.idle_timeout: 1s").mistakes().len(), 1);
    assert_eq!(yaml("management.audit.max_entries: 1").mistakes().len(), 1);
}
