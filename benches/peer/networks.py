"""The viewmaker and the ResNets in PyTorch, with the parameter names of ours."""

import torch
import torch.nn.functional as F
from torch import nn

STORED_RES_BLOCKS = 5


class Conv(nn.Module):
    """A convolution whose input is mirrored at the edges."""

    def __init__(self, inputs, outputs, kernel, stride=1):
        super().__init__()
        self.pad = kernel // 2
        self.conv2d = nn.Conv2d(inputs, outputs, kernel, stride)

    def forward(self, x):
        return self.conv2d(F.pad(x, (self.pad,) * 4, mode="reflect"))


def norm(channels):
    return nn.InstanceNorm2d(channels, affine=True)


class NoisyBlock(nn.Module):
    """x + IN(conv(ReLU(IN(conv(x)))))."""

    def __init__(self, channels):
        super().__init__()
        self.conv1, self.in1 = Conv(channels, channels, 3), norm(channels)
        self.conv2, self.in2 = Conv(channels, channels, 3), norm(channels)

    def forward(self, x):
        y = F.relu(self.in1(self.conv1(x)), inplace=True)
        return x + self.in2(self.conv2(y))


class Viewmaker(nn.Module):
    """view = x + tanh(y)·ε / (mean|tanh(y)| + 1e-4), y from x and channels of noise."""

    def __init__(self, channels, widths, res_blocks, budget):
        super().__init__()
        w0, w1, w2 = widths
        self.res_blocks, self.budget = res_blocks, budget
        self.conv1, self.in1 = Conv(channels + 1, w0, 9), norm(w0)
        self.conv2, self.in2 = Conv(w0, w1, 3, 2), norm(w1)
        self.conv3, self.in3 = Conv(w1, w2, 3, 2), norm(w2)
        for i in range(1, STORED_RES_BLOCKS + 1):
            setattr(self, f"res{i}", NoisyBlock(w2 + i))
        self.deconv1, self.in4 = Conv(w2 + res_blocks, w1, 3), norm(w1)
        self.deconv2, self.in5 = Conv(w1, w0, 3), norm(w0)
        self.deconv3 = Conv(w0, channels, 9)

    def noise_shapes(self, batch, height, width):
        small = (batch, 1, height // 4, width // 4)
        return [(batch, 1, height, width)] + [small] * self.res_blocks

    def forward(self, x, noise):
        y = torch.cat((x, noise[0]), 1)
        y = F.relu(self.in1(self.conv1(y)), inplace=True)
        y = F.relu(self.in2(self.conv2(y)), inplace=True)
        y = F.relu(self.in3(self.conv3(y)), inplace=True)
        for i in range(1, self.res_blocks + 1):
            y = getattr(self, f"res{i}")(torch.cat((y, noise[i]), 1))
        y = F.interpolate(y, scale_factor=2, mode="nearest")
        y = F.relu(self.in4(self.deconv1(y)), inplace=True)
        y = F.interpolate(y, scale_factor=2, mode="nearest")
        y = F.relu(self.in5(self.deconv2(y)), inplace=True)
        delta = torch.tanh(self.deconv3(y))
        size = delta.abs().mean((1, 2, 3), keepdim=True)
        return x + delta * (self.budget / (size + 1e-4))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions around an identity, which is projected where the shape changes."""

    def __init__(self, inputs, outputs, stride, shortcut):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.projection = shortcut if stride != 1 or inputs != outputs else None
        if self.projection:
            conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            setattr(self, shortcut, nn.Sequential(conv, nn.BatchNorm2d(outputs)))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        y += getattr(self, self.projection)(x) if self.projection else x
        return F.relu(y, inplace=True)


class ResNet18(nn.Module):
    """`small`: 3×3 stem and 4×4 average pooling; otherwise as in torchvision."""

    def __init__(self, channels, small, embedding_dim, after_view):
        super().__init__()
        self.small = small
        self.normalized = after_view is not None
        if self.normalized:
            for name, values in zip(("mean", "std"), after_view):
                values = torch.tensor(values).reshape(1, -1, 1, 1)
                self.register_buffer(name, values, persistent=False)
        kernel, stride = (3, 1) if small else (7, 2)
        self.conv1 = nn.Conv2d(channels, 64, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        shortcut, inputs = ("shortcut" if small else "downsample"), 64
        for stage in range(4):
            outputs = 64 << stage
            first = BasicBlock(inputs, outputs, 1 if stage == 0 else 2, shortcut)
            second = BasicBlock(outputs, outputs, 1, shortcut)
            setattr(self, f"layer{stage + 1}", nn.Sequential(first, second))
            inputs = outputs
        self.fc = nn.Linear(inputs, embedding_dim)

    def forward(self, x):
        if self.normalized:
            x = (x - self.mean) / self.std
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        if not self.small:
            y = F.max_pool2d(y, 3, 2, 1)
        y = self.layer4(self.layer3(self.layer2(self.layer1(y))))
        y = F.avg_pool2d(y, 4) if self.small else F.adaptive_avg_pool2d(y, 1)
        return self.fc(y.flatten(1))


def viewmaker_simclr(z1, z2, temperature):
    """mean_i[ log Σ_j (exp(u_i·u_j/t) + exp(u_i·v_j/t)) − log 2N − u_i·v_i/t ]."""
    u, v = F.normalize(z1), F.normalize(z2)
    logits = u @ torch.cat((u, v)).T / temperature
    positives = (u * v).sum(1) / temperature
    offset = torch.log(torch.tensor(float(2 * len(u))))
    return (torch.logsumexp(logits, 1) - offset - positives).mean()
