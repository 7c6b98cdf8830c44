//! A query as text that reads as the same query.

use std::fmt;

use super::pattern::Pattern;
use super::test::{Bound, Test};
use super::{Field, Node, Query};

impl<F: Field> fmt::Display for Query<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl<F: Field> fmt::Display for Node<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::All => formatter.write_str("*"),
            Node::Is(field, test) => {
                write!(formatter, "{}", field.name())?;
                print(test, formatter)
            }
            Node::Not(node) => write!(formatter, "not ({node})"),
            Node::And(nodes) => joined(nodes, " and ", formatter),
            Node::Or(nodes) => joined(nodes, " or ", formatter),
        }
    }
}

fn joined<F: Field>(nodes: &[Node<F>], word: &str, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (node, index) in nodes.iter().zip(0..) {
        if index > 0 {
            formatter.write_str(word)?;
        }
        write!(formatter, "({node})")?;
    }
    Ok(())
}

fn print(test: &Test, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    match test {
        Test::Exists => formatter.write_str(":*"),
        Test::Like(pattern) => write!(formatter, ":{}", word(pattern)),
        Test::Equals(number) => write!(formatter, ":{number}"),
        Test::Within(from, until) if from.until(*until).as_secs() == 24 * 3600 => {
            let text = from.to_string();
            write!(formatter, ":{}", text.split('T').next().unwrap_or_default())
        }
        Test::Within(from, _) => write!(formatter, ":\"{from}\""),
        Test::Compares(comparison, bound) => {
            write!(formatter, " {} ", comparison.as_str())?;
            match bound {
                Bound::Text(text) => write!(formatter, "{}", quoted(text)),
                Bound::Version(version) => write!(formatter, "{version}"),
                Bound::Time(moment) => write!(formatter, "\"{moment}\""),
                Bound::Number(number) => write!(formatter, "{number}"),
            }
        }
    }
}

fn word(pattern: &Pattern) -> String {
    if let Some(text) = pattern.text() {
        return quoted(text);
    }
    let parts: Vec<String> = pattern.parts().iter().map(|part| escaped(part)).collect();
    parts.join("*")
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_whitespace() || "():\"<>\\*".contains(char) {
            escaped.push('\\');
        }
        escaped.push(char);
    }
    escaped
}
