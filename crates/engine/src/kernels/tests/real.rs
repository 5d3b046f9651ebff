//! Reference values, and the tolerance for a kernel's results.

use std::ops::{Add, AddAssign, Mul};

use crate::spec::Activation;

/// A value in f64, and the sum of the absolute values of its terms. This sum bounds the rounding
/// error even if the terms cancel each other.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Real {
    pub(super) value: f64,
    pub(super) size: f64,
}

/// Tolerance of a kernel's result, relative to the sum of absolute values.
const TOLERANCE: f64 = 1e-5;

impl From<f64> for Real {
    fn from(value: f64) -> Self {
        Real {
            value,
            size: value.abs(),
        }
    }
}

impl Add for Real {
    type Output = Real;
    fn add(self, other: Real) -> Real {
        Real {
            value: self.value + other.value,
            size: self.size + other.size,
        }
    }
}

impl AddAssign for Real {
    fn add_assign(&mut self, other: Real) {
        *self = *self + other;
    }
}

impl Mul for Real {
    type Output = Real;
    fn mul(self, other: Real) -> Real {
        Real {
            value: self.value * other.value,
            size: self.size * other.size,
        }
    }
}

impl Real {
    pub(super) fn activate(self, activation: Activation) -> Real {
        let x = self.value;
        match activation {
            Activation::Identity => self,
            Activation::Relu => Real {
                value: x.max(0.0),
                size: self.size,
            },
            Activation::Relu6 => Real {
                value: x.clamp(0.0, 6.0),
                size: self.size,
            },
            // The slope of Hardswish is at most 1.5.
            Activation::Hardswish => Real {
                value: x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
                size: 2.0 * self.size,
            },
            // The slope of SiLU is at most 1.1.
            Activation::Silu => Real {
                value: x * sigmoid(x),
                size: 2.0 * self.size,
            },
            Activation::Sigmoid => Real {
                value: sigmoid(x),
                size: sigmoid(x) + self.size,
            },
            Activation::Hardsigmoid => Real {
                value: (x + 3.0).clamp(0.0, 6.0) / 6.0,
                size: 1.0 + self.size,
            },
            Activation::Gelu => unreachable!("no kernel computes GELU"),
        }
    }

    /// This value as an operand of a product, rounded if that is `bf16`. Close to the middle between two bf16, a kernel may
    /// take either.
    pub(super) fn operand(self, bf16: bool) -> Real {
        if !bf16 {
            return self;
        }
        let rounded = |value: f64| f64::from(to_bf16(value as f32));
        let value = rounded(self.value);
        let around = [1.0 - 1e-6, 1.0 + 1e-6].map(|factor| rounded(self.value * factor));
        let either = around[0] != around[1];
        Real {
            value,
            size: self.size
                + if either {
                    value.abs() / 128.0 / TOLERANCE
                } else {
                    0.0
                },
        }
    }

    /// The derivative of the activation at this value. At a kink, the same as torch's.
    pub(super) fn slope(self, activation: Activation) -> Real {
        let x = self.value;
        let value = match activation {
            Activation::Identity => 1.0,
            Activation::Relu => f64::from(u8::from(x > 0.0)),
            Activation::Relu6 => f64::from(u8::from(x > 0.0 && x < 6.0)),
            Activation::Hardswish if x <= -3.0 => 0.0,
            Activation::Hardswish if x < 3.0 => x / 3.0 + 0.5,
            Activation::Hardswish => 1.0,
            Activation::Silu => sigmoid(x) * (1.0 + x * (1.0 - sigmoid(x))),
            Activation::Sigmoid => sigmoid(x) * (1.0 - sigmoid(x)),
            Activation::Hardsigmoid => f64::from(u8::from(x > -3.0 && x < 3.0)) / 6.0,
            Activation::Gelu => unreachable!("no kernel computes GELU"),
        };
        Real { value, size: 2.0 }
    }

    /// Asserts that a kernel's value equals this value within rounding.
    #[track_caller]
    pub(super) fn assert_near(self, actual: impl Into<f64>, what: impl FnOnce() -> String) {
        self.assert_stored(actual, 0.0, what);
    }

    /// As [`Real::assert_near`], but also allows a relative error of `rounding` from storing the
    /// value.
    #[track_caller]
    pub(super) fn assert_stored(
        self,
        actual: impl Into<f64>,
        rounding: f64,
        what: impl FnOnce() -> String,
    ) {
        let actual = actual.into();
        let bound = TOLERANCE * self.size + rounding * self.value.abs();
        let near = (actual - self.value).abs() <= bound;
        assert!(near, "{}: {actual} instead of {self:?}", what());
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Rounds to the nearest bf16, ties to even. NaN is not supported.
pub(super) fn to_bf16(value: f32) -> f32 {
    let bits = value.to_bits();
    let even = bits >> 16 & 1;
    f32::from_bits((bits + 0x7FFF + even) & 0xFFFF_0000)
}

/// Reproducible random numbers (Steele et al. 2014, SplitMix64).
pub(super) struct Noise(pub(super) u64);

impl Noise {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A random multiple of 1 / `steps` in [-`limit`, `limit`).
    fn number(&mut self, limit: u32, steps: u32) -> Real {
        let count = u64::from(2 * limit * steps);
        let index = (self.bits() % count) as f64;
        (index / f64::from(steps) - f64::from(limit)).into()
    }

    /// A random one of 8,192 values in [-4, 4). One in six is at a kink of an activation.
    pub(super) fn value(&mut self) -> Real {
        match self.bits() % 24 {
            0 => (-3.0).into(),
            1 => 0.0.into(),
            2 => 3.0.into(),
            3 => 6.0.into(),
            _ => self.number(4, 1024),
        }
    }

    /// A [`Noise::value`] rounded to bf16. It is still a multiple of 1 / 1024.
    pub(super) fn activation(&mut self) -> Real {
        f64::from(to_bf16(self.value().value as f32)).into()
    }

    /// A value in [-2, 2) with few digits. Multiplying a [`Noise::value`] by it and adding another
    /// value is exact in f32, so the result certainly falls on the right side of a kink.
    pub(super) fn scale(&mut self) -> Real {
        self.number(2, 64)
    }

    /// A factor that multiplies a scaled value without rounding: see [`Noise::scale`].
    pub(super) fn factor(&mut self) -> Real {
        self.number(2, 4)
    }

    /// A value in [-4, 4) away from every kink.
    pub(super) fn smooth(&mut self) -> Real {
        (self.number(4, 1024).value + 1.0 / 3000.0).into()
    }
}
