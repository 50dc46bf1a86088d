//! Builds a [`Net`] layer by layer, checking shapes as it goes.

use crate::graph::{Net, NetError, Node, Param, StateEntry, Value, ValueId};
use std::collections::HashMap;
use std::sync::Arc;
use viewmaker_ops::{Dims, Op};

/// Collects layers; [`NetBuilder::finish`] turns them into a [`Net`].
#[derive(Debug)]
pub struct NetBuilder {
    net: Net,
}

impl NetBuilder {
    /// An empty network called `name`.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            net: Net {
                name: name.into(),
                nodes: Vec::new(),
                values: Vec::new(),
                params: Vec::new(),
                state: Vec::new(),
                inputs: Vec::new(),
                by_name: HashMap::new(),
                outputs: Vec::new(),
            },
        }
    }

    /// Declares an input of `channels × height × width` per example.
    ///
    /// # Errors
    /// When the name is taken or an extent is zero.
    pub fn input(
        &mut self,
        name: &str,
        [channels, height, width]: [usize; 3],
    ) -> Result<ValueId, NetError> {
        if channels * height * width == 0 {
            return Err(self.option("input", format!("{channels}×{height}×{width}"), "empty"));
        }
        let value = self.value(name, Dims::new(1, height, width, channels))?;
        self.net.inputs.push(value);
        Ok(value)
    }

    /// Appends an operation; its parameters are called `<name>.weight` and so on.
    ///
    /// # Errors
    /// When the operation refuses the shapes, reads one value twice, or the name is taken.
    pub fn apply(
        &mut self,
        name: &str,
        op: impl Op + 'static,
        inputs: &[ValueId],
    ) -> Result<ValueId, NetError> {
        if (1..inputs.len()).any(|i| inputs[..i].contains(&inputs[i])) {
            let name = self.net.values[inputs[0].index()].name.clone();
            return Err(self.option("layer input", name, "read twice by one operation"));
        }
        let dims: Vec<Dims> = inputs.iter().map(|&v| self.dims(v)).collect();
        let output_dims = op
            .output(&dims)
            .map_err(|source| self.shape_error(name, source))?;
        let output = self.value(name, output_dims)?;
        let first_param = self.net.params.len();
        self.register_params(name, &op, &dims, true);
        let first_state = self.net.state.len();
        self.register_state(name, &op, &dims);
        self.net.nodes.push(Node {
            name: name.to_string(),
            op: Arc::new(op),
            inputs: inputs.to_vec(),
            output,
            params: first_param..self.net.params.len(),
            state: first_state..self.net.state.len(),
        });
        Ok(output)
    }

    /// Registers the parameters that `op` would have on `input`, without computing anything: the
    /// checkpoint holds them, no pass reads them.
    ///
    /// # Errors
    /// When the operation refuses the shape.
    pub fn reserve(&mut self, name: &str, op: &dyn Op, input: Dims) -> Result<Dims, NetError> {
        let dims = [input];
        let output = op
            .output(&dims)
            .map_err(|source| self.shape_error(name, source))?;
        self.register_params(name, op, &dims, false);
        Ok(output)
    }

    /// Declares `value` as an output called `name`; the first declared output is the principal
    /// one.
    pub fn output(&mut self, name: &str, value: ValueId) {
        self.net.outputs.push((name.to_string(), value));
    }

    /// Shape of a value for a batch of one.
    pub fn dims(&self, value: ValueId) -> Dims {
        self.net.values[value.index()].dims
    }

    /// An [`NetError::Option`] of this network.
    pub fn option(
        &self,
        option: &'static str,
        value: impl ToString,
        why: impl Into<String>,
    ) -> NetError {
        NetError::Option {
            net: self.net.name.clone(),
            option,
            value: value.to_string(),
            why: why.into(),
        }
    }

    /// The finished network; the last value is the output when none was declared.
    pub fn finish(mut self) -> Net {
        if self.net.outputs.is_empty() {
            let last = ValueId(self.net.values.len().saturating_sub(1));
            self.net.outputs.push(("out".to_string(), last));
        }
        self.net
    }

    fn value(&mut self, name: &str, dims: Dims) -> Result<ValueId, NetError> {
        let id = ValueId(self.net.values.len());
        if self.net.by_name.insert(name.to_string(), id).is_some() {
            return Err(NetError::DuplicateName {
                net: self.net.name.clone(),
                name: name.to_string(),
            });
        }
        self.net.values.push(Value {
            name: name.to_string(),
            dims,
        });
        Ok(id)
    }

    fn register_params(&mut self, prefix: &str, op: &dyn Op, inputs: &[Dims], used: bool) {
        for spec in op.params(inputs) {
            let offset = self.net.param_len();
            self.net.params.push(Param {
                name: format!("{prefix}.{}", spec.name),
                shape: spec.shape,
                init: spec.init,
                offset,
                used,
            });
        }
    }

    fn register_state(&mut self, prefix: &str, op: &dyn Op, inputs: &[Dims]) {
        for spec in op.state(inputs) {
            let offset = self.net.state_len();
            self.net.state.push(StateEntry {
                name: format!("{prefix}.{}", spec.name),
                shape: spec.shape,
                init: spec.init,
                offset,
            });
        }
    }

    fn shape_error(&self, layer: &str, source: viewmaker_ops::ShapeError) -> NetError {
        NetError::Shape {
            net: self.net.name.clone(),
            layer: layer.to_string(),
            source,
        }
    }
}
