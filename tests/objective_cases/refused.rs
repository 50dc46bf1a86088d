//! What an objective needs and data do not have.

use crate::support::*;
use viewmaker::config::ViewSource;
use viewmaker::pictures;
use viewmaker_exec::Machine;

#[test]
fn moments_in_time_are_refused_where_there_is_none() {
    let mut config = config("image", "tcn");
    config.train.batch_size = BATCH;
    let splits = pictures::open_data(&config).unwrap();
    let error = viewmaker::train::Trainer::new(&config, &splits, &Machine::Cpu).err();
    let error = error.unwrap().to_string();
    assert!(
        error.contains("\"tcn\"") && error.contains("data.image.frames=true"),
        "{error}"
    );
    config.modality = "sensor".to_owned();
    config.views.source = ViewSource::Temporal.into();
    let error = config.recipe().unwrap_err().to_string();
    assert!(error.contains("leave temporal out"), "{error}");
}

#[test]
fn tasks_larger_than_a_batch_are_refused() {
    let mut config = config("image", "protonet");
    config.train.batch_size = BATCH;
    config.objective.ways = BATCH + 1;
    let splits = pictures::open_data(&config).unwrap();
    let error = viewmaker::train::Trainer::new(&config, &splits, &Machine::Cpu).err();
    let error = error.unwrap().to_string();
    assert!(
        error.starts_with("train.batch_size = 8: objective.name = \"protonet\" needs at least 9"),
        "{error}"
    );
}

#[test]
fn objectives_with_labels_refuse_data_without() {
    let mut config = config("image", "supcon");
    config.data.options.embedded_train = 3 * BATCH;
    let mut splits = pictures::open_data(&config).unwrap();
    splits.class_names.clear();
    let error = viewmaker::train::Trainer::new(&config, &splits, &Machine::Cpu)
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("\"supcon\"") && error.contains("use labelled data"),
        "{error}"
    );
    config.objective.name = "ntxent".to_owned();
    config.train.batch_size = BATCH;
    assert!(viewmaker::train::Trainer::new(&config, &splits, &Machine::Cpu).is_ok());
}
