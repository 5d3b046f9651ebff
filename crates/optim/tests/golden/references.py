"""Lion, AdaBelief and Ranger in f64, implemented from their papers.

Each has one tensor; `step` takes a gradient and a learning rate. These references show whether the
package that generate.py uses agrees with the papers.
"""

import math

import numpy as np


def rectification(beta2, step):
    """RAdam (Liu et al., 2020), algorithm 2: r_t, or None while rho_t is too small."""
    rho_infinity = 2 / (1 - beta2) - 1
    rho = rho_infinity - 2 * step * beta2**step / (1 - beta2**step)
    if rho < 5:
        return None
    over = (rho - 4) * (rho - 2) * rho_infinity
    return math.sqrt(over / ((rho_infinity - 4) * (rho_infinity - 2) * rho))


class Reference:
    def __init__(self, kind, options, values, decay):
        self.rule = dict(lion=self.lion, adabelief=self.adabelief, ranger=self.ranger)[kind]
        self.options = options
        self.decay = decay
        self.p = values.astype(np.float64)
        self.m = np.zeros_like(self.p)
        self.v = np.zeros_like(self.p)
        self.largest = np.zeros_like(self.p)
        self.slow = self.p.copy()
        self.t = 0

    def step(self, gradient, rate):
        self.t += 1
        self.rule(gradient.astype(np.float64), rate)

    def lion(self, g, rate):
        """Chen et al., 2023, algorithm 2."""
        beta1, beta2 = self.options.get("betas", [0.9, 0.99])
        direction = np.sign(beta1 * self.m + (1 - beta1) * g)
        self.p -= rate * (direction + self.decay * self.p)
        self.m = beta2 * self.m + (1 - beta2) * g

    def adabelief(self, g, rate):
        """Zhuang et al., 2020, algorithm 2, rectified as in RAdam; eps is also added to the root."""
        o = self.options
        beta1, beta2 = o.get("betas", [0.9, 0.999])
        eps = o.get("eps", 1e-16)
        if o.get("weight_decouple", True):
            self.p -= rate * self.decay * self.p
        else:
            g = g + self.decay * self.p
        self.m = beta1 * self.m + (1 - beta1) * g
        self.v = beta2 * self.v + (1 - beta2) * (g - self.m) ** 2 + eps
        self.largest = np.maximum(self.largest, self.v)
        s = self.largest if o.get("amsgrad", False) else self.v
        mean = self.m / (1 - beta1**self.t)
        correction = math.sqrt(1 - beta2**self.t)
        if not o.get("rectify", True):
            self.p -= rate * mean / (np.sqrt(s) / correction + eps)
            return
        r = rectification(beta2, self.t)
        if r is None:
            self.p -= rate * mean
        else:
            self.p -= rate * r * mean * correction / (np.sqrt(s) + eps)

    def ranger(self, g, rate):
        """RAdam; LookAhead (Zhang et al., 2019); centralised gradients (Yong et al., 2020)."""
        o = self.options
        beta1, beta2 = o.get("betas", [0.95, 0.999])
        if o.get("use_gc", True) and g.ndim > (3 if o.get("gc_conv_only", False) else 1):
            g = g - g.mean(axis=tuple(range(1, g.ndim)), keepdims=True)
        self.p -= rate * self.decay * self.p
        self.m = beta1 * self.m + (1 - beta1) * g
        self.v = beta2 * self.v + (1 - beta2) * g**2
        mean = self.m / (1 - beta1**self.t)
        r = rectification(beta2, self.t)
        if r is None:
            self.p -= rate * mean
        else:
            correction = math.sqrt(1 - beta2**self.t)
            self.p -= rate * r * mean * correction / (np.sqrt(self.v) + o.get("eps", 1e-5))
        if self.t % o.get("k", 6) == 0:
            self.slow += o.get("alpha", 0.5) * (self.p - self.slow)
            self.p = self.slow.copy()
