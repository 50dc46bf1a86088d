//! Round trips through files that the tests write, and what damaged ones are answered with.

mod cifar;
mod folders;
mod frames;
mod idx;

use super::*;
use crate::{Batch, Draw};
use flate2::write::GzEncoder;
use std::fs;
use std::io::{Cursor, Write};
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn write(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

fn config(size: usize, channels: usize) -> DataConfig {
    let image = ImageConfig {
        size,
        channels,
        ..ImageConfig::default()
    };
    DataConfig {
        image,
        validation_fraction: 0.25,
        ..DataConfig::default()
    }
}

fn open(path: &Path, config: &DataConfig) -> Result<Splits, DataError> {
    Image.open(Some(path), config, 1)
}

fn failure(path: &Path, config: &DataConfig) -> String {
    match open(path, config) {
        Ok(splits) => panic!("opened: {}", splits.description),
        Err(error) => error.to_string(),
    }
}

fn all(dataset: &dyn Dataset) -> Batch {
    let indices: Vec<_> = (0..dataset.len()).collect();
    Batch::of(dataset, &indices, Draw::FIXED).unwrap()
}

fn labels(dataset: &dyn Dataset) -> Vec<Option<u32>> {
    all(dataset).labels.clone()
}

/// Record `number` of a CIFAR file: a label, then every pixel byte different from its neighbours.
fn record(head: &[u8], number: usize) -> Vec<u8> {
    let pixels = (0..3072).map(|i| (i * 7 + number * 31) as u8);
    head.iter().copied().chain(pixels).collect()
}

fn records(labels: &[u8]) -> Vec<u8> {
    labels
        .iter()
        .enumerate()
        .flat_map(|(n, &label)| record(&[label], n))
        .collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Default::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn tar_gz(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder
            .append_data(&mut header, name, bytes.as_slice())
            .unwrap();
    }
    gzip(&builder.into_inner().unwrap())
}

fn picture(format: image::ImageFormat, width: u32, height: u32, colour: [u8; 3]) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let image = image::RgbImage::from_pixel(width, height, image::Rgb(colour));
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn png(colour: [u8; 3]) -> Vec<u8> {
    picture(image::ImageFormat::Png, 8, 8, colour)
}

fn grey_png(value: u8) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let image = image::GrayImage::from_pixel(8, 8, image::Luma([value]));
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn idx_pictures(count: u32, rows: u32, columns: u32, pixels: &[u8]) -> Vec<u8> {
    let head = [2051, count, rows, columns].map(u32::to_be_bytes).concat();
    [head.as_slice(), pixels].concat()
}

fn idx_labels(labels: &[u8]) -> Vec<u8> {
    let head = [2049, labels.len() as u32].map(u32::to_be_bytes).concat();
    [head.as_slice(), labels].concat()
}

#[test]
fn unusable_paths_say_what_they_hold() {
    let folder = folder();
    assert!(failure(folder.path(), &config(8, 0)).contains("holds nothing; expected CIFAR-10"));
    write(&folder, "a.txt", b"x");
    write(&folder, "b/c.csv", b"x");
    let message = failure(folder.path(), &config(8, 0));
    assert!(
        message.contains("holds 1 folder (b); 1 file (1 .txt); expected"),
        "{message}"
    );
    assert!(
        failure(&folder.path().join("a.txt"), &config(8, 0))
            .contains("holds a file (.txt); expected")
    );
    let missing = failure(&folder.path().join("none"), &config(8, 0));
    assert!(missing.contains("none: cannot open"), "{missing}");
    let empty = write(
        &folder,
        "empty.tar.gz",
        &tar_gz(&[("x/readme.txt", vec![1])]),
    );
    assert!(failure(&empty, &config(8, 0)).contains("1 archive without pictures"));
    let broken = write(
        &folder,
        "broken.tar.gz",
        &tar_gz(&[("1.png", png([1; 3]))])[..60],
    );
    assert!(failure(&broken, &config(8, 0)).contains("cannot read the archive"));
    let one = write(&folder, "one.png", &png([1; 3]));
    assert!(failure(&one, &config(8, 0)).contains("cannot be divided"));
}

#[test]
fn single_files_are_opened_for_their_views() {
    let folder = folder();
    let files = [
        write(&folder, "b.png", &png([255, 255, 255])),
        write(
            &folder,
            "a.jpg",
            &picture(image::ImageFormat::Jpeg, 40, 20, [0, 0, 0]),
        ),
    ];
    let dataset = Image
        .open_files(&files, &config(99, 3), [1, 6, 5], None)
        .unwrap();
    let batch = all(&*dataset);
    assert_eq!(
        (batch.dims, &batch.labels[..]),
        ([2, 1, 6, 5], &[None, None][..])
    );
    assert_eq!((batch.x[0], batch.x[30]), (1.0, 0.0));
    let missing = [folder.path().join("no.png")];
    assert!(
        Image
            .open_files(&missing, &config(8, 0), [3, 4, 4], None)
            .is_err()
    );
}

#[test]
fn limits_and_the_embedded_data_are_opened() {
    let mut config = config(12, 0);
    (config.embedded_train, config.embedded_test) = (60, 30);
    let splits = Image.open(None, &config, 5).unwrap();
    assert_eq!((splits.train.len(), splits.test.len()), (60, 30));
    assert_eq!(splits.train.shape(), [3, 12, 12]);
    let other_seed = Image.open(None, &config, 6).unwrap();
    assert_eq!(all(&*splits.train).x, all(&*other_seed.train).x);
    config.limit = Some(40);
    let limited = Image.open(None, &config, 5).unwrap();
    assert_eq!((limited.train.len(), limited.test.len()), (40, 30));
    let folder = folder();
    write(
        &folder,
        "data_batch_1.bin",
        &records(&[0, 1, 2, 3, 4, 5, 6, 7]),
    );
    write(&folder, "test_batch.bin", &records(&[0]));
    config.limit = Some(4);
    let limited = open(folder.path(), &config).unwrap();
    assert_eq!(
        labels(&*limited.train),
        [Some(0), Some(2), Some(4), Some(6)]
    );
    config.image.channels = 2;
    assert!(failure(folder.path(), &config).starts_with("data.image.channels = 2"));
}
