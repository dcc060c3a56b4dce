//! Reading `show stat`: what goes through services and servers. Pure.

use std::collections::HashMap;

use super::reply::ReplyError;

/// The command for all services: their frontends and backends, without servers (management guide, 9.3 "show stat").
pub const SERVICES: &str = "show stat -1 3 -1";

/// The command for the backends of all services.
pub const BACKENDS: &str = "show stat -1 2 -1";

/// The command for the servers of one service.
pub fn servers_of(service: &str) -> String {
    format!("show stat {service} 4 -1")
}

/// What goes through a service or a server. What is summed up is so since the process began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Sessions now.
    pub sessions: u64,
    /// Requests in the last second, or sessions where there are no requests.
    pub per_second: u64,
    /// Sessions.
    pub total: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
    /// Answers with a status of 5xx; of TCP failed connections and broken answers.
    pub errors: u64,
    /// What its last check found; of servers that are checked.
    pub check: Option<String>,
}

/// Reads the reply to [`SERVICES`]: the traffic of each, by name.
///
/// # Errors
/// When it is no such reply.
pub fn parse_services(reply: &str) -> Result<HashMap<String, Traffic>, ReplyError> {
    let mut services: HashMap<String, Traffic> = HashMap::new();
    let mut failed: HashMap<String, u64> = HashMap::new();
    for line in Columns::split(reply)? {
        let (proxy, part) = (line.text(Column::Proxy)?.to_owned(), line.text(Column::Part)?);
        match part {
            "FRONTEND" => {
                services.insert(proxy, line.traffic()?);
            }
            "BACKEND" => {
                failed.insert(proxy, line.failed()?);
            }
            _server => {}
        }
    }
    for (name, failed) in failed {
        if let Some(traffic) = services.get_mut(&name) {
            traffic.errors = traffic.errors.max(failed);
        }
    }
    Ok(services)
}

/// Reads the reply to [`servers_of`]: the traffic of each, by name.
///
/// # Errors
/// When it is no such reply.
pub fn parse_servers(reply: &str) -> Result<Vec<(String, Traffic)>, ReplyError> {
    let lines = Columns::split(reply)?;
    lines.map(|line| Ok((line.text(Column::Part)?.to_owned(), line.traffic()?))).collect()
}

/// Reads the reply to [`BACKENDS`]: how many servers of each it would use now, backups included.
///
/// # Errors
/// When it is no such reply.
pub fn parse_usable(reply: &str) -> Result<HashMap<String, u64>, ReplyError> {
    let lines = Columns::split(reply)?;
    let one = |line: Line<'_>| {
        Ok((line.text(Column::Proxy)?.to_owned(), line.sum([Column::Active, Column::Backup])?))
    };
    lines.map(one).collect()
}

#[derive(Clone, Copy)]
enum Column {
    Proxy,
    Part,
    Sessions,
    Total,
    BytesIn,
    BytesOut,
    FailedConnections,
    BrokenAnswers,
    Rate,
    RequestRate,
    ServerErrors,
    CheckStatus,
    LastCheck,
    Active,
    Backup,
}

impl Column {
    const NAMES: [&str; 15] = [
        "pxname",
        "svname",
        "scur",
        "stot",
        "bin",
        "bout",
        "econ",
        "eresp",
        "rate",
        "req_rate",
        "hrsp_5xx",
        "check_status",
        "last_chk",
        "act",
        "bck",
    ];

    fn name(self) -> &'static str {
        Self::NAMES.get(self as usize).copied().unwrap_or_default()
    }
}

/// Where each column is.
struct Columns([usize; Column::NAMES.len()]);

struct Line<'a> {
    line: &'a str,
    /// The fields of [`Column`], in its order.
    fields: [&'a str; Column::NAMES.len()],
}

impl Columns {
    fn split(reply: &str) -> Result<impl Iterator<Item = Line<'_>>, ReplyError> {
        let mut lines = reply.trim_start_matches('\n').lines();
        let first = lines.next().unwrap_or_default();
        let missing = |column| ReplyError::Column { column, line: first.chars().take(120).collect() };
        let header = first.strip_prefix("# ").ok_or_else(|| missing("pxname"))?;
        let mut places = [0; Column::NAMES.len()];
        for (place, name) in places.iter_mut().zip(Column::NAMES) {
            *place = header.split(',').position(|column| column == name).ok_or_else(|| missing(name))?;
        }
        let columns = Self(places);
        Ok(lines.filter(|line| !line.is_empty()).map(move |line| columns.read(line)))
    }

    fn read<'a>(&self, line: &'a str) -> Line<'a> {
        let mut fields = [""; Column::NAMES.len()];
        for (number, field) in fields_of(line).enumerate() {
            if let Some((_, wanted)) = self.0.iter().zip(&mut fields).find(|(place, _)| **place == number) {
                *wanted = field;
            }
        }
        Line { line, fields }
    }
}

/// The fields of a line; one in quotes may hold commas.
fn fields_of(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let text = rest?;
        if let Some(quoted) = text.strip_prefix('"')
            && let Some((field, after)) = quoted.split_once("\",").or_else(|| quoted.split_once('"'))
        {
            rest = Some(after);
            return Some(field);
        }
        match text.split_once(',') {
            Some((field, after)) => {
                rest = Some(after);
                Some(field)
            }
            None => rest.take(),
        }
    })
}

impl<'a> Line<'a> {
    fn field(&self, column: Column) -> &'a str {
        self.fields.get(column as usize).copied().unwrap_or_default()
    }

    fn text(&self, column: Column) -> Result<&'a str, ReplyError> {
        let text = self.field(column);
        if text.is_empty() { Err(self.malformed(column)) } else { Ok(text) }
    }

    /// A number; `None` where the column is empty, as is what has no meaning for a line.
    fn number(&self, column: Column) -> Result<Option<u64>, ReplyError> {
        let text = self.field(column);
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_no_number| self.malformed(column))
    }

    fn sum(&self, columns: [Column; 2]) -> Result<u64, ReplyError> {
        let [one, other] = columns.map(|column| self.number(column));
        Ok(one?.unwrap_or_default() + other?.unwrap_or_default())
    }

    fn failed(&self) -> Result<u64, ReplyError> {
        match self.number(Column::ServerErrors)? {
            Some(errors) => Ok(errors),
            None => self.sum([Column::FailedConnections, Column::BrokenAnswers]),
        }
    }

    fn traffic(&self) -> Result<Traffic, ReplyError> {
        let number = |column| Ok(self.number(column)?.unwrap_or_default());
        let check = [Column::CheckStatus, Column::LastCheck].map(|column| self.field(column));
        let check: Vec<_> = check.into_iter().filter(|text| !text.is_empty()).collect();
        Ok(Traffic {
            sessions: number(Column::Sessions)?,
            per_second: number(Column::Rate)?.max(number(Column::RequestRate)?),
            total: number(Column::Total)?,
            bytes_in: number(Column::BytesIn)?,
            bytes_out: number(Column::BytesOut)?,
            errors: self.failed()?,
            check: (!check.is_empty()).then(|| check.join(": ")),
        })
    }

    fn malformed(&self, column: Column) -> ReplyError {
        ReplyError::Column { column: column.name(), line: self.line.chars().take(120).collect() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER: &str =
        "# pxname,svname,scur,stot,bin,bout,econ,eresp,rate,check_status,hrsp_5xx,req_rate,last_chk,act,bck,";

    fn traffic(numbers: [u64; 6], check: Option<&str>) -> Traffic {
        let [sessions, per_second, total, bytes_in, bytes_out, errors] = numbers;
        let check = check.map(str::to_owned);
        Traffic { sessions, per_second, total, bytes_in, bytes_out, errors, check }
    }

    #[test]
    fn services_are_read_by_the_headers_names() {
        let reply = format!(
            "{HEADER}\nweb,FRONTEND,3,10,82,217,,,1,,2,7,,,,\nweb,BACKEND,3,10,82,217,5,5,1,,2,,,3,1\n\
             tcp,FRONTEND,1,2,3,4,,,9,,,0,,,\ntcp,BACKEND,0,0,0,0,5,6,0,,,,,0,0\nlone,BACKEND,0,0,0,0,5,6,0,,,,,,\n\n"
        );
        let services = parse_services(&reply).unwrap();
        assert_eq!(services.len(), 2);
        assert_eq!(services["web"], traffic([3, 7, 10, 82, 217, 2], None));
        assert_eq!(services["tcp"], traffic([1, 9, 2, 3, 4, 11], None));
        let backends: Vec<_> = reply.lines().filter(|line| !line.contains("FRONTEND")).collect();
        let backends = backends.join("\n");
        let usable = parse_usable(&backends).unwrap();
        assert_eq!((usable["web"], usable["tcp"], usable["lone"]), (4, 0, 0));
    }

    #[test]
    fn a_servers_check_may_hold_commas_in_quotes() {
        let reply = format!(
            "{HEADER}\nweb,a,1,2,3,4,1,0,5,L4CON,,,\"refused, as it seems\",x,\nweb,b,0,0,0,0,0,0,0,,3,,,,\n"
        );
        assert_eq!(
            parse_servers(&reply).unwrap(),
            [
                ("a".to_owned(), traffic([1, 5, 2, 3, 4, 1], Some("L4CON: refused, as it seems"))),
                ("b".to_owned(), traffic([0, 0, 0, 0, 0, 3], None))
            ]
        );
    }

    #[test]
    fn what_is_no_such_reply_is_an_error() {
        assert!(parse_services("\nNo such proxy.\n").is_err());
        assert!(parse_services("# pxname,svname,\nweb,FRONTEND,\n").is_err());
        assert!(parse_services(&format!("{HEADER}\nweb,FRONTEND,many,10,82,217,,,1,,2,7,,,\n")).is_err());
    }

    proptest! {
        #[test]
        fn any_reply_is_read_or_refused(text in any::<String>()) {
            let _ = parse_services(&text);
            let _ = parse_usable(&format!("{HEADER}\n{text}"));
            let _ = parse_servers(&format!("{HEADER}\n{text}"));
        }
    }
}
