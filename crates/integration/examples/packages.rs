//! Reads packages, and tells what each comes to: `cargo run --release --example packages -- FOLDER|ZIP ...`
//!
//! For authors of packages, and to see what compiling costs.

#![expect(clippy::print_stdout, reason = "it is what the program is for")]

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use fleet_integration::{Archive, Context, Package, PackagePolicy, check, compile, template_inputs_yaml};

/// How often a policy is compiled to see how long it takes.
const ROUNDS: u32 = 200;

fn main() -> Result<(), Box<dyn Error>> {
    for argument in std::env::args().skip(1) {
        if let Err(error) = show(Path::new(&argument)) {
            println!("{argument}: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                println!("    {cause}");
                source = cause.source();
            }
        }
    }
    Ok(())
}

fn show(path: &Path) -> Result<(), Box<dyn Error>> {
    let archive = if path.is_dir() {
        Archive::directory(path)?
    } else if path.extension().is_some_and(|extension| extension == "gz") {
        Archive::tar_gz(&std::fs::read(path)?)?
    } else {
        Archive::zip(&std::fs::read(path)?)?
    };
    let started = Instant::now();
    let package = Package::read(&archive)?;
    let read = started.elapsed();
    for error in package.template_errors() {
        println!("{}: {error}", path.display());
    }
    let mut policy = PackagePolicy::defaults(&package, "id", "name");
    for finding in check(&package, &policy) {
        println!("{}: {finding}", path.display());
    }
    // All of it: what is off by default costs as much.
    for input in &mut policy.inputs {
        input.enabled = true;
        input.streams.iter_mut().for_each(|stream| stream.enabled = true);
    }
    let context = Context { output: "default", ..Context::default() };
    let compiled = compile(&package, &policy, &context)?;
    let started = Instant::now();
    for _ in 0..ROUNDS {
        compile(&package, &policy, &context)?;
    }
    let streams: usize = policy.inputs.iter().map(|input| input.streams.len()).sum();
    println!(
        "{}-{}: {} inputs, {streams} streams; read in {read:?}, compiled in {:?}; {} bytes of inputs",
        package.name,
        package.version,
        compiled.inputs.len(),
        started.elapsed() / ROUNDS,
        serde_json::to_string(&compiled.inputs)?.len(),
    );
    template_inputs_yaml(&package)?;
    Ok(())
}
