//! Tables, colour and a line of progress for a person at a terminal. Other programs get plain text, whose form does not
//! depend on a terminal. `NO_COLOR` switches colour off.

use std::fmt::{self, Display};
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use comfy_table::presets;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;

/// Style of a negative result.
pub const BAD: Style = AnsiColor::Red.on_default().bold();

/// Style of a positive result.
pub const GOOD: Style = AnsiColor::Green.on_default();

/// Style of a result that is not known yet.
pub const OPEN: Style = AnsiColor::Yellow.on_default();

/// Interval at which a line of progress changes.
const TICK: Duration = Duration::from_millis(120);

/// Returns true if a person reads standard output.
pub fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Returns the text in a style. Whoever writes it to anything but a terminal takes the style out again.
pub fn styled(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Returns a time with seconds, so that times in a column have one width.
pub fn time(at: Timestamp) -> String {
    format!("{at:.0}")
}

/// Shows a line with the time that something takes, until it is dropped. Shows nothing if standard error is no terminal.
pub fn progress(what: impl Display) -> Progress {
    let style = ProgressStyle::with_template("{spinner} {msg} … {elapsed}").expect("the template is valid");
    let bar = ProgressBar::new_spinner().with_style(style).with_message(what.to_string());
    bar.enable_steady_tick(TICK);
    Progress(bar)
}

/// A line of progress. It is removed when it is dropped.
pub struct Progress(ProgressBar);

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A table without lines, with a row of titles. A whole row may have a style.
pub struct Table {
    table: comfy_table::Table,
    styles: Vec<Style>,
}

impl Table {
    /// Creates a table with these titles.
    pub fn new<const COLUMNS: usize>(titles: [&str; COLUMNS]) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_preset(presets::NOTHING).set_header(titles);
        Self { table, styles: vec![Style::new().bold()] }
    }

    /// Adds a row.
    pub fn row<const COLUMNS: usize>(&mut self, cells: [&str; COLUMNS]) {
        self.styled_row(Style::new(), cells);
    }

    /// Adds a row in a style.
    pub fn styled_row<const COLUMNS: usize>(&mut self, style: Style, cells: [&str; COLUMNS]) {
        // A line break would end the row.
        self.table.add_row(cells.map(|cell| cell.replace('\n', " ")));
        self.styles.push(style);
    }
}

impl Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (line, style)) in self.table.lines().zip(&self.styles).enumerate() {
            let end = if number == 0 { "" } else { "\n" };
            write!(formatter, "{end}{style}{}{style:#}", line.trim())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_a_column_have_one_width() {
        for at in ["2026-11-24T15:00:00Z", "2026-11-24T15:00:00.5Z", "2026-11-24T15:00:00.123456789Z"] {
            assert_eq!(time(at.parse().unwrap()), "2026-11-24T15:00:00Z");
        }
    }

    #[test]
    fn the_columns_of_a_table_stand_below_their_titles() {
        let mut table = Table::new(["COUNTRY", "WHY"]);
        table.row(["pe", "a holiday\nand more"]);
        table.styled_row(BAD, ["cl", "é"]);
        let plain = anstream::adapter::strip_str(&table.to_string()).to_string();
        assert_eq!(plain, "COUNTRY  WHY\npe       a holiday and more\ncl       é");
        assert!(table.to_string().contains(&styled(BAD, "cl       é")));
    }
}
