//! The parser `syslog`: lines that are syslog messages.

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::Record;
use crate::config::{Config, Mistake, merge};
use crate::syslog::{Format, Settings, fields, written};

/// Takes lines apart.
#[derive(Clone, Debug)]
pub(crate) struct Syslog {
    settings: Settings,
    log_errors: bool,
    add_error: bool,
}

impl Syslog {
    /// `format`, `timezone`, `log_errors` and `add_error_key`.
    pub(super) fn read(config: &Config) -> Result<Syslog, Mistake> {
        Ok(Syslog {
            settings: Settings::read(config, Format::Auto)?,
            log_errors: config.boolean("log_errors", false)?,
            add_error: config.boolean("add_error_key", true)?,
        })
    }

    /// A line that is no message goes on as it is.
    pub(super) fn apply(&self, mut record: Record) -> Record {
        let text = std::mem::take(&mut record.text);
        match self.settings.parse(&text, OffsetDateTime::now_utc()) {
            Ok(message) => {
                if let Some(moment) = message.timestamp {
                    record.fields.insert("@timestamp".to_owned(), json!(written(moment)));
                }
                let log =
                    Map::from_iter([("syslog".to_owned(), Value::Object(fields::log_syslog(&message)))]);
                merge(&mut record.fields, "log".to_owned(), Value::Object(log));
                message.text.clone_into(&mut record.text);
            }
            Err(error) => {
                if self.log_errors {
                    tracing::warn!(%error, "a line is no syslog message");
                }
                if self.add_error {
                    let error = json!({"message": format!("the line is no syslog message: {error}")});
                    merge(&mut record.fields, "error".to_owned(), error);
                }
                record.text = text;
            }
        }
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(settings: &Value, text: &str) -> Record {
        let parser = Syslog::read(&Config::new(settings.as_object().unwrap())).unwrap();
        let fields = Map::from_iter([("log".to_owned(), json!({"x": 1}))]);
        parser.apply(Record { text: text.to_owned(), start: 7, fields, ..Record::default() })
    }

    #[test]
    fn lines_are_taken_apart() {
        let record = apply(&json!({}), "<13>1 2022-01-11T22:14:15.003Z web app - - - hi");
        assert_eq!((record.text.as_str(), record.start), ("hi", 7));
        assert_eq!(record.fields["@timestamp"], "2022-01-11T22:14:15.003Z");
        assert_eq!(
            (&record.fields["log"]["x"], &record.fields["log"]["syslog"]["appname"]),
            (&json!(1), &json!("app"))
        );
    }

    #[test]
    fn other_lines_stay_and_are_told() {
        let record = apply(&json!({"log_errors": true}), "hello");
        assert_eq!(record.text, "hello");
        assert!(
            record.fields["error"]["message"]
                .as_str()
                .unwrap()
                .starts_with("the line is no syslog message: ")
        );
        assert!(!apply(&json!({"add_error_key": false}), "hello").fields.contains_key("error"));
    }
}
