//! The networks of the cases on a device, in single precision.

use super::network::{Run, Setup, by_param, by_state, wide};
use std::sync::Arc;
use viewmaker_device::{Device, DeviceError};
use viewmaker_exec::{DevicePass, DeviceWeights, Feed, Wanted, Weights};
use viewmaker_net::{Keep, Plan, Purpose, ValueId};
use viewmaker_ops::device::Precision;

/// Operations of a forward pass beyond which a case is left to cards: the emulator executes one of this size
/// and its backward pass in about a minute.
const MOST_EMULATED: u64 = 4_000_000_000;
/// The same for cases that it executes by two plans.
const MOST_EMULATED_TWICE: u64 = MOST_EMULATED / 4;

impl Setup {
    /// Whether `device` is the emulator and a forward pass takes more operations than this.
    fn is_beyond(&self, device: &Device, most: u64) -> bool {
        let nodes = self.net.nodes().iter();
        let flops = nodes.map(|node| node.op.flops(&self.net.input_dims(node, self.batch)));
        device.capability().is_none() && flops.sum::<u64>() > most
    }

    /// Whether this is too much for `device`, which is printed.
    pub(crate) fn is_left_out_on(&self, device: &Device) -> bool {
        let left_out = self.is_beyond(device, MOST_EMULATED);
        if left_out {
            println!("skipped on {}: too large", device.name());
        }
        left_out
    }

    /// By the kernels of a device, every value kept. The plan of training, in which operations are fused
    /// and values computed again, must give the same bits of what it keeps.
    pub(crate) fn run_on(&self, device: &Device) -> Run {
        let run = |keep| {
            self.try_on(device, keep)
                .unwrap_or_else(|error| panic!("{}: {error}", device.name()))
        };
        let full = run(Keep::Everything);
        if self.is_beyond(device, MOST_EMULATED_TWICE) {
            return full;
        }
        let usual = run(Keep::Outputs);
        let parts = [
            ("value", &full.values, &usual.values),
            ("gradient", &full.grads, &usual.grads),
            ("parameter gradient", &full.param_grads, &usual.param_grads),
            ("state", &full.state, &usual.state),
        ];
        for (part, full, usual) in parts {
            for (name, usual) in usual {
                assert!(full[name] == *usual, "{part} {name} of the usual plan");
            }
        }
        full
    }

    fn try_on(&self, device: &Device, keep: Keep) -> Result<Run, DeviceError> {
        let net = &self.net;
        let mut weights = Weights::init(Arc::clone(net), 0, 0);
        weights.load(&self.tensors).unwrap();
        let mut there = DeviceWeights::new(device, &weights)?;
        there.upload(&weights)?;
        let plan = Plan::on_device(net, self.batch, Purpose::Training, keep);
        let values = net.values().iter();
        let lengths = values.map(|v| v.dims.with_batch(self.batch).len());
        // A pass has room to turn what lies at the edge of the network; here everything is read.
        let words = DevicePass::words(net, &plan) + lengths.max().unwrap_or(0);
        let arena = device.alloc(words)?;
        let mut pass = DevicePass::new(Arc::clone(net), Arc::new(plan), Precision::F32, arena);
        let inputs = net.inputs().iter().zip(&self.feeds);
        let feeds: Vec<Feed<'_>> = inputs.map(|(&value, nchw)| Feed { value, nchw }).collect();
        pass.forward(&there, &feeds, self.mode)?;
        pass.backward(&there, net.output(), &self.seed, Wanted::Both)?;
        there.device_changed();
        there.download(&mut weights)?;
        let mut grads = vec![0.0; net.param_len()];
        device.download(&there.grads(), &mut grads)?;
        let name = |value: ValueId| net.values()[value.index()].name.clone();
        let [values, value_grads] = self.kept(keep).map(Vec::into_iter);
        let values = values.map(|v| Ok((name(v), wide(pass.value(v)?))));
        let values = values.collect::<Result<_, DeviceError>>()?;
        let value_grads = value_grads.map(|v| Ok((name(v), wide(pass.grad(v)?))));
        Ok(Run {
            values,
            grads: value_grads.collect::<Result<_, DeviceError>>()?,
            param_grads: by_param(net, &wide(&grads)),
            state: by_state(net, &wide(&weights.state)),
            net: Arc::clone(net),
        })
    }

    /// The values that a plan keeps to the end, and those whose gradients it does.
    fn kept(&self, keep: Keep) -> [Vec<ValueId>; 2] {
        let net = &self.net;
        match keep {
            Keep::Everything => {
                let all = net.values().iter().map(|v| net.value(&v.name).unwrap());
                let all: Vec<ValueId> = all.collect();
                [all.clone(), all]
            }
            Keep::Outputs => [vec![net.output()], net.inputs().to_vec()],
        }
    }
}
