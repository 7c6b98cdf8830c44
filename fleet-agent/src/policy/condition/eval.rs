//! From a tree to true or false.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

use super::functions;
use super::parse::Node;
use crate::policy::variables::{Facts, Missing};

/// Why there is no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// A value is not of the kind that is needed.
    #[error("{what} needs {needed}, not {given}")]
    Kind {
        /// What for.
        what: String,
        /// What is needed.
        needed: &'static str,
        /// What was given.
        given: String,
    },
    /// A function that does not exist.
    #[error("there is no function {0:?}")]
    Function(String),
    /// Too many or too few values for a function.
    #[error("{function} takes {takes}, not {given}")]
    Arguments {
        /// The function.
        function: String,
        /// What it takes.
        takes: &'static str,
        /// How many were given.
        given: usize,
    },
    /// A variable that is not written as one is.
    #[error("a variable is not written as one")]
    Variable(#[source] Missing),
    /// A division by zero, or a number too large.
    #[error("{0} has no number as its outcome")]
    Number(String),
    /// A pattern that is none.
    #[error("{pattern:?} is no regular expression: {problem}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        problem: String,
    },
}

pub(super) fn outcome(node: &Node, facts: &Facts) -> Result<bool, EvalError> {
    truth("the condition", &value(node, facts)?)
}

fn truth(what: &str, value: &Value) -> Result<bool, EvalError> {
    match value {
        Value::Bool(truth) => Ok(*truth),
        // A variable that is not there holds for nothing.
        Value::Null => Ok(false),
        other => Err(kind(what, "true or false", other)),
    }
}

pub(super) fn kind(what: &str, needed: &'static str, given: &Value) -> EvalError {
    let given = given.to_string().chars().take(60).collect();
    EvalError::Kind { what: what.to_owned(), needed, given }
}

pub(super) fn value(node: &Node, facts: &Facts) -> Result<Value, EvalError> {
    match node {
        Node::Value(value) => Ok(value.clone()),
        Node::Variable(inside) => match facts.value(inside) {
            Ok(value) => Ok(value),
            Err(Missing::Unknown(_)) => Ok(Value::Null),
            Err(malformed) => Err(EvalError::Variable(malformed)),
        },
        Node::List(items) => {
            let items: Result<_, _> = items.iter().map(|item| value(item, facts)).collect();
            items.map(Value::Array)
        }
        Node::Map(members) => {
            let members: Result<Map<String, Value>, EvalError> =
                members.iter().map(|(key, member)| Ok((key.clone(), value(member, facts)?))).collect();
            members.map(Value::Object)
        }
        Node::Not(node) => Ok(Value::Bool(!truth("not", &value(node, facts)?)?)),
        Node::Negative(node) => {
            let minus_one = Value::Number(Number::from(-1));
            arithmetic("*", &value(node, facts)?, &minus_one)
        }
        Node::Both("and", left, right) => {
            Ok(Value::Bool(truth("and", &value(left, facts)?)? && truth("and", &value(right, facts)?)?))
        }
        Node::Both("or", left, right) => {
            Ok(Value::Bool(truth("or", &value(left, facts)?)? || truth("or", &value(right, facts)?)?))
        }
        Node::Both(sign, left, right) => both(sign, &value(left, facts)?, &value(right, facts)?),
        Node::Call(name, arguments) => {
            let arguments: Result<Vec<Value>, _> = arguments.iter().map(|one| value(one, facts)).collect();
            functions::call(name, &arguments?)
        }
    }
}

fn both(sign: &str, left: &Value, right: &Value) -> Result<Value, EvalError> {
    let truth = match sign {
        "==" => same(left, right),
        "!=" => !same(left, right),
        "<" => order(sign, left, right)?.is_some_and(Ordering::is_lt),
        "<=" => order(sign, left, right)?.is_some_and(Ordering::is_le),
        ">" => order(sign, left, right)?.is_some_and(Ordering::is_gt),
        ">=" => order(sign, left, right)?.is_some_and(Ordering::is_ge),
        _ => return arithmetic(sign, left, right),
    };
    Ok(Value::Bool(truth))
}

/// `1` and `1.0` are the same.
pub(super) fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (left, right) => left == right,
    }
}

/// `None`: one of them is not there, so nothing holds.
fn order(sign: &str, left: &Value, right: &Value) -> Result<Option<Ordering>, EvalError> {
    match (left, right) {
        (Value::Null, _) | (_, Value::Null) => Ok(None),
        (Value::Number(left), Value::Number(right)) => {
            Ok(left.as_f64().zip(right.as_f64()).and_then(|(left, right)| left.partial_cmp(&right)))
        }
        (Value::String(left), Value::String(right)) => Ok(Some(left.cmp(right))),
        (Value::Number(_) | Value::String(_), other) => Err(kind(sign, "two numbers or two texts", other)),
        (other, _) => Err(kind(sign, "two numbers or two texts", other)),
    }
}

/// Whole numbers stay whole while they fit.
pub(super) fn arithmetic(sign: &str, left: &Value, right: &Value) -> Result<Value, EvalError> {
    let number = |value: &Value| match value {
        Value::Number(number) => Ok(number.clone()),
        other => Err(kind(sign, "numbers", other)),
    };
    let (left, right) = (number(left)?, number(right)?);
    let none = || EvalError::Number(format!("{left} {sign} {right}"));
    if let (Some(left), Some(right)) = (left.as_i64(), right.as_i64()) {
        let whole = match sign {
            "+" => left.checked_add(right),
            "-" => left.checked_sub(right),
            "*" => left.checked_mul(right),
            "/" => left.checked_div(right),
            _ => left.checked_rem(right),
        };
        return whole.map(|whole| Value::Number(whole.into())).ok_or_else(none);
    }
    let (Some(a), Some(b)) = (left.as_f64(), right.as_f64()) else { return Err(none()) };
    let number = match sign {
        "+" => a + b,
        "-" => a - b,
        "*" => a * b,
        "/" => a / b,
        _ => a % b,
    };
    Number::from_f64(number).map(Value::Number).ok_or_else(none)
}
