//! PAMAP2: 54 columns a row, NaN where nothing was measured.

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
