#![doc = include_str!("../README.md")]

mod batch;
mod checkpoint;
mod class_order;
pub mod config;
mod cross_validation;
mod device;
mod disk_cache;
mod error;
mod events;
mod features;
mod fit;
mod import;
mod infer;
mod loss;
mod measure;
mod mistakes;
mod model;
mod photos;
mod precision;
mod predictions;
mod run_dir;
mod splits;
mod state;
mod survey;
mod table;
mod timing;

pub use batch::DeviceBatch;
pub use checkpoint::{Best, Checkpoints, EarlyStopping};
pub use config::RunConfig;
pub use cross_validation::{CrossValidation, FoldReport, FoldsConfig, Spread, cross_validate};
pub use device::{cpu_threads, keep_kernels_in, open_device};
pub use disk_cache::kept_images;
pub use error::{Error, Result};
pub use events::{
    EpochReport, Event, EventSink, MetricsFile, Recorder, TensorBoard, Unreadable, ValidationScores,
};
pub use fit::{
    Ending, LrCurve, LrPoint, LrRange, Outcome, PlacedOptimizer, find_learning_rate, fit, resume,
};
pub use import::{Imported, import_config};
pub use infer::{InferenceOptions, evaluate, evaluate_images, predict};
pub use loss::{Distillation, Loss, Mixed, Objective, Targets, balanced_class_weights};
pub use measure::{
    Answer, AnswersFile, Bin, Calibration, ClassCurves, ClassReport, ClassScores, ConfusionMatrix,
    Evaluation, Interval, McNemar, Measured, RunRecord, SplitRecord, TEMPERATURES, TopK,
    read_metrics,
};
pub use mistakes::Mistake;
pub use photos::{Photos, Recipe, training_speed};
pub use precision::{ChosenPrecision, TrainingSpeed, keep_speeds_in, settle_precision};
pub use predictions::{Prediction, PredictionColumns, PredictionObject, PredictionsFile};
pub use run_dir::RunDir;
pub use splits::{Listed, Splits};
pub use state::{Place, RunState};
pub use survey::{Shared, Survey, SurveyedSplit};
pub use timing::{EpochTimes, unix_time};
