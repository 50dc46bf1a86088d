//! Every sensor format, read from small files written here, whole and broken.

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

mod pamap2 {
    use super::*;

    /// A row in the exact format: heart rate only in every ninth row, gyroscope of the hand missing
    /// now and then, and the temperature of the ankle never measured.
    fn row(row: usize, activity: u32) -> String {
        let mut line = format!("{:.2} {activity}", 8.38 + 0.01 * row as f64);
        for column in 2..54 {
            let missing = match column {
                2 => row % 9 != 4,
                10..13 => row % 50 < 3,
                37 => true,
                _ => false,
            };
            if missing {
                line += " NaN";
            } else {
                write!(line, " {}", sample(row, column)).expect("text");
            }
        }
        line + "\n"
    }

    fn recording(activities: &[(u32, usize)]) -> String {
        let all = activities
            .iter()
            .flat_map(|&(id, rows)| std::iter::repeat_n(id, rows));
        all.enumerate().map(|(i, id)| row(i, id)).collect()
    }

    fn three_subjects() -> TempDir {
        let folder = folder();
        let day = [
            (0, 20),
            (1, 150),
            (0, 30),
            (4, 200),
            (1, 100),
            (24, 130),
            (0, 5),
        ];
        for subject in ["101", "105", "106"] {
            write(
                &folder,
                &format!("Protocol/subject{subject}.dat"),
                &recording(&day),
            );
        }
        folder
    }

    fn short(config: &mut DataConfig) {
        config.sensor.window = Some(128);
        config.sensor.train_examples = Some(40);
    }

    #[test]
    fn is_read_with_the_split_of_the_reference() {
        let folder = three_subjects();
        let splits = open(&folder, short).unwrap();
        assert_eq!(splits.train.shape(), [52, 32, 32]);
        assert_eq!(splits.train.len(), 40);
        assert_eq!(splits.class_names.len(), 12);
        assert_eq!(splits.class_names[3], "walking");
        assert!(
            splits
                .description
                .contains("trained on subjects 1, held out 6"),
            "{}",
            splits.description
        );
        // Rows of an activity are one after the other whatever lay between: 250 of lying give
        // windows at 0 and 64, 200 of walking at 0 and 64, 130 of rope jumping at 0.
        let want = [0, 0, 3, 3, 11].map(Some);
        assert_eq!(labels(&*splits.test), want);
        assert!(splits.test.origin(0).contains("subject106.dat: lying"));
        let first = load(&*splits.train, 0, Draw { seed: 3, epoch: 1 });
        assert_eq!(first, load(&*splits.train, 0, Draw { seed: 3, epoch: 1 }));
        assert_ne!(first, load(&*splits.train, 0, Draw { seed: 3, epoch: 2 }));
    }

    #[test]
    fn the_whole_window_of_the_reference_gives_32_columns() {
        let folder = folder();
        for subject in [1, 6] {
            write(
                &folder,
                &format!("subject10{subject}.dat"),
                &recording(&[(5, 1001)]),
            );
        }
        let splits = open(&folder, |c| c.sensor.train_examples = Some(2)).unwrap();
        assert_eq!(splits.test.shape(), [52, 32, 32]);
    }

    #[test]
    fn a_column_without_any_number_is_silent() {
        let folder = three_subjects();
        let splits = open(&folder, short).unwrap();
        let stats = splits.before_view.clone().unwrap();
        // Column 37 of the file is channel 35.
        assert!(
            (stats.mean[35] - 1e-6f32.ln()).abs() < 1e-4,
            "{}",
            stats.mean[35]
        );
        let example = load(&*splits.test, 0, Draw::FIXED);
        assert!(
            example[35 * 1024..36 * 1024]
                .iter()
                .all(|&x| x.abs() < 1e-4)
        );
    }

    #[test]
    fn subjects_and_activities_can_be_chosen() {
        let folder = three_subjects();
        let validation = open(&folder, |c| {
            short(c);
            c.sensor.held_out = HeldOut::Validation;
        });
        assert!(validation.unwrap().description.contains("held out 5"));
        let splits = open(&folder, |c| {
            short(c);
            c.sensor.test_subjects = vec!["01".into()];
            c.sensor.activities = vec!["walking".into(), "24".into()];
        })
        .unwrap();
        assert_eq!(splits.class_names, ["walking", "rope jumping"]);
        assert!(
            splits
                .description
                .contains("trained on subjects 6, held out 1")
        );
        assert_eq!(
            message(&folder, |c| {
                short(c);
                c.sensor.test_subjects = vec!["8".into()];
            }),
            "data.sensor.test_subjects = 8: there are subjects 1, 5, 6"
        );
    }

    #[test]
    fn optional_recordings_are_read_when_asked_for() {
        let folder = three_subjects();
        for subject in ["101", "106"] {
            write(
                &folder,
                &format!("Optional/subject{subject}.dat"),
                &recording(&[(10, 140)]),
            );
        }
        let splits = open(&folder, |c| {
            short(c);
            c.sensor.activities = vec!["10".into(), "lying".into()];
        })
        .unwrap();
        assert_eq!(splits.class_names, ["lying", "computer work"]);
        assert!(labels(&*splits.test).contains(&Some(1)));
    }

    #[test]
    fn broken_files_are_explained() {
        let cases: [(&str, String, &str); 5] = [
            (
                "text",
                recording(&[(1, 3)]).replacen(&format!(" {} ", sample(0, 4)), " 4,2 ", 1),
                "subject101.dat: line 1, column 5 (hand_acc16_x): expected a number or NaN, \
                 found \"4,2\"",
            ),
            (
                "short line",
                recording(&[(1, 2)]) + "8.4 1 NaN\n",
                "subject101.dat: line 3: expected 54 numbers, found 3",
            ),
            (
                "activity",
                recording(&[(1, 1), (8, 1)]),
                "subject101.dat: line 2, column 2 (activityID): expected 0 or an activity of \
                 PAMAP2 (1 to 7, 9 to 13, 16 to 20, 24), found 8",
            ),
            (
                "too short",
                recording(&[(1, 100)]),
                "data.sensor.window = 1000: no stretch of one activity is that long; choose a \
                 shorter window",
            ),
            (
                "empty",
                String::new(),
                "data.sensor.window = 1000: no stretch of one activity is that long; choose a \
                 shorter window",
            ),
        ];
        for (what, text, want) in cases {
            let folder = folder();
            write(&folder, "subject101.dat", &text);
            assert_eq!(message(&folder, |_| {}), want, "{what}");
        }
    }
}

mod hapt {
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
}

mod uci_har {
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
            text.ends_with("expected a number, found \"oops\"") || text.contains("oops"),
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
}

mod tables {
    use super::*;

    /// Rows `time,subject,ax,ay,label` of two activities per subject.
    fn table(subjects: &[&str], rows: usize) -> String {
        let mut text = "time,subject,ax, ay ,label\n".to_owned();
        let mut time = 0.0;
        for subject in subjects {
            for row in 0..2 * rows {
                let label = if row < rows { "rest" } else { "move" };
                let (x, y) = (sample(row, 0), sample(row, 1));
                writeln!(text, "{time:.2},{subject},{x},{y},{label}").unwrap();
                time += 0.02;
            }
        }
        text
    }

    #[test]
    fn subjects_are_held_out_whole() {
        let folder = folder();
        write(&folder, "a.csv", &table(&["anna", "ben", "carl"], 300));
        let splits = open(&folder, |_| {}).unwrap();
        assert_eq!(splits.train.shape(), [2, 32, 32]);
        assert_eq!(splits.class_names, ["move", "rest"]);
        assert_eq!((splits.train.len(), splits.test.len()), (4, 2));
        let named = open(&folder, |c| c.sensor.test_subjects = vec!["Ben".into()]).unwrap();
        assert!(
            named
                .description
                .contains("trained on subjects anna, carl, held out ben")
        );
        let single = open_path(&folder.path().join("a.csv"), |_| {}).unwrap();
        assert_eq!(single.description, splits.description);
    }

    #[test]
    fn files_are_wearers_and_labels_are_optional() {
        let folder = folder();
        for name in ["mo", "tu"] {
            let rows: String = (0..600)
                .map(|i| format!("{},{}\n", sample(i, 0), sample(i, 3)))
                .collect();
            write(&folder, &format!("{name}.csv"), &format!("x,y\n{rows}"));
        }
        let splits = open(&folder, |_| {}).unwrap();
        assert!(splits.class_names.is_empty());
        assert_eq!(labels(&*splits.test), [None; 3]);
    }

    #[test]
    fn one_wearer_is_divided_by_time() {
        let folder = folder();
        write(&folder, "a.csv", &table(&["anna"], 600));
        let splits = open(&folder, |_| {}).unwrap();
        assert!(
            splits
                .description
                .contains("the last 10 % of every stretch")
        );
        assert_eq!(labels(&*splits.test), [Some(1), Some(0)]);
        assert!(
            splits.test.origin(0).contains("steps 344 to 599"),
            "{}",
            splits.test.origin(0)
        );
        let short = message(&folder, |c| c.sensor.window = Some(400));
        assert!(
            short.starts_with("data.sensor.window = 400: there is one subject"),
            "{short}"
        );
    }

    #[test]
    fn no_window_spans_a_gap_in_time_and_missing_values_are_filled() {
        let folder = folder();
        let mut text = "t,x,y\n".to_owned();
        for row in 0..900 {
            let time = row as f64 * 0.02 + if row < 300 { 0.0 } else { 9.0 };
            let x = if row % 10 < 3 {
                String::new()
            } else {
                sample(row, 0).to_string()
            };
            writeln!(text, "{time:.2},{x},nan").unwrap();
        }
        write(&folder, "a.csv", &text);
        write(&folder, "b.csv", &text);
        let splits = open(&folder, |c| c.sensor.time_column = "t".into()).unwrap();
        // 300 rows give one window, 600 give three.
        assert_eq!((splits.train.shape(), splits.test.len()), ([2, 32, 32], 4));
        load(&*splits.test, 0, Draw::FIXED);
    }

    #[test]
    fn broken_tables_are_explained() {
        let explain = |text: &str, change: fn(&mut DataConfig)| {
            let folder = folder();
            write(&folder, "a.csv", text);
            message(&folder, change)
        };
        let good = table(&["1", "2"], 300);
        assert_eq!(
            explain(&good.replacen(",rest\n", "x,rest\n", 2), |_| {}),
            format!(
                "a.csv: line 2, column \"ay\": expected a number, or nothing where it is missing \
                 (data.sensor.columns chooses the channels), found \"{}x\"",
                sample(0, 1)
            )
        );
        assert_eq!(
            explain("x,y\n1,2\n3\n", |_| {}),
            "a.csv: line 3: expected 2 cells as in the header, found 1"
        );
        assert_eq!(
            explain(&good, |c| c.sensor.label_column = "activity".into()),
            "a.csv: line 1: expected a column \"activity\", found time, subject, ax, ay, label"
        );
        assert_eq!(
            explain(&good, |c| c.sensor.columns = vec!["ax".into(), "az".into()]),
            "a.csv: line 1: expected a column \"az\", found time, subject, ax, ay, label"
        );
        assert_eq!(
            explain("x,y\n", |_| {}),
            "a.csv: end of file: expected rows below the header, found none"
        );
        assert_eq!(
            explain("label\nrest\n", |_| {}),
            "a.csv: line 1: expected at least one channel column, found label"
        );
        assert!(explain("x\ninf\n", |_| {}).contains("line 2, column \"x\""));
        let unknown = explain(&good, |c| c.sensor.activities = vec!["swim".into()]);
        assert_eq!(
            unknown,
            "data.sensor.activities = swim: unknown activity; there are 0 move, 1 rest"
        );
    }

    #[test]
    fn tables_of_one_folder_have_the_same_channels() {
        let folder = folder();
        write(&folder, "a.csv", "x,y\n1,2\n");
        write(&folder, "b.csv", "x,z\n1,2\n");
        assert_eq!(
            message(&folder, |_| {}),
            "b.csv: line 1: expected channels x, y as in a.csv, found x, z"
        );
    }

    #[test]
    fn single_files_become_unlabelled_examples_on_the_same_scale() {
        let folder = folder();
        write(&folder, "a.csv", &table(&["anna", "ben", "carl"], 300));
        let splits = open(&folder, |_| {}).unwrap();
        let files = [folder.path().join("a.csv")];
        let config = DataConfig::default();
        let stats = splits.before_view.as_ref();
        let set = Sensor
            .open_files(&files, &config, [2, 32, 32], stats)
            .unwrap();
        assert_eq!((set.len(), set.label(0)), (1, None));
        let mean = load(&*set, 0, Draw::FIXED).iter().sum::<f32>() / 2048.0;
        assert!(mean.abs() < 1.0, "{mean}");
        let wrong = Sensor
            .open_files(&files, &config, [6, 32, 32], stats)
            .err()
            .unwrap();
        assert!(
            wrong
                .to_string()
                .ends_with("expected [6, 32, 32], found [2, 32, 32]"),
            "{wrong}"
        );
    }
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
