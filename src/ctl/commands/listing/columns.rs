//! Columns: their names, and how each is read off what a row is about.

use serde_json::Value;

use crate::ctl::commands::Table;
use crate::ctl::request::Refusal;

/// A column of a table whose rows are about a `T`.
pub struct Column<T> {
    pub name: &'static str,
    pub value: fn(&T) -> Value,
}

/// The columns of a table, and those that are shown if nothing is asked for.
pub struct Columns<T: 'static> {
    pub all: &'static [Column<T>],
    pub default: &'static [&'static str],
}

impl<T> Columns<T> {
    pub fn help(&self) -> String {
        let names: Vec<&str> = self.all.iter().map(|column| column.name).collect();
        format!("What to show, by default {}; of: {}", self.default.join(" "), names.join(" "))
    }

    fn named(&self, name: &str) -> Option<&'static Column<T>> {
        self.all.iter().find(|column| column.name == name)
    }
}

/// The columns that are asked for. Commas between them do not matter.
///
/// # Errors
/// A usage error that names those that do not exist.
pub fn pick<T>(columns: &Columns<T>, asked: &[String]) -> Result<Vec<&'static Column<T>>, Refusal> {
    let names: Vec<&str> = match asked {
        [] => columns.default.to_vec(),
        asked => asked.iter().flat_map(|names| names.split(',')).filter(|name| !name.is_empty()).collect(),
    };
    let unknown: Vec<&str> = names.iter().copied().filter(|name| columns.named(name).is_none()).collect();
    if !unknown.is_empty() {
        return Err(Refusal::usage(format!("Info key(s) {} are not supported", unknown.join(","))));
    }
    Ok(names.iter().filter_map(|name| columns.named(name)).collect())
}

/// The table of these columns, with a row for each item.
pub fn table<T: 'static>(picked: Vec<&'static Column<T>>, items: impl Iterator<Item = T> + Send + 'static) -> Table {
    Table {
        columns: picked.iter().map(|column| column.name).collect(),
        rows: Box::new(items.map(move |item| picked.iter().map(|column| (column.value)(&item)).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERS: Columns<u32> = Columns {
        all: &[Column { name: "plain", value: |n| (*n).into() }, Column { name: "doubled", value: |n| (n * 2).into() }],
        default: &["plain"],
    };

    fn rows(asked: &[&str]) -> Result<Vec<Vec<Value>>, Refusal> {
        let asked: Vec<String> = asked.iter().map(|name| (*name).to_owned()).collect();
        Ok(table(pick(&NUMBERS, &asked)?, [1, 2].into_iter()).rows.collect())
    }

    #[test]
    fn columns_come_in_the_order_in_which_they_are_asked_for() {
        assert_eq!(rows(&[]).unwrap(), [[Value::from(1)], [Value::from(2)]]);
        for asked in [&["doubled", "plain"][..], &["doubled,plain"], &["doubled,", "plain"]] {
            assert_eq!(rows(asked).unwrap()[1], [Value::from(4), Value::from(2)], "{asked:?}");
        }
    }

    #[test]
    fn columns_that_do_not_exist_are_named() {
        let refusal = rows(&["x", "plain", "y"]).unwrap_err();
        assert_eq!(refusal.text, "Info key(s) x,y are not supported");
    }
}
