"""PyTorch on a CUDA card: the training step and the contrastive loss, to stand beside
`viewmaker bench step --device cuda` and `viewmaker bench loss --device cuda` on the same card.

    python benches/peer/on_card.py loss 8192,16384,32768,65536,131072 [ntxent,clip] [--mode eager]
    python benches/peer/on_card.py step 256,512 [alternating|simultaneous] [--mode compiled]

Losses are those of `viewmaker bench loss`, without names all of them. Without a mode everything is measured
eagerly first and then compiled, which takes minutes; bfloat16 comes first.

One JSON object a line, as soon as it is there: what was computed, the variant, and the median and extremes in
seconds, by the card's events for the loss and by the wall clock for the step. What fails has an `error` instead,
and the exit status is 1 at the end, unless all that was missing is memory.
"""

import argparse
import gc
import json
import os
import statistics
import sys
import time

import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from networks import ResNet18, Viewmaker, viewmaker_simclr  # noqa: E402
from on_card_losses import NAMES, prepare  # noqa: E402

DIM, TEMPERATURE = 128, 0.07


def report(**found):
    print(json.dumps(found), flush=True)


def spread(seconds):
    return {"median": statistics.median(seconds), "min": min(seconds), "max": max(seconds)}


def events(run, repeats):
    """Seconds of each repetition by the card's clock."""
    for _ in range(3):
        run()
    times = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    return times


def measured(what, measure):
    """Reports what `measure` finds, or why it found nothing; whether nothing is wrong."""
    fine = True
    try:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        report(**what, **measure(), peak_bytes=torch.cuda.max_memory_allocated())
    except torch.OutOfMemoryError:
        report(**what, error="out of memory")
    except Exception as error:  # whatever PyTorch or its compiler does not like
        fine = False
        words = str(error).strip().splitlines() or [""]
        report(**what, error=f"{type(error).__name__}: {words[0]}")
    # The error held on to its tensors.
    gc.collect()
    return fine


def losses(sizes, names, modes):
    fine = True
    for mode in modes:
        for dtype in (torch.bfloat16, torch.float32):
            for name in names:
                for count in sizes:
                    what = {"kind": "loss", "objective": name, "embeddings": count, "dim": DIM}
                    what |= {"variant": f"{mode} {str(dtype).removeprefix('torch.')}"}
                    fine &= measured(what, lambda: measure_loss(name, count, dtype, mode))
    return fine


def measure_loss(name, count, dtype, mode):
    def rows(number, trained):
        return torch.randn(number, DIM, device="cuda", dtype=dtype, requires_grad=trained)

    loss, arguments = prepare(name, count, TEMPERATURE, rows)
    leaves = [a for a in arguments if torch.is_tensor(a) and a.requires_grad]
    if mode == "compiled":
        torch._dynamo.reset()
        loss = torch.compile(loss, dynamic=False)

    def run():
        for leaf in leaves:
            leaf.grad = None
        loss(*arguments).backward()

    return {"both": spread(events(run, 7 if count > 32768 else 15))}


def steps(batches, update, modes):
    fine = True
    for mode in modes:
        for precision in ("bf16", "tf32", "f32"):
            for batch in batches:
                what = {"kind": "step", "batch": batch, "update": update}
                what |= {"variant": f"{mode} channels_last {precision}"}
                fine &= measured(what, lambda: measure_step(batch, update, mode, precision))
    return fine


def measure_step(batch, update, mode, precision):
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True
    views = Viewmaker(3, (32, 64, 128), 3, 0.05).cuda().to(memory_format=torch.channels_last)
    encoder = ResNet18(3, True, 128, None).cuda().to(memory_format=torch.channels_last)
    sgd = torch.optim.SGD(encoder.parameters(), 0.03, momentum=0.9, weight_decay=1e-4, fused=True)
    adam = torch.optim.Adam(views.parameters(), 1e-3, maximize=True, fused=True)
    make_views, embed = views, encoder
    if mode == "compiled":
        torch._dynamo.reset()
        make_views = torch.compile(views, dynamic=False)
        embed = torch.compile(encoder, dynamic=False)
    x = torch.rand(batch, 3, 32, 32, device="cuda").contiguous(memory_format=torch.channels_last)
    autocast = torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16")

    def noise():
        return [torch.rand(s, device="cuda") for s in views.noise_shapes(batch, 32, 32)]

    def loss(seen):
        return viewmaker_simclr(*[embed(view).float() for view in seen], 0.07)

    def simultaneous():
        sgd.zero_grad()
        adam.zero_grad()
        with autocast:
            value = loss([make_views(x, noise()) for _ in range(2)])
        value.backward()
        sgd.step()
        adam.step()

    def alternating():
        sgd.zero_grad()
        with autocast:
            with torch.no_grad():
                seen = [make_views(x, noise()) for _ in range(2)]
            first = loss(seen)
        first.backward()
        sgd.step()
        encoder.requires_grad_(False)
        adam.zero_grad()
        with autocast:
            second = loss([make_views(x, noise()) for _ in range(2)])
        second.backward()
        adam.step()
        encoder.requires_grad_(True)

    step = alternating if update == "alternating" else simultaneous
    for _ in range(5):
        step()
    times = []
    for _ in range(15):
        torch.cuda.synchronize()
        start = time.perf_counter()
        step()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return {"step": spread(times), "examples_per_second": batch / statistics.median(times)}


def arguments():
    def sizes(text):
        return [int(n) for n in text.split(",")]

    modes = ("eager", "compiled")
    parser = argparse.ArgumentParser(description="PyTorch on a CUDA card.")
    parts = parser.add_subparsers(dest="part", required=True)
    loss = parts.add_parser("loss")
    loss.add_argument("sizes", type=sizes)
    loss.add_argument("names", nargs="?", type=lambda text: text.split(","), default=NAMES)
    step = parts.add_parser("step")
    step.add_argument("sizes", type=sizes)
    step.add_argument("update", nargs="?", choices=("alternating", "simultaneous"), default="alternating")
    for part in (loss, step):
        part.add_argument("--mode", choices=modes, help="one of them; both without it")
    asked = parser.parse_args()
    unknown = set(getattr(asked, "names", [])) - set(NAMES)
    if unknown:
        parser.error(f"no loss {', '.join(sorted(unknown))}: expected {', '.join(NAMES)}")
    return asked, [asked.mode] if asked.mode else modes


def main():
    asked, modes = arguments()
    if not torch.cuda.is_available():
        sys.exit(f"on_card.py: PyTorch {torch.__version__} of {sys.executable} sees no CUDA card")
    report(torch=torch.__version__, card=torch.cuda.get_device_name(), date=time.strftime("%Y-%m-%d"))
    if asked.part == "loss":
        fine = losses(asked.sizes, asked.names, modes)
    else:
        fine = steps(asked.sizes, asked.update, modes)
    sys.exit(not fine)


if __name__ == "__main__":
    main()
