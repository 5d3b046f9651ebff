#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]
use engine::*;
use std::sync::Arc;
use std::time::Instant;
fn spec(large: bool) -> NetworkSpec {
    use Activation::*;
    let t: Vec<(usize, usize, usize, usize, bool, bool, usize)> = if large {
        vec![
            (16, 3, 16, 16, false, false, 1),
            (16, 3, 64, 24, false, false, 2),
            (24, 3, 72, 24, false, false, 1),
            (24, 5, 72, 40, true, false, 2),
            (40, 5, 120, 40, true, false, 1),
            (40, 5, 120, 40, true, false, 1),
            (40, 3, 240, 80, false, true, 2),
            (80, 3, 200, 80, false, true, 1),
            (80, 3, 184, 80, false, true, 1),
            (80, 3, 184, 80, false, true, 1),
            (80, 3, 480, 112, true, true, 1),
            (112, 3, 672, 112, true, true, 1),
            (112, 5, 672, 160, true, true, 2),
            (160, 5, 960, 160, true, true, 1),
            (160, 5, 960, 160, true, true, 1),
        ]
    } else {
        vec![
            (16, 3, 16, 16, true, false, 2),
            (16, 3, 72, 24, false, false, 2),
            (24, 3, 88, 24, false, false, 1),
            (24, 5, 96, 40, true, true, 2),
            (40, 5, 240, 40, true, true, 1),
            (40, 5, 240, 40, true, true, 1),
            (40, 5, 120, 48, true, true, 1),
            (48, 5, 144, 48, true, true, 1),
            (48, 5, 288, 96, true, true, 2),
            (96, 5, 576, 96, true, true, 1),
            (96, 5, 576, 96, true, true, 1),
        ]
    };
    let div = |v: f64| {
        let mut n = ((v + 4.0) as usize) / 8 * 8;
        if n < 8 {
            n = 8
        }
        if (n as f64) < 0.9 * v {
            n += 8
        }
        n
    };
    NetworkSpec {
        name: "x".into(),
        stem_channels: 16,
        stem_stride: 2,
        blocks: t
            .iter()
            .map(|&(cin, k, ce, co, se, hs, s)| BlockSpec {
                in_channels: cin,
                expanded: ce,
                out_channels: co,
                kernel: k,
                stride: s,
                squeeze: se.then(|| div(ce as f64 / 4.0)),
                activation: if hs { Hardswish } else { Relu },
            })
            .collect(),
        features: if large { 960 } else { 576 },
        head: HeadSpec {
            hidden: Some(if large { 1280 } else { 1024 }),
            dropout: 0.2,
            classes: 10,
        },
        batch_norm: BatchNormSpec {
            epsilon: 1e-3,
            momentum: 0.01,
        },
    }
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let (large, size, batch, th) = (
        a[1] == "large",
        a[2].parse::<usize>().unwrap(),
        a[3].parse::<usize>().unwrap(),
        a[4].parse::<usize>().unwrap(),
    );
    let isa = a.get(5).map(|n| {
        Isa::available()
            .into_iter()
            .find(|i| i.to_string() == *n)
            .unwrap()
    });
    let plan = Arc::new(Plan::new(&spec(large)).unwrap());
    let mut seed = 1u32;
    let mut rnd = || {
        seed ^= seed << 13;
        seed ^= seed >> 17;
        seed ^= seed << 5;
        (seed >> 8) as f32 / 8388608.0 - 1.0
    };
    let mut p = vec![0.0f32; plan.parameters.len()];
    for s in plan.parameters.segments() {
        let fan: usize = s.shape[1..].iter().product();
        for v in &mut p[s.range.clone()] {
            *v = match s.role {
                Role::NormWeight => 1.0,
                Role::NormBias | Role::Bias => 0.0,
                _ => rnd() * (3.0 * 2.0 / fan as f32).sqrt(),
            };
        }
    }
    let stats: Vec<f32> = plan
        .statistics
        .segments()
        .iter()
        .flat_map(|s| {
            vec![
                if s.role == Role::RunningVariance {
                    1.0f32
                } else {
                    0.0
                };
                s.range.len()
            ]
        })
        .collect();
    let x: Vec<f32> = (0..batch * size * size * 3).map(|_| rnd() * 1.7).collect();
    let im = || Images {
        count: batch,
        height: size,
        width: size,
        pixels: ImagePixels::F32(&x),
    };
    let f = Fused::new(
        plan.clone(),
        FusedOptions {
            threads: Some(th),
            isa,
        },
    );
    let folded = f.fold(&p, &stats).unwrap();
    let mut logits = vec![0.0f32; batch * 10];
    let t0 = Instant::now();
    while t0.elapsed().as_secs_f64() < 0.3 {
        f.infer(&folded, im(), &mut logits).unwrap();
    }
    println!("ready");
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        if line == "quit" {
            break;
        }
        let k: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        let c0 = cpu();
        let t = Instant::now();
        for _ in 0..k {
            f.infer(&folded, im(), &mut logits).unwrap();
        }
        println!(
            "{}",
            if th == 1 {
                cpu() - c0
            } else {
                t.elapsed().as_secs_f64()
            }
        );
    }
}
fn cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    s.split_whitespace().next().unwrap().parse::<f64>().unwrap() * 1e-9
}
