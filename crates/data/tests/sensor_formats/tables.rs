//! Tables with a header line.

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
    assert!(
        splits.description.ends_with(
            "; without any value, and silent: y; 30.0 % of the values are missing and were interpolated"
        ),
        "{}",
        splits.description
    );
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
fn values_that_are_all_missing_are_no_data() {
    let folder = folder();
    let rows: String = (0..600).map(|row| format!("{row},nan,\n")).collect();
    write(&folder, "a.csv", &format!("time,x,y\n{rows}"));
    assert_eq!(
        message(&folder, |_| {}),
        "a.csv: no column holds a number (x, y): every value is missing"
    );
}

#[test]
fn semicolons_and_tabs_separate_cells_where_there_are_no_commas() {
    let commas = table(&["anna", "ben", "carl"], 300);
    let window = |text: &str| {
        let folder = folder();
        write(&folder, "a.csv", text);
        let splits = open(&folder, |_| {}).unwrap();
        load(&*splits.test, 0, Draw::FIXED)
    };
    let expected = window(&commas);
    assert_eq!(window(&commas.replace(',', ";")), expected);
    assert_eq!(window(&commas.replace(',', "\t")), expected);
}

#[test]
fn the_time_column_says_how_many_samples_a_second_there_are() {
    let described = |steps: [f64; 2], change: fn(&mut DataConfig)| {
        let folder = folder();
        for (name, step) in ["a.csv", "b.csv"].into_iter().zip(steps) {
            let row = |row: usize| {
                // Measured times scatter.
                let time = (row as f64 + 1e-3 * f64::from(sample(row, 1))) * step;
                format!("{time},{}\n", sample(row, 0))
            };
            let rows: String = (0..600).map(row).collect();
            write(&folder, name, &format!("time,x\n{rows}"));
        }
        open(&folder, change).unwrap().description
    };
    let text = described([0.005, 0.005], |_| {});
    assert!(text.contains("(256 steps at 200 Hz)"), "{text}");
    let text = described([0.005, 0.005], |c| c.sensor.rate_hz = Some(100.0));
    assert!(text.contains("(256 steps at 100 Hz)"), "{text}");
    let text = described([0.005, 0.01], |_| {});
    assert!(text.contains("(256 steps at 50 Hz)"), "{text}");
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
