//! `wrk` as a client: HTTP requests on connections that stay open, for a time.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::Command;

use crate::Result;

/// Runs it with one thread. Requests in each second, and the microseconds that half of them and 99 in 100 took at most.
pub(crate) fn drive(addr: SocketAddr, connections: u64, seconds: u64) -> Result<Vec<f64>> {
    let options =
        ["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "--latency", &format!("http://{addr}/")];
    let output = Command::new("wrk").args(options).output().map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            "the client is the program `wrk`, which is not installed (Debian's package of that name)".to_owned()
        }
        _ => format!("could not run `wrk`: {error}"),
    })?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(format!("wrk failed: {} {text}", String::from_utf8_lossy(&output.stderr)).into());
    }
    figures(&text)
}

fn figures(text: &str) -> Result<Vec<f64>> {
    // It says so only if there were any.
    if let Some(errors) = text.lines().find(|line| line.contains("Socket errors") || line.contains("Non-2xx")) {
        return Err(format!("wrk counted errors: {}; no figure", errors.trim()).into());
    }
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
        line.map(str::trim).ok_or_else(|| format!("wrk did not print {name:?}: {text}"))
    };
    Ok(vec![of("Requests/sec:")?.parse()?, micros(of("50%")?)?, micros(of("99%")?)?])
}

/// Microseconds of a time as `wrk` prints it.
fn micros(text: &str) -> Result<f64> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(|| format!("{text:?} is no time"))?;
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        _ => return Err(format!("{text:?} has no unit of times under a minute").into()),
    };
    Ok(number.parse::<f64>()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "\
Running 1s test @ http://127.0.0.1:1/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   581.93us  114.35us   3.18ms   87.03%
  Latency Distribution
     50%  561.00us
     75%  619.00us
     99%    1.01ms
  118998 requests in 1.10s, 13.16MB read
Requests/sec: 108208.22
Transfer/sec:     11.97MB
";

    #[test]
    fn figures_are_what_it_prints() {
        assert_eq!(figures(PRINTED).unwrap(), [108208.22, 561.0, 1010.0]);
        assert_eq!(micros("1.20s").unwrap(), 1_200_000.0);
        assert!(micros("3.00m").is_err());
        let errors = PRINTED.replace("Transfer", "  Socket errors: connect 0, read 2, write 0, timeout 0\nTransfer");
        assert!(figures(&errors).unwrap_err().0.contains("read 2"));
        assert!(figures("").unwrap_err().0.contains("Requests/sec"));
    }
}
