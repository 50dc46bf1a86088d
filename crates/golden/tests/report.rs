//! A small group on disk, and what a report makes of right, wrong and missing results.

use safetensors::{Dtype, tensor::TensorView};
use std::path::Path;
use viewmaker_golden::{Case, GoldenError, Group, Report};

/// One case `c` with `out` = [1, 2, 3, 4] and `big`, of which a sample, the norm and the sum are kept.
fn write_group(root: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let folder = root.join("g");
    std::fs::create_dir_all(&folder)?;
    let bytes = |x: &[f32]| x.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let tensors = [
        ("out", vec![4], bytes(&[1.0, 2.0, 3.0, 4.0])),
        ("big.sample", vec![2], bytes(&[3.0, 0.0])),
        ("big.norm", vec![], bytes(&[5.0])),
        ("big.sum", vec![], bytes(&[7.0])),
    ];
    let views = tensors
        .iter()
        .map(|(name, shape, data)| Ok((*name, TensorView::new(Dtype::F32, shape.clone(), data)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    let file = safetensors::serialize(views, None)?;
    let tol = serde_json::json!({"abs": 0.01, "rel": 0.0});
    let spec = |shape: &[usize]| serde_json::json!({"shape": shape, "role": "output", "tol": tol, "tol_float64": tol});
    let mut sample = spec(&[2]);
    sample["flat_stride"] = 2.into();
    let manifest = serde_json::json!({"conventions": {}, "files": {"c.safetensors": {
        "case": {"N": 4}, "bytes": file.len(), "tensors": {
            "out": spec(&[4]), "big.sample": sample, "big.norm": spec(&[]), "big.sum": spec(&[])}}}});
    std::fs::write(folder.join("c.safetensors"), file)?;
    std::fs::write(folder.join("manifest.json"), manifest.to_string())?;
    Ok(())
}

fn problems(result: Result<(), GoldenError>) -> Vec<String> {
    match result {
        Err(GoldenError::Disagreement { problems, .. }) => problems,
        _ => Vec::new(),
    }
}

fn right(case: &Case) -> Report<'_> {
    let mut report = Report::new(case);
    report.check("out", &[1.0_f32, 2.0, 3.0, 4.005]);
    report.check_reduced("big", &[3.0_f32, 4.0, 0.0]);
    report
}

#[test]
fn reports_notice_wrong_and_missing_results() -> Result<(), Box<dyn std::error::Error>> {
    let root = tempfile::tempdir()?;
    write_group(root.path())?;
    let group = Group::open(root.path(), "g")?;
    let case = &group.cases()[0];
    assert_eq!(case.number("N")?, 4.0);

    right(case).finish()?;

    let mut wrong = right(case);
    wrong.check("out", &[1.0_f32, 2.0, 3.0, 4.02]);
    assert!(problems(wrong.finish())[0].starts_with("out: error 2"));

    let mut missing = Report::new(case);
    missing.check("out", &[1.0_f32, 2.0, 3.0, 4.0]);
    let found = problems(missing.finish());
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found.iter().all(|line| line.ends_with("never compared")));

    let double = right(case).require_float64();
    assert_eq!(problems(double.finish()).len(), 4);

    let mut short = right(case);
    short.check("out", &[1.0_f32]);
    assert_eq!(
        problems(short.finish()),
        ["out: expected 4 elements, found 1"]
    );
    Ok(())
}

#[test]
fn damaged_files_are_named() -> Result<(), Box<dyn std::error::Error>> {
    let root = tempfile::tempdir()?;
    write_group(root.path())?;
    let file = root.path().join("g/c.safetensors");
    let bytes = std::fs::read(&file)?;
    std::fs::write(&file, &bytes[..bytes.len() - 1])?;
    let error = Group::open(root.path(), "g")
        .map(drop)
        .expect_err("one byte is missing");
    assert!(error.to_string().contains("c.safetensors: expected"));
    Ok(())
}
