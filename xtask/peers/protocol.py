"""Functions that all runners of `cargo xtask bench` use.

A runner first prints `ready`. For each line `run K` on stdin it takes K steps and
prints the time in seconds. `quit` ends it.
"""

import argparse
import sys
import time


def arguments(*names, **flags):
    """Parses a runner's options: required ones, and flags that are off by default."""
    kinds = {"image_size": int, "batch": int, "threads": int}
    parser = argparse.ArgumentParser()
    for name in names:
        parser.add_argument("--" + name.replace("_", "-"), type=kinds.get(name, str), required=True)
    for name, meaning in flags.items():
        parser.add_argument("--" + name.replace("_", "-"), action="store_true", help=meaning)
    return parser.parse_args()


def network(model):
    """The name in torchvision of a model: `small` and `large` are MobileNetV3."""
    return f"mobilenet_v3_{model}" if model in ("small", "large") else model


def serve(steps):
    """Answers commands until `quit`. `steps(count)` must take that many steps."""
    print("ready", flush=True)
    for line in sys.stdin:
        match line.split():
            case ["run", count]:
                started = time.perf_counter()
                steps(int(count))
                print(time.perf_counter() - started, flush=True)
            case ["quit"]:
                break
            case _:
                sys.exit(f"{line!r}; expected `run K` or `quit`")
