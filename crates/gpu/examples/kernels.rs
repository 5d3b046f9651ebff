//! Compiles all kernels, and checks the registers, the stack and the shared memory that they use. No GPU is needed.
//!
//! ```text
//! cargo run -p gpu --features cuda --example kernels -- [--storage f32,bf16,f16] sm_80 sm_90
//! cargo run -p gpu --features cuda --example kernels -- --embed FILE
//! ```
//!
//! The first form prints a table, and fails if a kernel spills registers. The second writes the file of PTX that is part
//! of this crate, if it is of other kernels.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program speaks to its user"
)]

use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use gpu::Storage;

/// Kernels that take most of a step. A name ends with `*` if others that begin like it belong here too.
const HOT: [&str; 7] = [
    "product_*",
    "weight_*",
    "depthwise_k3_*",
    "depthwise_k5_*",
    "depthwise_back_*",
    "map",
    "pixels",
];
/// The most bytes that a kernel of [`HOT`] may spill.
const HOT_SPILL: u32 = 16;
/// The most bytes that any kernel may spill.
const SPILL: u32 = 256;
/// The most bytes of shared memory that a block may have without further settings.
const SHARED: u32 = 48 << 10;

const STORAGES: [Storage; 3] = [Storage::F32, Storage::Bf16, Storage::F16];

/// What a kernel uses, as the assembler says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Usage {
    kernel: String,
    registers: u32,
    stack: u32,
    /// Bytes of stores or of loads, whichever are more.
    spilled: u32,
    shared: u32,
}

/// The kernels of one type of activations on one architecture.
struct Table {
    storage: Storage,
    architecture: String,
    kernels: Vec<Usage>,
}

fn main() -> ExitCode {
    match run() {
        Ok(problems) if problems.is_empty() => ExitCode::SUCCESS,
        Ok(problems) => {
            for problem in problems {
                eprintln!("error: {problem}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns what is wrong with the kernels.
fn run() -> Result<Vec<String>, Box<dyn Error>> {
    let mut storages = STORAGES.to_vec();
    let mut architectures = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--storage" => {
                let names = arguments.next().ok_or("--storage needs names")?;
                storages = names.split(',').map(storage).collect::<Result<_, _>>()?;
            }
            "--embed" => {
                let file = arguments.next().ok_or("--embed needs a file")?;
                return embed(Path::new(&file)).map(|()| Vec::new());
            }
            name if name.starts_with("sm_") => architectures.push(name.to_owned()),
            other => return Err(format!("{other}; expected an architecture, such as sm_80").into()),
        }
    }
    if architectures.is_empty() {
        return Err("expected an architecture, such as sm_80".into());
    }
    let (major, minor) = gpu::compiler()?;
    println!("NVRTC {major}.{minor}");
    let tables = compile(&storages, &architectures)?;
    print(&tables);
    Ok(problems(&tables))
}

fn storage(name: &str) -> Result<Storage, String> {
    let mut all = STORAGES.into_iter();
    all.find(|storage| storage.name() == name)
        .ok_or_else(|| format!("{name}; expected f32, bf16 or f16"))
}

/// Writes PTX of all kernels, unless the file already has it.
fn embed(file: &Path) -> Result<(), Box<dyn Error>> {
    let shown = file.display();
    // Without a file, or with a damaged one, there is something to write.
    let found = std::fs::read(file).unwrap_or_default();
    match gpu::embeddable(&found)? {
        None => println!("{shown} is up to date"),
        Some(bytes) => {
            std::fs::write(file, &bytes)?;
            println!("{shown}: {} bytes; build again", bytes.len());
        }
    }
    Ok(())
}

/// Compiles each pair, two at a time.
fn compile(storages: &[Storage], architectures: &[String]) -> Result<Vec<Table>, Box<dyn Error>> {
    let pairs: Vec<(&String, Storage)> = architectures
        .iter()
        .flat_map(|architecture| storages.iter().map(move |&storage| (architecture, storage)))
        .collect();
    let queue = Mutex::new(pairs.iter().enumerate());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        let mut done = Vec::new();
        while let Some((number, &(architecture, storage))) = next() {
            let table = gpu::compile(storage, architecture).map(|compiled| Table {
                storage,
                architecture: architecture.clone(),
                kernels: usages(&compiled.log),
            });
            done.push((number, table));
        }
        done
    };
    let mut done: Vec<_> = std::thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        let results = threads.map(|thread| thread.join().map_err(|_| "a compilation panicked"));
        results.into_iter().collect::<Result<Vec<_>, _>>()
    })?
    .into_iter()
    .flatten()
    .collect();
    done.sort_by_key(|(number, _)| *number);
    let tables = done.into_iter().map(|(_, table)| table);
    Ok(tables.collect::<Result<_, _>>()?)
}

/// Reads the assembler's log:
///
/// ```text
/// ptxas info    : Compiling entry function 'map' for 'sm_80'
/// ptxas info    : Function properties for map
///     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
/// ptxas info    : Used 56 registers, used 1 barriers, 1024 bytes smem, 360 bytes cmem[0]
/// ```
fn usages(log: &str) -> Vec<Usage> {
    let mut found: Vec<Usage> = Vec::new();
    // Functions that are not entries have properties, too. They come after their own heading.
    let mut properties_of = "";
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            let kernel = rest.split('\'').next().unwrap_or_default().to_owned();
            found.push(Usage {
                kernel,
                ..Usage::default()
            });
        }
        if let Some((_, name)) = line.split_once("Function properties for ") {
            properties_of = name.trim();
        }
        let Some(usage) = found.last_mut() else {
            continue;
        };
        if line.contains("bytes stack frame") && properties_of == usage.kernel {
            let before = |what| number_before(line, what);
            usage.stack = before(" bytes stack frame");
            usage.spilled = before(" bytes spill stores").max(before(" bytes spill loads"));
        }
        if line.contains(": Used ") {
            usage.registers = number_before(line, " registers");
            usage.shared = number_before(line, " bytes smem");
        }
    }
    found.sort_by(|a, b| a.kernel.cmp(&b.kernel));
    found
}

/// The number before a text, or 0 if the line lacks it.
fn number_before(line: &str, text: &str) -> u32 {
    let before = line.split_once(text).map_or("", |(before, _)| before);
    let word = before.rsplit([' ', ',']).next().unwrap_or_default();
    word.parse().unwrap_or(0)
}

fn print(tables: &[Table]) {
    println!(
        "architecture  storage  kernel                        registers  stack  spilled  shared"
    );
    for table in tables {
        for usage in &table.kernels {
            println!(
                "{:<12}  {:<7}  {:<28}  {:>9}  {:>5}  {:>7}  {:>6}",
                table.architecture,
                table.storage.name(),
                usage.kernel,
                usage.registers,
                usage.stack,
                usage.spilled,
                usage.shared
            );
        }
    }
}

fn is_hot(kernel: &str) -> bool {
    HOT.iter().any(|name| match name.strip_suffix('*') {
        Some(start) => kernel.starts_with(start),
        None => kernel == *name,
    })
}

fn problems(tables: &[Table]) -> Vec<String> {
    let mut found = Vec::new();
    let names = |table: &Table| -> BTreeSet<String> {
        let kernels = table.kernels.iter();
        kernels.map(|usage| usage.kernel.clone()).collect()
    };
    let all: BTreeSet<String> = tables.iter().flat_map(names).collect();
    for table in tables {
        let place = format!("{}, {}", table.architecture, table.storage.name());
        if table.kernels.is_empty() {
            found.push(format!("{place}: the compiler names no kernel"));
        }
        for kernel in all.difference(&names(table)) {
            found.push(format!("{place}: there is no kernel {kernel}"));
        }
        for usage in &table.kernels {
            let most = if is_hot(&usage.kernel) {
                HOT_SPILL
            } else {
                SPILL
            };
            let Usage {
                kernel,
                registers,
                spilled,
                shared,
                ..
            } = usage;
            if *spilled > most {
                found.push(format!(
                    "{place}: {kernel} spills {spilled} bytes; the most is {most}"
                ));
            }
            if *shared > SHARED {
                found.push(format!(
                    "{place}: {kernel} has {shared} bytes of shared memory; the most is {SHARED}"
                ));
            }
            if *registers == 0 {
                found.push(format!(
                    "{place}: the compiler does not say what {kernel} uses"
                ));
            }
        }
    }
    for name in HOT {
        let covered = all.iter().any(|kernel| match name.strip_suffix('*') {
            Some(start) => kernel.starts_with(start),
            None => kernel == name,
        });
        if !covered && !all.is_empty() {
            found.push(format!("no kernel is called {name}; correct the list HOT"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_read() {
        let log = "\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'map' for 'sm_80'
ptxas info    : Function properties for map
    8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 56 registers, used 1 barriers, 1024 bytes smem, 360 bytes cmem[0]
ptxas info    : Function properties for __internal_sin
    40 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
";
        let map = Usage {
            kernel: "map".to_owned(),
            registers: 56,
            stack: 8,
            spilled: 12,
            shared: 1024,
        };
        assert_eq!(usages(log), [map]);
    }

    #[test]
    fn spills_are_problems() {
        let table = |kernel: &str, spilled| Table {
            storage: Storage::F32,
            architecture: "sm_80".to_owned(),
            kernels: vec![Usage {
                kernel: kernel.to_owned(),
                registers: 1,
                spilled,
                ..Usage::default()
            }],
        };
        let spills = |kernel, spilled| {
            let found = problems(&[table(kernel, spilled)]);
            found.iter().any(|problem| problem.contains("spills"))
        };
        assert!(spills("map", 20) && !spills("map", 16));
        assert!(!spills("attention", 20) && spills("attention", 300));
        let different = problems(&[table("map", 0), table("pool", 0)]);
        assert!(
            different
                .iter()
                .any(|problem| problem.contains("no kernel pool"))
        );
    }
}
