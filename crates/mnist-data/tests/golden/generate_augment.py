"""Writes torchvision's augmented images: golden data for src/augment/tests/golden.rs.

    python generate_augment.py        (needs torch and torchvision; writes beside itself)

The images are not stored: this script and the Rust tests compute them by `pixel`, and displacement fields by `noise`.
augment/cases.json lists every case with its arguments. augment/answers.bin has the results, one after the other,
each with the shape of its image: [height, width, channels] bytes (for `displacement`, [height, width] floats).
"""

import json
from pathlib import Path

import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F


def pixel(x, y, c):
    """An image with slopes, edges, noise and all grey levels."""
    return (5 * x + 3 * y + 40 * c + (31 * x + 17 * y + 7 * c) % 23 * 4 + (90 if (x // 5 + y // 7) % 2 else 0)) % 256


def noise(x, y, axis):
    return ((37 * x + 101 * y + 53 * axis + x * y) % 64 - 32) / 32


def picture(width, height, channels):
    data = [[[pixel(x, y, c) for x in range(width)] for y in range(height)] for c in range(channels)]
    return torch.tensor(data, dtype=torch.uint8)


def field(width, height, axis):
    data = [[noise(x, y, axis) for x in range(width)] for y in range(height)]
    return torch.tensor(data, dtype=torch.float32)


def affine(image, fill, **arguments):
    # torchvision's own `fill` weights the image twice at its border. If the fill is subtracted from the image first,
    # zeros stand for the fill, and the border is a plain blend.
    moved = F.affine(image.float() - fill, interpolation=InterpolationMode.BILINEAR, fill=None, **arguments)
    return (moved + fill).round().to(torch.uint8)


def elastic(image, reach):
    height, width = image.shape[-2:]
    # Displacements in pixels; torchvision's unit is half a side.
    x, y = (field(width, height, axis) * reach for axis in (0, 1))
    displacement = torch.stack([x * 2 / width, y * 2 / height], dim=-1).unsqueeze(0)
    moved = F.elastic(image.float(), displacement, InterpolationMode.BILINEAR, None)
    return moved.round().to(torch.uint8)


def displacement(image, alpha, sigma):
    height, width = image.shape[-2:]
    smooth = field(width, height, 0).view(1, 1, height, width)
    if sigma > 0:
        size = int(8 * sigma + 1)
        size += 1 - size % 2
        smooth = F.gaussian_blur(smooth, [size, size], [sigma, sigma])
    # ElasticTransform divides by the width; in its coordinates, half a width is 1.
    return (smooth * alpha / width * (width / 2)).view(height, width)


def cases():
    turn = dict(angle=0.0, translate=[0.0, 0.0], scale=1.0, shear=[0.0, 0.0])
    for size in [(28, 28, 1), (33, 21, 3)]:
        for fill, change in [
            (0, {}),
            (0, dict(angle=10.0)),
            (0, dict(angle=-77.0, scale=0.6)),
            (0, dict(translate=[3.0, -2.0])),
            (0, dict(translate=[1.25, 2.5], scale=1.08)),
            (0, dict(shear=[12.0, -7.0])),
            (128, dict(angle=33.0, translate=[2.0, 5.0], scale=1.7, shear=[-20.0, 10.0])),
            (255, dict(angle=180.0, scale=0.92)),
        ]:
            yield size, "affine", dict(fill=fill) | turn | change
        for reach in [0.0, 0.8, 3.0]:
            yield size, "elastic", dict(reach=reach)
        for factor in [0.0, 0.55, 1.0, 1.3]:
            yield size, "adjust_brightness", dict(factor=factor)
            yield size, "adjust_contrast", dict(factor=factor)
            yield size, "adjust_saturation", dict(factor=factor)
            yield size, "adjust_sharpness", dict(factor=factor)
        for shift in [-0.5, -0.13, 0.0, 0.02, 0.37]:
            yield size, "adjust_hue", dict(shift=shift)
        for bits in [0, 3, 8]:
            yield size, "posterize", dict(bits=bits)
        for threshold in [0.0, 100.3, 255.0]:
            yield size, "solarize", dict(threshold=threshold)
        yield size, "autocontrast", {}
        yield size, "equalize", {}
        yield size, "horizontal_flip", {}
        yield size, "vertical_flip", {}
        yield size, "rotate", dict(angle=9.0)
        yield size, "shear_x", dict(by=0.09)
        yield size, "shear_y", dict(by=-0.2)
    for sigma in [0.0, 1.3, 3.0]:
        yield (28, 28, 1), "displacement", dict(alpha=34.0, sigma=sigma)
    # Images that equalize leaves unchanged: few pixels, or only one grey level.
    yield (3, 3, 3), "equalize", {}
    yield (1, 1, 3), "autocontrast", {}
    yield (2, 2, 3), "adjust_sharpness", dict(factor=2.0)


def answer(image, op, arguments):
    bilinear = dict(interpolation=InterpolationMode.BILINEAR, fill=None)
    still = dict(angle=0.0, translate=[0, 0], scale=1.0, center=[0, 0])
    # The calls that RandAugment makes itself.
    degrees = lambda slope: torch.rad2deg(torch.atan(torch.tensor(slope, dtype=torch.float64))).item()
    match op:
        case "affine" | "elastic" | "displacement":
            return globals()[op](image, **arguments)
        case "adjust_hue":
            return F.adjust_hue(image, arguments["shift"])
        case "posterize":
            return F.posterize(image, arguments["bits"])
        case "solarize":
            return F.solarize(image, arguments["threshold"])
        case "rotate":
            return F.rotate(image, arguments["angle"], **bilinear)
        case "shear_x":
            return F.affine(image, shear=[degrees(arguments["by"]), 0.0], **still, **bilinear)
        case "shear_y":
            return F.affine(image, shear=[0.0, degrees(arguments["by"])], **still, **bilinear)
        case _:
            return getattr(F, op)(image, *arguments.values())


def main():
    folder = Path(__file__).parent / "augment"
    folder.mkdir(exist_ok=True)
    listed, answers = [], b""
    for size, op, arguments in cases():
        result = answer(picture(*size), op, arguments)
        if op != "displacement":
            result = result.permute(1, 2, 0)
        answers += result.contiguous().numpy().tobytes()
        listed.append(dict(zip(["width", "height", "channels"], size)) | {op: arguments})
    (folder / "answers.bin").write_bytes(answers)
    (folder / "cases.json").write_text("[\n" + ",\n".join(json.dumps(case) for case in listed) + "\n]\n")


main()
