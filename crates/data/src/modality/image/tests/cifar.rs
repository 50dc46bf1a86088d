use super::*;

#[test]
fn every_byte_of_cifar_10_arrives() {
    let folder = folder();
    write(&folder, "set/data_batch_1.bin", &records(&[3, 0, 3]));
    write(&folder, "set/data_batch_2.bin", &records(&[1]));
    write(&folder, "set/test_batch.bin", &records(&[7, 2]));
    write(
        &folder,
        "set/batches.meta.txt",
        b"a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n",
    );
    let splits = open(folder.path(), &config(32, 0)).unwrap();
    assert_eq!(labels(&*splits.train), [Some(3), Some(0), Some(3), Some(1)]);
    assert_eq!(labels(&*splits.test), [Some(7), Some(2)]);
    assert_eq!(splits.class_names.concat(), "abcdefghij");
    let expected: Vec<f32> = record(&[0], 1)[1..]
        .iter()
        .map(|&b| f32::from(b) / 255.0)
        .collect();
    let x = all(&*splits.train);
    assert_eq!((x.dims, &x.x[3072..6144]), ([4, 3, 32, 32], &expected[..]));
    assert_eq!(splits.after_view.unwrap().mean, [0.491, 0.482, 0.446]);
    assert!(
        splits
            .train
            .origin(3)
            .ends_with("data_batch_2.bin: record 0")
    );
    assert!(
        splits
            .train
            .origin(2)
            .ends_with("data_batch_1.bin: record 2")
    );
}

#[test]
fn cifar_100_uses_the_fine_label() {
    let folder = folder();
    let record = |n: usize| record(&[19, 90 + n as u8], n);
    write(
        &folder,
        "train.bin",
        &(0..5).flat_map(record).collect::<Vec<_>>(),
    );
    write(&folder, "test.bin", &record(9));
    let splits = open(folder.path(), &config(32, 0)).unwrap();
    assert_eq!(labels(&*splits.train)[4], Some(94));
    assert_eq!(labels(&*splits.test), [Some(99)]);
    assert_eq!(splits.class_names.len(), 100);
    assert!(
        splits
            .description
            .starts_with("CIFAR-100 binary: 5 training and 1 held-out")
    );
}

#[test]
fn the_archive_equals_the_folder() {
    let (plain, packed) = (folder(), folder());
    let (train, test) = (records(&[1, 2, 3]), records(&[4]));
    write(&plain, "data_batch_1.bin", &train);
    write(&plain, "test_batch.bin", &test);
    let entries = [
        ("c/data_batch_1.bin", train),
        ("c/test_batch.bin", test),
        ("c/readme.html", vec![1]),
    ];
    let archive = write(&packed, "cifar-10-binary.tar.gz", &tar_gz(&entries));
    let plain = open(plain.path(), &config(32, 0)).unwrap();
    for path in [packed.path(), &archive] {
        let packed = open(path, &config(32, 0)).unwrap();
        assert_eq!(all(&*packed.train).x, all(&*plain.train).x);
        assert_eq!(labels(&*packed.test), [Some(4)]);
    }
}

#[test]
fn one_file_of_any_name_is_divided() {
    let folder = folder();
    let labels: Vec<u8> = (0..40).map(|i| i % 2).collect();
    let path = write(&folder, "mine.bin", &records(&labels));
    let splits = open(&path, &config(16, 1)).unwrap();
    assert_eq!((splits.train.len(), splits.test.len()), (30, 10));
    assert_eq!(splits.train.shape(), [1, 16, 16]);
    let hundred: Vec<u8> = (0..8).flat_map(|n| record(&[0, 50], n)).collect();
    let path = write(&folder, "other.bin", &hundred);
    assert_eq!(open(&path, &config(32, 0)).unwrap().class_names.len(), 100);
}

#[test]
fn damage_is_located() {
    let folder = folder();
    let path = write(&folder, "data_batch_1.bin", &records(&[1, 2])[..3073 + 100]);
    let start = format!("{}: ", path.display());
    let message = failure(&path, &config(32, 0));
    let rest = "byte 3073: expected CIFAR-10 records of 3073 bytes, found 3173 bytes: 1 whole \
                and 100 left over";
    assert_eq!(message, format!("{start}{rest}"));
    write(&folder, "data_batch_1.bin", &records(&[1, 10]));
    let message = failure(&path, &config(32, 0));
    let rest = "record 1, byte 3073: expected a CIFAR-10 label from 0 to 9, found 10";
    assert_eq!(message, format!("{start}{rest}"));
    write(&folder, "data_batch_1.bin", b"");
    assert!(failure(&path, &config(32, 0)).ends_with("found an empty file"));
    write(&folder, "data_batch_1.bin", &records(&[1, 2]));
    write(&folder, "batches.meta.txt", b"cat\ndog\n");
    assert!(failure(folder.path(), &config(32, 0)).contains("expected 10 class names"));
    write(&folder, "train.bin", &record(&[0, 0], 0));
    assert!(failure(folder.path(), &config(32, 0)).contains("lie together"));
}
