//! `registered_domain`: the part of a host's name that somebody has registered, by the public suffix list.

use serde_json::json;

use super::Processor;
use super::attempt::{self, Attempt};
use crate::config::{Config, Mistake};
use crate::event::{Event, FieldPath};

#[derive(Debug)]
struct RegisteredDomain {
    field: FieldPath,
    target: FieldPath,
    suffix: Option<FieldPath>,
    subdomain: Option<FieldPath>,
    ignore_missing: bool,
}

impl Attempt for RegisteredDomain {
    fn attempt(&self, event: &mut Event) -> Result<(), String> {
        let Some(text) = attempt::text(event, &self.field, self.ignore_missing)? else { return Ok(()) };
        let name = text.trim().trim_end_matches('.').to_lowercase();
        let none = || format!("field {} has no registered domain: {name:?}", self.field);
        if name.parse::<std::net::IpAddr>().is_ok() || name.split('.').any(str::is_empty) {
            return Err(none());
        }
        let (domain, suffix) = match (psl::domain_str(&name), psl::suffix_str(&name)) {
            (Some(domain), Some(suffix)) if domain != suffix => (domain, suffix),
            _ => return Err(none()),
        };
        let rest = name.strip_suffix(domain).and_then(|rest| rest.strip_suffix('.'));
        event.put(&self.target, json!(domain));
        if let Some(place) = &self.suffix {
            event.put(place, json!(suffix));
        }
        if let (Some(place), Some(rest)) = (&self.subdomain, rest) {
            event.put(place, json!(rest));
        }
        Ok(())
    }
}

pub(super) fn build(config: &Config) -> Result<Box<dyn Processor>, Mistake> {
    config.allow(&["id"]);
    let maybe = |key: &str| -> Result<Option<FieldPath>, Mistake> {
        Ok(config.text(key)?.filter(|name| !name.is_empty()).map(|name| FieldPath::new(&name)))
    };
    let work = RegisteredDomain {
        field: attempt::needed(config, "field")?,
        target: attempt::needed(config, "target_field")?,
        suffix: maybe("target_etld_field")?,
        subdomain: maybe("target_subdomain_field")?,
        ignore_missing: config.boolean("ignore_missing", false)?,
    };
    attempt::unless_ignored(config, work)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{after, mistake, refused};
    use serde_json::{Value, json};

    fn processor(more: &Value) -> Value {
        let mut settings = json!({
            "field": "dns.name", "target_field": "domain", "target_etld_field": "suffix", "target_subdomain_field": "sub",
        });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([{ "registered_domain": settings }])
    }

    #[test]
    fn a_name_is_taken_apart_by_the_list() {
        for (name, domain, suffix, sub) in [
            ("www.google.co.uk", "google.co.uk", "co.uk", Some("www")),
            ("google.co.uk", "google.co.uk", "co.uk", None),
            ("A.B.Example.COM.", "example.com", "com", Some("a.b")),
            ("x.me.github.io", "me.github.io", "github.io", Some("x")),
            ("a.b.unlisted", "b.unlisted", "unlisted", Some("a")),
            ("www.xn--85x722f.com.cn", "xn--85x722f.com.cn", "com.cn", Some("www")),
        ] {
            let event = after(&processor(&json!({})), &json!({"dns": {"name": name}}));
            let found = [&event["domain"], &event["suffix"]].map(|value| value.as_str().unwrap());
            assert_eq!((found, event.get("sub").and_then(Value::as_str)), ([domain, suffix], sub), "{name}");
        }
    }

    #[test]
    fn what_has_no_registered_domain_is_told() {
        for name in ["com", "co.uk", "localhost", "192.168.1.1", "::1", "", ".", "a..com"] {
            let problem = refused(&processor(&json!({})), &json!({"dns": {"name": name}}));
            assert!(problem.starts_with("field dns.name has no registered domain"), "{name}: {problem}");
        }
        let event = json!({"x": 1});
        assert_eq!(refused(&processor(&json!({})), &event), "field dns.name is not in the event");
        assert_eq!(after(&processor(&json!({"ignore_missing": true})), &event), event);
        assert_eq!(after(&processor(&json!({"ignore_failure": true})), &event), event);
        assert!(mistake(&processor(&json!({"target_field": ""}))).contains("registered_domain.target_field"));
    }
}
