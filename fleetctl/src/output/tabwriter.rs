//! Columns aligned by tabs, in the way scripts know from the original: each cell but the last of its row is
//! padded with tabs to the next multiple of eight after the widest cell of its column and one more.

const TAB_WIDTH: usize = 8;
const PADDING: usize = 1;

/// The rows as text, one line each. Control characters in a cell become blanks: a description must not be
/// able to move the cursor or break a column.
pub(crate) fn align(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
    let widths = column_widths(&rows);
    let mut text = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if column + 1 < row.len() {
                let width = widths.get(column).copied().unwrap_or(0);
                let missing = width.saturating_sub(cell.chars().count());
                text.extend(std::iter::repeat_n('\t', missing.div_ceil(TAB_WIDTH)));
            }
        }
        text.push('\n');
    }
    text
}

fn column_widths(rows: &[Vec<String>]) -> Vec<usize> {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            let width = (cell.chars().count() + PADDING).next_multiple_of(TAB_WIDTH);
            match widths.get_mut(column) {
                Some(widest) => *widest = width.max(*widest),
                None => widths.push(width),
            }
        }
    }
    widths
}

/// A text without control characters: blanks are in their place.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aligned(rows: &[&[&str]]) -> String {
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect();
        align(&rows)
    }

    #[test]
    fn columns_end_at_the_next_tab_stop_after_the_widest_cell() {
        assert_eq!(
            aligned(&[&["UNIT", "MACHINE", "ACTIVE"], &["hello.service", "113f16a7...", "active"]]),
            "UNIT\t\tMACHINE\t\tACTIVE\nhello.service\t113f16a7...\tactive\n"
        );
    }

    #[test]
    fn a_cell_of_exactly_a_tab_stop_gets_a_whole_tab_more() {
        assert_eq!(aligned(&[&["1234567", "x"]]), "1234567\tx\n");
        assert_eq!(aligned(&[&["12345678", "x"]]), "12345678\tx\n");
        assert_eq!(aligned(&[&["12345678", "x"], &["1", "y"]]), "12345678\tx\n1\t\ty\n");
    }

    #[test]
    fn empty_cells_keep_their_column() {
        assert_eq!(
            aligned(&[&["UNIT", "LOAD", "SUB"], &["a.service", "", "dead"]]),
            "UNIT\t\tLOAD\tSUB\na.service\t\tdead\n"
        );
    }

    #[test]
    fn width_is_counted_in_characters() {
        assert_eq!(aligned(&[&["ééééééé", "x"], &["1234567", "y"]]), "ééééééé\tx\n1234567\ty\n");
    }

    #[test]
    fn nothing_in_a_cell_can_steer_the_terminal() {
        assert_eq!(aligned(&[&["a\tb\x1b[2J", "x"]]), "a b [2J\tx\n");
    }
}
