//! The command line's edge.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    nichemine::cli::main().into()
}
