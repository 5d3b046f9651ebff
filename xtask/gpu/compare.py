"""Compares this project's training steps with PyTorch's on the first NVIDIA GPU.

    python3 compare.py SECONDS

A step is the same work on all sides: 256 images of 224 pixels, as bytes in the host's
memory, go to the GPU and are normalised there; then forward in bf16, cross-entropy over
1000 classes, backward and Adam. PyTorch uses autocast, channels-last, pinned memory and
the fused Adam; it runs eagerly and with torch.compile. `./train_step` is this project.

The sides take turns, a round each. A figure is the median of the rounds, a ratio the
median of the rounds' ratios. After each network, all figures so far are printed as one line
of JSON, so the last line counts even if the time is over. Networks are skipped when less
than a third of SECONDS is left.
"""

import json
import os
import statistics
import subprocess
import sys
import time

BATCH, SIZE, CLASSES = 256, 224, 1000
WARM_UP, STEPS, ROUNDS = 3, 20, 5
NETWORKS = ("mobilenet_v3_large", "resnet50", "mobilenet_v3_small")


class Ours:
    """`./train_step`, which takes steps on command."""

    def __init__(self, network):
        options = {
            "model": network,
            "image-size": SIZE,
            "batch": BATCH,
            "classes": CLASSES,
            "device": "cuda",
            "precision": "bf16",
            "pixels": "bytes",
            "kernels": os.environ.get("GPU_KERNELS", "work/kernels"),
        }
        command = ["./train_step"]
        for name, value in options.items():
            command += ["--" + name, str(value)]
        self.program = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.answer("ready")

    def answer(self, expected=None):
        line = self.program.stdout.readline().strip()
        if not line or expected not in (None, line):
            raise RuntimeError(f"train_step ended or answered {line!r}; its errors are in the log")
        return line

    def run(self, steps):
        self.program.stdin.write(f"run {steps}\n")
        self.program.stdin.flush()
        return float(self.answer())

    def close(self):
        self.program.kill()
        self.program.wait()


class Torch:
    """A network in PyTorch."""

    def __init__(self, network, compiled):
        import torch

        torch.manual_seed(0)
        self.torch = torch
        model = build(network).cuda().train().to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
        pixels = torch.randint(0, 256, (BATCH, SIZE, SIZE, 3), dtype=torch.uint8)
        self.pixels = pixels.pin_memory()
        self.labels = (torch.arange(BATCH) % CLASSES).pin_memory()

        def loss_of(pixels, labels):
            # The axes of NHWC as NCHW are the memory format channels-last.
            images = (pixels.permute(0, 3, 1, 2).to(torch.bfloat16) - 127.5) / 127.5
            return torch.nn.functional.cross_entropy(model(images), labels)

        self.loss_of = torch.compile(loss_of) if compiled else loss_of

    def step(self):
        pixels = self.pixels.to("cuda", non_blocking=True)
        labels = self.labels.to("cuda", non_blocking=True)
        with self.torch.autocast("cuda", dtype=self.torch.bfloat16):
            loss = self.loss_of(pixels, labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    def run(self, steps):
        self.torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(steps):
            self.step()
        self.torch.cuda.synchronize()
        return time.perf_counter() - started

    def close(self):
        pass


def build(network):
    """The network of torchvision, or of networks.py without it."""
    try:
        from torchvision import models
    except Exception:
        import networks

        return networks.build(network, CLASSES)
    return getattr(models, network)(weights=None, num_classes=CLASSES)


def message(error):
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


def measure(network):
    """Images per second of each side, and the ratios."""
    makers = {
        "ours": lambda: Ours(network),
        "eager": lambda: Torch(network, compiled=False),
        "compiled": lambda: Torch(network, compiled=True),
    }
    sides, figures = {}, {}
    for name, make in makers.items():
        # A side that fails must not hide the others.
        try:
            sides[name] = make()
            sides[name].run(WARM_UP)
        except Exception as error:
            figures[f"{name}_error"] = message(error)
            side = sides.pop(name, None)
            if side:
                side.close()
    speeds = {name: [] for name in sides}
    try:
        for _ in range(ROUNDS):
            for name, side in sides.items():
                speeds[name].append(BATCH * STEPS / side.run(STEPS))
    except Exception as error:
        figures["error"] = message(error)
    finally:
        for side in sides.values():
            side.close()
    # A failure may leave a round half done.
    rounds = min((len(found) for found in speeds.values()), default=0)
    figures["rounds"] = rounds
    if rounds == 0:
        return figures
    for name, found in speeds.items():
        figures[name] = round(statistics.median(found[:rounds]), 1)
        if name != "ours" and "ours" in speeds:
            ratios = [ours / other for ours, other in zip(speeds["ours"][:rounds], found)]
            figures[f"ours_to_{name}"] = round(statistics.median(ratios), 3)
            figures[f"ours_to_{name}_range"] = [round(min(ratios), 3), round(max(ratios), 3)]
    return figures


def main():
    seconds, started = float(sys.argv[1]), time.monotonic()
    try:
        import torch
    except Exception as error:
        print(json.dumps({"skipped": message(error)}))
        return
    if not torch.cuda.is_available():
        print(json.dumps({"skipped": "this PyTorch finds no GPU"}))
        return
    torch.backends.cudnn.benchmark = True
    figures = {"torch": torch.__version__, "gpu": torch.cuda.get_device_name(0), "networks": {}}
    for network in NETWORKS:
        left = seconds - (time.monotonic() - started)
        if left < seconds / 3:
            figures["networks"][network] = {"skipped": f"only {left:.0f} s were left"}
        else:
            figures["networks"][network] = measure(network)
            # Memory of one network must not be missing for the next.
            torch.cuda.empty_cache()
        print(json.dumps(figures), flush=True)


main()
