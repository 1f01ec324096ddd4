//! Answers as text: tables as RabbitMQ's tools print them, JSON, comma-separated values.

use std::io::{self, Write};

use clap::ValueEnum;
use serde_json::Value;

/// How answers are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Format {
    /// A line for each row, with tabs between the columns
    #[default]
    Table,
    /// An array of objects
    Json,
    /// Comma-separated values, all in quotes
    Csv,
    /// With lines around everything
    PrettyTable,
}

impl Format {
    /// Whether nothing but the answer is to be printed.
    pub fn is_for_machines(self) -> bool {
        matches!(self, Format::Json | Format::Csv)
    }
}

/// Prints a table row by row; a pretty one at its end, when its widths are known.
pub struct TablePrinter<W> {
    out: W,
    format: Format,
    with_header: bool,
    columns: Vec<String>,
    rows_printed: u64,
    /// What a pretty table waits with.
    kept: Vec<Vec<String>>,
}

impl<W: Write> TablePrinter<W> {
    pub fn new(out: W, format: Format, with_header: bool, columns: Vec<String>) -> TablePrinter<W> {
        TablePrinter { out, format, with_header, columns, rows_printed: 0, kept: Vec::new() }
    }

    /// Prints a row. As in RabbitMQ's tools, the header comes with the first one: an empty table is empty.
    pub fn row(&mut self, row: &[Value]) -> io::Result<()> {
        let is_first = self.rows_printed == 0;
        self.rows_printed += 1;
        match self.format {
            Format::Table => {
                if is_first && self.with_header {
                    writeln!(self.out, "{}", self.columns.join("\t"))?;
                }
                let cells: Vec<String> = row.iter().map(cell).collect();
                writeln!(self.out, "{}", cells.join("\t"))
            }
            Format::Csv => {
                if is_first && self.with_header {
                    let columns: Vec<String> = self.columns.iter().map(|name| quoted(name)).collect();
                    writeln!(self.out, "{}", columns.join(","))?;
                }
                let cells: Vec<String> = row.iter().map(|value| quoted(&cell(value))).collect();
                writeln!(self.out, "{}", cells.join(","))
            }
            Format::Json => {
                self.out.write_all(if is_first { b"[\n" } else { b"," })?;
                writeln!(self.out, "{}", self.object(row))
            }
            Format::PrettyTable => {
                self.kept.push(row.iter().map(cell).collect());
                Ok(())
            }
        }
    }

    pub fn end(&mut self) -> io::Result<()> {
        match self.format {
            Format::Json if self.rows_printed == 0 => writeln!(self.out, "[\n]"),
            Format::Json => writeln!(self.out, "]"),
            Format::PrettyTable if self.rows_printed > 0 => self.boxes(),
            _ => Ok(()),
        }
    }

    /// The row as a JSON object whose members are in the order of the columns.
    fn object(&self, row: &[Value]) -> String {
        let name = |name: &String| Value::from(name.as_str()).to_string();
        let members = self.columns.iter().zip(row).map(|(column, value)| format!("{}:{value}", name(column)));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }

    fn boxes(&mut self) -> io::Result<()> {
        let header = self.with_header.then(|| self.columns.clone());
        let rows: Vec<Vec<String>> = header.into_iter().chain(std::mem::take(&mut self.kept)).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
            .collect();
        let border = |left: &str, middle: &str, right: &str| {
            let lines: Vec<String> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
            format!("{left}{}{right}", lines.join(middle))
        };
        writeln!(self.out, "{}", border("┌", "┬", "┐"))?;
        for (index, row) in rows.iter().enumerate() {
            if index > 0 {
                writeln!(self.out, "{}", border("├", "┼", "┤"))?;
            }
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} ")).collect();
            writeln!(self.out, "│{}│", cells.join("│"))?;
        }
        writeln!(self.out, "{}", border("└", "┴", "┘"))
    }
}

/// A value in a table. Text is as it is, but for characters that would break the line or speak to the terminal.
pub fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => escaped(text),
        Value::Array(items) => format!("[{}]", items.iter().map(cell).collect::<Vec<_>>().join(", ")),
        Value::Object(_) => term(value),
        other => other.to_string(),
    }
}

/// A value as Erlang would write it, as RabbitMQ's tools show arguments: `[{"x-max-length",100}]`.
fn term(value: &Value) -> String {
    match value {
        Value::Null => "undefined".to_owned(),
        Value::String(text) => format!("\"{}\"", escaped(text)),
        Value::Array(items) => format!("[{}]", items.iter().map(term).collect::<Vec<_>>().join(",")),
        Value::Object(members) => {
            let members = members.iter().map(|(key, value)| format!("{{\"{}\",{}}}", escaped(key), term(value)));
            format!("[{}]", members.collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

/// Control characters in octal, as RabbitMQ's tools write them.
fn escaped(text: &str) -> String {
    if !text.contains(|c: char| c.is_control() || c == '\\') {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => {
                let mut bytes = [0; 4];
                c.encode_utf8(&mut bytes).bytes().for_each(|byte| out.push_str(&format!("\\{byte:03o}")));
            }
            c => out.push(c),
        }
    }
    out
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn printed(format: Format, with_header: bool, rows: &[Value]) -> String {
        let mut out = Vec::new();
        let columns = vec!["name".to_owned(), "arguments".to_owned()];
        let mut printer = TablePrinter::new(&mut out, format, with_header, columns);
        for row in rows {
            printer.row(row.as_array().unwrap()).unwrap();
        }
        printer.end().unwrap();
        String::from_utf8(out).unwrap()
    }

    fn rows() -> Vec<Value> {
        vec![json!(["q", {}]), json!(["a\tb\u{1b}", {"x-max-length": 5, "x-overflow": "drop-head"}])]
    }

    #[test]
    fn tables_are_as_rabbitmq_prints_them() {
        let lines = "q\t[]\na\\011b\\033\t[{\"x-max-length\",5},{\"x-overflow\",\"drop-head\"}]\n";
        assert_eq!(printed(Format::Table, false, &rows()), lines);
        assert_eq!(printed(Format::Table, true, &rows()), format!("name\targuments\n{lines}"));
        assert_eq!(printed(Format::Table, true, &[]), "");
    }

    #[test]
    fn json_is_an_array_of_objects_in_the_order_of_the_columns() {
        let text = printed(Format::Json, true, &rows());
        assert!(text.starts_with("[\n{\"name\":\"q\",\"arguments\":{}}\n,{"), "{text}");
        let parsed: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            parsed[1],
            json!({"name": "a\tb\u{1b}", "arguments": {"x-max-length": 5, "x-overflow": "drop-head"}})
        );
        assert_eq!(serde_json::from_str::<Value>(&printed(Format::Json, true, &[])).unwrap(), json!([]));
    }

    #[test]
    fn csv_quotes_everything() {
        assert_eq!(printed(Format::Csv, true, &[json!(["a\"b", {}])]), "\"name\",\"arguments\"\n\"a\"\"b\",\"[]\"\n");
    }

    #[test]
    fn a_pretty_table_is_as_wide_as_its_widest_cells() {
        let text = printed(Format::PrettyTable, true, &[json!(["queue", {}])]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1..4], ["│ name  │ arguments │", "├───────┼───────────┤", "│ queue │ []        │"]);
    }

    #[test]
    fn lists_of_words_are_as_rabbitmq_prints_tags() {
        assert_eq!(cell(&json!(["management", "policymaker"])), "[management, policymaker]");
        assert_eq!([cell(&json!([])), cell(&Value::Null), cell(&json!(true))], ["[]", "", "true"]);
    }
}
