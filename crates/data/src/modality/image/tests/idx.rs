use super::*;

#[test]
fn plain_and_gzip_files_are_read() {
    let folder = folder();
    let pixels: Vec<u8> = (0..3 * 20).map(|i| i * 4).collect();
    write(
        &folder,
        "train-images-idx3-ubyte.gz",
        &gzip(&idx_pictures(3, 4, 5, &pixels)),
    );
    write(&folder, "train-labels-idx1-ubyte", &idx_labels(&[5, 0, 3]));
    write(
        &folder,
        "t10k-images-idx3-ubyte",
        &idx_pictures(1, 4, 5, &pixels[20..40]),
    );
    write(
        &folder,
        "t10k-labels-idx1-ubyte.gz",
        &gzip(&idx_labels(&[6])),
    );
    let splits = open(folder.path(), &config(4, 0)).unwrap();
    assert_eq!(splits.train.shape(), [1, 4, 4]);
    assert_eq!(labels(&*splits.train), [Some(5), Some(0), Some(3)]);
    assert_eq!(labels(&*splits.test), [Some(6)]);
    assert_eq!(splits.class_names.len(), 7);
    assert_eq!(all(&*splits.train).x[16..32], all(&*splits.test).x[..]);
}

#[test]
fn the_test_part_alone_is_divided_and_labels_may_be_absent() {
    let folder = folder();
    let pixels: Vec<u8> = (0..20 * 16).map(|i| i as u8).collect();
    let path = write(
        &folder,
        "t10k-images-idx3-ubyte",
        &idx_pictures(20, 4, 4, &pixels),
    );
    let splits = open(folder.path(), &config(4, 3)).unwrap();
    assert_eq!((splits.train.len(), splits.test.len()), (15, 5));
    assert_eq!(splits.train.shape(), [3, 4, 4]);
    assert!(splits.class_names.is_empty());
    assert!(splits.description.ends_with("unlabelled"));
    assert!(open(&path, &config(4, 0)).is_ok());
}

#[test]
fn damage_is_located() {
    let folder = folder();
    let name = "train-images-idx3-ubyte";
    let failed = |bytes: &[u8]| failure(&write(&folder, name, bytes), &config(4, 0));
    let good = idx_pictures(2, 4, 4, &[9; 32]);
    let magic = failed(&[&[0, 0, 8, 1], &good[4..]].concat());
    assert!(
        magic.ends_with(
            "byte 0: expected the magic number 2051 (0x00000803), found 2049 (0x00000801)"
        ),
        "{magic}"
    );
    assert!(failed(&good[..10]).ends_with("header: expected 16 bytes, found 10 bytes"));
    assert!(failed(&good[..40]).ends_with("found 24 bytes, which is 1 items"));
    assert!(failed(&idx_pictures(0, 4, 4, &[])).contains("expected at least one"));
    assert!(failed(&idx_pictures(1, 0, 4, &[])).contains("found 0 × 4"));
    assert!(failed(&idx_pictures(u32::MAX, u32::MAX, 4, &[])).contains("rows and columns"));
    write(&folder, "train-labels-idx1-ubyte", &idx_labels(&[1, 2, 3]));
    let count = failed(&good);
    assert!(
        count.contains("expected 2 labels") && count.ends_with("found 3"),
        "{count}"
    );
    let cut = &gzip(&good)[..20];
    assert!(failed(cut).contains("cannot unpack"));
}
