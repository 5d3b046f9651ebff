"""Writes logits of networks under other projects' tensor names: tests/golden/scheme_*.safetensors.

    cargo xtask golden --python PYTHON      # PYTHON has torch, torchvision and timm

Networks of torchvision and timm are from these packages. Three repositories are no packages
(github.com/kuan-wang/pytorch-mobilenet-v3, github.com/d-li14/mobilenetv3.pytorch, Easy-Classification), so their
modules are rewritten here with the same names, shapes and order of operations.
Weights are computed by the formula of generate.py from each tensor's own name.
"""

import json

import generate as golden
import timm
import torch
import torchvision
from safetensors.numpy import save_file
from torch import nn

CLASSES = 10
SIDE = 224
BATCH = 2
# The fill of the 32 px cases. Without gradients, activations need not stay away from kinks. With this fill, different
# images give different logits.
FILL = 32

# kernel, expanded, out, squeeze-excite, hard swish, stride (Howard et al. 2019, tables 1 and 2)
TABLES = {
    "large": [
        (3, 16, 16, 0, 0, 1), (3, 64, 24, 0, 0, 2), (3, 72, 24, 0, 0, 1), (5, 72, 40, 1, 0, 2), (5, 120, 40, 1, 0, 1),
        (5, 120, 40, 1, 0, 1), (3, 240, 80, 0, 1, 2), (3, 200, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1),
        (3, 480, 112, 1, 1, 1), (3, 672, 112, 1, 1, 1), (5, 672, 160, 1, 1, 2), (5, 960, 160, 1, 1, 1), (5, 960, 160, 1, 1, 1),
    ],
    "small": [
        (3, 16, 16, 1, 0, 2), (3, 72, 24, 0, 0, 2), (3, 88, 24, 0, 0, 1), (5, 96, 40, 1, 1, 2), (5, 240, 40, 1, 1, 1),
        (5, 240, 40, 1, 1, 1), (5, 120, 48, 1, 1, 1), (5, 144, 48, 1, 1, 1), (5, 288, 96, 1, 1, 2), (5, 576, 96, 1, 1, 1),
        (5, 576, 96, 1, 1, 1),
    ],
}


def conv(inputs, outputs, kernel=1, stride=1, groups=1, bias=False):
    return nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, groups=groups, bias=bias)


class Squeeze(nn.Module):
    """Both repositories' squeeze-excite: fully connected layers named fc.0 and fc.2."""

    def __init__(self, channels, hidden, bias):
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(channels, hidden, bias=bias), nn.ReLU(), nn.Linear(hidden, channels, bias=bias), nn.Hardsigmoid()
        )

    def forward(self, x):
        return x * self.fc(x.mean((2, 3)))[:, :, None, None]


class Block(nn.Module):
    """The block of both projects. With an expansion, squeeze-excite is before the activation."""

    def __init__(self, inputs, kernel, expanded, outputs, squeeze, swish, stride, always_expands, hidden, bias):
        super().__init__()
        activation = nn.Hardswish if swish else nn.ReLU
        squeeze = Squeeze(expanded, hidden, bias) if squeeze else nn.Identity()
        depthwise = [conv(expanded, expanded, kernel, stride, expanded), nn.BatchNorm2d(expanded)]
        project = [conv(expanded, outputs), nn.BatchNorm2d(outputs)]
        if always_expands or inputs != expanded:
            expand = [conv(inputs, expanded), nn.BatchNorm2d(expanded), activation()]
            layers = [*expand, *depthwise, squeeze, activation(), *project]
        else:
            layers = [*depthwise, activation(), squeeze, *project]
        self.conv = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.conv(x) if self.residual else self.conv(x)


def conv_norm(inputs, outputs, kernel, stride):
    return nn.Sequential(conv(inputs, outputs, kernel, stride), nn.BatchNorm2d(outputs), nn.Hardswish())


def features(size, always_expands, hidden, bias):
    layers, inputs = [conv_norm(3, 16, 3, 2)], 16
    for kernel, expanded, outputs, squeeze, swish, stride in TABLES[size]:
        block = (inputs, kernel, expanded, outputs, squeeze, swish, stride, always_expands, hidden(expanded), bias)
        layers.append(Block(*block))
        inputs = outputs
    return layers, inputs


class KuanWang(nn.Module):
    def __init__(self, size):
        super().__init__()
        layers, channels = features(size, True, lambda expanded: expanded // 4, False)
        last = 6 * channels
        layers += [conv_norm(channels, last, 1, 1), nn.AdaptiveAvgPool2d(1), conv(last, 1280, bias=True), nn.Hardswish()]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.8), nn.Linear(1280, CLASSES))

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


class DLi14(nn.Module):
    def __init__(self, size):
        super().__init__()

        def hidden(expanded):
            rounded = max(8, (expanded // 4 + 4) // 8 * 8)
            return rounded + 8 if rounded < 0.9 * (expanded // 4) else rounded

        layers, channels = features(size, False, hidden, True)
        last, wide = 6 * channels, {"large": 1280, "small": 1024}[size]
        self.features = nn.Sequential(*layers)
        self.conv = conv_norm(channels, last, 1, 1)
        self.classifier = nn.Sequential(
            nn.Linear(last, wide), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(wide, CLASSES)
        )

    def forward(self, x):
        return self.classifier(self.conv(self.features(x)).mean((2, 3)))


class Wrapped(nn.Module):
    """Contains torchvision's whole network, and uses the layers before its classifier."""

    def __init__(self, size):
        super().__init__()
        self.model = getattr(torchvision.models, f"mobilenet_v3_{size}")(weights=None)
        self.backbone = nn.Sequential(*list(self.model.children())[:-1])
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear({"large": 960, "small": 576}[size], CLASSES))

    def forward(self, x):
        return self.head(self.backbone(x).flatten(1))


class EasyClassification(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.match_model = Wrapped(size)

    def forward(self, x):
        return self.match_model(x)


SCHEMES = {
    "torchvision": lambda size: getattr(torchvision.models, f"mobilenet_v3_{size}")(weights=None, num_classes=CLASSES),
    "timm": lambda size: timm.create_model(f"mobilenetv3_{size}_100", num_classes=CLASSES),
    "timm_tf": lambda size: timm.create_model(f"tf_mobilenetv3_{size}_100", num_classes=CLASSES),
    "kuan_wang": KuanWang,
    "d_li14": DLi14,
    "easy_classification": EasyClassification,
}


def kinds(model):
    """The kind of each tensor of the state dictionary, by its name."""
    found = {}
    for module_name, module in model.named_modules(remove_duplicate=False):
        for leaf in module.state_dict(keep_vars=True):
            if "." in leaf:
                continue
            name = f"{module_name}.{leaf}"
            if isinstance(module, torch.nn.BatchNorm2d):
                found[name] = leaf if "_" in leaf else f"norm.{leaf}"
            elif leaf == "bias":
                found[name] = "bias"
            else:
                found[name] = "linear" if isinstance(module, nn.Linear) else "convolution"
    return found


def case(scheme, size):
    model = SCHEMES[scheme](size).eval()
    state = model.state_dict(keep_vars=True)
    of, first, tensors, filled = kinds(model), {}, [], {}
    for name, tensor in state.items():
        # A tensor with two names gets the values of the last name, as after load_state_dict.
        first[id(tensor)] = name
    for name, tensor in state.items():
        source, kind, shape = first[id(tensor)], of[name], list(tensor.shape)
        tensors.append([name, kind, shape, source])
        if kind == "num_batches_tracked":
            filled[name] = torch.zeros_like(tensor)
        else:
            in_norm = kind not in ("bias", "linear", "convolution")
            filled[name] = torch.from_numpy(golden.fill(source, tuple(shape), in_norm, f"mobilenet_v3_{size}", FILL))
    model.load_state_dict(filled, strict=True)
    with torch.no_grad():
        images = golden.images("input", BATCH, SIDE)
        exact = model.double()(images.double()).float()
        own = model.float()(images)
    print(
        f"{scheme:20} {size}: logits {exact.min():+.2f}..{exact.max():+.2f}, "
        f"images differ by {(exact[0] - exact[1]).abs().max():.2g}, float32 is off by {(own - exact).abs().max():.1e}"
    )
    path = golden.HERE / f"scheme_{scheme}_{size}.safetensors"
    metadata = {"case": json.dumps({"tensors": tensors, "torch": torch.__version__, "timm": timm.__version__})}
    save_file({"logits": exact.numpy()}, path, metadata)
    path.chmod(0o644)


if __name__ == "__main__":
    for scheme in SCHEMES:
        for size in TABLES:
            case(scheme, size)
