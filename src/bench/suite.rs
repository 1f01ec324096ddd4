//! All rows one after the other, held against their bars.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::endpoint::{BrokerArgs, Endpoint};
use super::error::Result;
use super::report::{self, Report};
use super::rows::{ROWS, Row};
use super::seconds;
use super::stand::Stand;

#[derive(Args, Clone, Debug)]
pub struct Suite {
    /// Seconds of each single measurement
    #[arg(short = 'z', long, value_name = "S", default_value_t = 5.0, value_parser = seconds)]
    seconds: f64,

    /// Rounds of each row; the median counts [default: 3, for latencies 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,

    /// Only these rows; separated by commas or spaces
    #[arg(long, value_name = "NAME", num_args = 1.., value_delimiter = ',',
          value_parser = PossibleValuesParser::new(ROWS.iter().map(|row| row.name)))]
    only: Vec<String>,

    /// Another broker, to compare calls over direct reply-to with: its user is guest
    #[arg(long, value_name = "HOST:PORT")]
    peer: Option<String>,

    /// Another build of this program, to compare plain loads with: an older one
    #[arg(long, value_name = "FILE")]
    base: Option<PathBuf>,

    /// Print JSON, once all is done
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    broker: BrokerArgs,
}

impl Suite {
    pub fn run(&self) -> Result<()> {
        let rows = ROWS.iter().filter(|row| self.only.is_empty() || self.only.iter().any(|name| name == row.name));
        let mut reports = Vec::new();
        if !self.json {
            report::print_table_head();
        }
        for row in rows {
            let outcome = self.measure(row).map_err(|error| error.to_string());
            let report = Report { name: row.name, title: row.title.to_owned(), outcome };
            if !self.json {
                report::print_rows(&report);
            }
            reports.push(report);
        }
        if self.json {
            report::print_json(&reports);
        }
        Ok(())
    }

    fn measure(&self, row: &Row) -> Result<Vec<report::Figure>> {
        let peer = self.peer.as_ref().map(|address| Endpoint {
            address: address.clone(),
            login: Default::default(),
            pid: None,
        });
        let rounds = self.rounds.map(|rounds| rounds as usize);
        let mut stand = Stand::new(&self.broker, peer, self.seconds, rounds)?;
        stand.base = self.base.clone();
        (row.measure)(&stand)
    }
}
