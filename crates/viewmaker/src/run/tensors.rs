//! Named tensors in safetensors files.

use super::{RunError, write_atomically};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::BTreeMap;
use std::path::Path;
use viewmaker_exec::Tensor;

/// Tensors by name.
pub type TensorMap = BTreeMap<String, Tensor>;

/// Writes tensors to a safetensors file, whole or not at all.
///
/// # Errors
/// When the file cannot be written, or a shape does not fit its elements.
pub fn write_tensors(path: &Path, tensors: &TensorMap) -> Result<(), RunError> {
    write_atomically(path, &encode(path, tensors)?)
}

/// The bytes of a safetensors file that will be called `path`.
pub(super) fn encode(path: &Path, tensors: &TensorMap) -> Result<Vec<u8>, RunError> {
    let bytes: Vec<(&String, &Tensor, Vec<u8>)> = tensors
        .iter()
        .map(|(name, tensor)| (name, tensor, little_endian(&tensor.data)))
        .collect();
    let mut views = BTreeMap::new();
    for (name, tensor, bytes) in &bytes {
        let view = TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).map_err(|_| {
            let expected = format!("as many elements as shape {:?} has", tensor.shape);
            let found = format!("{} elements", tensor.data.len());
            RunError::damaged(path, format!("tensor `{name}`"), expected, found)
        })?;
        views.insert(name.as_str(), view);
    }
    safetensors::serialize(views, None).map_err(|error| {
        RunError::damaged(
            path,
            "content",
            "tensors that can be stored",
            error.to_string(),
        )
    })
}

/// Reads the `f32` tensors of a safetensors file.
///
/// # Errors
/// When the file cannot be read, is truncated or no safetensors file, or holds another type.
pub fn read_tensors(path: &Path) -> Result<TensorMap, RunError> {
    let bytes = std::fs::read(path).map_err(RunError::io(path, "read"))?;
    decode(path, &bytes)
}

/// The tensors in the content of the file `path`.
pub(super) fn decode(path: &Path, bytes: &[u8]) -> Result<TensorMap, RunError> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| {
        let found = format!("{} bytes that are none ({error})", bytes.len());
        RunError::damaged(path, "content", "a whole safetensors file", found)
    })?;
    let mut tensors = TensorMap::new();
    for (name, view) in file.iter() {
        if view.dtype() != Dtype::F32 {
            let place = format!("tensor `{name}`");
            return Err(RunError::damaged(
                path,
                place,
                "F32",
                view.dtype().to_string(),
            ));
        }
        let tensor = Tensor {
            shape: view.shape().to_vec(),
            data: from_little_endian(view.data()),
        };
        tensors.insert(name.to_owned(), tensor);
    }
    Ok(tensors)
}

fn little_endian(data: &[f32]) -> Vec<u8> {
    data.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn from_little_endian(bytes: &[u8]) -> Vec<f32> {
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().map(|word| f32::from_le_bytes(*word)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_survive_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let odd = vec![
            f32::NAN,
            -0.0,
            f32::MIN_POSITIVE / 2.0,
            f32::INFINITY,
            1.0,
            -1e30,
        ];
        let mut tensors = TensorMap::new();
        tensors.insert(
            "a.weight".into(),
            Tensor::new(vec![2, 3], odd.clone()).unwrap(),
        );
        tensors.insert("scalar".into(), Tensor::new(vec![], vec![7.0]).unwrap());
        tensors.insert("empty".into(), Tensor::new(vec![0, 4], vec![]).unwrap());
        write_tensors(&path, &tensors).unwrap();
        let back = read_tensors(&path).unwrap();
        let bits = |t: &Tensor| t.data.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(back.len(), 3);
        for (name, tensor) in &tensors {
            assert_eq!(back[name].shape, tensor.shape);
            assert_eq!(bits(&back[name]), bits(tensor));
        }
    }

    #[test]
    fn shapes_must_fit() {
        assert!(Tensor::new(vec![2, 2], vec![0.0; 3]).is_none());
        let wrong = Tensor {
            shape: vec![2, 2],
            data: vec![0.0; 3],
        };
        let tensors = TensorMap::from([("w".to_owned(), wrong)]);
        let message = encode(Path::new("x"), &tensors).unwrap_err().to_string();
        assert!(
            message.contains("tensor `w`") && message.contains("3 elements"),
            "{message}"
        );
    }

    #[test]
    fn truncated_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let tensor = Tensor::new(vec![100], vec![1.0; 100]).unwrap();
        write_tensors(&path, &TensorMap::from([("w".to_owned(), tensor)])).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in [0, 4, 20, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            let message = read_tensors(&path).unwrap_err().to_string();
            assert!(
                message.contains("a.safetensors: content: expected a whole"),
                "{message}"
            );
        }
    }
}
