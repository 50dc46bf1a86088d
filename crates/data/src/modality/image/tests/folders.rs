use super::*;

#[test]
fn classes_and_parts_come_from_folders() {
    let folder = folder();
    write(&folder, "train/red/1.png", &png([255, 0, 0]));
    write(&folder, "train/blue/1.PNG", &png([0, 0, 255]));
    let jpeg = picture(image::ImageFormat::Jpeg, 16, 16, [200, 100, 50]);
    write(&folder, "test/red/a.jpeg", &jpeg);
    write(&folder, "list.csv", b"not a picture");
    let splits = open(folder.path(), &config(8, 0)).unwrap();
    assert_eq!(splits.class_names, ["blue", "red"]);
    assert_eq!(labels(&*splits.train), [Some(0), Some(1)]);
    assert_eq!(labels(&*splits.test), [Some(1)]);
    let train = all(&*splits.train);
    assert_eq!(train.dims, [2, 3, 8, 8]);
    assert_eq!(train.x[192..256], [1.0; 64]);
    assert_eq!(train.x[256..], [0.0; 128]);
    for (value, expected) in all(&*splits.test).x.chunks(64).zip([200.0, 100.0, 50.0]) {
        assert!(value.iter().all(|v| (v * 255.0 - expected).abs() < 4.0));
    }
    assert!(splits.test.origin(0).ends_with("a.jpeg"));
}

#[test]
fn archives_together_are_one_data_set() {
    let (packed, plain) = (folder(), folder());
    let entries: Vec<(String, Vec<u8>)> = (0..12)
        .map(|i| {
            let part = if i < 8 { "train" } else { "test" };
            (
                format!("{part}/{}/{i:02}.png", ["x", "y"][i % 2]),
                png([i as u8 * 20, 0, 0]),
            )
        })
        .collect();
    for (name, bytes) in &entries {
        write(&plain, name, bytes);
    }
    for (number, some) in entries.chunks(4).enumerate() {
        let some: Vec<_> = some.iter().map(|(n, b)| (n.as_str(), b.clone())).collect();
        write(&packed, &format!("{number}.tar.gz"), &tar_gz(&some));
    }
    let packed = open(packed.path(), &config(8, 0)).unwrap();
    let plain = open(plain.path(), &config(8, 0)).unwrap();
    let content = |dataset: &dyn Dataset| {
        let batch = all(dataset);
        let mut content: Vec<_> = batch
            .x
            .chunks(192)
            .zip(&batch.labels)
            .map(|(x, label)| ((x[0] * 255.0) as u32, *label))
            .collect();
        content.sort_unstable();
        content
    };
    assert_eq!(content(&*packed.train), content(&*plain.train));
    assert_eq!(content(&*packed.test), content(&*plain.test));
    assert_eq!(
        (packed.train.len(), packed.class_names.concat()),
        (8, "xy".to_owned())
    );
}

#[test]
fn mixed_sizes_and_grey_pictures_become_equal() {
    let folder = folder();
    write(
        &folder,
        "a/1.png",
        &picture(image::ImageFormat::Png, 30, 10, [10, 20, 30]),
    );
    write(
        &folder,
        "a/2.png",
        &picture(image::ImageFormat::Png, 5, 9, [10, 20, 30]),
    );
    write(&folder, "b/1.png", &grey_png(40));
    write(&folder, "b/2.png", &grey_png(40));
    let splits = open(folder.path(), &config(8, 0)).unwrap();
    let batch = all(&*splits.train);
    assert_eq!(batch.dims, [2, 3, 8, 8]);
    for (x, label) in batch.x.chunks(192).zip(&batch.labels) {
        let expected = if *label == Some(0) {
            [10u8, 20, 30]
        } else {
            [40; 3]
        };
        for (plane, byte) in x.chunks(64).zip(expected) {
            assert!(plane.iter().all(|&v| v == f32::from(byte) / 255.0));
        }
    }
}

#[test]
fn grey_pictures_alone_have_one_channel() {
    let folder = folder();
    for i in 0..8 {
        write(&folder, &format!("{i}.png"), &grey_png(30 * i));
    }
    let splits = open(folder.path(), &config(8, 0)).unwrap();
    assert_eq!(splits.train.shape(), [1, 8, 8]);
    assert_eq!((splits.train.len(), splits.test.len()), (6, 2));
    assert_eq!(splits.train.label(0), None);
}

#[test]
fn a_corrupt_picture_is_named() {
    let folder = folder();
    for i in 0..4 {
        write(&folder, &format!("{i}.png"), &png([9; 3]));
    }
    let whole = png([1, 2, 3]);
    let path = write(&folder, "5.png", &whole[..whole.len() / 2]);
    let message = failure(folder.path(), &config(8, 0));
    let start = format!("{}: picture data: expected a whole", path.display());
    assert!(message.starts_with(&start), "{message}");
    write(&folder, "5.png", b"GIF89a");
    assert!(failure(folder.path(), &config(8, 0)).contains("found bytes 47 49 46 38"));
}
