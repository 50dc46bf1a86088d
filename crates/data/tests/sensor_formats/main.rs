//! Every sensor format, read from small files written here, whole and broken.

mod hapt;
mod pamap2;
mod tables;
mod uci_har;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use viewmaker_data::modality::sensor::{HeldOut, Sensor};
use viewmaker_data::{DataConfig, DataError, Dataset, Draw, Modality, Splits};

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn write(folder: &TempDir, name: &str, text: &str) {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
    fs::write(path, text).expect("a file");
}

fn open(folder: &TempDir, change: impl FnOnce(&mut DataConfig)) -> Result<Splits, DataError> {
    open_path(folder.path(), change)
}

fn open_path(path: &Path, change: impl FnOnce(&mut DataConfig)) -> Result<Splits, DataError> {
    let mut config = DataConfig::default();
    change(&mut config);
    Sensor.open(Some(path), &config, 1)
}

/// The message of an error, without the folder's name.
fn message(folder: &TempDir, change: impl FnOnce(&mut DataConfig)) -> String {
    match open(folder, change) {
        Ok(splits) => panic!("accepted: {}", splits.description),
        Err(e) => {
            let prefix = format!("{}/", folder.path().display());
            e.to_string().replace(&prefix, "")
        }
    }
}

fn load(set: &dyn Dataset, index: usize, draw: Draw) -> Vec<f32> {
    let mut out = vec![f32::NAN; set.shape().iter().product()];
    set.load(index, draw, &mut out).expect("an example");
    assert!(out.iter().all(|x| x.is_finite()));
    out
}

fn labels(set: &dyn Dataset) -> Vec<Option<u32>> {
    (0..set.len()).map(|i| set.label(i)).collect()
}

/// A number that looks like a measurement.
fn sample(row: usize, column: usize) -> f32 {
    ((row * 7 + column * 13) % 29) as f32 * 0.1 - 1.0
}

#[test]
fn an_unknown_source_is_explained() {
    let folder = folder();
    write(&folder, "notes.txt", "hello");
    let text = open(&folder, |_| {}).err().unwrap().to_string();
    assert!(
        text.contains("expected PAMAP2") && text.ends_with("found 1 file (1 .txt)"),
        "{text}"
    );
    let missing = open_path(&folder.path().join("none"), |_| {})
        .err()
        .unwrap()
        .to_string();
    assert!(missing.contains("none: cannot open"), "{missing}");
}
