//! What ratios are to reach: the least that counts as done, and the goal beyond it.

/// Numbers that the ratio of a case is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bar {
    pub(super) at_least: f64,
    pub(super) goal: f64,
}

/// Benchmark, case, vendor of the processor, the least and the goal. An empty vendor is any.
const BARS: [(&str, &str, &str, f64, f64); 15] = [
    ("train", "large-224", "", 2.8, 3.5),
    ("train", "small-224", "", 3.2, 4.0),
    ("train", "large-32", "", 3.0, 4.0),
    ("train", "small-32", "", 4.0, 5.5),
    ("train", "large-224-bf16_amx", "", 1.8, 2.5),
    ("train", "small-32-bf16_amx", "", 1.3, 1.6),
    ("gemm", "large-224", "AuthenticAMD", 0.68, 0.75),
    ("gemm", "small-32", "AuthenticAMD", 0.60, 0.70),
    ("gemm", "large-224", "GenuineIntel", 0.62, 0.75),
    ("gemm", "small-32", "GenuineIntel", 0.52, 0.70),
    ("infer", "large-224-1-bf16", "", 1.0, 1.3),
    ("infer", "large-224-32-bf16", "", 1.0, 1.4),
    ("infer", "small-32-256-bf16", "", 1.6, 2.0),
    ("data", "jpeg-500x375-to-224-fast", "", 4.0, 6.0),
    ("data", "jpeg-500x375-to-224", "", 3.0, 4.0),
];

/// The bar of a case on a processor of this vendor, if there is one.
pub(super) fn bar(bench: &str, case: &str, vendor: Option<&str>) -> Option<Bar> {
    let found = BARS.iter().find(|(of, name, maker, ..)| {
        *of == bench && *name == case && (maker.is_empty() || Some(*maker) == vendor)
    });
    found.map(|&(.., at_least, goal)| Bar { at_least, goal })
}

/// The cases of a benchmark that have bars.
#[cfg(test)]
pub(super) fn cases(bench: &str) -> Vec<&'static str> {
    let of = BARS.iter().filter(|(name, ..)| *name == bench);
    of.map(|(_, case, ..)| *case).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_may_depend_on_the_vendor() {
        let least = |bench, case, vendor| bar(bench, case, vendor).map(|bar| bar.at_least);
        assert_eq!(least("train", "large-224", None), Some(2.8));
        assert_eq!(least("gemm", "large-224", Some("AuthenticAMD")), Some(0.68));
        assert_eq!(least("gemm", "large-224", Some("GenuineIntel")), Some(0.62));
        assert_eq!(least("gemm", "large-224", None), None);
        assert_eq!(least("train", "large-224-avx2", None), None);
    }

    #[test]
    fn goals_lie_beyond_the_least() {
        for (bench, case, _, at_least, goal) in BARS {
            assert!(goal > at_least, "{bench} {case}");
        }
    }
}
