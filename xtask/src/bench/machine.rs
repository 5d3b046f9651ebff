//! The machine on which rows were measured.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use serde::{Deserialize, Serialize};

const AMD: &str = "AuthenticAMD";
const INTEL: &str = "GenuineIntel";

/// Instruction sets that the kernels of this project and of its peers choose from.
const FLAGS: [&str; 15] = [
    "sse4_2",
    "avx2",
    "fma",
    "avx512f",
    "avx512bw",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "amx_fp16",
    "asimd",
    "bf16",
    "sve",
];

/// Vendor, family, models and name of processors.
const KNOWN: [(&str, u32, RangeInclusive<u32>, &str); 12] = [
    (AMD, 23, 48..=255, "Zen 2"),
    (AMD, 25, 0..=15, "Zen 3"),
    (AMD, 25, 32..=95, "Zen 3"),
    (AMD, 25, 16..=31, "Zen 4"),
    (AMD, 25, 96..=127, "Zen 4"),
    (AMD, 25, 160..=175, "Zen 4"),
    (AMD, 26, 0..=127, "Zen 5"),
    (INTEL, 6, 85..=85, "Skylake or Cascade Lake"),
    (INTEL, 6, 106..=106, "Ice Lake"),
    (INTEL, 6, 143..=143, "Sapphire Rapids"),
    (INTEL, 6, 207..=207, "Emerald Rapids"),
    (INTEL, 6, 173..=174, "Granite Rapids"),
];

/// A machine. What was not recorded is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Machine {
    /// The processor's name.
    pub(super) processor: String,
    /// The name of its design, such as "Zen 4".
    pub(super) design: Option<String>,
    pub(super) vendor: Option<String>,
    pub(super) family: Option<u32>,
    pub(super) model: Option<u32>,
    pub(super) cores: Option<usize>,
    pub(super) caches_kib: BTreeMap<String, u64>,
    /// Those of the processor's instruction sets that matter here.
    pub(super) flags: Vec<String>,
    pub(super) memory_mib: Option<u64>,
    pub(super) os: Option<String>,
}

impl Machine {
    /// This machine.
    pub(super) fn detect() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let release = text("/etc/os-release");
        let system = release
            .lines()
            .find_map(|line| line.strip_prefix("PRETTY_NAME="));
        let kernel = text("/proc/sys/kernel/osrelease");
        let kernel: Vec<&str> = kernel.split(['.', '-']).take(2).map(str::trim).collect();
        let os = match system {
            Some(name) => format!("{}, Linux {}", name.trim_matches('"'), kernel.join(".")),
            None => std::env::consts::OS.to_owned(),
        };
        Self {
            cores: std::thread::available_parallelism().ok().map(usize::from),
            caches_kib: caches(Path::new("/sys/devices/system/cpu/cpu0/cache")),
            memory_mib: kibibytes(&text("/proc/meminfo"), "MemTotal:").map(|kib| kib / 1024),
            os: Some(os),
            ..Self::of_cpuinfo(&text("/proc/cpuinfo"))
        }
    }

    fn of_cpuinfo(cpuinfo: &str) -> Self {
        let value = |key: &str| {
            let mut lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
            let (_, value) = lines.find(|(name, _)| name.trim() == key)?;
            Some(value.trim())
        };
        let number = |key| value(key).and_then(|text| text.parse().ok());
        let all = value("flags").or(value("Features")).unwrap_or_default();
        let has = |flag: &&str| all.split_whitespace().any(|other| other == *flag);
        let (vendor, family, model) = (value("vendor_id"), number("cpu family"), number("model"));
        let design = KNOWN.iter().find(|(maker, number, models, _)| {
            vendor == Some(maker)
                && family == Some(*number)
                && model.is_some_and(|model| models.contains(&model))
        });
        Self {
            processor: value("model name")
                .unwrap_or(std::env::consts::ARCH)
                .to_owned(),
            design: design.map(|(_, _, _, name)| (*name).to_owned()),
            vendor: vendor.map(str::to_owned),
            family,
            model,
            flags: FLAGS
                .iter()
                .filter(|flag| has(flag))
                .map(|flag| (*flag).to_owned())
                .collect(),
            ..Self::default()
        }
    }

    /// Whether rows of the other machine may stand beside rows of this one. What was not recorded
    /// fits anything. Memory and operating system may differ.
    pub(super) fn fits(&self, other: &Machine) -> bool {
        fn same<T: PartialEq>(a: &Option<T>, b: &Option<T>) -> bool {
            a.is_none() || b.is_none() || a == b
        }
        same(&self.design, &other.design)
            && same(&self.vendor, &other.vendor)
            && same(&self.family, &other.family)
            && same(&self.model, &other.model)
            && same(&self.cores, &other.cores)
            && (self.flags.is_empty() || other.flags.is_empty() || self.flags == other.flags)
    }

    /// A short name for files, such as `amd-epyc-zen4`.
    pub(super) fn short_name(&self) -> String {
        let vendor = self.vendor.as_deref();
        let name = match (vendor, &self.design) {
            (Some(AMD), Some(design)) if self.processor.contains("EPYC") => {
                format!("amd-epyc-{}", design.replace(' ', ""))
            }
            (Some(INTEL), Some(design)) => format!("intel-{design}"),
            _ => self.processor.clone(),
        };
        let words = name.split(|c: char| !c.is_ascii_alphanumeric());
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        words.join("-").to_lowercase()
    }
}

/// The processor, then what is known of the machine.
impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.processor)?;
        if let Some(design) = &self.design {
            write!(f, " ({design})")?;
        }
        if let (Some(family), Some(model)) = (self.family, self.model) {
            write!(f, ", family {family}, model {model}")?;
        }
        if let Some(cores) = self.cores {
            write!(f, ", {cores} cores")?;
        }
        for (name, kib) in &self.caches_kib {
            write!(f, ", {name} {kib} KiB")?;
        }
        if let Some(mib) = self.memory_mib {
            write!(f, ", {mib} MiB of memory")?;
        }
        if !self.flags.is_empty() {
            write!(f, ", {}", self.flags.join(" "))?;
        }
        match &self.os {
            Some(os) => write!(f, ", {os}"),
            None => Ok(()),
        }
    }
}

/// The caches of a core, by level and kind.
fn caches(folder: &Path) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for index in 0.. {
        let folder = folder.join(format!("index{index}"));
        let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
        let (Some(level), Some(kind), Some(size)) = (read("level"), read("type"), read("size"))
        else {
            break;
        };
        let kind = match kind.trim() {
            "Data" => "d",
            "Instruction" => "i",
            _ => "",
        };
        if let Some(kib) = size
            .trim()
            .strip_suffix('K')
            .and_then(|kib| kib.parse().ok())
        {
            found.insert(format!("L{}{kind}", level.trim()), kib);
        }
    }
    found
}

/// The number in a line such as `MemTotal:  1024 kB`.
fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPUINFO: &str = "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\n\
        model\t\t: 17\nmodel name\t: AMD EPYC 9354\nflags\t\t: fpu avx2 avx512f avx512_bf16 sse\n\
        \nprocessor\t: 1\nmodel\t\t: 18\n";

    #[test]
    fn a_processor_is_known_by_vendor_family_and_model() {
        let found = Machine::of_cpuinfo(CPUINFO);
        assert_eq!(found.processor, "AMD EPYC 9354");
        assert_eq!(found.design.as_deref(), Some("Zen 4"));
        assert_eq!((found.family, found.model), (Some(25), Some(17)));
        assert_eq!(found.flags, ["avx2", "avx512f", "avx512_bf16"]);
        assert_eq!(found.short_name(), "amd-epyc-zen4");
        let intel = CPUINFO
            .replace(AMD, INTEL)
            .replace("25", "6")
            .replace("17", "207");
        assert_eq!(
            Machine::of_cpuinfo(&intel).short_name(),
            "intel-emerald-rapids"
        );
        let other = Machine::of_cpuinfo("model name : A (R) Chip-7 @ 3 GHz\n");
        assert_eq!(other.short_name(), "a-r-chip-7-3-ghz");
    }

    #[test]
    fn unknown_properties_fit_any() {
        let known = Machine::of_cpuinfo(CPUINFO);
        let unknown = Machine {
            processor: "?".to_owned(),
            ..Machine::default()
        };
        assert!(known.fits(&unknown) && unknown.fits(&known) && known.fits(&known));
        let newer = Machine::of_cpuinfo(&CPUINFO.replace("25", "26"));
        assert!(!known.fits(&newer));
        let fewer = Machine::of_cpuinfo(&CPUINFO.replace(" avx512_bf16", ""));
        assert!(!known.fits(&fewer));
    }

    #[test]
    fn this_machine_has_a_name_and_cores() {
        let found = Machine::detect();
        assert!(!found.processor.is_empty() && found.cores.is_some());
        assert!(!found.short_name().is_empty());
        assert!(found.to_string().contains(" cores"), "{found}");
        assert_eq!(kibibytes("A: 1 kB\nB:  2048 kB\n", "B:"), Some(2048));
    }
}
