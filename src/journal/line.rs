//! One line of the journal: a record with its number, time and checksum.

use serde::{Deserialize, Serialize};

use crate::core::Timestamp;
use crate::core::record::Record;

/// The version of the format that this program writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// `{"sum":"` + 8 hexadecimal digits + `",`: what the checksum itself takes of a line.
const HEAD: &str = "{\"sum\":\"";
const HEAD_LENGTH: usize = HEAD.len() + 8 + 2;

/// A record as it stands in the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Grows by one with every line, over all files of a journal.
    pub(super) n: u64,
    /// All lines before this number were known to be safe from a power cut when this one was written. Earlier versions did
    /// not say.
    #[serde(default)]
    pub(super) synced: Option<u64>,
    /// When it was written.
    pub(super) time: Timestamp,
    #[serde(flatten)]
    pub(super) record: Record,
}

/// Why a line cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BadLine {
    /// It is not as it was written: torn or damaged.
    Checksum,
    /// It is as it was written, but this program cannot read it.
    Content(String),
}

#[derive(Serialize)]
struct Borrowed<'r> {
    n: u64,
    synced: u64,
    time: Timestamp,
    #[serde(flatten)]
    record: &'r Record,
}

/// Appends a line, its newline included. All lines before number `synced` are known to be safe from a power cut.
pub(super) fn write(
    buffer: &mut Vec<u8>,
    n: u64,
    synced: u64,
    time: Timestamp,
    record: &Record,
) -> Result<(), serde_json::Error> {
    let start = buffer.len();
    buffer.extend_from_slice(HEAD.as_bytes());
    buffer.extend_from_slice(b"00000000\",");
    let body = buffer.len();
    serde_json::to_writer(&mut *buffer, &Borrowed { n, synced, time, record })?;
    // The body's own brace gives way: what follows the checksum continues its object.
    buffer.remove(body);
    let sum = format!("{:08x}", crc32fast::hash(&buffer[body..]));
    buffer[start + HEAD.len()..start + HEAD.len() + 8].copy_from_slice(sum.as_bytes());
    buffer.push(b'\n');
    Ok(())
}

/// Reads a line without its newline.
pub(super) fn read(line: &[u8]) -> Result<Entry, BadLine> {
    let head = line.get(..HEAD_LENGTH).ok_or(BadLine::Checksum)?;
    let body = line.get(HEAD_LENGTH..).ok_or(BadLine::Checksum)?;
    let framed = head.starts_with(HEAD.as_bytes()) && head.ends_with(b"\",");
    let sum = head.get(HEAD.len()..HEAD.len() + 8).and_then(|digits| std::str::from_utf8(digits).ok());
    let sum = sum.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    if !framed || sum != Some(crc32fast::hash(body)) {
        return Err(BadLine::Checksum);
    }
    let mut text = Vec::with_capacity(body.len() + 1);
    text.push(b'{');
    text.extend_from_slice(body);
    serde_json::from_slice(&text).map_err(|error| BadLine::Content(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::order::{OrderKey, Slot};

    fn line() -> Vec<u8> {
        let key = OrderKey { cycle: 1, slot: Slot::Buy(0), attempt: 1 };
        let record = Record::OrderAccepted { key, order_id: "1001".to_owned() };
        let mut buffer = Vec::new();
        write(&mut buffer, 7, 5, Timestamp(1_767_312_000_000), &record).unwrap();
        buffer
    }

    #[test]
    fn a_line_is_one_json_object_and_reads_back() {
        let line = line();
        let (newline, text) = line.split_last().unwrap();
        assert_eq!(*newline, b'\n');
        let json: serde_json::Value = serde_json::from_slice(text).unwrap();
        assert_eq!(
            (json["n"].as_u64(), json["type"].as_str(), json["key"].as_str()),
            (Some(7), Some("order_accepted"), Some("1-0b-1"))
        );
        let entry = read(text).unwrap();
        assert_eq!((entry.n, entry.synced), (7, Some(5)));
    }

    #[test]
    fn a_line_of_an_earlier_version_does_not_say_what_was_safe() {
        let body = "\"n\":7,\"time\":1767312000000,\"type\":\"reconciled\"}";
        let line = format!("{HEAD}{:08x}\",{body}", crc32fast::hash(body.as_bytes()));
        let entry = read(line.as_bytes()).unwrap();
        assert_eq!((entry.n, entry.synced, entry.record), (7, None, Record::Reconciled));
    }

    #[test]
    fn no_bit_can_flip_unseen() {
        let line = line();
        let text = &line[..line.len() - 1];
        for bit in 0..text.len() * 8 {
            let mut damaged = text.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            // The case of a hexadecimal digit carries no information: there the line is still what it was.
            if !damaged.eq_ignore_ascii_case(text) {
                assert!(read(&damaged).is_err(), "bit {bit}");
            }
        }
        for length in 0..text.len() {
            assert_eq!(read(&text[..length]), Err(BadLine::Checksum), "cut at {length}");
        }
    }
}
