//! Validation of a schedule's settings.

use super::config::{
    CosineConfig, ExponentialConfig, Interval, LrScheduleConfig, MultiStepConfig, OneCycleConfig,
    PlateauConfig, PolynomialConfig, SgdrConfig, StepConfig,
};
use crate::error::{Error, is_non_negative, is_positive, require};

impl LrScheduleConfig {
    /// Every schedule, with required keys set to 1.
    pub fn all() -> [Self; 9] {
        [
            Self::Constant,
            Self::Plateau(PlateauConfig::default()),
            Self::Step(StepConfig {
                step_size: 1,
                gamma: 1.0,
            }),
            Self::MultiStep(MultiStepConfig {
                milestones: vec![1],
                gamma: 1.0,
            }),
            Self::Sgdr(SgdrConfig {
                t_0: 1,
                t_mult: 1,
                eta_min: 0.0,
                interval: Interval::Epoch,
            }),
            Self::Cosine(CosineConfig::default()),
            Self::OneCycle(OneCycleConfig::default()),
            Self::Polynomial(PolynomialConfig::default()),
            Self::Exponential(ExponentialConfig { gamma: 1.0 }),
        ]
    }

    /// Whether the rates depend on the number of epochs of the run. If not, a run can be made longer
    /// or shorter without a change of its rates.
    #[must_use]
    pub fn depends_on_length(&self) -> bool {
        match self {
            Self::Cosine(_) | Self::OneCycle(_) | Self::Polynomial(_) => true,
            Self::Constant
            | Self::Plateau(_)
            | Self::Step(_)
            | Self::MultiStep(_)
            | Self::Exponential(_)
            | Self::Sgdr(_) => false,
        }
    }

    /// The name of the schedule in a configuration file, for example `multi_step`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Plateau(_) => "plateau",
            Self::Step(_) => "step",
            Self::MultiStep(_) => "multi_step",
            Self::Sgdr(_) => "sgdr",
            Self::Cosine(_) => "cosine",
            Self::OneCycle(_) => "one_cycle",
            Self::Polynomial(_) => "polynomial",
            Self::Exponential(_) => "exponential",
        }
    }

    /// Checks every value, except those that depend on the base rate; see
    /// [`validate_beside`](Self::validate_beside) for these.
    ///
    /// # Errors
    /// [`Error::Setting`] with the first key that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let section = format!("schedule {}", self.name());
        let positive = |key, value: f64| {
            require(
                is_positive(value),
                &section,
                key,
                value,
                "a finite number > 0",
            )
        };
        let not_negative = |key, value: f64| {
            let expected = "a finite number >= 0";
            require(is_non_negative(value), &section, key, value, expected)
        };
        let count =
            |key, value: usize| require(value > 0, &section, key, value, "a whole number >= 1");
        match self {
            Self::Constant => Ok(()),
            Self::Plateau(plateau) => {
                let (factor, expected) = (plateau.factor, "0 < factor < 1");
                let ok = factor > 0.0 && factor < 1.0;
                require(ok, &section, "factor", factor, expected)?;
                not_negative("threshold", plateau.threshold)?;
                not_negative("min_lr", plateau.min_lr)?;
                not_negative("eps", plateau.eps)
            }
            Self::Step(step) => {
                count("step_size", step.step_size)?;
                positive("gamma", step.gamma)
            }
            Self::MultiStep(step) => {
                let milestones = &step.milestones;
                let ok = milestones.is_sorted_by(|a, b| a < b) && milestones.first() != Some(&0);
                let (found, expected) = (format!("{milestones:?}"), "epochs >= 1, increasing");
                require(ok, &section, "milestones", found, expected)?;
                positive("gamma", step.gamma)
            }
            Self::Sgdr(sgdr) => {
                count("t_0", sgdr.t_0)?;
                count("t_mult", sgdr.t_mult)?;
                not_negative("eta_min", sgdr.eta_min)
            }
            Self::Cosine(cosine) => not_negative("eta_min", cosine.eta_min),
            Self::OneCycle(cycle) => {
                let (share, expected) = (cycle.pct_start, "0 <= pct_start <= 1");
                let ok = (0.0..=1.0).contains(&share);
                require(ok, &section, "pct_start", share, expected)?;
                let (phases, expected) = (cycle.three_phase, "pct_start <= 0.5 with it");
                let ok = !phases || share <= 0.5;
                require(ok, &section, "three_phase", phases, expected)?;
                // torch accepts other factors too, but then the learning rate of the optimizer
                // would not be the highest rate.
                let (first, last) = (cycle.div_factor, cycle.final_div_factor);
                let (ok, expected) = (first.is_finite() && first >= 1.0, "a finite number >= 1");
                require(ok, &section, "div_factor", first, expected)?;
                positive("final_div_factor", last)?;
                let expected = "at least 1 / div_factor, so that the last rate is not the highest";
                require(
                    first * last >= 1.0,
                    &section,
                    "final_div_factor",
                    last,
                    expected,
                )
            }
            Self::Polynomial(polynomial) => positive("power", polynomial.power),
            Self::Exponential(exponential) => positive("gamma", exponential.gamma),
        }
    }

    /// Checks every value. The lowest rate, if set, must be at most the base rate.
    ///
    /// # Errors
    /// [`Error::Setting`] with the first key that is out of range.
    pub fn validate_beside(&self, base_learning_rate: f64) -> Result<(), Error> {
        self.validate()?;
        let (key, lowest) = match self {
            Self::Plateau(plateau) => ("min_lr", plateau.min_lr),
            Self::Sgdr(sgdr) => ("eta_min", sgdr.eta_min),
            Self::Cosine(cosine) => ("eta_min", cosine.eta_min),
            Self::Constant
            | Self::Step(_)
            | Self::MultiStep(_)
            | Self::OneCycle(_)
            | Self::Polynomial(_)
            | Self::Exponential(_) => return Ok(()),
        };
        let section = format!("schedule {}", self.name());
        let found = format!("{lowest} with a learning rate of {base_learning_rate}");
        let expected = "no more than the learning rate";
        require(lowest <= base_learning_rate, &section, key, found, expected)
    }
}
