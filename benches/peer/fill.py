"""Numbers that both sides make for themselves, so that they can prove to compute the same."""

import numpy as np

SALT = 7
WEYL = np.uint64(0x9E3779B97F4A7C15)
MASK = (1 << 64) - 1


def symmetric(name, count):
    """`count` numbers in [-1, 1): splitmix64 seeded with the FNV-1a hash of the name."""
    base = 0xCBF29CE484222325
    for byte in name.encode():
        base = (base ^ byte) * 0x100000001B3 & MASK
    base = (base + SALT * 0xD1B54A32D192ED03) & MASK
    with np.errstate(over="ignore"):
        z = np.uint64(base) + np.arange(1, count + 1, dtype=np.uint64) * WEYL
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(40)).astype(np.float64) / 8388608.0 - 1.0


def fill(name, shape):
    """The tensor called `name`: r·√(3/fan_in) for two and more dimensions, 1 + 0.2r for a
    one-dimensional `weight`, 0.1r for other one-dimensional tensors; batch-norm state apart."""
    shape = tuple(shape)
    r = symmetric(name, int(np.prod(shape, dtype=np.int64)))
    last = name.rsplit(".", 1)[-1]
    if last == "running_mean":
        r = 0.1 * r
    elif last == "running_var":
        r = 1.0 + 0.5 * r
    elif last == "num_batches_tracked":
        r = 0.0 * r
    elif len(shape) >= 2:
        r = r * np.sqrt(3.0 / np.prod(shape[1:], dtype=np.int64))
    elif last == "weight":
        r = 1.0 + 0.2 * r
    else:
        r = 0.1 * r
    return r.astype(np.float32).reshape(shape)


def uniform(name, shape):
    """Numbers in [0, 1) of any shape."""
    flat = fill(name, (int(np.prod(shape)),))
    return (np.float32(5.0) * flat + np.float32(0.5)).reshape(shape)


def probe(values):
    """32 evenly spaced elements of a tensor in C order."""
    import torch

    flat = values.detach().reshape(-1)
    places = torch.tensor([i * flat.numel() // 32 for i in range(32)])
    return flat[places].double().tolist()
