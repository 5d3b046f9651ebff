"""What the runners of `cargo xtask bench` have in common.

A runner prints `ready`; then, for each line `run K` on stdin, it takes K steps
and prints the seconds they took; `quit` ends it.
"""

import argparse
import sys
import time


def arguments(*names, **flags):
    """The options of a runner: required ones by name, flags that are off unless given."""
    kinds = {"image_size": int, "batch": int, "threads": int}
    parser = argparse.ArgumentParser()
    for name in names:
        parser.add_argument("--" + name.replace("_", "-"), type=kinds.get(name, str), required=True)
    for name, meaning in flags.items():
        parser.add_argument("--" + name.replace("_", "-"), action="store_true", help=meaning)
    return parser.parse_args()


def serve(steps):
    """Answers commands until `quit`; `steps(count)` takes that many steps."""
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
