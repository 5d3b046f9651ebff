//! Compiles the kernels as plain C++ for the feature `shim`.

fn main() {
    println!("cargo:rerun-if-changed=kernels");
    println!("cargo:rerun-if-changed=shim");
    println!("cargo:rerun-if-env-changed=GPU_SHIM_ASAN");
    #[cfg(feature = "shim")]
    for (storage, name) in ["f32", "bf16", "f16"].into_iter().enumerate() {
        let mut build = compiler();
        build
            .define("STORAGE", storage.to_string().as_str())
            .file("shim/storage.cpp");
        build.link_lib_modifier("+whole-archive");
        build.compile(&format!("gpu_shim_{name}"));
    }
    #[cfg(feature = "shim")]
    compiler().file("shim/shim.cpp").compile("gpu_shim");
    #[cfg(feature = "shim")]
    if sanitized() {
        println!("cargo:rustc-link-lib=dylib=asan");
    }
}

/// Whether the kernels are compiled with AddressSanitizer, for GCC.
#[cfg(feature = "shim")]
fn sanitized() -> bool {
    std::env::var_os("GPU_SHIM_ASAN").is_some_and(|value| value == "1")
}

#[cfg(feature = "shim")]
fn compiler() -> cc::Build {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").opt_level(2).warnings(false);
    // A GPU's results differ by rounding anyway; those of the shim are the same on every processor.
    build.flag_if_supported("-ffp-contract=off");
    if sanitized() {
        build.flag("-fsanitize=address").flag("-g1");
    }
    build
}
