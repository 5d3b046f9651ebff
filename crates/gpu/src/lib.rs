#![doc = include_str!("../README.md")]
// Devices need `unsafe`: their memory is addresses, and kernels are calls into a driver or C++.
#![allow(unsafe_code)]

mod args;
#[cfg(feature = "cuda")]
mod compile;
#[cfg(feature = "cuda")]
mod cuda;
mod device;
mod engine;
mod heap;
#[cfg(any(feature = "cuda", test))]
mod load;
#[cfg(any(feature = "cuda", test))]
mod ptx;
#[cfg(feature = "shim")]
mod shim;
#[cfg(any(feature = "cuda", test))]
mod sources;
mod step;
#[cfg(all(test, feature = "shim"))]
mod tests;
mod training;
mod transfer;
#[cfg(feature = "cuda")]
mod upload;
mod values;

pub use self::engine::{Gpu, Weights, training_launches};
#[cfg(feature = "cuda")]
pub use compile::{Compiled, compile, compiler};
#[cfg(feature = "cuda")]
pub use cuda::{Cuda, CudaMemory, Found, Recorded, find};
pub use device::{Device, DeviceError, Launch, Storage};
#[cfg(feature = "cuda")]
pub use ptx::embeddable;
#[cfg(feature = "shim")]
pub use shim::{HostMemory, Shim};
pub use step::BatchShape;
