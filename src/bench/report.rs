//! Figures, the bars they are held against, and how both are shown.

use std::fmt;
use std::io::Write;

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// How many times something else.
    Ratio,
    PerSecond,
    /// Seconds of processor time for a million messages.
    CpuPerMillion,
    /// Seconds of processor time a second.
    Cores,
    Micros,
    Kib,
    Mib,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Unit::Ratio => "",
            Unit::PerSecond => "/s",
            Unit::CpuPerMillion => "s/M",
            Unit::Cores => "cores",
            Unit::Micros => "µs",
            Unit::Kib => "KiB",
            Unit::Mib => "MiB",
        }
    }

    fn show(self, value: f64) -> String {
        match self {
            Unit::Ratio => format!("{value:.2}"),
            Unit::PerSecond if value >= 1e6 => format!("{:.2} M/s", value / 1e6),
            Unit::PerSecond if value >= 1e5 => format!("{:.0} k/s", value / 1e3),
            Unit::PerSecond => format!("{value:.0} /s"),
            Unit::CpuPerMillion => format!("{value:.3} s/M"),
            Unit::Cores => format!("{value:.2} cores"),
            Unit::Micros => format!("{value:.0} µs"),
            Unit::Kib => format!("{value:.1} KiB"),
            Unit::Mib => format!("{value:.0} MiB"),
        }
    }
}

/// What a figure is to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bar {
    AtLeast(f64),
    AtMost(f64),
}

impl Bar {
    pub fn is_met_by(self, value: f64) -> bool {
        match self {
            Bar::AtLeast(bar) => value >= bar,
            Bar::AtMost(bar) => value <= bar,
        }
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bar::AtLeast(bar) => write!(f, "≥ {bar}"),
            Bar::AtMost(bar) => write!(f, "≤ {bar}"),
        }
    }
}

/// One number of a measurement, from each of its rounds.
#[derive(Clone, Debug)]
pub struct Figure {
    pub what: String,
    pub unit: Unit,
    /// One for each round; never empty.
    values: Vec<f64>,
    pub bar: Option<Bar>,
}

impl Figure {
    /// `None` if there is no number of every round.
    pub fn of_rounds(what: impl Into<String>, unit: Unit, values: Option<Vec<f64>>) -> Option<Figure> {
        let values = values.filter(|values| !values.is_empty() && values.iter().all(|value| value.is_finite()))?;
        Some(Figure { what: what.into(), unit, values, bar: None })
    }

    pub fn new(what: impl Into<String>, unit: Unit, value: f64) -> Figure {
        Figure { what: what.into(), unit, values: vec![value], bar: None }
    }

    pub fn at_least(self, bar: f64) -> Figure {
        Figure { bar: Some(Bar::AtLeast(bar)), ..self }
    }

    pub fn at_most(self, bar: f64) -> Figure {
        Figure { bar: Some(Bar::AtMost(bar)), ..self }
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    pub fn median(&self) -> f64 {
        let sorted = self.sorted();
        let middle = sorted.len() / 2;
        if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
    }

    fn verdict(&self) -> &'static str {
        match self.bar {
            Some(bar) if bar.is_met_by(self.median()) => "met",
            Some(_) => "missed",
            None => "",
        }
    }

    /// The least and the most of all rounds, where there were several.
    fn spread(&self) -> String {
        let sorted = self.sorted();
        match sorted[..] {
            [least, .., most] => format!("{} … {}", self.unit.show(least), self.unit.show(most)),
            _ => String::new(),
        }
    }
}

/// A measurement's figures, or why there are none.
pub struct Report {
    pub name: &'static str,
    pub title: String,
    pub outcome: Result<Vec<Figure>, String>,
}

/// Writes to standard output. Whoever closes the pipe early has read enough.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

pub fn print_table_head() {
    print(&format!("{:62} {:>14} {:>8}  {:7} {}\n", "figure", "measured", "bar", "", "rounds"));
}

/// The rows of the table that a report is.
pub fn print_rows(report: &Report) {
    let mut text = format!("{} ({})\n", report.title, report.name);
    match &report.outcome {
        Err(why) => text += &format!("  failed: {why}\n"),
        Ok(figures) => {
            for figure in figures {
                let measured = figure.unit.show(figure.median());
                let bar = figure.bar.map(|bar| bar.to_string()).unwrap_or_default();
                let line =
                    format!("  {:60} {measured:>14} {bar:>8}  {:7} {}", figure.what, figure.verdict(), figure.spread());
                text += line.trim_end();
                text.push('\n');
            }
        }
    }
    print(&text);
}

/// A line for each figure, as the modes for one measurement show them.
pub fn print_lines(figures: &[Figure]) {
    let lines = figures.iter().map(|figure| format!("{:40} {:>14}\n", figure.what, figure.unit.show(figure.median())));
    print(&lines.collect::<String>());
}

/// All reports as one JSON document.
pub fn print_json(reports: &[Report]) {
    let reports: Vec<_> = reports.iter().map(json_report).collect();
    print(&format!("[{}]\n", reports.join(",\n ")));
}

fn json_report(report: &Report) -> String {
    let rest = match &report.outcome {
        Ok(figures) => format!("\"figures\":[{}]", figures.iter().map(json_figure).collect::<Vec<_>>().join(",")),
        Err(why) => format!("\"failed\":{}", json_string(why)),
    };
    format!("{{\"name\":{},\"title\":{},{rest}}}", json_string(report.name), json_string(&report.title))
}

fn json_figure(figure: &Figure) -> String {
    let bar = match figure.bar {
        Some(Bar::AtLeast(bar)) => format!(",\"at_least\":{bar},\"met\":{}", figure.verdict() == "met"),
        Some(Bar::AtMost(bar)) => format!(",\"at_most\":{bar},\"met\":{}", figure.verdict() == "met"),
        None => String::new(),
    };
    let rounds: Vec<_> = figure.values.iter().map(f64::to_string).collect();
    format!(
        "{{\"figure\":{},\"unit\":{},\"median\":{},\"rounds\":[{}]{bar}}}",
        json_string(&figure.what),
        json_string(figure.unit.name()),
        figure.median(),
        rounds.join(",")
    )
}

fn json_string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(values: &[f64]) -> Figure {
        Figure::of_rounds("f", Unit::Ratio, Some(values.to_vec())).unwrap()
    }

    #[test]
    fn the_median_is_held_against_the_bar() {
        assert_eq!(figure(&[9.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(figure(&[1.0, 2.0]).median(), 1.5);
        assert_eq!(figure(&[3.0]).at_most(3.0).verdict(), "met");
        assert_eq!(figure(&[2.9]).at_least(3.0).verdict(), "missed");
        assert_eq!(figure(&[2.9]).verdict(), "");
        assert_eq!(figure(&[0.5, 0.25, 1.0]).spread(), "0.25 … 1.00");
    }

    #[test]
    fn a_figure_without_all_its_numbers_is_none() {
        assert!(Figure::of_rounds("f", Unit::Ratio, None).is_none());
        assert!(Figure::of_rounds("f", Unit::Ratio, Some(vec![1.0, f64::INFINITY])).is_none());
    }

    #[test]
    fn json_is_escaped() {
        let failed = Report { name: "n", title: "t".to_owned(), outcome: Err("a \"b\"\n\\".to_owned()) };
        assert_eq!(json_report(&failed), r#"{"name":"n","title":"t","failed":"a \"b\"\u000a\\"}"#);
        let measured = Report { name: "n", title: "t".to_owned(), outcome: Ok(vec![figure(&[1.0, 2.0]).at_most(2.0)]) };
        assert_eq!(
            json_report(&measured),
            r#"{"name":"n","title":"t","figures":[{"figure":"f","unit":"","median":1.5,"rounds":[1,2],"at_most":2,"met":true}]}"#
        );
    }
}
