"""Prints the versions of the packages that `cargo xtask bench` compares with, as JSON.

A package that is not installed has no version.
"""

import json
import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = [
    "fastapi",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "openvino",
    "pillow",
    "torch",
    "torchvision",
    "uvicorn",
]


def installed(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return None


versions = {package: installed(package) for package in PACKAGES}
print(json.dumps({"python": platform.python_version(), **versions}))
