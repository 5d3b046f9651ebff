"""Writes torch's results to optimizers.json, schedules.json and loss_scales.json in this folder.

    python generate.py        # needs torch (made with 2.15) and pytorch-optimizer (4.1) on a CPU

For some optimizers, the results of references.py are written, too. Parameters, gradients and
metrics come from the formulas below. tests/suite/formulas.rs has the same formulas, so that only
results are stored.
"""

import json
import math
import pathlib
import warnings
from importlib.metadata import version

import numpy
import pytorch_optimizer
import references
import torch
from torch.optim import lr_scheduler

HERE = pathlib.Path(__file__).parent
MASK = 0xFFFFFFFF

# --- the formulas shared with tests/suite/formulas.rs -------------------------------------


def hash32(x):
    """The finaliser of MurmurHash3."""
    x &= MASK
    x = ((x ^ (x >> 16)) * 0x85EBCA6B) & MASK
    x = ((x ^ (x >> 13)) * 0xC2B2AE35) & MASK
    return x ^ (x >> 16)


def uniform(stream, index):
    """A pseudo-random multiple of 2^-23 in [-1, 1), which is exact in f32."""
    return (hash32(hash32(stream) + index) >> 8) / 2**23 - 1.0


SHAPES = [(1,), (7,), (4, 6), (2, 4, 2, 2)]
SCALES = [1.0, 2.0**-20, 8.0, 0.125]  # of the gradients of each tensor


def parameter(index):
    return uniform(1, index)


def gradient(step, index, scale):
    """A gradient. About one in five is exactly zero, as after a ReLU."""
    return 0.0 if hash32(step * 1000 + index) % 5 == 0 else scale * uniform(1000 + step, index)


def metric(epoch):
    """A metric that falls towards 0.1, with noise."""
    return 1.0 / (1.0 + epoch / 10.0) + 0.1 * uniform(7, epoch)


# --- optimizers ------------------------------------------------------------------------

STEPS = 100
STORED = [1, 2, 10, 40, 100]
FROZEN_UNTIL = 30  # if a case freezes the second group, its first step is number 31

OPTIMIZERS = {
    "adam": dict(type="adam"),
    "adam_l2": dict(type="adam", weight_decay=0.05),
    "adam_betas_eps": dict(type="adam", betas=[0.8, 0.95], eps=1e-3),
    "adamw": dict(type="adamw"),
    "adamw_decay": dict(type="adamw", weight_decay=0.3, betas=[0.95, 0.99]),
    "adamw_frozen": dict(type="adamw", weight_decay=0.1),
    "sgd": dict(type="sgd"),
    "sgd_l2": dict(type="sgd", weight_decay=0.05),
    "sgd_momentum": dict(type="sgd", momentum=0.9),
    "sgd_dampening": dict(type="sgd", momentum=0.9, dampening=0.5, weight_decay=0.01),
    "sgd_nesterov": dict(type="sgd", momentum=0.9, nesterov=True, weight_decay=0.01),
    "sgd_frozen": dict(type="sgd", momentum=0.8, dampening=0.2),
    "adam_amsgrad": dict(type="adam", amsgrad=True, weight_decay=0.01),
    "adamw_amsgrad": dict(type="adamw", amsgrad=True),
    "rmsprop": dict(type="rmsprop"),
    "rmsprop_options": dict(type="rmsprop", alpha=0.9, eps=1e-4, weight_decay=0.02),
    "rmsprop_momentum": dict(type="rmsprop", momentum=0.8),
    "rmsprop_centered": dict(type="rmsprop", centered=True, eps=1e-3),
    "rmsprop_all": dict(type="rmsprop", centered=True, momentum=0.7, eps=1e-3, weight_decay=0.02),
    "lion": dict(type="lion"),
    "lion_decay": dict(type="lion", betas=[0.8, 0.95], weight_decay=0.3),
    "adabelief": dict(type="adabelief"),
    "adabelief_plain": dict(type="adabelief", rectify=False, betas=[0.8, 0.99]),
    "adabelief_eps": dict(type="adabelief", rectify=False, eps=1e-4),
    "adabelief_decay": dict(type="adabelief", weight_decay=0.2),
    "adabelief_l2": dict(type="adabelief", weight_decay=0.05, weight_decouple=False),
    "adabelief_amsgrad": dict(type="adabelief", amsgrad=True),
    "adabelief_frozen": dict(type="adabelief", weight_decay=0.1),
    "ranger": dict(type="ranger"),
    "ranger_plain": dict(type="ranger", use_gc=False, betas=[0.9, 0.99], eps=1e-8),
    "ranger_convolutions": dict(type="ranger", gc_conv_only=True),
    "ranger_lookahead": dict(type="ranger", k=4, alpha=0.3, weight_decay=0.2),
    "ranger_frozen": dict(type="ranger", k=5),
}

# Settings with other names in the package, or settings that only this project has.
TORCH = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
}


def packaged(kind, groups, learning_rate, options):
    """An optimizer from torch or from the package pytorch-optimizer."""
    if kind in TORCH:
        return TORCH[kind](groups, lr=learning_rate, **options)
    options = dict(options)
    if kind == "lion":
        return pytorch_optimizer.Lion(groups, lr=learning_rate, **options)
    if kind == "adabelief":
        # The default in this project is the authors' default.
        options.setdefault("rectify", True)
        options["ams_bound"] = options.pop("amsgrad", False)
        return pytorch_optimizer.AdaBelief(groups, lr=learning_rate, **options)
    # With the package's default, steps go against the gradient while the variance is unreliable.
    return pytorch_optimizer.Ranger(groups, lr=learning_rate, degenerated_to_sgd=True, **options)


def optimizer_case(name, config):
    kind = config["type"]
    options = {key: value for key, value in config.items() if key != "type"}
    learning_rate = dict(sgd=0.05, rmsprop=0.002).get(kind, 0.01)
    tensors, offset = [], 0
    for shape in SHAPES:
        size = math.prod(shape)
        values = [parameter(offset + i) for i in range(size)]
        tensors.append(torch.nn.Parameter(torch.tensor(values, dtype=torch.float32).reshape(shape)))
        offset += size
    # The second group has a tenth of the rate, and a separate weight decay.
    groups = [
        dict(params=tensors[:2]),
        dict(params=tensors[2:], weight_decay=0.02),
    ]
    optimizer = packaged(kind, groups, learning_rate, options)
    # For AdaBelief, Ranger and Lion, also the results of the papers' formulas in f64.
    by_hand = None
    if kind not in TORCH:
        decay = options.get("weight_decay", 0.0)
        by_hand = [
            references.Reference(kind, options, tensor.detach().numpy(), decay if at < 2 else 0.02)
            for at, tensor in enumerate(tensors)
        ]
    answers = {}
    for step in range(1, STEPS + 1):
        offset = 0
        rate = learning_rate * (1.0 - step / 200.0)
        for position, (tensor, scale) in enumerate(zip(tensors, SCALES)):
            values = [gradient(step, offset + i, scale) for i in range(tensor.numel())]
            frozen = name.endswith("_frozen") and step <= FROZEN_UNTIL and position >= 2
            values = torch.tensor(values, dtype=torch.float32).reshape(tensor.shape)
            tensor.grad = None if frozen else values
            offset += tensor.numel()
            if by_hand and not frozen:
                own_rate = rate if position < 2 else rate * 0.1
                by_hand[position].step(values.numpy(), own_rate)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.param_groups[1]["lr"] = rate * 0.1
        if name.endswith("_frozen") and step <= FROZEN_UNTIL and kind not in TORCH:
            # The package counts steps per group. In this project, a frozen group's count does not
            # change.
            held = optimizer.param_groups.pop()
            optimizer.step()
            optimizer.param_groups.append(held)
        else:
            optimizer.step()
        if step in STORED:
            values = torch.cat([tensor.detach().flatten() for tensor in tensors]).numpy()
            answers[step] = [Number(value) for value in values]
            if by_hand:
                exact = numpy.concatenate([reference.p.ravel() for reference in by_hand])
                worst = (abs(values - exact) / numpy.maximum(abs(exact), 0.1)).max()
                assert worst < 1e-6, (name, step, worst)
    return dict(name=name, config=config, learning_rate=learning_rate, parameters=answers)


class Number(float):
    """An f32 that json writes with as few digits as identify it."""

    def __new__(cls, value):
        return super().__new__(cls, str(numpy.float32(value)))


# --- schedules -------------------------------------------------------------------------

BASE = 0.1


def fresh():
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=BASE)


def table(optimizer, scheduler, count, step=None):
    rates = []
    for at in range(count):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step() if step is None else step(scheduler, at)
    return rates


def per_epoch(config, make, epochs=200, **rest):
    optimizer = fresh()
    rates = table(optimizer, make(optimizer), epochs)
    return dict(schedule=config, epochs=epochs, steps_per_epoch=1, rates=rates, **rest)


def per_step(config, make, epochs=20, steps_per_epoch=10, **rest):
    optimizer = fresh()
    rates = table(optimizer, make(optimizer), epochs * steps_per_epoch)
    return dict(
        schedule=config, epochs=epochs, steps_per_epoch=steps_per_epoch, rates=rates, **rest
    )


def plateau(**options):
    optimizer = fresh()
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, **options)
    rising = options.get("mode") == "max"
    watched = lambda epoch: 2.0 - metric(epoch) if rising else metric(epoch)
    rates = table(optimizer, scheduler, 200, lambda s, epoch: s.step(watched(epoch)))
    config = dict(type="plateau", **options)
    return dict(schedule=config, epochs=200, steps_per_epoch=1, rates=rates)


def sgdr_by_step(t_0, t_mult, epochs=20, steps_per_epoch=10):
    """As in torch's example: step(epoch + i / iterations)."""
    optimizer = fresh()
    scheduler = lr_scheduler.CosineAnnealingWarmRestarts(optimizer, t_0, t_mult, 1e-4)
    rates = table(
        optimizer,
        scheduler,
        epochs * steps_per_epoch,
        lambda s, at: s.step((at + 1) / steps_per_epoch),
    )
    config = dict(type="sgdr", t_0=t_0, t_mult=t_mult, eta_min=1e-4, interval="step")
    return dict(schedule=config, epochs=epochs, steps_per_epoch=steps_per_epoch, rates=rates)


def closed_cosine(optimizer, t_max, eta_min):
    """CosineAnnealingLR in closed form, because the recursion adds up rounding errors."""
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer, t_max, eta_min)
    scheduler.get_lr = scheduler._get_closed_form_lr
    return scheduler


def closed_polynomial(optimizer, total_iters, power):
    """PolynomialLR in closed form, for the same reason."""
    scheduler = lr_scheduler.PolynomialLR(optimizer, total_iters, power)
    scheduler.get_lr = scheduler._get_closed_form_lr
    return scheduler


def warmed(steps, start_factor, make_next):
    def make(optimizer):
        first = lr_scheduler.LinearLR(optimizer, start_factor, total_iters=steps)
        first.get_lr = first._get_closed_form_lr
        return lr_scheduler.SequentialLR(optimizer, [first, make_next(optimizer)], [steps])

    return make


def one_cycle(epochs, steps_per_epoch, **options):
    config = dict(type="one_cycle", **options)
    make = lambda o: lr_scheduler.OneCycleLR(
        o, BASE, total_steps=epochs * steps_per_epoch, cycle_momentum=False, **options
    )
    optimizer = fresh()
    scheduler = make(optimizer)
    count = epochs * steps_per_epoch
    # torch refuses a step after the last one.
    rates = table(optimizer, scheduler, count, lambda s, at: at + 1 < count and s.step())
    return dict(schedule=config, epochs=epochs, steps_per_epoch=steps_per_epoch, rates=rates)


def schedule_cases():
    yield per_epoch(dict(type="constant"), lambda o: lr_scheduler.LambdaLR(o, lambda _: 1.0), 3)
    yield per_epoch(
        dict(type="step", step_size=30, gamma=0.3), lambda o: lr_scheduler.StepLR(o, 30, 0.3)
    )
    yield per_epoch(
        dict(type="multi_step", milestones=[1, 60, 61, 150]),
        lambda o: lr_scheduler.MultiStepLR(o, [1, 60, 61, 150]),
    )
    yield per_epoch(dict(type="cosine"), lambda o: closed_cosine(o, 200, 0.0))
    yield per_epoch(dict(type="cosine", eta_min=1e-3), lambda o: closed_cosine(o, 200, 1e-3))
    yield per_step(
        dict(type="cosine", eta_min=1e-3, interval="step"), lambda o: closed_cosine(o, 200, 1e-3)
    )
    for t_0, t_mult in [(17, 1), (10, 2), (5, 3)]:
        yield per_epoch(
            dict(type="sgdr", t_0=t_0, t_mult=t_mult, eta_min=1e-4),
            lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, t_0, t_mult, 1e-4),
        )
    yield sgdr_by_step(3, 1)
    yield sgdr_by_step(2, 2)
    yield one_cycle(20, 10)
    yield one_cycle(20, 10, anneal_strategy="linear", pct_start=0.25)
    yield one_cycle(200, 1, div_factor=10.0, final_div_factor=100.0, pct_start=0.4)
    yield one_cycle(2, 1)
    yield one_cycle(20, 10, three_phase=True)
    yield one_cycle(200, 1, three_phase=True, pct_start=0.4, anneal_strategy="linear")
    yield per_epoch(
        dict(type="exponential", gamma=0.97), lambda o: lr_scheduler.ExponentialLR(o, 0.97)
    )
    for power in (1.0, 2.5):
        yield per_epoch(
            dict(type="polynomial", power=power), lambda o: closed_polynomial(o, 200, power)
        )
    yield per_step(
        dict(type="polynomial", power=0.5, interval="step"),
        lambda o: closed_polynomial(o, 200, 0.5),
    )
    yield plateau()
    yield plateau(factor=0.5, patience=3, threshold=0.05)
    yield plateau(factor=0.5, patience=3, mode="max", threshold=0.01)
    yield plateau(factor=0.5, patience=2, threshold=0.02, threshold_mode="abs", cooldown=4)
    yield plateau(
        mode="max", factor=0.7, patience=3, threshold=0.05, threshold_mode="abs", min_lr=0.01
    )
    yield plateau(factor=0.5, patience=0, cooldown=2, eps=1e-3)
    # A warm-up before the schedule, as in torchvision's reference scripts.
    yield per_epoch(
        dict(type="step", step_size=30),
        warmed(5, 0.01, lambda o: lr_scheduler.StepLR(o, 30)),
        warmup=dict(epochs=5, start_factor=0.01),
    )
    yield per_step(
        dict(type="cosine", interval="step"),
        warmed(25, 0.1, lambda o: closed_cosine(o, 175, 0.0)),
        warmup=dict(steps=25, start_factor=0.1),
    )
    yield per_step(
        dict(type="constant"),
        warmed(20, 1 / 3, lambda o: lr_scheduler.LambdaLR(o, lambda _: 1.0)),
        warmup=dict(epochs=2),
    )


# --- loss scales -----------------------------------------------------------------------


def overflows(step):
    """Whether the gradient overflows: in about one of twenty steps."""
    return hash32(9000 + step) % 20 == 0


def loss_scale_case(config, steps=300):
    """The scale after each step, and the value of a gradient of 3 after unscaling."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    scaler = torch.amp.GradScaler("cpu", **config)
    scaler.scale(torch.zeros(1))  # The first use creates the scale.
    answers = []
    for step in range(steps):
        parameter.grad = torch.tensor([math.inf if overflows(step) else 3.0])
        scaler.unscale_(optimizer)
        gradient = Number(parameter.grad.item()) if not overflows(step) else None
        before = parameter.item()
        scaler.step(optimizer)
        assert (parameter.item() == before) == overflows(step) or gradient == 0.0
        parameter.data.zero_()
        scaler.update()
        answers.append([Number(scaler.get_scale()), gradient])
    return dict(config=config, steps=answers)


LOSS_SCALES = [
    dict(),
    dict(init_scale=8.0, growth_interval=3),
    dict(init_scale=1000.0, growth_factor=1.7, backoff_factor=0.3, growth_interval=7),
    dict(init_scale=2.0**120, growth_factor=1e3, backoff_factor=0.9, growth_interval=1),
]


def write(name, made_by, cases):
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    header = json.dumps(dict(generator="generate.py", torch=torch.__version__, **made_by))
    text = header[:-1] + ', "cases": [\n' + lines + "\n]}\n"
    (HERE / name).write_text(text)


def main():
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", message="The epoch parameter in")
    cases = [optimizer_case(name, config) for name, config in OPTIMIZERS.items()]
    made_by = dict(pytorch_optimizer=version("pytorch_optimizer"), frozen_until=FROZEN_UNTIL)
    write("optimizers.json", made_by, cases)
    write("schedules.json", dict(base_learning_rate=BASE), schedule_cases())
    write("loss_scales.json", dict(), [loss_scale_case(config) for config in LOSS_SCALES])


if __name__ == "__main__":
    main()
