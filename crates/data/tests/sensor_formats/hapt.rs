//! HAPT raw signals: plain files and an archive beside them.

use super::*;

const NAMES: &str = "1 WALKING           \n2 WALKING_UPSTAIRS\n3 WALKING_DOWNSTAIRS\n\
                     4 SITTING\n5 STANDING\n6 LAYING\n7 STAND_TO_SIT\n";

fn signal(rows: usize, shift: usize) -> String {
    (0..rows)
        .map(|row| {
            let [x, y, z] = [0, 1, 2].map(|axis| sample(row, axis + shift));
            format!("{x} {y} {z}\n")
        })
        .collect()
}

/// Users 1 and 2 as plain files, user 3 in an archive beside the folder.
fn recordings(labels: &str) -> TempDir {
    let folder = folder();
    write(&folder, "activity_labels.txt", NAMES);
    write(&folder, "RawData/labels.txt", labels);
    for user in [1, 2] {
        for (shift, sensor) in ["acc", "gyro"].into_iter().enumerate() {
            let name = format!("RawData/{sensor}_exp0{user}_user0{user}.txt");
            write(&folder, &name, &signal(900, shift));
        }
    }
    let file = fs::File::create(folder.path().join("RawData-user03.tar.gz")).unwrap();
    let gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    let mut archive = tar::Builder::new(gzip);
    for (shift, sensor) in ["acc", "gyro"].into_iter().enumerate() {
        let text = signal(600, shift + 5);
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        let name = format!("RawData/{sensor}_exp03_user03.txt");
        archive
            .append_data(&mut header, name, text.as_bytes())
            .unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap();
    folder
}

const LABELS: &str = "1 1 5 1 300\n1 1 7 301 420\n1 1 4 421 900\n2 2 1 10 700\n\
                      3 3 1 45 600\n3 3 7 1 44\n";

#[test]
fn plain_files_and_archives_are_read_together() {
    let folder = recordings(LABELS);
    let splits = open(&folder, |_| {}).unwrap();
    assert_eq!(splits.train.shape(), [6, 32, 32]);
    assert_eq!(splits.class_names[..2], ["walking", "walking_upstairs"]);
    assert_eq!(splits.class_names.len(), 6);
    // The official test users; transitions and what lies between labels give no windows.
    assert!(
        splits
            .description
            .contains("trained on subjects 1, 3, held out 2")
    );
    assert_eq!(labels(&*splits.test), [Some(0); 4]);
    assert_eq!(labels(&*splits.train), [4, 3, 3, 0, 0, 0].map(Some));
    assert!(
        splits
            .train
            .origin(5)
            .contains("RawData-user03.tar.gz/RawData/acc_exp03_user03.txt: lines 45 to 600")
    );
    // The folder of raw data itself is accepted too.
    let inner = open_path(&folder.path().join("RawData"), |_| {}).unwrap();
    assert_eq!(inner.description, splits.description);
}

#[test]
fn transitions_are_read_when_asked_for() {
    let folder = recordings(LABELS);
    let splits = open(&folder, |c| {
        c.sensor.activities = vec!["STAND_TO_SIT".into(), "5".into(), "walking".into()];
        c.sensor.window = Some(100);
    })
    .unwrap();
    assert_eq!(splits.class_names, ["walking", "standing", "stand_to_sit"]);
    assert!(labels(&*splits.train).contains(&Some(2)));
}

#[test]
fn broken_files_are_explained() {
    let cases = [
        (
            "1 1 5 1\n",
            "RawData/labels.txt: line 1: expected 5 numbers (experiment, user, activity, start, end), found 4",
        ),
        (
            "1 1 5 1 x\n",
            "RawData/labels.txt: line 1, column 5 (end): expected a whole number, found \"x\"",
        ),
        (
            "1 1 9 1 300\n",
            "RawData/labels.txt: line 1, column 3 (activity): expected a number of activity_labels.txt, found 9",
        ),
        (
            "1 1 5 0 300\n",
            "RawData/labels.txt: line 1: expected 1 <= start <= end, found start 0, end 300",
        ),
        (
            "\n1 1 5 700 901\n",
            "RawData/labels.txt: line 2, column 5 (end): expected at most 900, the lines of RawData/acc_exp01_user01.txt, found 901",
        ),
    ];
    for (text, want) in cases {
        assert_eq!(message(&recordings(text), |_| {}), want);
    }
    let none = message(&recordings("8 8 1 1 300\n"), |_| {});
    assert!(
        none.starts_with("RawData: holds no signals of the experiments"),
        "{none}"
    );
}

#[test]
fn sensors_must_come_in_pairs_of_equal_length() {
    let folder = recordings(LABELS);
    write(&folder, "RawData/gyro_exp01_user01.txt", &signal(899, 1));
    assert_eq!(
        message(&folder, |_| {}),
        "RawData/gyro_exp01_user01.txt: end of file: expected 900 lines as in \
         RawData/acc_exp01_user01.txt, found 899 lines"
    );
    fs::remove_file(folder.path().join("RawData/gyro_exp01_user01.txt")).unwrap();
    assert_eq!(
        message(&folder, |_| {}),
        "RawData: gyro_exp01_user01.txt is missing, though acc_exp01_user01.txt is there"
    );
    write(
        &folder,
        "RawData/gyro_exp01_user01.txt",
        "0.1 0.2 0.3\n0.1 0.2\n",
    );
    assert_eq!(
        message(&folder, |_| {}),
        "RawData/gyro_exp01_user01.txt: line 2: expected 3 numbers, found 2"
    );
}

#[test]
fn a_cut_archive_and_missing_names_are_explained() {
    let folder = recordings(LABELS);
    let path = folder.path().join("RawData-user03.tar.gz");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let cut = message(&folder, |_| {});
    assert!(cut.starts_with("RawData-user03.tar.gz: "), "{cut}");
    fs::remove_file(folder.path().join("activity_labels.txt")).unwrap();
    let names = message(&folder, |_| {});
    assert!(
        names.contains("activity_labels.txt: cannot open"),
        "{names}"
    );
}
