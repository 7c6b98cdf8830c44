//! `rate_limit`: so many events go on in a time, the others are dropped.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};

use super::{Flow, Processor};
use crate::config::{Config, Mistake, scalar};
use crate::event::{Event, FieldPath};

/// Values of `fields` that are counted apart. When there are more, those that have their whole allowance are forgotten,
/// and if all are in use, new ones share one.
const MOST_KEYS: usize = 10_000;

/// All of them are looked through at most so often.
const SWEEP: Duration = Duration::from_secs(1);

/// What stands for the values of `fields`: they may be of any length, and this is kept for each.
type Key = [u8; SHA256_OUTPUT_LEN];

/// What those that find no room are counted as.
const SHARED: Key = [0; SHA256_OUTPUT_LEN];

/// A bucket of tokens for each value of the fields: it fills with time, and each event takes one.
#[derive(Debug)]
struct RateLimit {
    per_second: f64,
    most: f64,
    fields: Vec<FieldPath>,
    buckets: Mutex<Buckets>,
}

#[derive(Debug, Default)]
struct Buckets {
    by_value: HashMap<Key, Bucket>,
    /// When those that are full were forgotten last.
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Processor for RateLimit {
    fn run(&self, event: &mut Event) -> Flow {
        if self.takes(self.key(event), Instant::now()) { Flow::Keep } else { Flow::Drop }
    }
}

impl RateLimit {
    fn key(&self, event: &Event) -> Key {
        let mut hash = Context::new(&SHA256);
        for field in &self.fields {
            match event.get(field).map(|value| scalar(value).unwrap_or_else(|| value.to_string())) {
                // Lengths keep `a` and `b c` from being what `a b` and `c` are.
                Some(value) => hash.update(format!("{}:{value}", value.len()).as_bytes()),
                None => hash.update(b"-"),
            }
        }
        let mut key = SHARED;
        key.copy_from_slice(hash.finish().as_ref());
        key
    }

    fn takes(&self, mut key: Key, now: Instant) -> bool {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let Buckets { by_value, swept } = &mut *buckets;
        if by_value.len() >= MOST_KEYS && !by_value.contains_key(&key) {
            if swept.is_none_or(|at| now.saturating_duration_since(at) >= SWEEP) {
                *swept = Some(now);
                by_value.retain(|_, bucket| self.filled(bucket, now) < self.most);
            }
            if by_value.len() >= MOST_KEYS {
                key = SHARED;
            }
        }
        let bucket = by_value.entry(key).or_insert(Bucket { tokens: self.most, filled: now });
        bucket.tokens = self.filled(bucket, now);
        bucket.filled = now;
        let takes = bucket.tokens >= 1.0;
        if takes {
            bucket.tokens -= 1.0;
        }
        takes
    }

    fn filled(&self, bucket: &Bucket, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(bucket.filled);
        (bucket.tokens + passed.as_secs_f64() * self.per_second).min(self.most)
    }
}

pub(super) fn build(config: &Config) -> Result<Box<dyn Processor>, Mistake> {
    Ok(Box::new(read(config)?))
}

fn read(config: &Config) -> Result<RateLimit, Mistake> {
    let wrong = || config.mistake("limit", "must be a number and a unit, such as 500/s, 10000/m or 100000/h");
    let limit = config.text("limit")?.ok_or_else(wrong)?;
    let (count, unit) = limit.split_once('/').ok_or_else(wrong)?;
    let unit = match unit.trim() {
        "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        "h" => Duration::from_secs(3600),
        _ => return Err(wrong()),
    };
    let count: f64 =
        count.trim().parse().ok().filter(|count| *count > 0.0 && f64::is_finite(*count)).ok_or_else(wrong)?;
    let burst = config.text("algorithm.token_bucket.burst_multiplier")?;
    let burst: f64 = match burst.as_deref().map(str::parse) {
        None => 1.0,
        Some(Ok(burst)) if burst > 0.0 && f64::is_finite(burst) => burst,
        Some(_) => {
            return Err(config.mistake("algorithm.token_bucket.burst_multiplier", "must be a number above 0"));
        }
    };
    let per_second = count / unit.as_secs_f64();
    Ok(RateLimit {
        per_second,
        // Less than one event could never go on.
        most: (per_second * burst).max(1.0),
        fields: config.texts("fields")?.iter().map(|field| FieldPath::new(field)).collect(),
        buckets: Mutex::default(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::event::Base;

    fn limit(settings: &Value) -> RateLimit {
        read(&Config::new(settings.as_object().unwrap())).unwrap()
    }

    fn key(number: usize) -> Key {
        let mut key = SHARED;
        key[..8].copy_from_slice(&number.to_be_bytes());
        key
    }

    #[test]
    fn values_of_any_length_are_told_apart() {
        let limit = limit(&json!({"limit": "1/s", "fields": ["a", "b"]}));
        let long = "x".repeat(1 << 20);
        let events = [
            json!({"a": "1", "b": "23"}),
            json!({"a": "12", "b": "3"}),
            json!({"a": "1"}),
            json!({"b": "1"}),
            json!({"a": long, "b": 1}),
            json!({"a": long, "b": [1]}),
            json!({}),
        ];
        let keys: HashSet<Key> = events
            .iter()
            .map(|event| limit.key(&Event::new(Arc::new(Base::new(event.as_object().unwrap().clone())))))
            .collect();
        assert_eq!(keys.len(), events.len());
    }

    #[test]
    fn so_many_go_on_in_a_time_and_others_do_not() {
        let limit = limit(&json!({"limit": "3/s"}));
        let start = Instant::now();
        let at = |millis| limit.takes(SHARED, start + Duration::from_millis(millis));
        assert_eq!([at(0), at(0), at(0), at(0)], [true, true, true, false]);
        assert_eq!([at(300), at(340), at(350)], [false, true, false]);
        assert_eq!([at(9000), at(9000), at(9000), at(9000)], [true, true, true, false]);
    }

    #[test]
    fn a_slow_rate_lets_one_through_and_a_burst_more() {
        let slow = limit(&json!({"limit": "1/h"}));
        let start = Instant::now();
        assert!(slow.takes(SHARED, start));
        assert!(!slow.takes(SHARED, start + Duration::from_secs(3599)));
        assert!(slow.takes(SHARED, start + Duration::from_secs(3600)));
        let burst = limit(&json!({"limit": "1/s", "algorithm.token_bucket.burst_multiplier": 2}));
        assert_eq!([1, 2, 3].map(|_| burst.takes(SHARED, start)), [true, true, false]);
    }

    #[test]
    fn values_are_counted_apart_up_to_a_bound() {
        let limit = limit(&json!({"limit": "1/s", "fields": ["host.name"]}));
        let start = Instant::now();
        for number in 0..MOST_KEYS {
            assert!(limit.takes(key(number + 1), start));
        }
        assert!(!limit.takes(key(7), start));
        // No room: what is new shares a bucket.
        assert!(limit.takes(key(MOST_KEYS + 1), start));
        assert!(!limit.takes(key(MOST_KEYS + 2), start));
        assert!(limit.buckets.lock().unwrap().by_value.len() <= MOST_KEYS + 1);
        // Later those that are full again are forgotten.
        assert!(limit.takes(key(MOST_KEYS + 3), start + Duration::from_secs(10)));
        assert_eq!(limit.buckets.lock().unwrap().by_value.len(), 1);
    }

    #[test]
    fn limits_that_mean_nothing_are_refused() {
        for text in ["", "10", "10/d", "x/s", "0/s", "-1/s", "inf/s"] {
            let settings = json!({ "limit": text });
            let mistake = read(&Config::new(settings.as_object().unwrap())).unwrap_err();
            assert_eq!(mistake.field, "limit", "{text}");
        }
    }
}
