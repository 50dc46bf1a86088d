//! Groups and cases as they lie on disk.

use crate::{GoldenError, Tolerance};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where the groups are: `$VIEWMAKER_GOLDEN_DIR`, or else the workspace's `tests/golden`.
pub fn directory() -> PathBuf {
    std::env::var_os("VIEWMAKER_GOLDEN_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden"),
        PathBuf::from,
    )
}

/// What a tensor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Goes in.
    Input,
    /// Random draws of the original, to be used in place of our own.
    Noise,
    /// Parameters to load.
    Weight,
    /// State to load.
    StateBefore,
    /// To be compared: a value on the way.
    Intermediate,
    /// To be compared: a result.
    Output,
    /// To be compared: a gradient.
    Grad,
    /// To be compared: state after a step.
    StateAfter,
}

impl Role {
    /// Whether results must be compared with tensors of this role.
    pub fn is_compared(self) -> bool {
        matches!(
            self,
            Self::Intermediate | Self::Output | Self::Grad | Self::StateAfter
        )
    }
}

/// What the manifest says about a tensor.
#[derive(Clone, Debug, Deserialize)]
pub struct Spec {
    /// Shape in C order; `[]` is a scalar.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
    /// In words.
    #[serde(default)]
    pub meaning: String,
    /// For an implementation that computes in single precision.
    #[serde(default)]
    pub tol: Option<Tolerance>,
    /// For an implementation that computes in double precision.
    #[serde(default)]
    pub tol_float64: Option<Tolerance>,
    /// The tensor holds every `flat_stride`-th element of the C-order flattening of the result.
    #[serde(default)]
    pub flat_stride: Option<usize>,
    /// The value is 0 in exact arithmetic and what is stored is round-off: only the absolute
    /// tolerance means something.
    #[serde(default)]
    pub degenerate: bool,
}

/// A tensor in C order.
#[derive(Clone, Debug, PartialEq)]
pub struct Array<T> {
    /// Its shape; `[]` is a scalar.
    pub shape: Vec<usize>,
    /// Its elements.
    pub data: Vec<T>,
}

#[derive(Clone, Debug)]
enum Data {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I64(Vec<i64>),
}

/// One set of parameters with its tensors.
#[derive(Clone, Debug)]
pub struct Case {
    name: String,
    parameters: Map<String, Value>,
    tensors: BTreeMap<String, (Spec, Data)>,
}

/// A folder of cases.
#[derive(Clone, Debug)]
pub struct Group {
    conventions: Value,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Manifest {
    conventions: Value,
    files: BTreeMap<String, FileEntry>,
}

#[derive(Deserialize)]
struct FileEntry {
    #[serde(rename = "case")]
    parameters: Map<String, Value>,
    bytes: u64,
    tensors: BTreeMap<String, Spec>,
}

impl Group {
    /// Reads the group `name` under `root`, all of its cases included.
    pub fn open(root: impl AsRef<Path>, name: &str) -> Result<Self, GoldenError> {
        let folder = root.as_ref().join(name);
        let path = folder.join("manifest.json");
        let text = read(&path)?;
        let manifest: Manifest = serde_json::from_slice(&text)
            .map_err(|source| GoldenError::Manifest { path, source })?;
        let cases = manifest
            .files
            .into_iter()
            .map(|(file, entry)| Case::read(&folder, &file, entry))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            conventions: manifest.conventions,
            cases,
        })
    }

    /// How the numbers of the group are defined.
    pub fn conventions(&self) -> &Value {
        &self.conventions
    }

    /// All cases, in the order of their names.
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }
}

impl Case {
    fn read(folder: &Path, file: &str, entry: FileEntry) -> Result<Self, GoldenError> {
        let path = folder.join(file);
        let bytes = read(&path)?;
        let damaged = |why: String| GoldenError::Damaged {
            path: path.clone(),
            why,
        };
        if bytes.len() as u64 != entry.bytes {
            let why = format!("expected {} bytes, found {}", entry.bytes, bytes.len());
            return Err(damaged(why));
        }
        let stored = SafeTensors::deserialize(&bytes).map_err(|e| damaged(e.to_string()))?;
        let mut tensors = BTreeMap::new();
        for (name, spec) in entry.tensors {
            let view = stored
                .tensor(&name)
                .map_err(|e| damaged(format!("{name}: {e}")))?;
            if view.shape() != spec.shape {
                let (found, expected) = (view.shape(), &spec.shape);
                let why = format!("{name}: expected shape {expected:?}, found {found:?}");
                return Err(damaged(why));
            }
            let data = decode(&view)
                .ok_or_else(|| damaged(format!("{name}: unknown type {:?}", view.dtype())))?;
            tensors.insert(name, (spec, data));
        }
        Ok(Self {
            name: file.trim_end_matches(".safetensors").to_owned(),
            parameters: entry.parameters,
            tensors,
        })
    }

    /// The name of the file without its ending.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A parameter of the case, for example `N`.
    pub fn parameter(&self, name: &str) -> Option<&Value> {
        self.parameters.get(name)
    }

    /// A numeric parameter of the case.
    pub fn number(&self, name: &str) -> Result<f64, GoldenError> {
        self.parameter(name)
            .and_then(Value::as_f64)
            .ok_or_else(|| self.missing(format!("no number {name} among the parameters")))
    }

    /// Names and descriptions of all tensors.
    pub fn specs(&self) -> impl Iterator<Item = (&str, &Spec)> {
        self.tensors
            .iter()
            .map(|(name, (spec, _))| (name.as_str(), spec))
    }

    /// The description of a tensor.
    pub fn spec(&self, name: &str) -> Option<&Spec> {
        self.tensors.get(name).map(|(spec, _)| spec)
    }

    /// Whether there is such a tensor.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// A tensor in single precision; stored doubles are rounded.
    pub fn f32(&self, name: &str) -> Result<Array<f32>, GoldenError> {
        let wide = self.f64(name)?;
        Ok(Array {
            shape: wide.shape,
            data: wide.data.into_iter().map(|x| x as f32).collect(),
        })
    }

    /// A tensor in double precision; every stored type converts.
    pub fn f64(&self, name: &str) -> Result<Array<f64>, GoldenError> {
        let (spec, data) = self.tensor(name)?;
        let data = match data {
            Data::F32(x) => x.iter().map(|x| f64::from(*x)).collect(),
            Data::F64(x) => x.clone(),
            Data::I64(x) => x.iter().map(|x| *x as f64).collect(),
        };
        Ok(Array {
            shape: spec.shape.clone(),
            data,
        })
    }

    /// A tensor of integers.
    pub fn i64(&self, name: &str) -> Result<Array<i64>, GoldenError> {
        let (spec, data) = self.tensor(name)?;
        match data {
            Data::I64(x) => Ok(Array {
                shape: spec.shape.clone(),
                data: x.clone(),
            }),
            _ => Err(self.missing(format!("{name} does not hold integers"))),
        }
    }

    /// A tensor of indices.
    pub fn indices(&self, name: &str) -> Result<Array<usize>, GoldenError> {
        let signed = self.i64(name)?;
        let data: Result<_, _> = signed.data.into_iter().map(usize::try_from).collect();
        Ok(Array {
            shape: signed.shape,
            data: data.map_err(|_| self.missing(format!("{name} holds negative indices")))?,
        })
    }

    fn tensor(&self, name: &str) -> Result<&(Spec, Data), GoldenError> {
        self.tensors
            .get(name)
            .ok_or_else(|| self.missing(format!("no tensor {name}")))
    }

    fn missing(&self, what: String) -> GoldenError {
        GoldenError::Missing {
            case: self.name.clone(),
            what,
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, GoldenError> {
    std::fs::read(path).map_err(|source| GoldenError::Io {
        path: path.to_owned(),
        source,
    })
}

/// Little-endian bytes to numbers; `None` for types that references do not use.
fn decode(view: &TensorView<'_>) -> Option<Data> {
    let bytes = view.data();
    match view.dtype() {
        Dtype::F32 => Some(Data::F32(words(bytes, f32::from_le_bytes))),
        Dtype::F64 => Some(Data::F64(words(bytes, f64::from_le_bytes))),
        Dtype::I64 => Some(Data::I64(words(bytes, i64::from_le_bytes))),
        _ => None,
    }
}

fn words<T, const N: usize>(bytes: &[u8], from: fn([u8; N]) -> T) -> Vec<T> {
    let (words, _) = bytes.as_chunks::<N>();
    words.iter().map(|word| from(*word)).collect()
}
