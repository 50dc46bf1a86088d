//! UCI HAR: ready-made windows.

use super::*;

const SIGNALS: [&str; 9] = [
    "body_acc_x",
    "body_acc_y",
    "body_acc_z",
    "body_gyro_x",
    "body_gyro_y",
    "body_gyro_z",
    "total_acc_x",
    "total_acc_y",
    "total_acc_z",
];

fn windows(count: usize, channel: usize) -> String {
    (0..count)
        .map(|window| {
            let line: String = (0..128)
                .map(|i| format!("  {:e}", sample(i + window, channel)))
                .collect();
            line + "\n"
        })
        .collect()
}

fn archive() -> TempDir {
    let folder = folder();
    write(
        &folder,
        "UCI HAR Dataset/activity_labels.txt",
        "1 WALKING\n2 SITTING\n",
    );
    for (part, users) in [("train", "1\n1\n3\n3\n"), ("test", "2\n4\n2\n4\n")] {
        write(
            &folder,
            &format!("UCI HAR Dataset/{part}/y_{part}.txt"),
            "1\n2\n2\n1\n",
        );
        write(
            &folder,
            &format!("UCI HAR Dataset/{part}/subject_{part}.txt"),
            users,
        );
        for (channel, signal) in SIGNALS.iter().enumerate() {
            let name = format!("UCI HAR Dataset/{part}/Inertial Signals/{signal}_{part}.txt");
            write(&folder, &name, &windows(4, channel));
        }
    }
    folder
}

#[test]
fn is_read_with_its_own_split() {
    let folder = archive();
    let splits = open(&folder, |_| {}).unwrap();
    assert_eq!(splits.train.shape(), [9, 32, 32]);
    assert_eq!(splits.class_names, ["walking", "sitting"]);
    assert_eq!(labels(&*splits.test), [0, 1, 1, 0].map(Some));
    assert!(
        splits
            .description
            .contains("trained on subjects 1, 3, held out 2, 4")
    );
    load(&*splits.test, 3, Draw::FIXED);
}

#[test]
fn broken_files_are_explained() {
    let break_file = |name: &str, text: &str| {
        let folder = archive();
        write(&folder, &format!("UCI HAR Dataset/{name}"), text);
        message(&folder, |_| {}).replace("UCI HAR Dataset/", "")
    };
    assert_eq!(
        break_file("train/y_train.txt", "1\n2\n2\n"),
        "train/subject_train.txt: end of file: expected 3 lines as in train/y_train.txt, \
         found 4 lines"
    );
    assert_eq!(
        break_file("test/y_test.txt", "1\n2\n2\n7\n"),
        "test/y_test.txt: line 4: expected a number of activity_labels.txt, found 7"
    );
    assert_eq!(
        break_file(
            "train/Inertial Signals/body_gyro_y_train.txt",
            &windows(3, 0)
        ),
        "train/Inertial Signals/body_gyro_y_train.txt: end of file: expected 4 lines as in \
         train/y_train.txt, found 3 lines"
    );
    let cut = windows(4, 0).replacen("e-1  ", "e-1 oops ", 1);
    let text = break_file("train/Inertial Signals/total_acc_x_train.txt", &cut);
    assert!(text.contains("line 1, column "), "{text}");
    assert!(
        text.ends_with("expected a number, found \"oops\""),
        "{text}"
    );
    let folder = archive();
    fs::remove_file(
        folder
            .path()
            .join("UCI HAR Dataset/test/Inertial Signals/body_acc_z_test.txt"),
    )
    .unwrap();
    assert!(message(&folder, |_| {}).contains("body_acc_z_test.txt: cannot open"));
    let long = message(&archive(), |c| c.sensor.window = Some(200));
    assert!(
        long.starts_with("data.sensor.window = 200: no stretch"),
        "{long}"
    );
}
