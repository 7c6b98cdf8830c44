//! What was done with each unit: a small JSON file per unit, on a file system that a boot empties.

use std::io;

use fleet_cluster::systemd::Record;
use fleet_unit::UnitName;

use crate::files::Directory;

/// The record of a unit. What cannot be read counts as no record: the agent then looks at systemd.
pub(crate) fn load(records: &Directory, unit: &UnitName) -> Option<Record> {
    let content = match records.read(unit) {
        Ok(content) => content?,
        Err(error) => {
            records.warn_once(unit.as_str(), &format!("it cannot be read: {error}"));
            return None;
        }
    };
    match serde_json::from_str(&content) {
        Ok(record) => Some(record),
        Err(error) => {
            records.warn_once(unit.as_str(), &format!("it is no record: {error}"));
            None
        }
    }
}

/// Writes the record of a unit.
pub(crate) fn store(records: &Directory, unit: &UnitName, record: Record) -> io::Result<()> {
    let content = serde_json::to_string(&record).map_err(io::Error::other)?;
    records.write(unit, &content)
}

#[cfg(test)]
mod tests {
    use fleet_cluster::documents::TargetState;

    use super::*;

    #[test]
    fn a_record_comes_back_and_torn_ones_do_not() {
        let parent = tempfile::tempdir().unwrap();
        let records = Directory::open(parent.path()).unwrap();
        let unit = UnitName::parse("hello.service").unwrap();
        assert_eq!(load(&records, &unit), None);
        let record = Record { current: TargetState::Launched, restarts: 3 };
        store(&records, &unit, record).unwrap();
        assert_eq!(load(&records, &unit), Some(record));
        let whole = records.read(&unit).unwrap().unwrap();
        assert_eq!(whole, r#"{"current":"launched","restarts":3}"#);
        for end in 0..whole.len() {
            records.write(&unit, &whole[..end]).unwrap();
            assert_eq!(load(&records, &unit), None, "{}", &whole[..end]);
        }
    }
}
