//! Tables and data of the nouns.

use serde_json::Value;

use crate::cli::nouns::Output;
use crate::management::{Column, Kind, List};
use crate::output::{Console, printable};
use crate::yaml::to_text;

/// Between two columns.
const GAP: usize = 2;

/// Rows as lines, with columns as wide as their widest cell. Control characters become blanks: a name must not
/// be able to move the cursor.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + GAP));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Prints the objects of a list.
pub(crate) fn list(console: &Console, kind: &Kind, list: &List, output: Output, no_legend: bool) {
    rows(console, (kind.columns, kind.id_field), list, output, no_legend);
}

/// Prints the items of a list, given what is shown of each: the columns, and the field that names it.
pub(crate) fn rows(
    console: &Console,
    (columns, id_field): (&[Column], &str),
    list: &List,
    output: Output,
    no_legend: bool,
) {
    match output {
        Output::Table => {
            let legend = columns.iter().map(|column| column.title.to_owned()).collect();
            let rows =
                list.items.iter().map(|item| columns.iter().map(|column| column.cell.of(item)).collect());
            let rows: Vec<Vec<String>> = (!no_legend).then_some(legend).into_iter().chain(rows).collect();
            console.data(table(&rows).as_bytes());
        }
        Output::Json => console.line(format_args!("{:#}", Value::Array(list.items.clone()))),
        Output::Yaml => console.data(to_text(&Value::Array(list.items.clone())).as_bytes()),
        Output::Id => {
            for id in list.items.iter().filter_map(|item| item.get(id_field)) {
                match id {
                    Value::String(id) => console.line(id),
                    other => console.line(other),
                }
            }
        }
    }
    if list.is_cut {
        let total = list.total.map(|total| format!(" of {total}")).unwrap_or_default();
        console
            .note(format_args!("{}{total} are shown: --limit N gives more, --limit 0 all", list.items.len()));
    }
}

/// Prints one object.
pub(crate) fn object(console: &Console, kind: &Kind, object: &Value, output: Output) {
    match output {
        Output::Table => {
            let rows: Vec<Vec<String>> = kind
                .columns
                .iter()
                .map(|column| vec![column.title.to_owned(), column.cell.of(object)])
                .collect();
            console.data(table(&rows).as_bytes());
        }
        Output::Json => console.line(format_args!("{object:#}")),
        Output::Yaml => console.data(to_text(object).as_bytes()),
        Output::Id => console.line(kind.id_of(object).unwrap_or_default()),
    }
}

/// `1 object`, `2 objects`
pub(crate) fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// `title id (name)`, with nothing in it that could steer the terminal.
pub(crate) fn called(kind: &Kind, object: &Value) -> String {
    let id = kind.id_of(object).unwrap_or("?");
    match kind.name_of(object).filter(|name| *name != id && !name.is_empty()) {
        Some(name) => printable(&format!("{} {id} ({name})", kind.title)),
        None => printable(&format!("{} {id}", kind.title)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let rows = [vec!["ID", "NAME", "X"], vec!["web", "é\x1b[2J", "-"], vec!["w", "", ""]]
            .map(|row| row.into_iter().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(table(&rows), "ID   NAME   X\nweb  é [2J  -\nw\n");
        assert_eq!(table(&[]), "");
    }
}
