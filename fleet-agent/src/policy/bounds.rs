//! What a policy may be at most.

use serde_json::Value;

/// Values nested deeper are not followed. Real policies have a dozen levels.
pub(super) const DEEPEST: usize = 64;
/// The most values of a policy: 200 inputs with all that belongs to them have less than 100 000.
const MOST_VALUES: usize = 2_000_000;

/// Whether a value is within the bounds; otherwise, what is too much.
pub(super) fn check(value: &Value) -> Result<(), String> {
    let mut count = 0;
    let mut open = vec![(value, 0)];
    while let Some((value, depth)) = open.pop() {
        count += 1;
        if depth > DEEPEST {
            return Err(format!("it is nested deeper than {DEEPEST} levels"));
        }
        if count > MOST_VALUES {
            return Err(format!("it has more than {MOST_VALUES} values"));
        }
        match value {
            Value::Array(items) => open.extend(items.iter().map(|item| (item, depth + 1))),
            Value::Object(members) => open.extend(members.values().map(|member| (member, depth + 1))),
            _ => {}
        }
    }
    Ok(())
}
