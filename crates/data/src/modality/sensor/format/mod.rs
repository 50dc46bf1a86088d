//! The file formats of wearable sensors, and which of them a path holds.

mod csv;
mod hapt;
mod pamap2;
mod text;
mod uci_har;

use super::config::SensorConfig;
use super::corpus::Corpus;
use crate::{DataError, files};
use std::path::Path;

/// Users of the test part of the UCI HAR and HAPT data sets (30 % of the volunteers).
const OFFICIAL_TEST_USERS: &[&str] = &["2", "4", "9", "10", "12", "13", "18", "20", "24"];

/// Reads the source at `path`, whatever its format.
///
/// # Errors
/// When the path does not exist or holds no known format, and everything that is wrong inside.
pub(super) fn read(path: &Path, config: &SensorConfig) -> Result<Corpus, DataError> {
    std::fs::metadata(path).map_err(|e| DataError::io(path, "open", e))?;
    let pamap2 = pamap2::files(path)?;
    if !pamap2.is_empty() {
        return pamap2::read(&pamap2, config);
    }
    if let Some(folder) = hapt::folder(path) {
        return hapt::read(&folder, config);
    }
    if let Some(folder) = uci_har::folder(path) {
        return uci_har::read(&folder, config);
    }
    let tables = csv::files(path)?;
    if !tables.is_empty() {
        return csv::read(&tables, config);
    }
    let why = format!(
        "expected PAMAP2 (subject101.dat …), HAPT (RawData/labels.txt and acc_exp01_user01.txt …), \
         UCI HAR (train/Inertial Signals/…) or tables with a header line (*.csv); found {}",
        files::describe(path)
    );
    Err(DataError::unusable(path, why))
}

/// `activity_labels.txt` of UCI HAR and HAPT: a number and a name per line.
fn activity_names(path: &Path) -> Result<Vec<(u32, String)>, DataError> {
    let mut names = Vec::new();
    text::for_each_line(path, files::open(path)?, |line, text| {
        let Some((id, name)) = text.split_once(char::is_whitespace) else {
            let expected = "a number and a name";
            return Err(DataError::format(
                path,
                format!("line {line}"),
                expected,
                text::shown(text),
            ));
        };
        let id = text::whole(path, line, 0, "number", id)?;
        names.push((id, name.trim().to_lowercase()));
        Ok(())
    })?;
    Ok(names)
}
