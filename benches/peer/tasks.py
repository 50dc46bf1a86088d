"""The work of the benchmark in PyTorch, each in the variants that may be the fastest."""

import importlib

import torch

KINDS = ("step", "layer", "loss", "spectrogram", "loading")


def optional(name):
    """A library that not every item needs."""
    # Torchaudio refuses to load beside a PyTorch for another CUDA; nothing here runs on a GPU.
    cuda, torch.version.cuda = torch.version.cuda, None
    try:
        return importlib.import_module(name)
    finally:
        torch.version.cuda = cuda


def module(work):
    """The module of a kind of work; it has `variants` and `build`."""
    kind = work["kind"]
    if kind not in KINDS:
        raise ValueError(f"unknown work {kind}")
    return importlib.import_module(kind)


def variants(work, compile_allowed, skipped):
    """Names of the variants to try; those that are not worth it go to `skipped` with a reason."""
    names = module(work).variants(work, skipped)
    if compile_allowed:
        return names
    for name in names:
        if "compiled" in name:
            skipped[name] = "--no-compile"
    return [name for name in names if "compiled" not in name]


def build(work, variant):
    """The work ready to be repeated: an object with `check` and `run`."""
    torch.manual_seed(0)
    return module(work).build(work, variant)
