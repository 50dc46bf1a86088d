//! The graph: nodes in execution order, values between them, parameters and state by name.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use viewmaker_ops::{Dims, Init, Op, ShapeError};

/// A value of a [`Net`]: an input or the output of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub(crate) usize);

impl ValueId {
    /// Position in [`Net::values`].
    pub const fn index(self) -> usize {
        self.0
    }
}

/// Building or addressing a network failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NetError {
    /// An operation refused the shapes it was given.
    #[error("{net}: layer {layer}: {source}")]
    Shape {
        /// Name of the network.
        net: String,
        /// Name of the layer.
        layer: String,
        /// The refusal.
        source: ShapeError,
    },
    /// Two layers or inputs share a name.
    #[error("{net}: the name {name} is used twice")]
    DuplicateName {
        /// Name of the network.
        net: String,
        /// The name.
        name: String,
    },
    /// A name that the network does not have.
    #[error("{net}: no {what} is called {name}; there are: {known}")]
    UnknownName {
        /// Name of the network.
        net: String,
        /// `input`, `output`, `encoder` …
        what: &'static str,
        /// The name that was asked for.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// An option of a network is out of range.
    #[error("{net}: {option} = {value}: {why}")]
    Option {
        /// Name of the network.
        net: String,
        /// Option.
        option: &'static str,
        /// Its value.
        value: String,
        /// What would be valid.
        why: String,
    },
}

/// One operation in the graph.
#[derive(Clone, Debug)]
pub struct Node {
    /// Name, and prefix of its parameters' names: `layer1.0.conv1`.
    pub name: String,
    /// The operation.
    pub op: Arc<dyn Op>,
    /// What it reads.
    pub inputs: Vec<ValueId>,
    /// What it writes.
    pub output: ValueId,
    /// Its parameters, a range of [`Net::params`].
    pub params: Range<usize>,
    /// Its state, a range of [`Net::state`].
    pub state: Range<usize>,
}

/// An activation: shape for a batch of one, and the name of its producer.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Name of the input or node that produces it.
    pub name: String,
    /// Shape with `n = 1`.
    pub dims: Dims,
}

/// A trainable tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// Full name, equal to the PyTorch `state_dict` name of the reference model.
    pub name: String,
    /// Shape in PyTorch's order.
    pub shape: Vec<usize>,
    /// Initial values.
    pub init: Init,
    /// First element in the flat parameter buffer.
    pub offset: usize,
    /// False for a parameter that is stored but takes part in no computation (the reference
    /// viewmaker always owns five residual blocks, whatever number it uses).
    pub used: bool,
}

impl Param {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// True when it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its place in the flat parameter buffer.
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.len()
    }
}

/// A tensor moved by training without a gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct StateEntry {
    /// Full name, equal to the PyTorch `state_dict` name.
    pub name: String,
    /// Shape; `[]` for a scalar.
    pub shape: Vec<usize>,
    /// Initial value of every element.
    pub init: f32,
    /// First element in the flat state buffer.
    pub offset: usize,
}

impl StateEntry {
    /// Its place in the flat state buffer.
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.shape.iter().product::<usize>()
    }
}

/// A network: nodes in execution order.
#[derive(Clone, Debug)]
pub struct Net {
    pub(crate) name: String,
    pub(crate) nodes: Vec<Node>,
    pub(crate) values: Vec<Value>,
    pub(crate) params: Vec<Param>,
    pub(crate) state: Vec<StateEntry>,
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) by_name: HashMap<String, ValueId>,
    pub(crate) outputs: Vec<(String, ValueId)>,
}

impl Net {
    /// Name of the architecture.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Operations in execution order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Inputs and node outputs.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// Trainable tensors in `state_dict` order.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// Running statistics in `state_dict` order.
    pub fn state(&self) -> &[StateEntry] {
        &self.state
    }

    /// The values fed from outside.
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// Declared outputs, the principal one first.
    pub fn outputs(&self) -> &[(String, ValueId)] {
        &self.outputs
    }

    /// Elements of the flat parameter buffer.
    pub fn param_len(&self) -> usize {
        self.params.last().map_or(0, |p| p.range().end)
    }

    /// Elements of the flat state buffer.
    pub fn state_len(&self) -> usize {
        self.state.last().map_or(0, |s| s.range().end)
    }

    /// Shape of a value for a batch of `n`.
    pub fn dims(&self, value: ValueId, n: usize) -> Dims {
        self.values[value.0].dims.with_batch(n)
    }

    /// Shapes of a node's inputs for a batch of `n`.
    pub fn input_dims(&self, node: &Node, n: usize) -> Vec<Dims> {
        node.inputs.iter().map(|&v| self.dims(v, n)).collect()
    }

    /// The value with the name of an input, a node or a declared output.
    ///
    /// # Errors
    /// [`NetError::UnknownName`] listing the declared inputs and outputs.
    pub fn value(&self, name: &str) -> Result<ValueId, NetError> {
        let declared = self.outputs.iter().find(|(n, _)| n == name);
        declared
            .map(|&(_, v)| v)
            .or_else(|| self.by_name.get(name).copied())
            .ok_or_else(|| NetError::UnknownName {
                net: self.name.clone(),
                what: "value",
                name: name.to_string(),
                known: self.declared_names().join(", "),
            })
    }

    fn declared_names(&self) -> Vec<&str> {
        let inputs = self.inputs.iter().map(|v| self.values[v.0].name.as_str());
        inputs
            .chain(self.outputs.iter().map(|(name, _)| name.as_str()))
            .collect()
    }

    /// The principal output.
    pub fn output(&self) -> ValueId {
        self.outputs[0].1
    }

    /// The parameter called `name`.
    pub fn param(&self, name: &str) -> Option<&Param> {
        self.params.iter().find(|p| p.name == name)
    }

    /// The state entry called `name`.
    pub fn state_entry(&self, name: &str) -> Option<&StateEntry> {
        self.state.iter().find(|s| s.name == name)
    }
}
