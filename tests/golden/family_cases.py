"""The networks of generate_families.py: each family's variants, the projects that have them, and how to build them.

A case is one network of one project. `scheme` is the name that the Rust type `Scheme` displays. Weights are filled under
the project's own names, so a case checks names, shapes and the network itself.
"""

import dataclasses
import re
from typing import Callable


@dataclasses.dataclass
class Case:
    variant: str
    scheme: str
    build: Callable  # from the number of classes to the project's module
    side: int = 64
    tensorflow: bool = False  # whether the file needs `Overrides::tensorflow()`: SAME padding, epsilon 1e-3
    bgr: bool = False  # whether the project's images are blue, green, red
    # From a name in the module's state to the scheme's, for schemes that no package has. None for tensors that it lacks.
    rename: Callable = lambda name: name


@dataclasses.dataclass
class Family:
    cases: list
    # The variants with gradients and Adam steps, and their numbers of images. The first case of the variant is used.
    trained: dict
    train_side: int = 64
    norm_weight: float = 0.45  # in training; see TRAINED_BIAS in generate_families.py
    # The gain, for networks whose features are normalised; it is searched for the others.
    gain: float | None = None
    one_gain: bool = False  # whether the gain of a variant's first case serves its other cases
    # Networks that differ only in the pixels' normalisation: each one has a copy of another one's case in this scheme.
    twins: dict = dataclasses.field(default_factory=dict)


def torchvision(variant, name=None, **options):
    def build(classes):
        from torchvision.models import get_model

        return get_model(name or variant, weights=None, num_classes=classes, **options)

    return Case(variant, "torchvision", build)


def timm(variant, name, side=64, tensorflow=False, **options):
    def build(classes):
        from timm import create_model

        return create_model(name, num_classes=classes, **options)

    return Case(variant, "timm", build, side, tensorflow)


def pretrainedmodels(variant):
    def build(classes):
        import pretrainedmodels
        from torch.nn import AdaptiveAvgPool2d, Linear

        model = getattr(pretrainedmodels, variant)(pretrained=None)
        model.last_linear = Linear(model.last_linear.in_features, classes)
        # The package's pooling has windows of 7 x 7, for 224 px alone.
        if hasattr(model, "avg_pool"):
            model.avg_pool = AdaptiveAvgPool2d(1)
        if variant.startswith("densenet"):
            model.logits = lambda features: model.last_linear(features.relu().mean((2, 3)))
        return model

    return Case(variant, "pretrainedmodels", build)


# EfficientNet


def efficientnet_pytorch(number):
    def build(classes):
        from efficientnet_pytorch import EfficientNet

        # Without an image size, the padding is SAME for images of any size.
        return EfficientNet.from_name(f"efficientnet-b{number}", num_classes=classes, image_size=None)

    return Case(f"efficientnet_b{number}", "efficientnet-pytorch", build)


# Stem, depths, widths and head of pycls' EN-B0 to EN-B5 (configs/dds_baselines/effnet in its repository).
PYCLS_EFFNETS = [
    (32, [1, 2, 2, 3, 3, 4, 1], [16, 24, 40, 80, 112, 192, 320], 1280),
    (32, [2, 3, 3, 4, 4, 5, 2], [16, 24, 40, 80, 112, 192, 320], 1280),
    (32, [2, 3, 3, 4, 4, 5, 2], [16, 24, 48, 88, 120, 208, 352], 1408),
    (40, [2, 3, 3, 5, 5, 6, 2], [24, 32, 48, 96, 136, 232, 384], 1536),
    (48, [2, 4, 4, 6, 6, 8, 2], [24, 32, 56, 112, 160, 272, 448], 1792),
    (48, [3, 5, 5, 7, 7, 9, 3], [24, 40, 64, 128, 176, 304, 512], 2048),
]


def pycls_effnet(number):
    def build(classes):
        from pycls.models.effnet import EffNet

        stem, depths, widths, head = PYCLS_EFFNETS[number]
        strides, kernels = [1, 2, 2, 2, 1, 2, 1], [3, 3, 5, 3, 5, 5, 3]
        ratios = [1] + [6] * 6
        return EffNet(
            stem_w=stem, ds=depths, ws=widths, exp_rs=ratios, se_r=0.25, ss=strides, ks=kernels, head_w=head, nc=classes
        )

    return Case(f"efficientnet_b{number}", "pycls", build, bgr=True)


# ConvNeXt and Swin


def convnext_of_torchvision(variant, width, depths):
    """A ConvNeXt that torchvision has no name for."""

    def build(classes):
        from torchvision.models.convnext import CNBlockConfig, ConvNeXt

        outputs = [2 * width, 4 * width, 8 * width, None]
        blocks = [CNBlockConfig(width << i, outputs[i], depths[i]) for i in range(4)]
        return ConvNeXt(blocks, num_classes=classes)

    return Case(variant, "torchvision", build)


def swin_of_torchvision(variant, width, depths, heads):
    def build(classes):
        from torchvision.models.swin_transformer import SwinTransformer

        return SwinTransformer([4, 4], width, depths, heads, [7, 7], num_classes=classes)

    return Case(variant, "torchvision", build)


def renamed(case, scheme, filter_of, names, constants=None):
    """A case of a project without a package: timm's network under that project's names. `names` makes them from timm's,
    and timm's own converter of the project's files, in the module `filter_of`, reads them back. `constants` makes the
    tensors that the project's files have besides."""

    def build(classes):
        import importlib

        import torch

        convert = importlib.import_module(filter_of).checkpoint_filter_fn

        class Renamed(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.model = case.build(classes)

            def forward(self, x):
                return self.model(x)

            def state_dict(self):
                state = {names(name): tensor for name, tensor in self.model.state_dict().items()}
                return state | (constants(self.model) if constants else {})

            def load_state_dict(self, state, strict):
                return self.model.load_state_dict(convert(state, self.model), strict=strict)

        return Renamed()

    return Case(case.variant, scheme, build, case.side)


def facebook(name):
    """github.com/facebookresearch/ConvNeXt, models/convnext.py, from timm's names."""
    for pattern, replacement in [
        (r"^stem\.", "downsample_layers.0."),
        (r"^stages\.(\d+)\.downsample\.", r"downsample_layers.\1."),
        (r"\.blocks\.", "."),
        (r"\.conv_dw\.", ".dwconv."),
        (r"\.mlp\.fc", ".pwconv"),
        (r"^head\.norm\.", "norm."),
        (r"^head\.fc\.", "head."),
    ]:
        name = re.sub(pattern, replacement, name)
    return name


def microsoft(name):
    """github.com/microsoft/Swin-Transformer, models/swin_transformer.py, from timm's names."""
    name = re.sub(r"^layers\.(\d+)\.downsample\.", lambda m: f"layers.{int(m[1]) - 1}.downsample.", name)
    return name.replace("head.fc.", "head.")


def microsoft_constants(model):
    """The buffers that Microsoft's files have besides the weights."""
    state = {}
    for name, module in model.named_modules():
        if hasattr(module, "relative_position_index"):
            state[f"{microsoft(name)}.relative_position_index"] = module.relative_position_index
        if getattr(module, "attn_mask", None) is not None:
            state[f"{microsoft(name)}.attn_mask"] = module.attn_mask
    return state


SWINS = {
    "swin_t": ("tiny", 96, [2, 2, 6, 2], [3, 6, 12, 24]),
    "swin_s": ("small", 96, [2, 2, 18, 2], [3, 6, 12, 24]),
    "swin_b": ("base", 128, [2, 2, 18, 2], [4, 8, 16, 32]),
    "swin_l": ("large", 192, [2, 2, 18, 2], [6, 12, 24, 48]),
}
SMALL_CONVNEXTS = {"atto": (40, [2, 2, 6, 2]), "femto": (48, [2, 2, 6, 2]), "pico": (64, [2, 2, 6, 2]), "nano": (80, [2, 2, 8, 2])}


def swin_of_timm(variant):
    # timm's Swin has windows of 7 x 7 in the last stage only for images of 224 px.
    return timm(variant, f"swin_{SWINS[variant][0]}_patch4_window7_224", side=224)


# ResNet


def wide_resnext(classes):
    """WSL's largest network here (facebookresearch/WSL-Images, hubconf.py), which torchvision's class builds."""
    from torchvision.models.resnet import Bottleneck, ResNet

    return ResNet(Bottleneck, [3, 4, 23, 3], num_classes=classes, groups=32, width_per_group=16)


RESNETS = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]
RESNEXTS = ["resnext50_32x4d", "resnext101_32x8d"]
RESNET = Family(
    cases=[torchvision(name) for name in RESNETS + RESNEXTS]
    + [Case("resnext101_32x16d", "torchvision", wide_resnext)]
    + [timm(name, name) for name in RESNETS + RESNEXTS + ["resnext101_32x16d"]]
    + [pretrainedmodels(name) for name in RESNETS],
    trained={"resnet18": 8},
    one_gain=True,
)
SE_RESNEXT = Family(
    cases=[pretrainedmodels(f"se_resnext{size}_32x4d") for size in (50, 101)]
    + [timm(f"se_resnext{size}_32x4d", f"seresnext{size}_32x4d") for size in (50, 101)],
    trained={"se_resnext50_32x4d": 8},
    one_gain=True,
    norm_weight=0.25,
)


# RegNet

REGNETS = {
    "400mf": ("004", "400MF"),
    "600mf": ("006", "600MF"),
    "800mf": ("008", "800MF"),
    "1_6gf": ("016", "1.6GF"),
    "3_2gf": ("032", "3.2GF"),
    "4gf": ("040", "4.0GF"),
    "6_4gf": ("064", "6.4GF"),
    "8gf": ("080", "8.0GF"),
}


def regnet(kind, size):
    """torchvision's class, with the parameters of timm's table where torchvision has no network of this size."""
    variant, (short, long) = f"regnet_{kind}_{size}", REGNETS[size]

    def build(classes):
        from timm import create_model
        from timm.models.regnet import model_cfgs
        from torchvision.models.regnet import BlockParams, RegNet

        shape = model_cfgs[f"regnet{kind}_{short}"]
        params = BlockParams.from_init_params(
            depth=shape.depth,
            w_0=shape.w0,
            w_a=shape.wa,
            w_m=shape.wm,
            group_width=shape.group_size,
            se_ratio=shape.se_ratio or None,
        )
        # pycls and timm round halves to even, torchvision up.
        model = create_model(f"regnet{kind}_{short}")
        params.widths = [getattr(model, f"s{number}").b1.conv3.conv.out_channels for number in range(1, 5)]
        return RegNet(params, num_classes=classes)

    def build_pycls(classes):
        from pycls.core.config import cfg, reset_cfg
        from pycls.models.regnet import RegNet
        from timm.models.regnet import model_cfgs

        shape = model_cfgs[f"regnet{kind}_{short}"]
        reset_cfg()
        cfg.MODEL.NUM_CLASSES = classes
        cfg.REGNET.SE_ON = kind == "y"
        cfg.REGNET.DEPTH = shape.depth
        cfg.REGNET.W0 = shape.w0
        cfg.REGNET.WA = shape.wa
        cfg.REGNET.WM = shape.wm
        cfg.REGNET.GROUP_W = shape.group_size
        return RegNet()

    native = Case(variant, "torchvision", build)
    if size in ("400mf", "800mf", "1_6gf", "3_2gf", "8gf"):
        native = torchvision(variant)
    pycls = Case(variant, "pycls", build_pycls, bgr=True)
    return [native, timm(variant, f"regnet{kind}_{short}"), pycls]


REGNET = Family(
    cases=[case for kind in "xy" for size in REGNETS for case in regnet(kind, size)],
    trained={"regnet_x_400mf": 8, "regnet_y_400mf": 8},
    one_gain=True,
)


# DenseNet


def old_densenet(name):
    """torchvision's first names: the inverse of `_load_state_dict` in torchvision/models/densenet.py."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", name)


DENSENETS = ["densenet121", "densenet169", "densenet201"]
DENSENET = Family(
    cases=[torchvision(name) for name in DENSENETS]
    + [
        dataclasses.replace(torchvision(name), scheme="old torchvision", rename=old_densenet)
        for name in DENSENETS
    ]
    + [timm(name, name) for name in DENSENETS]
    + [pretrainedmodels(name) for name in DENSENETS],
    trained={"densenet121": 8},
    one_gain=True,
    norm_weight=0.25,  # it has many more activations
)

FAMILIES = {
    "efficientnet": Family(
        cases=[torchvision(f"efficientnet_b{number}") for number in range(8)]
        + [torchvision("efficientnet_v2_s")]
        + [timm(f"efficientnet_b{number}", f"efficientnet_b{number}") for number in range(5)]
        + [timm(f"efficientnet_b{number}", f"tf_efficientnet_b{number}", tensorflow=True) for number in (0, 8)]
        + [
            timm("efficientnet_v2_s", "tf_efficientnetv2_s", tensorflow=True),
            timm("efficientnet_v2_b0", "tf_efficientnetv2_b0", tensorflow=True),
        ]
        + [efficientnet_pytorch(number) for number in range(9)]
        + [pycls_effnet(number) for number in range(6)],
        trained={"efficientnet_b0": 8},
        twins={
            f"adv-efficientnet_b{number}": (f"efficientnet_b{number}", "efficientnet-pytorch") for number in range(9)
        },
    ),
    "mobilenet_v4": Family(
        cases=[timm(f"mobilenetv4_conv_{size}", f"mobilenetv4_conv_{size}") for size in ("small", "medium", "large")],
        trained={"mobilenetv4_conv_small": 8},
    ),
    "convnext": Family(
        cases=[convnext_of_torchvision(f"convnext_{size}", *sizes) for size, sizes in SMALL_CONVNEXTS.items()]
        + [torchvision(f"convnext_{size}") for size in ("tiny", "small", "base", "large")]
        + [timm(f"convnext_{size}", f"convnext_{size}") for size in (*SMALL_CONVNEXTS, "tiny", "small", "base", "large")]
        + [
            renamed(timm(f"convnext_{size}", f"convnext_{size}"), "facebookresearch", "timm.models.convnext", facebook)
            for size in ("tiny", "small", "base", "large")
        ],
        trained={"convnext_atto": 4},
        gain=3.0,
    ),
    "swin": Family(
        cases=[torchvision(f"swin_{size}") for size in "tsb"]
        + [swin_of_torchvision("swin_l", *SWINS["swin_l"][1:])]
        + [swin_of_timm(variant) for variant in SWINS]
        + [
            renamed(
                swin_of_timm(variant), "microsoft", "timm.models.swin_transformer", microsoft, microsoft_constants
            )
            for variant in SWINS
        ],
        trained={"swin_t": 2},
        gain=3.0,
    ),
    "shufflenet_v2": Family(
        cases=[torchvision(f"shufflenet_v2_{size}") for size in ("x0_5", "x1_0", "x1_5", "x2_0")],
        trained={"shufflenet_v2_x0_5": 8},
    ),
    "resnet": RESNET,
    "se_resnext": SE_RESNEXT,
    "regnet": REGNET,
    "densenet": DENSENET,
    "xception": Family(
        cases=[pretrainedmodels("xception"), timm("xception", "legacy_xception")],
        trained={"xception": 8},
    ),
}
