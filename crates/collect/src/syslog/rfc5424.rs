//! The structured form.

use super::cursor::Cursor;
use super::date;
use super::{Element, MAX_PARAMETERS, Message, SyntaxError};

/// Whether a version stands behind the priority.
pub(super) fn is_likely(text: &str) -> bool {
    let mut cursor = Cursor::new(text);
    cursor.priority().is_some() && cursor.number(3).is_some() && cursor.eat(" ")
}

/// `<13>1 2003-10-11T22:14:15.003Z host app 12 id [a b="c"] text`; `-` stands for nothing. The lengths that the RFC
/// allows to names are not enforced: a longer one is still a name.
pub(super) fn parse(text: &str) -> Result<Message<'_>, SyntaxError> {
    let mut cursor = Cursor::new(text);
    let priority = cursor.priority().ok_or(SyntaxError::Priority)?;
    let version = cursor.number(3).filter(|version| *version > 0 && cursor.eat(" "));
    let version = version.and_then(|version| u16::try_from(version).ok()).ok_or(SyntaxError::Version)?;
    let timestamp = match cursor.word() {
        "-" => None,
        word => Some(date::rfc3339(word).ok_or(SyntaxError::Timestamp)?),
    };
    let hostname = field(&mut cursor, "hostname")?;
    let appname = field(&mut cursor, "application name")?;
    let procid = field(&mut cursor, "process id")?;
    let msgid = field(&mut cursor, "message id")?;
    let data = structured_data(&mut cursor)?;
    let text = match cursor.rest() {
        "" => "",
        rest => rest.strip_prefix(' ').ok_or(SyntaxError::StructuredData)?,
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let version = Some(version);
    Ok(Message { priority: Some(priority), version, timestamp, hostname, appname, procid, msgid, data, text })
}

fn field<'a>(cursor: &mut Cursor<'a>, name: &'static str) -> Result<Option<&'a str>, SyntaxError> {
    match cursor.word() {
        "" => Err(SyntaxError::Header(name)),
        "-" => Ok(None),
        word => Ok(Some(word)),
    }
}

fn structured_data<'a>(cursor: &mut Cursor<'a>) -> Result<Vec<Element<'a>>, SyntaxError> {
    if cursor.eat("-") {
        return Ok(Vec::new());
    }
    let mut elements = Vec::new();
    let mut left = MAX_PARAMETERS;
    while cursor.eat("[") {
        left = left.checked_sub(1).ok_or(SyntaxError::TooMany)?;
        elements.push(element(cursor, &mut left)?);
    }
    if elements.is_empty() { Err(SyntaxError::Header("structured data")) } else { Ok(elements) }
}

fn element<'a>(cursor: &mut Cursor<'a>, left: &mut usize) -> Result<Element<'a>, SyntaxError> {
    let id = name(cursor)?;
    let mut parameters = Vec::new();
    loop {
        while cursor.eat(" ") {}
        if cursor.eat("]") {
            return Ok(Element { id, parameters });
        }
        *left = left.checked_sub(1).ok_or(SyntaxError::TooMany)?;
        let name = name(cursor)?;
        if !cursor.eat("=\"") {
            return Err(SyntaxError::StructuredData);
        }
        parameters.push((name, value(cursor)?));
    }
}

/// Printable ASCII without `=`, blank, `]` and `"`.
fn name<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, SyntaxError> {
    let rest = cursor.rest();
    let ends = |byte: u8| !byte.is_ascii_graphic() || matches!(byte, b'=' | b']' | b'"');
    let end = rest.bytes().position(ends).unwrap_or(rest.len());
    // The end is at a byte of ASCII, or at the first of a longer letter.
    let name = rest.get(..end).filter(|name| !name.is_empty()).ok_or(SyntaxError::StructuredData)?;
    cursor.eat(name);
    Ok(name)
}

/// Until the closing quote. A backslash takes the special meaning from `"`, `\` and `]`; before anything else it is
/// a backslash.
fn value(cursor: &mut Cursor<'_>) -> Result<String, SyntaxError> {
    let rest = cursor.rest();
    let mut value = String::new();
    let mut start = 0;
    let mut bytes = rest.bytes().enumerate();
    while let Some((index, byte)) = bytes.next() {
        match byte {
            b'"' => {
                value.push_str(&rest[start..index]);
                *cursor = Cursor::new(&rest[index + 1..]);
                return Ok(value);
            }
            b'\\' => {
                if let Some(b'"' | b'\\' | b']') = rest.as_bytes().get(index + 1) {
                    value.push_str(&rest[start..index]);
                    start = index + 1;
                    bytes.next();
                }
            }
            _ => {}
        }
    }
    Err(SyntaxError::StructuredData)
}
