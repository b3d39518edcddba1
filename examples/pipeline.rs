//! Sums a column of a CSV file by groups: a dataflow of tasklets over channels.
//!
//! ```text
//!             +-> filter, read amounts, add up -+
//!  reader -> rows -> filter, read amounts, add up -> merger -> sorted table
//!             +-> filter, read amounts, add up -+
//! ```
//!
//! Prints `GROUP ROWS SUM`, parted by tabs, in the order of the groups' names. Sums are exact: an amount is a decimal number with up to four
//! places. A row that is malformed (too few or too many fields, an amount that is none, text that is not UTF-8) costs a line on stderr with
//! the number of the line that it begins on; it is skipped, and the rest counts. So does one with a quoted field that does not end with its
//! quote: because the quote is never closed, or because it is closed in the middle of a later row. Such a row reaches to the end of the line
//! that it begins on, and no further: the next line is a row again.
//!
//! ```text
//! cargo run --release --example pipeline -- orders.csv region amount status=paid
//! cargo run --release --no-default-features --features backend-context --example pipeline -- orders.csv region amount
//! ```

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;

use csv::{ByteRecord, ReaderBuilder, StringRecord};
use tasklet::{Receiver, Sender, blocking, bounded, scope};

const USAGE: &str = "usage: pipeline FILE GROUP SUM [COLUMN=VALUE]

Adds up the column SUM of a CSV file with a header, for each value of the column GROUP; only of rows whose COLUMN is VALUE.";

/// Tasklets that read amounts.
const ADDERS: usize = 4;
/// Rows that go to one at once.
const BATCH: usize = 128;
/// Batches that wait for one.
const WAITING: usize = 16;
/// Decimal places that are kept.
const PLACES: usize = 4;

const OPEN_QUOTE: &str = "a quoted field does not end with its quote";
/// What UTF-8 files may begin with.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// What to do with each row, by the columns' numbers.
struct Plan {
    columns: usize,
    group: usize,
    amount: usize,
    filter: Option<(usize, String)>,
}

/// The line that a row begins on, and the row, unless a quoted field of it does not end with its quote.
type Row = (usize, Option<ByteRecord>);

/// Rows and sum of each group, in units of the last place.
type Sums = BTreeMap<String, (u64, i128)>;

/// What was wrong, by line.
type Faults = BTreeMap<usize, String>;

fn main() -> ExitCode {
    let arguments: Option<Vec<String>> = std::env::args_os().skip(1).map(|text| text.into_string().ok()).collect();
    let (file, group, amount, filter) = match arguments.as_deref() {
        Some([file, group, amount]) => (file, group, amount, None),
        Some([file, group, amount, filter]) if filter.contains('=') => (file, group, amount, filter.split_once('=')),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let (sums, faults) = match tasklet::run(|| add_up(file, group, amount, filter)) {
        Ok(sums) => sums,
        Err(error) => {
            eprintln!("pipeline: {file}: {error}");
            return ExitCode::FAILURE;
        }
    };
    for (line, fault) in &faults {
        eprintln!("pipeline: {file}: line {line}: {fault}");
    }
    let text: String =
        sums.iter().map(|(group, (rows, sum))| format!("{group}\t{rows}\t{}\n", decimal(*sum))).collect();
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("pipeline: could not print: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn add_up(file: &str, group: &str, amount: &str, filter: Option<(&str, &str)>) -> Result<(Sums, Faults), String> {
    // Reading a file waits for the disk: not on a worker, which others need.
    let path = file.to_owned();
    let data = blocking(move || std::fs::read(path)).map_err(|error| error.to_string())?;
    let mut reader = rows_of(&data);
    let mut header = ByteRecord::new();
    reader.read_byte_record(&mut header).expect("bytes in memory are read");
    let start = reader.position().byte() as usize;
    let mark = if data.starts_with(MARK) { MARK.len() } else { 0 };
    if !quotes_are_closed(data[mark..start].trim_ascii_start()) {
        return Err(format!("header: {OPEN_QUOTE}"));
    }
    let header = StringRecord::from_byte_record(header).map_err(|error| format!("header: {error}"))?;
    let column =
        |name: &str| header.iter().position(|column| column == name).ok_or_else(|| format!("has no column '{name}'"));
    let filter = filter.map(|(name, value)| Ok::<_, String>((column(name)?, value.to_owned()))).transpose()?;
    let plan = Plan { columns: header.len(), group: column(group)?, amount: column(amount)?, filter };

    let (to_adders, rows) = bounded(WAITING);
    let (to_merger, results) = bounded(ADDERS);
    Ok(scope(|dataflow| {
        for _ in 0..ADDERS {
            let (rows, results, plan) = (rows.clone(), to_merger.clone(), &plan);
            dataflow.spawn(move || results.send(add(&rows, plan)).expect("the merger waits"));
        }
        drop((rows, to_merger));
        dataflow.spawn(|| read(&data, start, to_adders));
        merge(&results)
    }))
}

fn rows_of(data: &[u8]) -> csv::Reader<&[u8]> {
    ReaderBuilder::new().has_headers(false).flexible(true).from_reader(data)
}

/// Cuts the file into rows, from `start` on.
fn read(data: &[u8], start: usize, to: Sender<Vec<Row>>) {
    let mut batch = Vec::with_capacity(BATCH);
    // Lines are counted here: the reader counts those that have ended, where a row may begin behind empty ones.
    let (mut seen, mut line) = (0, 1);
    // Where the reader has begun.
    let mut base = start;
    let mut reader = rows_of(&data[base..]);
    let mut record = ByteRecord::new();
    // It reads from memory, and takes rows of any length: there is nothing to fail.
    while reader.read_byte_record(&mut record).expect("bytes in memory are read") {
        let mut begin = record.position().map_or(seen, |position| base + position.byte() as usize);
        while matches!(data.get(begin), Some(b'\r' | b'\n')) {
            begin += 1;
        }
        line += data[seen..begin].iter().filter(|byte| **byte == b'\n').count();
        seen = begin;
        let row = std::mem::take(&mut record);
        if quotes_are_closed(&data[begin..base + reader.position().byte() as usize]) {
            batch.push((line, Some(row)));
        } else {
            batch.push((line, None));
            base = data[begin..].iter().position(|byte| *byte == b'\n').map_or(data.len(), |at| begin + at + 1);
            reader = rows_of(&data[base..]);
        }
        if batch.len() == BATCH {
            to.send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH))).expect("there are adders");
        }
    }
    to.send(batch).expect("there are adders");
}

/// Whether each quoted field of a row ends with its quote.
fn quotes_are_closed(row: &[u8]) -> bool {
    let after = |byte: u8, rest: &[u8]| rest.iter().position(|other| *other == byte).map(|at| at + 1);
    let mut rest = row;
    loop {
        // Here a field begins. A quote within one that began without is text.
        if let Some(mut quoted) = rest.strip_prefix(b"\"") {
            loop {
                let Some(end) = after(b'"', quoted) else { return false };
                match quoted[end..].strip_prefix(b"\"") {
                    // Two stand for one.
                    Some(more) => quoted = more,
                    None => break rest = &quoted[end..],
                }
            }
            if !matches!(rest.first(), None | Some(b',' | b'\r' | b'\n')) {
                return false;
            }
        }
        match after(b',', rest) {
            Some(next) => rest = &rest[next..],
            None => return true,
        }
    }
}

fn add(rows: &Receiver<Vec<Row>>, plan: &Plan) -> (Sums, Faults) {
    let (mut sums, mut faults) = (Sums::new(), Faults::new());
    for (line, row) in rows.iter().flatten() {
        match row.as_ref().map_or_else(|| Err(OPEN_QUOTE.to_owned()), |row| plan.read(row)) {
            Ok(Some((group, amount))) => count(&mut sums, group, (1, amount)),
            Ok(None) => {}
            Err(fault) => drop(faults.insert(line, fault)),
        }
    }
    (sums, faults)
}

fn merge(results: &Receiver<(Sums, Faults)>) -> (Sums, Faults) {
    let (mut all, mut faults) = (Sums::new(), Faults::new());
    for (sums, more) in results.iter() {
        sums.iter().for_each(|(group, sum)| count(&mut all, group, *sum));
        faults.extend(more);
    }
    (all, faults)
}

fn count(sums: &mut Sums, group: &str, (rows, amount): (u64, i128)) {
    // Not `entry`, which wants a name of its own for each row.
    match sums.get_mut(group) {
        Some(sum) => *sum = (sum.0 + rows, sum.1 + amount),
        None => drop(sums.insert(group.to_owned(), (rows, amount))),
    }
}

impl Plan {
    /// The group and amount of a row; nothing if the filter keeps it out.
    fn read<'row>(&self, row: &'row ByteRecord) -> Result<Option<(&'row str, i128)>, String> {
        if row.len() != self.columns {
            return Err(format!("{} fields instead of {}", row.len(), self.columns));
        }
        let field = |at: usize| std::str::from_utf8(&row[at]).map_err(|_| format!("field {} is not UTF-8", at + 1));
        if let Some((column, value)) = &self.filter
            && field(*column)? != value
        {
            return Ok(None);
        }
        let amount = field(self.amount)?;
        let number = parse(amount).ok_or_else(|| format!("'{amount}' is no amount"))?;
        Ok(Some((field(self.group)?, number)))
    }
}

/// Reads a decimal number, in units of the last place. At most 18 digits before the point: no sum overflows.
fn parse(text: &str) -> Option<i128> {
    let text = text.trim();
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, places) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number =
        |digits: &str, most| (1..=most).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole, 18) || !is_number(places, PLACES) {
        return None;
    }
    Some(sign * format!("{whole}{places:0<PLACES$}").parse::<i128>().ok()?)
}

fn decimal(number: i128) -> String {
    let (sign, number) = (if number < 0 { "-" } else { "" }, number.unsigned_abs());
    let unit = 10_u128.pow(PLACES as u32);
    format!("{sign}{}.{:0PLACES$}", number / unit, number % unit)
}
