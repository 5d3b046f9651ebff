use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{slice, with_slices};

/// Number of rows per task. A constant, so that the sums do not depend on the number of threads.
const ROWS: usize = 256;

/// `x + row`, for maps `x` `[n, h, w, c]` and `row` `[c]`.
pub(crate) fn add_row(x: &Tensor, row: &Tensor) -> Result<Tensor> {
    apply(x, row, Combine::Add)
}

/// `x * row`, for maps `x` `[n, h, w, c]` and `row` `[c]`.
pub(crate) fn scale_row(x: &Tensor, row: &Tensor) -> Result<Tensor> {
    apply(x, row, Combine::Multiply)
}

fn apply(x: &Tensor, row: &Tensor, combine: Combine) -> Result<Tensor> {
    if x.device().is_cpu() {
        x.contiguous()?.apply_op2(&row.contiguous()?, combine)
    } else {
        combine.stock(x, row)
    }
}

/// An operator on every row.
#[derive(Clone, Copy)]
enum Combine {
    Add,
    Multiply,
}

impl Combine {
    fn stock(self, x: &Tensor, row: &Tensor) -> Result<Tensor> {
        match self {
            Combine::Add => x.broadcast_add(row),
            Combine::Multiply => x.broadcast_mul(row),
        }
    }
}

impl CustomOp2 for Combine {
    fn name(&self) -> &'static str {
        "operation on rows"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        row: &CpuStorage,
        row_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, row) = (slice(x, x_layout)?, slice(row, row_layout)?);
        let output = combined(*self, x, row);
        Ok((CpuStorage::F32(output), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        row: &Tensor,
        _output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let channels = row.elem_count();
        let (of_x, of_row) = with_slices([x, row, gradient], |[x, row, gradient]| {
            Ok(match self {
                Combine::Add => (None, sums(channels, gradient, None)),
                Combine::Multiply => {
                    let of_row = sums(channels, gradient, Some(x));
                    (Some(combined(*self, gradient, row)), of_row)
                }
            })
        })?;
        let of_x = match of_x {
            Some(of_x) => Tensor::from_vec(of_x, x.shape(), x.device())?,
            None => gradient.clone(),
        };
        let of_row = Tensor::from_vec(of_row, row.shape(), row.device())?;
        Ok((Some(of_x), Some(of_row)))
    }
}

fn combined(combine: Combine, x: &[f32], row: &[f32]) -> Vec<f32> {
    let length = ROWS * row.len();
    let mut output = vec![0.0; x.len()];
    let tasks = output.par_chunks_mut(length).zip(x.par_chunks(length));
    tasks.for_each(|(output, x)| {
        let rows = output.chunks_exact_mut(row.len());
        for (output, x) in rows.zip(x.chunks_exact(row.len())) {
            let values = output.iter_mut().zip(x.iter().zip(row));
            match combine {
                Combine::Add => values.for_each(|(output, (x, y))| *output = x + y),
                Combine::Multiply => values.for_each(|(output, (x, y))| *output = x * y),
            }
        }
    });
    output
}

/// The sums of the columns of `values`, times `factors` if there are some.
fn sums(channels: usize, values: &[f32], factors: Option<&[f32]>) -> Vec<f32> {
    let length = ROWS * channels;
    let factors = factors.unwrap_or(&[]);
    let parts: Vec<Vec<f32>> = (values.par_chunks(length).enumerate())
        .map(|(task, values)| {
            let mut sums = vec![0.0; channels];
            let factors = factors.get(task * length..).unwrap_or(&[]);
            if factors.is_empty() {
                for row in values.chunks_exact(channels) {
                    sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
                }
            } else {
                let rows = values.chunks_exact(channels);
                for (row, factors) in rows.zip(factors.chunks_exact(channels)) {
                    let products = row.iter().zip(factors).map(|(x, y)| x * y);
                    sums.iter_mut().zip(products).for_each(|(sum, x)| *sum += x);
                }
            }
            sums
        })
        .collect();
    let mut total = vec![0.0f64; channels];
    for part in &parts {
        let pairs = total.iter_mut().zip(part);
        pairs.for_each(|(total, &part)| *total += f64::from(part));
    }
    total.iter().map(|&total| total as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::operators::test_support::{assert_same, numbers};

    #[test]
    fn kernel_and_stock_operators_agree() {
        for combine in [Combine::Add, Combine::Multiply] {
            for shape in [[3, 14, 15, 6], [1, 1, 1, 1]] {
                assert_same(
                    [numbers(&shape, 1), numbers(&shape[3..], 2)],
                    |[x, row]| apply(x, row, combine).unwrap(),
                    |[x, row]| combine.stock(x, row).unwrap(),
                );
            }
        }
    }
}
