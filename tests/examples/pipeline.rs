//! `pipeline` beside a sequential computation over what the test knows it has written.

use std::collections::BTreeMap;

use crate::program::{Folder, run, run_with_closed_output, stderr, stdout};

const REGIONS: [&str; 5] = ["north", "south, coast", "Zürich \"city\"", "west", "east"];

/// Orders as a shop would export them: quoted fields, commas and newlines in them, and some rows that went wrong.
struct Orders {
    text: Vec<u8>,
    /// Rows and sum in hundredths of those that are paid, by region.
    paid: BTreeMap<&'static str, (u64, i64)>,
    /// Lines that are malformed, and what is wrong with them.
    faults: Vec<(usize, &'static str)>,
}

fn orders(rows: usize, newline: &str) -> Orders {
    let mut orders = Orders { text: Vec::new(), paid: BTreeMap::new(), faults: Vec::new() };
    orders.text.extend(format!("id,region,note,status,amount{newline}").bytes());
    let mut line = 2;
    for number in 0..rows {
        let region = REGIONS[number % REGIONS.len()];
        let quoted = format!("\"{}\"", region.replace('"', "\"\""));
        let cents = (number as i64 * 7919) % 100_000 - 20_000;
        let sign = if cents < 0 { "-" } else { "" };
        let amount = format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100);
        let status = if number % 3 == 0 { "open" } else { "paid" };
        match number % 97 {
            10 => {
                orders.text.extend(format!("{number},{quoted},short{newline}").bytes());
                orders.faults.push((line, "3 fields instead of 5"));
            }
            20 => {
                orders.text.extend(format!("{number},{quoted},,paid,12.5O{newline}").bytes());
                orders.faults.push((line, "'12.5O' is no amount"));
            }
            30 => {
                orders.text.extend(format!("{number},").bytes());
                orders.text.extend(b"\xff\xfe,,paid,1.00");
                orders.text.extend(newline.bytes());
                orders.faults.push((line, "field 2 is not UTF-8"));
            }
            rest => {
                let note = if rest == 40 { format!("\"call{newline}first\"") } else { String::new() };
                orders.text.extend(format!("{number},{quoted},{note},{status},{amount}{newline}").bytes());
                if rest == 40 {
                    line += 1;
                }
                if status == "paid" {
                    let sum = orders.paid.entry(region).or_default();
                    *sum = (sum.0 + 1, sum.1 + cents);
                }
            }
        }
        line += 1;
        if number % 50 == 49 {
            // Empty lines are no rows.
            orders.text.extend(newline.bytes());
            line += 1;
        }
    }
    orders
}

impl Orders {
    fn table(&self) -> String {
        let line = |(region, (rows, cents)): (&&str, &(u64, i64))| {
            let (sign, cents) = (if *cents < 0 { "-" } else { "" }, cents.abs());
            format!("{region}\t{rows}\t{sign}{}.{:02}00\n", cents / 100, cents % 100)
        };
        self.paid.iter().map(line).collect()
    }
}

#[test]
fn sums_are_those_of_a_plain_loop_and_faults_have_their_lines() {
    let folder = Folder::new("pipeline-orders");
    for (rows, newline) in [(10_000, "\n"), (10_000, "\r\n"), (11, "\n"), (1, "\n")] {
        let orders = orders(rows, newline);
        let file = folder.file("orders.csv", &orders.text);
        let output = run("pipeline", [&file, "region", "amount", "status=paid"]);
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(stdout(&output), orders.table(), "{rows} {newline:?}");
        let faults: String =
            orders.faults.iter().map(|(line, fault)| format!("pipeline: {file}: line {line}: {fault}\n")).collect();
        assert_eq!(stderr(&output), faults, "{rows} {newline:?}");
    }
}

#[test]
fn amounts_are_exact_and_odd_ones_are_refused() {
    let folder = Folder::new("pipeline-amounts");
    let text =
        "who,amount\na,0.1\na,0.2\na, 0.0001 \nb,-5\nb,1.5\nb,1e3\nb,.5\nb,--1\nb,0.00001\nb,1234567890123456789\nb,\n";
    let file = folder.file("amounts.csv", text.as_bytes());
    let output = run("pipeline", [&file, "who", "amount"]);
    assert_eq!(stdout(&output), "a\t3\t0.3001\nb\t2\t-3.5000\n");
    let lines: Vec<String> = stderr(&output).lines().map(|line| line.replace(&file, "F")).collect();
    let faults = ["1e3", ".5", "--1", "0.00001", "1234567890123456789", ""];
    let expected = |(at, amount): (usize, &&str)| format!("pipeline: F: line {}: '{amount}' is no amount", 7 + at);
    assert_eq!(lines, faults.iter().enumerate().map(expected).collect::<Vec<_>>());
}

#[test]
fn an_open_quote_costs_its_own_line_alone() {
    let folder = Folder::new("pipeline-quotes");
    let lines = [
        "who,note,amount",
        "a,\"in order, \"\"quoted\"\"\",1",
        "a,\"never closed,2",
        "a,plain,4",
        "a,\"closed by a later row,8",
        "\"a\",\"two",
        "lines\",16",
        "a,\"closed\" too early,32",
        "b,a \"word\" in quotes,64",
        "",
        "b,\"\",128",
        "b,\"the last, never closed,256",
        "b,,512",
    ];
    for newline in ["\n", "\r\n"] {
        for end in ["", newline] {
            let file = folder.file("quotes.csv", (lines.join(newline) + end).as_bytes());
            let output = run("pipeline", [&file, "who", "amount"]);
            assert!(output.status.success(), "{}", stderr(&output));
            assert_eq!(stdout(&output), "a\t3\t21.0000\nb\t3\t704.0000\n", "{newline:?}");
            let fault = |line| format!("pipeline: {file}: line {line}: a quoted field does not end with its quote\n");
            assert_eq!(stderr(&output), [3, 5, 8, 12].map(fault).concat(), "{newline:?}");
        }
    }
    for header in ["a,\"b", "\u{feff}\"a,b", "a,\"b\"c"] {
        let file = folder.file("header.csv", format!("{header}\n1,2\n").as_bytes());
        let output = run("pipeline", [&file, "a", "b"]);
        assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(1), true), "{header}");
        assert!(stderr(&output).contains("header: a quoted field does not end"), "{}", stderr(&output));
    }
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let folder = Folder::new("pipeline-errors");
    let file = folder.file("orders.csv", b"a,b\n1,2\n");
    for (arguments, says) in [
        (["no such file", "a", "b", "a=1"], "No such file"),
        ([&file, "c", "b", "a=1"], "has no column 'c'"),
        ([&file, "a", "c", "a=1"], "has no column 'c'"),
        ([&file, "a", "b", "c=1"], "has no column 'c'"),
    ] {
        let output = run("pipeline", arguments);
        assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(1), true), "{arguments:?}");
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
    }
    let output = run("pipeline", [&file, "a"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).starts_with("usage: pipeline FILE GROUP SUM"), "{}", stderr(&output));
    let output = run_with_closed_output("pipeline", &[&file, "a", "b"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
}
