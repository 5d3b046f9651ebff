//! Runs networks: executors, operators, parameters.

pub(crate) mod composed;
pub(crate) mod dropout;
pub(crate) mod executor;
pub(crate) mod grad_cam;
pub(crate) mod images;
pub(crate) mod initialise;
pub(crate) mod key;
pub(crate) mod native;
pub(crate) mod network;
pub(crate) mod operators;
pub(crate) mod parameters;
pub(crate) mod precision;
pub(crate) mod processor;
pub(crate) mod slices;
