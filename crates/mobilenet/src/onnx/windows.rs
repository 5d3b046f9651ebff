//! Swin's attention and patch merging as ONNX operators, for one image size.

use engine::{Attention, Shape};

use super::graph::{int, ints};
use super::layers::{Layers, Layout, Value};

/// Added to the scores of pixels that come from different sides of the image, as in torchvision.
const MASKED: f32 = -100.0;

/// The windows of a map.
struct Windows {
    /// Side of a window.
    side: usize,
    /// Height and width of the map.
    size: [usize; 2],
    /// The same, padded to multiples of the side.
    padded: [usize; 2],
    /// Distance of the shift along both axes.
    shift: [usize; 2],
}

impl Windows {
    fn new(attention: &Attention, shape: Shape) -> Windows {
        let (side, size) = (attention.window, [shape.height, shape.width]);
        let padded = size.map(|size| size.next_multiple_of(side));
        Windows {
            side,
            size,
            padded,
            shift: padded.map(|padded| if padded > side { attention.shift } else { 0 }),
        }
    }

    /// Number of windows along both axes.
    fn counts(&self) -> [usize; 2] {
        self.padded.map(|padded| padded / self.side)
    }

    fn pixels(&self) -> usize {
        self.side * self.side
    }

    /// For each place along an axis of the shifted map, the place in the map.
    fn shifted(&self, axis: usize) -> Vec<i64> {
        let (padded, shift) = (self.padded[axis], self.shift[axis]);
        (0..padded).map(|i| ((i + shift) % padded) as i64).collect()
    }

    /// For each place along an axis of the map, the place in the shifted map.
    fn restored(&self, axis: usize) -> Vec<i64> {
        let (padded, shift) = (self.padded[axis], self.shift[axis]);
        let place = |i: usize| ((i + padded - shift) % padded) as i64;
        (0..self.size[axis]).map(place).collect()
    }

    /// The part of the map that a place of the shifted map comes from: the shift brings pixels of the first rows next
    /// to those of the last.
    fn region(&self, axis: usize, place: usize) -> usize {
        let (padded, shift) = (self.padded[axis], self.shift[axis]);
        match place {
            _ if shift == 0 || place < padded - self.side => 0,
            _ if place < padded - shift => 1,
            _ => 2,
        }
    }

    /// The mask `[windows, pixels, pixels]`. `None` without a shift.
    fn mask(&self) -> Option<Vec<f32>> {
        if self.shift == [0, 0] {
            return None;
        }
        let [rows, columns] = self.counts();
        let mut mask = Vec::with_capacity(rows * columns * self.pixels().pow(2));
        for window in 0..rows * columns {
            let region = |pixel: usize| {
                let row = window / columns * self.side + pixel / self.side;
                let column = window % columns * self.side + pixel % self.side;
                (self.region(0, row), self.region(1, column))
            };
            for from in 0..self.pixels() {
                let others = (0..self.pixels()).map(region);
                let apart = others.map(|other| if other == region(from) { 0.0 } else { MASKED });
                mask.extend(apart);
            }
        }
        Some(mask)
    }

    /// For each pair of pixels of a window, the row of the table of biases.
    fn relative(&self) -> Vec<i64> {
        let (side, pixels) = (self.side, self.pixels());
        let pairs = (0..pixels).flat_map(|from| (0..pixels).map(move |to| (from, to)));
        let row = |(from, to): (usize, usize)| {
            let down = from / side + side - 1 - to / side;
            let across = from % side + side - 1 - to % side;
            (down * (2 * side - 1) + across) as i64
        };
        pairs.map(row).collect()
    }
}

impl Layers<'_> {
    pub(super) fn attention(&mut self, index: usize, attention: &Attention) -> Value {
        let input = self.plan.layers[index].inputs[0];
        let windows = Windows::new(attention, self.shape(input));
        let name = self.module_name(index);
        let x = self.at(input, Layout::Last);
        let x = self.partition(&name, &x, &windows, attention.channels);
        let x = self.attend(&name, &x, &windows, attention);
        let projected = self.unique(format!("{name}.proj"));
        let x = self.product(&attention.project, &projected, &x);
        let name = self.restore(&name, &x, &windows, attention.channels);
        let layout = Layout::Last;
        Value { name, layout }
    }

    /// A map `[n, h, w, c]` as windows `[n * windows, pixels, c]`.
    fn partition(&mut self, of: &str, x: &str, windows: &Windows, channels: usize) -> String {
        let name = |part: &str| format!("{of}.{part}");
        let zeros = [0, 1].map(|axis| windows.padded[axis] - windows.size[axis]);
        let mut x = self.pad(&name("padded"), x, zeros);
        for (axis, part) in [(0, "shifted_rows"), (1, "shifted_columns")] {
            if windows.shift[axis] > 0 {
                x = self.gather(&name(part), &x, axis as i64 + 1, &windows.shifted(axis));
            }
        }
        let [rows, columns] = windows.counts().map(|count| count as i64);
        let (side, channels) = (windows.side as i64, channels as i64);
        let split = [-1, rows, side, columns, side, channels];
        let x = self.reshape(&name("split"), &x, &split);
        let perm = vec![ints("perm", &[0, 1, 3, 2, 4, 5])];
        let x = (self.graph).node("Transpose", &name("sorted"), &[&x], perm);
        let pixels = windows.pixels() as i64;
        self.reshape(&name("windows"), &x, &[-1, pixels, channels])
    }

    /// The attention within windows `[n * windows, pixels, c]`, before the projection.
    fn attend(&mut self, of: &str, x: &str, windows: &Windows, attention: &Attention) -> String {
        let name = |part: &str| format!("{of}.{part}");
        let heads = attention.heads as i64;
        let channels = attention.channels as i64;
        let (pixels, size) = (windows.pixels() as i64, channels / heads);
        let qkv = self.unique(name("qkv"));
        let qkv = self.product(&attention.qkv, &qkv, x);
        let qkv = self.reshape(&name("heads"), &qkv, &[-1, pixels, 3, heads, size]);
        let perm = vec![ints("perm", &[2, 0, 3, 1, 4])];
        let qkv = (self.graph).node("Transpose", &name("by_head"), &[&qkv], perm);
        let [query, key, value] = [("query", 0), ("key", 1), ("value", 2)].map(|(part, place)| {
            let place = (self.graph).whole(&name(&format!("{part}.place")), &[], &[place]);
            let axis = vec![int("axis", 0)];
            (self.graph).node("Gather", &name(part), &[&qkv, &place], axis)
        });
        let scale = (size as f32).sqrt().recip();
        let scale = self.graph.tensor(&name("scale"), &[], &[scale]);
        let query = (self.graph).node("Mul", &name("query.scaled"), &[&query, &scale], vec![]);
        let perm = vec![ints("perm", &[0, 1, 3, 2])];
        let key = (self.graph).node("Transpose", &name("key.turned"), &[&key], perm);
        let scores = (self.graph).node("MatMul", &name("products"), &[&query, &key], vec![]);
        let bias = self.position_bias(of, windows, attention);
        let mut scores = (self.graph).node("Add", &name("scores"), &[&scores, &bias], vec![]);
        if let Some(mask) = windows.mask() {
            let count = windows.counts().iter().product::<usize>();
            let shape = [-1, count as i64, heads, pixels, pixels];
            scores = self.reshape(&name("scores.windows"), &scores, &shape);
            let shape = [count, 1, windows.pixels(), windows.pixels()];
            let mask = self.graph.tensor(&name("mask"), &shape, &mask);
            scores = (self.graph).node("Add", &name("masked"), &[&scores, &mask], vec![]);
            scores = self.reshape(&name("scores.flat"), &scores, &[-1, heads, pixels, pixels]);
        }
        let axis = vec![int("axis", -1)];
        let shares = (self.graph).node("Softmax", &name("shares"), &[&scores], axis);
        let mixed = (self.graph).node("MatMul", &name("mixed"), &[&shares, &value], vec![]);
        let perm = vec![ints("perm", &[0, 2, 1, 3])];
        let mixed = (self.graph).node("Transpose", &name("by_pixel"), &[&mixed], perm);
        self.reshape(&name("joined"), &mixed, &[-1, pixels, channels])
    }

    /// The biases of relative positions, `[heads, pixels, pixels]`.
    fn position_bias(&mut self, of: &str, windows: &Windows, attention: &Attention) -> String {
        let name = |part: &str| format!("{of}.position.{part}");
        let table = self.add_parameter(attention.table);
        let rows = self.gather(&name("rows"), &table, 0, &windows.relative());
        let pixels = windows.pixels() as i64;
        let shape = [pixels, pixels, attention.heads as i64];
        let pairs = self.reshape(&name("pairs"), &rows, &shape);
        let perm = vec![ints("perm", &[2, 0, 1])];
        (self.graph).node("Transpose", &name("bias"), &[&pairs], perm)
    }

    /// Windows `[n * windows, pixels, c]` as a map `[n, h, w, c]` with the name of the attention.
    fn restore(&mut self, of: &str, x: &str, windows: &Windows, channels: usize) -> String {
        let name = |part: &str| format!("{of}.{part}");
        let [rows, columns] = windows.counts().map(|count| count as i64);
        let (side, channels) = (windows.side as i64, channels as i64);
        let split = [-1, rows, columns, side, side, channels];
        let x = self.reshape(&name("split_back"), x, &split);
        let perm = vec![ints("perm", &[0, 1, 3, 2, 4, 5])];
        let x = (self.graph).node("Transpose", &name("sorted_back"), &[&x], perm);
        let [height, width] = windows.padded.map(|side| side as i64);
        let x = self.reshape(&name("map"), &x, &[-1, height, width, channels]);
        let x = self.gather(&name("rows_back"), &x, 1, &windows.restored(0));
        self.gather(of, &x, 2, &windows.restored(1))
    }

    /// Adds rows and columns of zeros at the end of a map `[n, h, w, c]`.
    fn pad(&mut self, name: &str, x: &str, [rows, columns]: [usize; 2]) -> String {
        if [rows, columns] == [0, 0] {
            return x.to_owned();
        }
        let zeros = [0, 0, 0, 0, 0, rows as i64, columns as i64, 0];
        let zeros = self.graph.whole(&format!("{name}.zeros"), &[8], &zeros);
        self.graph.node("Pad", name, &[x, &zeros], vec![])
    }

    pub(super) fn merge(&mut self, index: usize) -> Value {
        let input = self.plan.layers[index].inputs[0];
        let Shape {
            height,
            width,
            channels,
        } = self.shape(input);
        let x = self.at(input, Layout::Last);
        let name = self.name(index, "merged");
        let part = |part: &str| format!("{name}.{part}");
        let x = self.pad(&part("padded"), &x, [height % 2, width % 2]);
        let [rows, columns] = [height, width].map(|side| side.div_ceil(2) as i64);
        let channels = channels as i64;
        let split = [-1, rows, 2, columns, 2, channels];
        let x = self.reshape(&part("split"), &x, &split);
        // The order of the pixels in a square is by columns.
        let perm = vec![ints("perm", &[0, 1, 3, 4, 2, 5])];
        let x = (self.graph).node("Transpose", &part("sorted"), &[&x], perm);
        let name = self.reshape(&name, &x, &[-1, rows, columns, 4 * channels]);
        let layout = Layout::Last;
        Value { name, layout }
    }
}
