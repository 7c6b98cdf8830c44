//! YAML as people keep it in files: read with the line of each mistake, and written so that the same values
//! always give the same bytes.

mod read;
mod write;

pub(crate) use read::{YamlError, read_documents, read_one};
pub(crate) use write::to_text;

#[cfg(test)]
mod tests;
