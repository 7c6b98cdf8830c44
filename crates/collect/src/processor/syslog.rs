//! `syslog`: takes the syslog message in a field apart.

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::{Flow, Processor};
use crate::config::{Config, Mistake};
use crate::event::{Event, FieldPath};
use crate::syslog::{Format, Settings, fields, written};

#[derive(Debug)]
struct Syslog {
    field: FieldPath,
    settings: Settings,
    overwrite: bool,
    ignore_missing: bool,
    ignore_failure: bool,
}

impl Processor for Syslog {
    fn run(&self, event: &mut Event) -> Flow {
        let Some(text) = event.text(&self.field).map(str::to_owned) else {
            if !self.ignore_missing {
                self.fail(event, &format!("field {} is not in the event, or is no text", self.field));
            }
            return Flow::Keep;
        };
        let message = match self.settings.parse(&text, OffsetDateTime::now_utc()) {
            Ok(message) => message,
            Err(error) => {
                self.fail(event, &format!("field {} is no syslog: {error}", self.field));
                return Flow::Keep;
            }
        };
        if let Some(moment) = message.timestamp {
            self.put(event, &FieldPath::new("@timestamp"), json!(written(moment)));
        }
        self.put(event, &FieldPath::new("message"), json!(message.text));
        self.put_all(event, &FieldPath::new("log.syslog"), fields::log_syslog(&message));
        Flow::Keep
    }
}

impl Syslog {
    fn put_all(&self, event: &mut Event, place: &FieldPath, map: Map<String, Value>) {
        if self.overwrite {
            event.deep_merge(place, Value::Object(map));
            return;
        }
        for (key, value) in map {
            let place = place.join(&key);
            match value {
                // Ids in structured data may have dots in them, which mean nothing.
                Value::Object(inner) if key != "structured_data" => self.put_all(event, &place, inner),
                value => self.put(event, &place, value),
            }
        }
    }

    fn put(&self, event: &mut Event, place: &FieldPath, value: Value) {
        if self.overwrite || event.get(place).is_none() {
            event.put(place, value);
        }
    }

    fn fail(&self, event: &mut Event, problem: &str) {
        if !self.ignore_failure {
            event.put(&FieldPath::new("error.message"), json!(problem));
        }
    }
}

/// `field` (default `message`), `format` (default `auto`), `timezone`, `overwrite_keys`.
pub(super) fn build(config: &Config) -> Result<Box<dyn Processor>, Mistake> {
    config.allow(&["tag"]);
    Ok(Box::new(Syslog {
        field: FieldPath::new(&config.text("field")?.unwrap_or_else(|| "message".to_owned())),
        settings: Settings::read(config, Format::Auto)?,
        overwrite: config.boolean("overwrite_keys", true)?,
        ignore_missing: config.boolean("ignore_missing", false)?,
        ignore_failure: config.boolean("ignore_failure", false)?,
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::Base;

    fn run(settings: &Value, event: &Value) -> Value {
        let processor = build(&Config::new(settings.as_object().unwrap())).unwrap();
        let mut event = Event::new(Arc::new(Base::new(event.as_object().unwrap().clone())));
        assert_eq!(processor.run(&mut event), Flow::Keep);
        Value::Object(event.to_map())
    }

    #[test]
    fn a_message_is_taken_apart() {
        let event =
            json!({"message": "<13>1 2022-01-11T22:14:15.003Z web app 1 - - hi", "log": {"level": "x"}});
        let expected = json!({
            "@timestamp": "2022-01-11T22:14:15.003Z",
            "message": "hi",
            "log": {"level": "x", "syslog": {
                "priority": 13, "facility": {"code": 1, "name": "user"}, "severity": {"code": 5, "name": "Notice"},
                "version": 1, "hostname": "web", "appname": "app", "procid": "1",
            }},
        });
        assert_eq!(run(&json!({"tag": "t"}), &event), expected);
    }

    #[test]
    fn what_is_there_may_be_kept() {
        let event = json!({
            "raw": "<13>Oct 11 22:14:15 web app: hi", "@timestamp": "t", "log": {"syslog": {"severity": {"code": 1}}},
        });
        let after = run(&json!({"field": "raw", "overwrite_keys": false, "timezone": "+0200"}), &event);
        assert_eq!((&after["@timestamp"], &after["message"]), (&json!("t"), &json!("hi")));
        assert_eq!(after["log"]["syslog"]["severity"], json!({"code": 1, "name": "Notice"}));
    }

    #[test]
    fn what_is_no_syslog_stays_and_is_told() {
        let event = json!({"message": "hello"});
        let expected = json!({"message": "hello", "error": {"message": "field message is no syslog: the message has neither a priority nor a timestamp"}});
        assert_eq!(run(&json!({}), &event), expected);
        assert_eq!(run(&json!({"ignore_failure": true}), &event), event);
        assert_eq!(run(&json!({"field": "x", "ignore_missing": true}), &event), event);
        assert!(
            run(&json!({"field": "x"}), &event)["error"]["message"]
                .as_str()
                .unwrap()
                .contains("not in the event")
        );
    }
}
