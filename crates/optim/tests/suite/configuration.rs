//! Tests of settings in files: spelling, reading, and errors that name the key.

use optim::{LrScheduleConfig, OptimizerConfig, PlateauConfig, Warmup};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The error from reading and validating `text`, or `None` if it is valid.
fn problem<T: DeserializeOwned>(
    text: &str,
    validate: impl Fn(&T) -> Result<(), optim::Error>,
) -> Option<String> {
    match serde_json::from_str::<T>(text) {
        Err(error) => Some(error.to_string()),
        Ok(config) => validate(&config).err().map(|error| error.to_string()),
    }
}

fn assert_refused<T: DeserializeOwned>(
    cases: &[(&str, &str)],
    validate: impl Fn(&T) -> Result<(), optim::Error>,
) {
    for (text, key) in cases {
        let problem = problem(text, &validate);
        let problem = problem.unwrap_or_else(|| panic!("{text} was accepted"));
        assert!(problem.contains(&format!("`{key}`")), "{text}: {problem}");
    }
}

fn assert_read_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
    cases: &[&str],
    validate: impl Fn(&T) -> Result<(), optim::Error>,
) {
    for text in cases {
        assert_eq!(problem(text, &validate), None, "{text}");
        let config: T = serde_json::from_str(text).unwrap();
        let written = serde_json::to_string(&config).unwrap();
        assert_eq!(
            serde_json::from_str::<T>(&written).unwrap(),
            config,
            "{written}"
        );
    }
}

#[test]
fn optimizers_are_read_and_refused_by_key() {
    assert_read_back(
        &[
            r#"{"type": "adam"}"#,
            r#"{"type": "adam", "betas": [0, 0.5], "eps": 0, "weight_decay": 1}"#,
            r#"{"type": "adamw", "weight_decay": 0.05}"#,
            r#"{"type": "sgd"}"#,
            r#"{"type": "sgd", "momentum": 0.9, "nesterov": true}"#,
            r#"{"type": "adam", "amsgrad": true}"#,
            r#"{"type": "rmsprop", "alpha": 0, "centered": true, "momentum": 0.9}"#,
            r#"{"type": "lion", "betas": [0.9, 0.99], "weight_decay": 1}"#,
            r#"{"type": "adabelief", "rectify": false, "weight_decouple": false}"#,
            r#"{"type": "ranger", "k": 1, "alpha": 1, "use_gc": true, "gc_conv_only": true}"#,
        ],
        OptimizerConfig::validate,
    );
    assert_refused(
        &[
            (r#"{"type": "adamax"}"#, "adamax"),
            (r#"{"momentum": 0.9}"#, "type"),
            (r#"{"type": "adam", "momentum": 0.9}"#, "momentum"),
            (r#"{"type": "sgd", "momentun": 0.9}"#, "momentun"),
            (r#"{"type": "adam", "betas": [0.9, 1.0]}"#, "betas"),
            (r#"{"type": "adamw", "betas": [-0.1, 0.9]}"#, "betas"),
            (r#"{"type": "adam", "eps": -1e-8}"#, "eps"),
            (r#"{"type": "adamw", "weight_decay": -0.1}"#, "weight_decay"),
            (r#"{"type": "sgd", "momentum": -0.9}"#, "momentum"),
            (r#"{"type": "sgd", "nesterov": true}"#, "nesterov"),
            (r#"{"type": "sgd", "amsgrad": true}"#, "amsgrad"),
            (r#"{"type": "rmsprop", "alpha": 1}"#, "alpha"),
            (r#"{"type": "rmsprop", "momentum": -1}"#, "momentum"),
            (r#"{"type": "lion", "eps": 1}"#, "eps"),
            (r#"{"type": "lion", "betas": [0.9, 1]}"#, "betas"),
            (r#"{"type": "adabelief", "eps": -1}"#, "eps"),
            (r#"{"type": "ranger", "k": 0}"#, "k"),
            (r#"{"type": "ranger", "alpha": 1.5}"#, "alpha"),
            (
                r#"{"type": "ranger", "use_gc": false, "gc_conv_only": true}"#,
                "gc_conv_only",
            ),
            (
                r#"{"type": "sgd", "momentum": 0.9, "dampening": 0.1, "nesterov": true}"#,
                "nesterov",
            ),
        ],
        OptimizerConfig::validate,
    );
}

#[test]
fn each_rule_lists_its_keys_with_a_purpose_and_is_found_by_its_name() {
    assert_eq!(OptimizerConfig::RULES.len(), OptimizerConfig::all().len());
    for (rule, config) in OptimizerConfig::RULES.iter().zip(OptimizerConfig::all()) {
        assert_eq!(rule.name, config.name());
        assert!(rule.text.ends_with('.'), "{}: {}", rule.name, rule.text);
        let written = serde_json::to_value(&config).unwrap();
        assert_eq!(written["type"], rule.name);
        let mut written: Vec<&String> = written.as_object().unwrap().keys().collect();
        written.retain(|key| *key != "type");
        let mut listed: Vec<&str> = rule.settings.iter().map(|setting| setting.name).collect();
        listed.sort_unstable();
        written.sort_unstable();
        assert_eq!(written, listed, "{}", rule.name);
        for setting in rule.settings {
            assert!(setting.text.ends_with('.'), "{}", setting.text);
        }
    }
}

#[test]
fn schedules_are_read_and_refused_by_key() {
    assert_read_back(
        &[
            r#"{"type": "constant"}"#,
            r#"{"type": "plateau", "mode": "max", "threshold_mode": "abs"}"#,
            r#"{"type": "step", "step_size": 1, "gamma": 1}"#,
            r#"{"type": "multi_step", "milestones": []}"#,
            r#"{"type": "sgdr", "t_0": 5, "interval": "step"}"#,
            r#"{"type": "cosine"}"#,
            r#"{"type": "one_cycle", "anneal_strategy": "linear"}"#,
            r#"{"type": "one_cycle", "three_phase": true}"#,
            r#"{"type": "one_cycle", "div_factor": 1, "final_div_factor": 1}"#,
            r#"{"type": "one_cycle", "div_factor": 4, "final_div_factor": 0.25}"#,
            r#"{"type": "polynomial", "power": 2, "interval": "step"}"#,
            r#"{"type": "exponential", "gamma": 0.9}"#,
            r#""default-0.1-3""#,
            r#""step-4-0.8""#,
            r#""SGDR-5-2""#,
            r#""multi-10,20-0.1""#,
            r#""constant""#,
        ],
        LrScheduleConfig::validate,
    );
    assert_refused(
        &[
            (r#"{"type": "cosinus"}"#, "cosinus"),
            (r#"{"type": "exponential"}"#, "gamma"),
            (r#"{"type": "exponential", "gamma": 0}"#, "gamma"),
            (r#"{"type": "polynomial", "power": 0}"#, "power"),
            (
                r#"{"type": "one_cycle", "three_phase": true, "pct_start": 0.6}"#,
                "three_phase",
            ),
            (r#""step-4-0""#, "gamma"),
            (r#""default-2-3""#, "factor"),
            (r#""SGDR-0-2""#, "t_0"),
            (r#""multi-20,10-0.1""#, "milestones"),
            (r#"{"type": "constant", "gamma": 0.1}"#, "gamma"),
            (r#"{"type": "plateau", "step_size": 3}"#, "step_size"),
            (r#"{"type": "plateau", "factor": 1}"#, "factor"),
            (r#"{"type": "plateau", "factor": 0}"#, "factor"),
            (r#"{"type": "plateau", "mode": "best"}"#, "best"),
            (r#"{"type": "plateau", "threshold": -1}"#, "threshold"),
            (r#"{"type": "plateau", "min_lr": -1}"#, "min_lr"),
            (r#"{"type": "plateau", "eps": -1}"#, "eps"),
            (r#"{"type": "step"}"#, "step_size"),
            (r#"{"type": "step", "step_size": 0}"#, "step_size"),
            (r#"{"type": "step", "step_size": 3, "gamma": 0}"#, "gamma"),
            (
                r#"{"type": "multi_step", "milestones": [3, 3]}"#,
                "milestones",
            ),
            (
                r#"{"type": "multi_step", "milestones": [5, 3]}"#,
                "milestones",
            ),
            (
                r#"{"type": "multi_step", "milestones": [0, 3]}"#,
                "milestones",
            ),
            (
                r#"{"type": "multi_step", "milestones": [3], "gamma": -0.1}"#,
                "gamma",
            ),
            (r#"{"type": "sgdr", "t_0": 0}"#, "t_0"),
            (r#"{"type": "sgdr", "t_0": 1, "t_mult": 0}"#, "t_mult"),
            (r#"{"type": "sgdr", "t_0": 1, "eta_min": -1}"#, "eta_min"),
            (r#"{"type": "cosine", "eta_min": -1}"#, "eta_min"),
            (r#"{"type": "one_cycle", "pct_start": 1.5}"#, "pct_start"),
            (r#"{"type": "one_cycle", "div_factor": 0}"#, "div_factor"),
            (r#"{"type": "one_cycle", "div_factor": 0.9}"#, "div_factor"),
            (
                r#"{"type": "one_cycle", "div_factor": 4, "final_div_factor": 0.2}"#,
                "final_div_factor",
            ),
            (
                r#"{"type": "one_cycle", "final_div_factor": 0}"#,
                "final_div_factor",
            ),
        ],
        LrScheduleConfig::validate,
    );
}

#[test]
fn warm_ups_are_read_and_refused_by_key() {
    assert_read_back(
        &[
            r#"{"steps": 100}"#,
            r#"{"epochs": 1}"#,
            r#"{"epochs": 0, "start_factor": 1}"#,
        ],
        Warmup::validate,
    );
    assert_refused(
        &[
            (r#"{}"#, "steps"),
            (r#"{"steps": 1, "epochs": 1}"#, "steps"),
            (r#"{"epochs": -1}"#, "epochs"),
            (r#"{"steps": 5, "start_factor": 0}"#, "start_factor"),
            (r#"{"steps": 5, "start_factor": 1.5}"#, "start_factor"),
            (r#"{"steps": 5, "start": 0.1}"#, "start"),
        ],
        Warmup::validate,
    );
}

#[test]
fn values_that_json_cannot_hold_are_refused_too() {
    let factor = f64::NAN;
    let plateau = LrScheduleConfig::Plateau(PlateauConfig {
        factor,
        ..PlateauConfig::default()
    });
    let error = plateau.validate().unwrap_err().to_string();
    assert!(
        error.contains("schedule plateau: `factor` is NaN"),
        "{error}"
    );
}

#[test]
fn short_texts_are_the_tables_they_stand_for_and_others_get_all_forms() {
    for (text, table) in [
        ("constant", r#"{"type": "constant"}"#),
        (
            "default-0.1-3",
            r#"{"type": "plateau", "factor": 0.1, "patience": 3, "min_lr": 1e-6}"#,
        ),
        (
            "default-1e-1-3",
            r#"{"type": "plateau", "factor": 0.1, "patience": 3, "min_lr": 1e-6}"#,
        ),
        (
            "default-1.E-1-3",
            r#"{"type": "plateau", "factor": 0.1, "patience": 3, "min_lr": 1e-6}"#,
        ),
        (
            "step-4-0.8",
            r#"{"type": "step", "step_size": 4, "gamma": 0.8}"#,
        ),
        (
            "step-4-8e-1",
            r#"{"type": "step", "step_size": 4, "gamma": 0.8}"#,
        ),
        (
            "multi-10,20-1e-1",
            r#"{"type": "multi_step", "milestones": [10, 20], "gamma": 0.1}"#,
        ),
        ("SGDR-5-2", r#"{"type": "sgdr", "t_0": 5, "t_mult": 2}"#),
        (
            "multi-10,20-0.1",
            r#"{"type": "multi_step", "milestones": [10, 20], "gamma": 0.1}"#,
        ),
    ] {
        let table: LrScheduleConfig = serde_json::from_str(table).unwrap();
        assert_eq!(text.parse::<LrScheduleConfig>().unwrap(), table, "{text}");
    }
    for text in [
        "",
        "step",
        "step-4",
        "step-0.5-4",
        "SGDR-5-2-1",
        "multi--0.1",
        "default-1e-1",
        "default-0.1-3e",
        "step-4-e-1",
        "step-4--0.8",
        "warm-1-2",
    ] {
        let error = text.parse::<LrScheduleConfig>().unwrap_err().to_string();
        for form in ["default-0.1-3", "step-4-0.8", "SGDR-5-2", "multi-10,20-0.1"] {
            assert!(error.contains(form), "{text}: {error}");
        }
    }
}
