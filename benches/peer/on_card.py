"""PyTorch on a CUDA card: the training step and the contrastive loss, to stand beside
`viewmaker bench step --device cuda` and `viewmaker bench loss --device cuda` on the same card.

    python benches/peer/on_card.py loss 8192,16384,32768,65536,131072 [ntxent,clip]
    python benches/peer/on_card.py step 256,512 [alternating|simultaneous]

Losses are those of `viewmaker bench loss`, without names all of them.

One JSON object a line: what was computed, the variant, and the median and extremes in seconds, by the
card's events for the loss and by the wall clock for the step.
"""

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


def losses(sizes, names):
    for name in names:
        for count in sizes:
            for dtype in (torch.bfloat16, torch.float32):
                for mode in ("eager", "compiled"):
                    measure_loss(name, count, dtype, mode)


def measure_loss(name, count, dtype, mode):
    what = {"kind": "loss", "objective": name, "embeddings": count, "dim": DIM}
    what |= {"variant": f"{mode} {str(dtype).removeprefix('torch.')}"}
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()

    def rows(number, trained):
        return torch.randn(number, DIM, device="cuda", dtype=dtype, requires_grad=trained)

    try:
        loss, arguments = prepare(name, count, TEMPERATURE, rows)
        leaves = [a for a in arguments if torch.is_tensor(a) and a.requires_grad]
        if mode == "compiled":
            torch._dynamo.reset()
            loss = torch.compile(loss, dynamic=False)

        def run():
            for leaf in leaves:
                leaf.grad = None
            loss(*arguments).backward()

        times = events(run, 7 if count > 32768 else 15)
        peak = torch.cuda.max_memory_allocated()
        report(**what, both=spread(times), peak_bytes=peak)
    except torch.OutOfMemoryError:
        report(**what, error="out of memory")


def steps(batches, update):
    for batch in batches:
        for mode in ("eager", "compiled"):
            for precision in ("bf16", "tf32", "f32"):
                measure_step(batch, update, mode, precision)


def measure_step(batch, update, mode, precision):
    torch._dynamo.reset()
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True
    views = Viewmaker(3, (32, 64, 128), 3, 0.05).cuda().to(memory_format=torch.channels_last)
    encoder = ResNet18(3, True, 128, None).cuda().to(memory_format=torch.channels_last)
    sgd = torch.optim.SGD(encoder.parameters(), 0.03, momentum=0.9, weight_decay=1e-4, fused=True)
    adam = torch.optim.Adam(views.parameters(), 1e-3, maximize=True, fused=True)
    make_views, embed = views, encoder
    if mode == "compiled":
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
    torch.cuda.reset_peak_memory_stats()
    for _ in range(5):
        step()
    times = []
    for _ in range(15):
        torch.cuda.synchronize()
        start = time.perf_counter()
        step()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    report(
        kind="step",
        batch=batch,
        update=update,
        variant=f"{mode} channels_last {precision}",
        step=spread(times),
        examples_per_second=batch / statistics.median(times),
        peak_bytes=torch.cuda.max_memory_allocated(),
    )


def main():
    report(torch=torch.__version__, card=torch.cuda.get_device_name(), date=time.strftime("%Y-%m-%d"))
    sizes = [int(n) for n in sys.argv[2].split(",")]
    if sys.argv[1] == "loss":
        names = sys.argv[3].split(",") if len(sys.argv) > 3 else NAMES
        losses(sizes, names)
    else:
        steps(sizes, sys.argv[3] if len(sys.argv) > 3 else "alternating")


if __name__ == "__main__":
    main()
