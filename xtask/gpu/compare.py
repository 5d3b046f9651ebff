"""Measures PyTorch on the first NVIDIA GPU: images per second of whole training steps.

A step is forward, cross-entropy, backward and AdamW of MobileNetV3 large: 224 pixels,
batches of 256, bf16 by autocast, channels-last, synthetic images on the GPU. It runs
eagerly and with torch.compile. The result is one JSON object on stdout.
"""

import json
import statistics
import sys
import time

BATCH, SIZE, STEPS, REPEATS = 256, 224, 20, 5


def measure(step):
    """The median images per second, after a warm-up."""
    import torch

    for _ in range(5):
        step()
    speeds = []
    for _ in range(REPEATS):
        torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(STEPS):
            step()
        torch.cuda.synchronize()
        speeds.append(BATCH * STEPS / (time.perf_counter() - started))
    return round(statistics.median(speeds), 1)


def copy_bandwidth():
    """TB/s of a large copy, reads and writes counted."""
    import torch

    source = torch.zeros(1 << 30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    target.copy_(source)
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(20):
        target.copy_(source)
    torch.cuda.synchronize()
    return round(20 * 2 * source.numel() / (time.perf_counter() - started) / 1e12, 3)


def trainer(compiled):
    """A function that takes one step, with a network of its own."""
    import torch
    import torchvision

    torch.manual_seed(0)
    network = torchvision.models.mobilenet_v3_large(weights=None, num_classes=1000)
    network = network.cuda().train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    images = torch.randn(BATCH, 3, SIZE, SIZE, device="cuda")
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.arange(BATCH, device="cuda") % 1000
    forward = torch.compile(network) if compiled else network

    def step():
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(forward(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def main():
    try:
        import torch
        import torchvision  # noqa: F401
    except ImportError as error:
        print(json.dumps({"skipped": str(error)}))
        return
    if not torch.cuda.is_available():
        print(json.dumps({"skipped": "this PyTorch finds no GPU"}))
        return
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = True
    figures = {"torch": torch.__version__, "copy_terabytes_per_second": copy_bandwidth()}
    for name, compiled in (("eager", False), ("compiled", True)):
        try:
            figures[f"{name}_images_per_second"] = measure(trainer(compiled))
        # A compiler that is missing must not hide the other figure.
        except Exception as error:
            figures[f"{name}_error"] = str(error).splitlines()[0] if str(error) else repr(error)
            print(error, file=sys.stderr)
    print(json.dumps(figures))


main()
