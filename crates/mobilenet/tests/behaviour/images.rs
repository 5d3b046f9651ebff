//! Tests that bytes give the same results as their values in the table, bit for bit.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use mobilenet::weights::Normalisation;
use mobilenet::{Composed, Error, Executor, Fused, FusedOptions, Images, Network};

use crate::executors::step;
use crate::{config, network, values};

/// The same images `[n, height, width, 3]`, as bytes and as normalised values.
fn bytes_and_numbers(shape: [usize; 3]) -> [Images; 2] {
    let [count, height, width] = shape;
    let shape = (count, height, width, 3);
    let table = Normalisation::IMAGENET.table();
    let bytes: Vec<u8> = (0..count * height * width * 3)
        .map(|i| ((i as u32).wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let numbers: Vec<f32> = (bytes.iter().enumerate())
        .map(|(index, byte)| table[index % 3][usize::from(*byte)])
        .collect();
    let bytes = Tensor::from_vec(bytes, shape, &Device::Cpu).unwrap();
    let numbers = Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap();
    [
        Images::bytes(&bytes, Arc::new(table)).unwrap(),
        Images::normalised(&numbers).unwrap(),
    ]
}

fn executors(network: &Network) -> Vec<Box<dyn Executor>> {
    let plan = Arc::new(network.plan().clone());
    let fused = |threads| {
        let options = FusedOptions {
            threads: Some(threads),
            isa: None,
        };
        Box::new(Fused::new(Arc::clone(&plan), options).unwrap())
    };
    vec![
        Box::new(Composed::new(Arc::clone(&plan))),
        fused(1),
        fused(3),
    ]
}

#[test]
fn a_network_sees_the_table_in_the_bytes() {
    for shape in [[3, 33, 33], [2, 64, 64], [5, 47, 34]] {
        let images = bytes_and_numbers(shape);
        for index in 0..executors(&network(&config())).len() {
            for frozen in [false, true] {
                let [found, expected] = images.each_ref().map(|images| {
                    let mut network = network(&config());
                    let executor = executors(&network).swap_remove(index);
                    network.set_executor(executor);
                    let bits = |numbers: Vec<f32>| -> Vec<u32> {
                        numbers.into_iter().map(f32::to_bits).collect()
                    };
                    step(&mut network, images, frozen).map(bits)
                });
                let names = ["inference", "logits", "statistics", "gradient"];
                for (name, (found, expected)) in names.into_iter().zip(found.iter().zip(&expected))
                {
                    let same = found == expected;
                    assert!(
                        same,
                        "{name} of {shape:?}, executor {index}, frozen {frozen}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_table_is_the_normalisation_of_every_byte() {
    let [images, numbers] = bytes_and_numbers([2, 9, 13]);
    assert_eq!(images.pixels().dtype(), DType::U8);
    let bits = |images: &Images| -> Vec<u32> {
        let values = values(&images.values().unwrap());
        values.into_iter().map(f32::to_bits).collect()
    };
    assert_eq!(bits(&images), bits(&numbers));
    let Normalisation { mean, std } = Normalisation::IMAGENET;
    for (colour, row) in Normalisation::IMAGENET.table().iter().enumerate() {
        for (byte, value) in row.iter().enumerate() {
            let exact = (byte as f64 / 255.0 - f64::from(mean[colour])) / f64::from(std[colour]);
            assert!((f64::from(*value) - exact).abs() < 1e-6, "{colour}, {byte}");
        }
    }
}

#[test]
fn parts_of_a_tensor_are_images_too() {
    let [bytes, numbers] = bytes_and_numbers([2, 70, 50]);
    let table = Arc::new(*bytes.table().unwrap());
    let part = |images: &Images| {
        let rows = images.pixels().narrow(1, 3, 33).unwrap();
        rows.narrow(2, 5, 41).unwrap()
    };
    let bytes = Images::bytes(&part(&bytes), table).unwrap();
    let numbers = Images::normalised(&part(&numbers)).unwrap();
    let network = network(&config());
    let logits = values(&network.infer(&bytes).unwrap());
    assert_eq!(logits, values(&network.infer(&numbers).unwrap()));
}

#[test]
fn wrong_images_are_refused() {
    let zeros = |shape: &[usize], dtype| Tensor::zeros(shape, dtype, &Device::Cpu).unwrap();
    let as_bytes = |pixels: &Tensor| {
        let table = Arc::new(Normalisation::IMAGENET.table());
        Images::bytes(pixels, table).map(|_| ())
    };
    let as_numbers = |pixels: &Tensor| Images::normalised(pixels).map(|_| ());
    let refused = |outcome: Result<(), Error>, found: &str, expected: &str| {
        let error = outcome.unwrap_err();
        assert!(matches!(error, Error::Images { .. }), "{error}");
        let error = error.to_string();
        assert!(error.contains(found), "{error}");
        assert!(
            error.contains(&format!("expected {expected} of")),
            "{error}"
        );
    };
    let square = [2, 32, 32, 3];
    as_bytes(&zeros(&square, DType::U8)).unwrap();
    as_numbers(&zeros(&square, DType::F32)).unwrap();
    for (dtype, name) in [(DType::F64, "f64"), (DType::U32, "u32")] {
        refused(as_bytes(&zeros(&square, dtype)), name, "u8");
        refused(as_numbers(&zeros(&square, dtype)), name, "f32");
    }
    refused(as_bytes(&zeros(&square, DType::F32)), "f32", "u8");
    refused(as_numbers(&zeros(&square, DType::U8)), "u8", "f32");
    let shapes: [&[usize]; 7] = [
        &[2, 3, 32, 32],
        &[32, 32, 3],
        &[2, 32, 32, 1],
        &[2, 32, 32, 4],
        &[0, 32, 32, 3],
        &[2, 0, 32, 3],
        &[2, 32, 0, 3],
    ];
    for shape in shapes {
        let found = format!("{shape:?}");
        refused(as_bytes(&zeros(shape, DType::U8)), &found, "u8");
        refused(as_numbers(&zeros(shape, DType::F32)), &found, "f32");
    }
}
