use super::*;
use viewmaker_exec::Tensor;

fn sample(step: u64) -> Checkpoint {
    let weight = Tensor::new(vec![2, 3], vec![step as f32; 6]).unwrap();
    let bias = Tensor::new(vec![2], vec![0.5, -0.5]).unwrap();
    let encoder = TensorMap::from([
        ("fc.weight".to_owned(), weight.clone()),
        ("fc.bias".to_owned(), bias),
    ]);
    let state = TensorMap::from([("momentum.fc.weight".to_owned(), weight)]);
    Checkpoint {
        step,
        epoch: step / 10,
        tensors: BTreeMap::from([("encoder".to_owned(), encoder), ("optim".to_owned(), state)]),
        meta: serde_json::json!({"running_mean": 0.1, "best": null}),
    }
}

fn error_of(result: Result<impl std::fmt::Debug, RunError>) -> String {
    result.expect_err("an error was expected").to_string()
}

#[test]
fn survives_a_round_trip() {
    let folder = tempfile::tempdir().unwrap();
    let place = sample(12).write(folder.path()).unwrap();
    assert!(place.ends_with("step-00000012"));
    assert_eq!(Checkpoint::read(&place).unwrap(), sample(12));
    // Saving a step twice is fine.
    sample(12).write(folder.path()).unwrap();
    assert_eq!(Checkpoint::read(&place).unwrap(), sample(12));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn unfinished_folders_do_not_count() {
    let folder = tempfile::tempdir().unwrap();
    sample(5).write(folder.path()).unwrap();
    fs::create_dir(folder.path().join(".tmp-step-00000009")).unwrap();
    fs::create_dir(folder.path().join("step-notes")).unwrap();
    assert_eq!(Checkpoint::steps(folder.path()).unwrap(), [5]);
    Checkpoint::clean(folder.path()).unwrap();
    assert!(!folder.path().join(".tmp-step-00000009").exists());
    assert!(folder.path().join("step-notes").exists());
    // Killed while a newer checkpoint of the same step was taking its place.
    let place = folder.path().join("step-00000005");
    fs::rename(&place, folder.path().join(".old-step-00000005")).unwrap();
    Checkpoint::clean(folder.path()).unwrap();
    assert_eq!(Checkpoint::read(&place).unwrap(), sample(5));
    Checkpoint::remove(folder.path(), 5).unwrap();
    assert!(Checkpoint::steps(folder.path()).unwrap().is_empty());
}

#[test]
fn damage_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let place = sample(1).write(folder.path()).unwrap();
    let file = place.join("encoder.safetensors");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 3]).unwrap();
    let message = error_of(Checkpoint::read(&place));
    assert!(
        message.contains("encoder.safetensors: length: expected"),
        "{message}"
    );
    let mut flipped = whole.clone();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    fs::write(&file, flipped).unwrap();
    let message = error_of(Checkpoint::read(&place));
    assert!(
        message.contains("encoder.safetensors: content: expected checksum"),
        "{message}"
    );
    fs::remove_file(&file).unwrap();
    let message = error_of(Checkpoint::read(&place));
    assert!(
        message.contains("encoder.safetensors: cannot read"),
        "{message}"
    );
    fs::write(place.join(Checkpoint::MANIFEST), "{\"format\": 1").unwrap();
    let message = error_of(Checkpoint::read(&place));
    assert!(
        message.contains("checkpoint.json: content: expected the description"),
        "{message}"
    );
}

#[test]
fn another_model_is_refused() {
    let checkpoint = sample(1);
    let at = Path::new("c");
    let check = |expected: &[(&'static str, &'static [usize])]| {
        checkpoint.check_shapes("encoder", expected.iter().copied(), at)
    };
    check(&[("fc.weight", &[2, 3]), ("fc.bias", &[2])]).unwrap();
    let message = error_of(check(&[("fc.weight", &[2, 4]), ("fc.bias", &[2])]));
    assert!(
        message.contains("`fc.weight`: expected shape [2, 4], found shape [2, 3]"),
        "{message}"
    );
    let message = error_of(check(&[("fc.weight", &[2, 3])]));
    assert!(
        message.contains("`fc.bias`: expected only tensors of the model"),
        "{message}"
    );
    let message = error_of(check(&[("conv.weight", &[1])]));
    assert!(
        message.contains("`conv.weight`: expected shape [1], found no such"),
        "{message}"
    );
    let message = error_of(checkpoint.check_shapes("viewmaker", [], at));
    assert!(
        message.contains("viewmaker.safetensors: file: expected to exist"),
        "{message}"
    );
}
