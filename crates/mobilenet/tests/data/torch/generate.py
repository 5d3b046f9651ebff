"""Writes the PyTorch files in this folder with PyTorch, and the file in ../safetensors.

    python crates/mobilenet/tests/data/torch/generate.py      # needs torch, torchvision, numpy and safetensors

Every number is formula(salt, i): a multiple of 1/8 between -8 and 8, which every floating-point type holds exactly.
The only other copy of the formula is in crates/mobilenet/src/torch/tests/mod.rs.
"""

import argparse
import collections
import datetime
import pathlib

import numpy
import safetensors.torch
import torch
import torchvision

HERE = pathlib.Path(__file__).resolve().parent


def formula(salt, count):
    return torch.tensor([((i * 37 + salt * 11) % 128 - 64) / 8 for i in range(count)])


def tensor(salt, *shape):
    count = 1
    for n in shape:
        count *= n
    return formula(salt, count).reshape(shape)


def kinds():
    """Tensors of every type of number, with every kind of offset and stride in a storage."""
    base = tensor(9, 40)
    shared = tensor(7, 6)
    return {
        "f32": tensor(1, 2, 3),
        "f16": tensor(2, 2, 3).half(),
        "bf16": tensor(3, 2, 3).bfloat16(),
        "f64": tensor(4, 2, 3).double(),
        "i64": torch.tensor(-5),
        "transposed": tensor(5, 4, 3, 2).permute(2, 0, 1),
        "offset": base[7:13],
        "every_third": base[1::3],
        "expanded": tensor(6, 2, 1).expand(2, 5),
        "shared_a": shared,
        "shared_b": shared.reshape(2, 3),
        "parameter": torch.nn.Parameter(tensor(8, 3)),
        "empty": torch.zeros(0, 3),
        "scalar": tensor(10, 1)[0],
    }


def checkpoint():
    """A checkpoint as training scripts write it."""
    weights = collections.OrderedDict([("features.0.0.weight", tensor(1, 2, 3)), ("features.0.0.bias", tensor(2, 2))])
    weights._metadata = collections.OrderedDict([("", {"version": 1})])
    return {
        "state_dict": weights,
        "optimizer": {"state": {0: {"exp_avg": tensor(3, 2)}}, "param_groups": [{"lr": 0.1, "params": [0, 1]}]},
        "epoch": 3,
        "best": 0.5,
        "done": True,
        "note": None,
        "size": torch.Size([2, 3]),
        "dtype": torch.float16,
        "large": 1 << 80,
        "args": argparse.Namespace(lr=0.1, model="mobilenet_v3_small"),
    }


def training():
    """Other objects that training scripts save with the weights. They must not keep the weights from being read."""
    model = torch.nn.Linear(3, 2)
    with torch.no_grad():
        model.weight.copy_(tensor(1, 2, 3))
        model.bias.copy_(tensor(2, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 3])
    model(tensor(3, 1, 3)).sum().backward()
    optimizer.step()
    with torch.no_grad():
        model.weight.copy_(tensor(1, 2, 3))
        model.bias.copy_(tensor(2, 2))
    attributes = tensor(4, 2)
    attributes.note = "a tensor with attributes"
    parameter = torch.nn.Parameter(tensor(5, 2))
    parameter.note = "a parameter with attributes"
    return {
        "state_dict": model.state_dict(),
        "attributes": attributes,
        "parameter": parameter,
        "list": [tensor(6, 2), (tensor(7, 2), 1)],
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": schedule.state_dict(),
        "args": argparse.Namespace(
            output=pathlib.PurePosixPath("runs/first"), device=torch.device("cpu"), shadow=tensor(8, 2)
        ),
        "best_metric": numpy.float64(0.75),
        "history": numpy.arange(3.0),
        "rng": {"numpy": numpy.random.RandomState(0).get_state()[:2], "torch": tensor(9, 4).byte()},
        "counts": collections.Counter("aab"),
        "groups": collections.defaultdict(list, {"a": [1]}),
        "losses": collections.deque([0.5, 0.25], maxlen=2),
        "names": {"a", "b"},
        "frozen": frozenset(["a"]),
        "started": datetime.datetime(2020, 1, 2),
        "raw": b"\x00\xff",
        "complex": 1 + 2j,
        "version": torch.__version__,
    }


def bad_numbers():
    """A network with an unusable number (NaN, infinity or a negative variance) in each kind of tensor."""
    torch.manual_seed(1)
    model = torchvision.models.mobilenet_v3_small(num_classes=2, width_mult=0.05).half()
    weights = model.state_dict()
    for name, place, value in (
        ("features.0.0.weight", (0, 1, 2, 0), float("nan")),
        ("features.0.1.weight", (3,), float("inf")),
        ("features.1.block.0.1.bias", (0,), -float("inf")),
        ("features.1.block.1.fc1.weight", (1, 2, 0, 0), float("nan")),
        ("classifier.3.bias", (1,), float("nan")),
        ("features.1.block.0.1.running_mean", (2,), float("inf")),
        ("features.2.block.1.1.running_var", (5,), -1.0),
    ):
        weights[name][place] = value
    return weights


def main():
    for name, content in (("kinds", kinds()), ("checkpoint", checkpoint()), ("training", training())):
        for protocol in (2, 4):
            torch.save(content, HERE / f"{name}_zip_{protocol}.pt", pickle_protocol=protocol)
            torch.save(
                content,
                HERE / f"{name}_legacy_{protocol}.pt",
                pickle_protocol=protocol,
                _use_new_zipfile_serialization=False,
            )
    torch.save(kinds(), HERE / "kinds_legacy_1.pt", pickle_protocol=1, _use_new_zipfile_serialization=False)
    small = {"weight": tensor(1, 2, 3)}
    torch.save(small, HERE / "small_zip.pt")
    torch.save(small, HERE / "small_legacy.pt", _use_new_zipfile_serialization=False)
    torch.save({"epoch": 3, "args": argparse.Namespace(lr=0.1)}, HERE / "no_tensors_zip.pt")
    contiguous = {name: value.detach().clone().contiguous() for name, value in kinds().items()}
    safetensors.torch.save_file(contiguous, HERE.parent / "safetensors" / "kinds.safetensors", {"classify": "{}"})
    torch.save(torch.nn.Linear(2, 2), HERE / "module_zip.pt")
    torch.save(bad_numbers(), HERE / "bad_numbers_legacy.pt", _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    main()
