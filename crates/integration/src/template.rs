//! Templates of streams and inputs: Handlebars, as packages use it.
//!
//! The grammar and the rules of whitespace are those of the `handlebars` crate, which parses a template once.
//! What it parses is turned into a program of our own (`program`) and run here: packages are written for
//! Handlebars in JavaScript and rely on what is truthy, printed and looked up there; they come from
//! strangers, so that what a template may cost has to be counted; and a policy is rendered thousands of
//! times, for which values are borrowed, not copied.
//!
//! Nothing is escaped: what is rendered is YAML, not HTML.

mod helpers;
pub(crate) mod marks;
mod program;
mod render;
mod source;
#[cfg(test)]
mod tests;

use serde_json::Value;

use self::program::Node;

/// The largest template, in bytes. The largest that exist have some 60 KiB.
const LARGEST_TEMPLATE: usize = 1024 * 1024;

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {problem}")]
pub struct TemplateError {
    /// Below the package's folder.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// A sentence without its end.
    pub problem: String,
}

/// What is wrong, before it is known in which file.
#[derive(Debug)]
struct Wrong {
    line: usize,
    problem: String,
}

/// A template, parsed.
#[derive(Debug)]
pub struct Template {
    file: String,
    nodes: Vec<Node>,
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// The first thing that is no Handlebars, or that no policy has: partials, decorators, unknown helpers.
    pub fn read(file: &str, bytes: &[u8]) -> Result<Template, TemplateError> {
        let nodes = parse(bytes).map_err(|wrong| in_file(file, wrong))?;
        Ok(Template { file: file.to_owned(), nodes })
    }

    /// The file that it was read from, below the package's folder.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Renders it over a map of variables.
    ///
    /// # Errors
    /// A template that runs too long or says too much.
    pub fn render(&self, variables: &Value) -> Result<String, TemplateError> {
        render::run(&self.nodes, variables).map_err(|wrong| in_file(&self.file, wrong))
    }
}

fn in_file(file: &str, wrong: Wrong) -> TemplateError {
    TemplateError { file: file.to_owned(), line: wrong.line, problem: wrong.problem }
}

fn parse(bytes: &[u8]) -> Result<Vec<Node>, Wrong> {
    if bytes.len() > LARGEST_TEMPLATE {
        return Err(Wrong {
            line: 1,
            problem: format!("the template is larger than {LARGEST_TEMPLATE} bytes"),
        });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| Wrong {
        line: bytes[..error.valid_up_to()].split(|byte| *byte == b'\n').count(),
        problem: "the template is not UTF-8 text".to_owned(),
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let parsed = handlebars::Template::compile(&source::prepare(&text)?).map_err(|error| Wrong {
        line: error.pos().map_or(1, |(line, _)| line),
        problem: format!("this is not a Handlebars template: {}", error.reason()),
    })?;
    program::build(&parsed)
}
