//! The classic form, which RFC 3164 describes rather than prescribes: each part may be missing.

use std::net::IpAddr;

use time::OffsetDateTime;

use super::cursor::Cursor;
use super::date;
use super::zone::Zone;
use super::{Message, SyntaxError};

/// RFC 3164 allows 32 letters; programs write more, but not this many.
const MAX_TAG: usize = 128;
/// The longest name that DNS allows.
const MAX_HOST: usize = 255;

/// `<13>Oct 11 22:14:15 host app[12]: text`. Programs on the same machine leave the host out; some senders leave the
/// timestamp out, or write it in the form of RFC 3339.
pub(super) fn parse<'a>(text: &'a str, zone: &Zone, now: OffsetDateTime) -> Result<Message<'a>, SyntaxError> {
    let mut cursor = Cursor::new(text);
    let priority = cursor.priority();
    cursor.eat(" ");
    let timestamp = timestamp(&mut cursor, zone, now);
    if priority.is_none() && timestamp.is_none() {
        return Err(if text.starts_with('<') { SyntaxError::Priority } else { SyntaxError::Unknown });
    }
    // Without a timestamp nothing tells a host from the first word of a text.
    let hostname = if timestamp.is_some() { hostname(&mut cursor) } else { None };
    if hostname.is_some() {
        // Some firewalls set the host off by a colon of its own.
        cursor.eat(": ");
    }
    let (appname, procid) = tag(&mut cursor);
    Ok(Message { priority, timestamp, hostname, appname, procid, text: cursor.rest(), ..Message::default() })
}

fn timestamp(cursor: &mut Cursor<'_>, zone: &Zone, now: OffsetDateTime) -> Option<OffsetDateTime> {
    let mut ahead = *cursor;
    // Routers whose clock is not set, or not in step, say so by a star or a point.
    let _ = ahead.eat("*") || ahead.eat(".");
    let moment = match date::classic(&mut ahead, zone, now) {
        Some(moment) => moment,
        None => {
            let word = ahead.word();
            let moment = date::rfc3339(word.strip_suffix(':').unwrap_or(word))?;
            *cursor = ahead;
            return Some(moment);
        }
    };
    ahead.eat(":");
    if !ahead.eat(" ") && !ahead.rest().is_empty() {
        return None;
    }
    *cursor = ahead;
    Some(moment)
}

/// The next word, unless it is the tag.
fn hostname<'a>(cursor: &mut Cursor<'a>) -> Option<&'a str> {
    let mut ahead = *cursor;
    let word = ahead.word();
    // A sole word is a text, not a host that says nothing.
    let is_last = word.len() == cursor.rest().len();
    let is_address = word.parse::<IpAddr>().is_ok();
    let is_tag = tag(&mut cursor.clone()).0.is_some() && !is_address;
    if word.is_empty() || word.len() > MAX_HOST || is_last || is_tag {
        return None;
    }
    *cursor = ahead;
    Some(word)
}

/// `app:`, `app[12]:` or `app[12]`, and the blank behind it.
fn tag<'a>(cursor: &mut Cursor<'a>) -> (Option<&'a str>, Option<&'a str>) {
    let rest = cursor.rest();
    let Some(end) = rest.find([' ', ':', '[']).filter(|end| (1..=MAX_TAG).contains(end)) else {
        return (None, None);
    };
    let (name, behind) = rest.split_at(end);
    let mut ahead = Cursor::new(behind);
    if ahead.eat("[") {
        let Some((process, behind)) =
            ahead.rest().split_once(']').filter(|(process, _)| process.len() <= MAX_TAG)
        else {
            return (None, None);
        };
        let mut ahead = Cursor::new(behind);
        let colon = ahead.eat(":");
        let number = !process.is_empty() && process.bytes().all(|byte| byte.is_ascii_digit());
        let plain = !process.is_empty() && !process.contains(char::is_whitespace);
        // Without a colon, what stands in brackets could be anything but a number.
        if !plain || !(colon || number && (behind.is_empty() || behind.starts_with(' '))) {
            return (None, None);
        }
        ahead.eat(" ");
        *cursor = ahead;
        return (Some(name), Some(process));
    }
    // `http://` is no tag.
    if ahead.eat(":") && (ahead.rest().is_empty() || ahead.eat(" ")) {
        *cursor = ahead;
        return (Some(name), None);
    }
    (None, None)
}
