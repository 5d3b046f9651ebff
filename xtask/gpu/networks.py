"""MobileNetV3 and ResNet-50 in PyTorch, for machines without torchvision.

They have torchvision's layers and numbers of parameters, and PyTorch's own initial values.
"""

from torch import nn

# kernel, expanded channels, channels, squeeze-excite, hard-swish, stride
LARGE = [
    (3, 16, 16, False, False, 1),
    (3, 64, 24, False, False, 2),
    (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2),
    (5, 120, 40, True, False, 1),
    (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2),
    (3, 200, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 480, 112, True, True, 1),
    (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2),
    (5, 960, 160, True, True, 1),
    (5, 960, 160, True, True, 1),
]
SMALL = [
    (3, 16, 16, True, False, 2),
    (3, 72, 24, False, False, 2),
    (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2),
    (5, 240, 40, True, True, 1),
    (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1),
    (5, 144, 48, True, True, 1),
    (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1),
    (5, 576, 96, True, True, 1),
]


def conv(inputs, outputs, kernel, stride=1, groups=1, act=None, eps=1e-5, momentum=0.1):
    """A convolution, its normalisation, and an activation if there is one."""
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=eps, momentum=momentum),
    ]
    return nn.Sequential(*layers, *([act(inplace=True)] if act else []))


def mobile(*arguments, **options):
    return conv(*arguments, eps=0.001, momentum=0.01, **options)


class SqueezeExcite(nn.Module):
    def __init__(self, channels):
        super().__init__()
        # A quarter, as a multiple of 8 that is at least nine tenths of it.
        narrow = max(8, (channels // 4 + 4) // 8 * 8)
        if narrow < 0.9 * (channels // 4):
            narrow += 8
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, narrow, 1),
            nn.ReLU(),
            nn.Conv2d(narrow, channels, 1),
            nn.Hardsigmoid(),
        )

    def forward(self, x):
        return x * self.gate(x)


class Inverted(nn.Module):
    def __init__(self, inputs, kernel, expanded, outputs, squeeze, swish, stride):
        super().__init__()
        act = nn.Hardswish if swish else nn.ReLU
        layers = [mobile(inputs, expanded, 1, act=act)] if expanded != inputs else []
        layers.append(mobile(expanded, expanded, kernel, stride, groups=expanded, act=act))
        layers += [SqueezeExcite(expanded)] if squeeze else []
        layers.append(mobile(expanded, outputs, 1))
        self.layers = nn.Sequential(*layers)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.layers(x) if self.shortcut else self.layers(x)


def mobilenet_v3(blocks, hidden, classes):
    layers, inputs = [mobile(3, 16, 3, 2, act=nn.Hardswish)], 16
    for block in blocks:
        layers.append(Inverted(inputs, *block))
        inputs = block[2]
    return nn.Sequential(
        *layers,
        mobile(inputs, 6 * inputs, 1, act=nn.Hardswish),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6 * inputs, hidden),
        nn.Hardswish(inplace=True),
        nn.Dropout(0.2),
        nn.Linear(hidden, classes),
    )


class Bottleneck(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        self.layers = nn.Sequential(
            conv(inputs, width, 1, act=nn.ReLU),
            conv(width, width, 3, stride, act=nn.ReLU),
            conv(width, 4 * width, 1),
        )
        same = stride == 1 and inputs == 4 * width
        self.shortcut = nn.Identity() if same else conv(inputs, 4 * width, 1, stride)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.act(self.layers(x) + self.shortcut(x))


def resnet50(classes):
    layers, inputs = [conv(3, 64, 7, 2, act=nn.ReLU), nn.MaxPool2d(3, 2, 1)], 64
    for width, count in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for index in range(count):
            layers.append(Bottleneck(inputs, width, 2 if index == 0 and width > 64 else 1))
            inputs = 4 * width
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes)
    )


def build(name, classes):
    """The network of this name."""
    if name == "resnet50":
        return resnet50(classes)
    if name == "mobilenet_v3_large":
        return mobilenet_v3(LARGE, 1280, classes)
    if name == "mobilenet_v3_small":
        return mobilenet_v3(SMALL, 1024, classes)
    raise ValueError(f"there is no {name} here")
