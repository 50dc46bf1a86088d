"""One pass of one convolution layer, through the operators that autograd calls."""

import torch
import torch.nn.functional as F

from fill import fill, probe

aten = torch.ops.aten


def variants(work, skipped):
    names = ["eager contiguous", "eager channels_last"]
    compiled = ["compiled contiguous", "compiled channels_last"]
    if work["reflect"]:
        return names + compiled
    for name in compiled:
        skipped[name] = "a single library kernel: there is nothing to compile"
    return names


def build(work, variant):
    return Layer(work, variant)


class Layer:
    def __init__(self, work, variant):
        mode, layout = variant.split()
        format = torch.channels_last if layout == "channels_last" else torch.contiguous_format
        tensor = lambda name, shape: torch.from_numpy(fill(name, shape))
        mapped = lambda name, shape: tensor(name, shape).contiguous(memory_format=format)
        batch, (channels, height, width) = work["batch"], work["input"]
        kernel, outputs = work["kernel"], work["out_channels"]
        self.pad, self.reflect = work["padding"], work["reflect"]
        self.stride = [work["stride"]] * 2
        self.pass_ = work["pass"]
        x = mapped("x", (batch, channels, height, width))
        self.weight = mapped("weight", (outputs, channels, kernel, kernel))
        self.bias = tensor("bias", (outputs,)) if work["bias"] else None
        self.x = x
        if self.pass_ != "forward":
            out = lambda size: (size + 2 * self.pad - kernel) // work["stride"] + 1
            self.grad = mapped("g", (batch, outputs, out(height), out(width)))
            if self.reflect:
                # Autograd keeps the padded input from the forward pass.
                self.padded = self.mirror(x).contiguous(memory_format=format)
        names = {
            "forward": self.forward,
            "input-gradient": self.input_gradient,
            "weight-gradient": self.weight_gradient,
        }
        self.compute = names[self.pass_]
        if mode == "compiled":
            self.compute = torch.compile(self.compute, dynamic=False)

    def mirror(self, x):
        return F.pad(x, (self.pad,) * 4, mode="reflect")

    def geometry(self):
        pad = 0 if self.reflect else self.pad
        return self.stride, [pad, pad], [1, 1], False, [0, 0], 1

    def forward(self):
        x = self.mirror(self.x) if self.reflect else self.x
        return {"output": aten.convolution(x, self.weight, self.bias, *self.geometry())}

    def backward(self, mask):
        x = self.padded if self.reflect else self.x
        bias_sizes = None if self.bias is None else list(self.bias.shape)
        return aten.convolution_backward(
            self.grad, x, self.weight, bias_sizes, *self.geometry(), mask
        )

    def input_gradient(self):
        grad = self.backward([True, False, False])[0]
        if self.reflect:
            grad = aten.reflection_pad2d_backward(grad, self.x, [self.pad] * 4)
        return {"input gradient": grad}

    def weight_gradient(self):
        has_bias = self.bias is not None
        _, weight, bias = self.backward([False, True, has_bias])
        result = {"weight gradient": weight}
        if has_bias:
            result["bias gradient"] = bias
        return result

    def check(self):
        with torch.no_grad():
            return {name: probe(value) for name, value in self.compute().items()}

    def run(self):
        with torch.no_grad():
            self.compute()
