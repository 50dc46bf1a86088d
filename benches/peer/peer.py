"""PyTorch's side of the benchmark: a worker that does the same work.

One JSON object a line on standard input, one on standard output:

    {"calibrate": work, "threads": n, "compile": bool}
        -> {"fastest": variant, "seconds": {variant: s}, "skipped": {variant: why}}
    {"prepare": work, "threads": n, "variant": v} -> {"check": {name: numbers}}
    {"run": k} -> {"seconds": s of one iteration}
    {"quit": true} -> {"idle_bytes": b, "peak_bytes": b}

`peer.py versions` prints the versions of what it uses; `peer.py flac FOLDER` writes a FLAC file
beside every WAV file of a folder.
"""

import json
import sys
import time


def status(key):
    """A line of /proc/self/status in bytes; None where there is no such file."""
    try:
        with open("/proc/self/status") as lines:
            for line in lines:
                if line.startswith(key):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def forget_peak():
    """Lets the peak of resident memory start again, after giving free memory back."""
    import ctypes
    import gc

    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except (OSError, AttributeError):
        pass  # The peak of the whole life remains.


def versions():
    """Versions of everything whose speed is measured."""
    import platform
    import re

    import numpy
    import torch

    import tasks

    found = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
    }
    onednn = re.search(r"MKL-DNN v([\d.]+)", torch.__config__.show())
    found["onednn"] = onednn.group(1) if onednn else "none"
    blas = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
    found["blas"] = blas.group(1) if blas else "unknown"
    for name in ("torchvision", "torchaudio", "librosa", "soundfile"):
        try:
            found[name] = tasks.optional(name).__version__
        except ImportError:
            found[name] = "not installed"
    return found


def timed(task, count):
    """Seconds of one iteration, from `count` of them."""
    start = time.perf_counter()
    for _ in range(count):
        task.run()
    return (time.perf_counter() - start) / count


def price(task):
    """The least time of an iteration in a short trial."""
    task.run()
    once = timed(task, 1)
    if once > 1.0:
        return min(once, timed(task, 1))
    count = max(1, min(1000, int(0.1 / max(once, 1e-9))))
    return min(timed(task, count) for _ in range(3))


def calibrate(work, compile_allowed):
    """Tries every variant of the work."""
    import gc

    import tasks

    seconds, skipped = {}, {}
    for variant in tasks.variants(work, compile_allowed, skipped):
        try:
            seconds[variant] = price(tasks.build(work, variant))
        except Exception as error:  # Whatever a compiler or an absent library says.
            skipped[variant] = f"{type(error).__name__}: {error}"[:300]
        gc.collect()
    fastest = min(seconds, key=seconds.get) if seconds else None
    return {"fastest": fastest, "seconds": seconds, "skipped": skipped}


class Worker:
    def __init__(self):
        self.task = None
        self.idle = None

    def answer(self, request):
        import torch

        if "threads" in request:
            torch.set_num_threads(request["threads"])
        if "calibrate" in request:
            return calibrate(request["calibrate"], request["compile"])
        if "prepare" in request:
            import tasks

            self.idle = status("VmRSS:")
            self.task = tasks.build(request["prepare"], request["variant"])
            check = self.task.check()
            forget_peak()
            return {"check": check}
        if "run" in request:
            return {"seconds": timed(self.task, request["run"])}
        if "quit" in request:
            return {"idle_bytes": self.idle, "peak_bytes": status("VmHWM:")}
        raise ValueError(f"unknown request {request}")


def serve():
    # Compilers and libraries print what they like; answers must stay alone.
    answers, sys.stdout = sys.stdout, sys.stderr
    worker = Worker()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = worker.answer(request)
        except Exception as error:
            import traceback

            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)
        if "quit" in request:
            break


def write_flac(folder):
    """Writes a FLAC file beside every WAV file."""
    import glob
    import os

    import soundfile

    files = glob.glob(os.path.join(folder, "*.wav"))
    for path in files:
        samples, rate = soundfile.read(path, dtype="int16")
        soundfile.write(path.removesuffix(".wav") + ".flac", samples, rate, subtype="PCM_16")
    return {"written": len(files)}


def main():
    commands = {"versions": versions, "flac": write_flac}
    if len(sys.argv) == 1:
        return serve()
    try:
        answer = commands[sys.argv[1]](*sys.argv[2:])
    except ImportError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
