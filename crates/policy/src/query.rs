//! Choosing things by what is known of them, in the query language that Fleet's users know (KQL): `policy_id:web
//! and not tags:(canary or test)`, `local_metadata.host.hostname:web-*`, `last_checkin < now-1d`, `*`.
//!
//! What there is to ask about is a [`Field`]; [`AgentField`] is that of agents,
//! and a [`DocumentQuery`] asks about documents of any kind. A query is read once, for one
//! moment (`now` in it is that moment), and then asked of each thing.

mod agent;
mod date;
mod document;
mod parse;
mod pattern;
mod print;
mod test;
mod tokens;

use std::fmt;

use crate::timestamp::Timestamp;
pub use agent::{About, AgentField};
pub use document::DocumentQuery;
pub use parse::QueryError;
pub use pattern::Pattern;
pub use test::{Bound, Comparison, Test};

/// The deepest nesting of a query.
const DEEPEST: usize = 50;
/// The longest query in bytes.
const LONGEST: usize = 64 * 1024;

/// A query about agents.
pub type AgentQuery = Query<AgentField>;

/// What a query can ask about.
pub trait Field: Clone + fmt::Debug + PartialEq {
    /// What the things are called, for messages.
    const THINGS: &'static str;

    /// The field of that name; `None`: there is none.
    fn named(name: &str) -> Option<Self>;

    /// The names that there are, for messages.
    fn known() -> String;

    /// A name of it.
    fn name(&self) -> String;

    /// What its values are.
    fn kind(&self) -> Kind;
}

/// What the values of a field are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text; texts are in the order of their bytes.
    Text,
    /// `9.6.0`
    Version,
    /// A moment; may be given as `2026-01-31`, `2026-01-31T12:00:00Z`, `now`, `now-1d`, `now/d`.
    Time,
    /// A whole number.
    Number,
    /// Whatever a document holds there.
    Any,
}

/// A query.
#[derive(Clone, Debug, PartialEq)]
pub struct Query<F>(Node<F>);

#[derive(Clone, Debug, PartialEq)]
enum Node<F> {
    All,
    Is(F, Test),
    Not(Box<Node<F>>),
    And(Vec<Node<F>>),
    Or(Vec<Node<F>>),
}

impl<F: Field> Query<F> {
    /// About everything.
    #[must_use]
    pub fn all() -> Query<F> {
        Query(Node::All)
    }

    /// Whether it is about everything, whatever is known of it.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0 == Node::All
    }

    /// Reads a query. An empty one is about everything.
    ///
    /// # Errors
    /// It is not one, or asks about what is not known; says where.
    pub fn parse(text: &str, now: Timestamp) -> Result<Query<F>, QueryError> {
        parse::parse(text, now).map(Query)
    }

    /// Calls `each` with every field that it asks about.
    pub fn for_each_field<'a>(&'a self, mut each: impl FnMut(&'a F)) {
        self.0.for_each_field(&mut each);
    }

    /// Whether it is about the thing of which `is` tells whether a field passes a test.
    pub fn matches(&self, mut is: impl FnMut(&F, &Test) -> bool) -> bool {
        self.0.matches(&mut is)
    }
}

impl<F: Field> Node<F> {
    fn for_each_field<'a>(&'a self, each: &mut impl FnMut(&'a F)) {
        match self {
            Node::All => {}
            Node::Is(field, _) => each(field),
            Node::Not(node) => node.for_each_field(each),
            Node::And(nodes) | Node::Or(nodes) => nodes.iter().for_each(|node| node.for_each_field(each)),
        }
    }

    fn matches(&self, is: &mut impl FnMut(&F, &Test) -> bool) -> bool {
        match self {
            Node::All => true,
            Node::Is(field, test) => is(field, test),
            Node::Not(node) => !node.matches(is),
            Node::And(nodes) => nodes.iter().all(|node| node.matches(is)),
            Node::Or(nodes) => nodes.iter().any(|node| node.matches(is)),
        }
    }
}

#[cfg(test)]
mod tests;
