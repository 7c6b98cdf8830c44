//! The generated code is that of the `.proto`.

use std::error::Error;
use std::fs;
use std::path::Path;

/// Set to write the generated code anew: `FLEET_GENERATE=1 cargo test -p fleet-component --test wire`.
const GENERATE: &str = "FLEET_GENERATE";

#[test]
fn the_generated_code_is_that_of_the_proto() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("proto");
    let descriptors = protox::compile([folder.join("component.proto")], [&folder])?;
    let out = tempfile::tempdir()?;
    tonic_prost_build::configure().build_transport(false).out_dir(out.path()).compile_fds(descriptors)?;
    let generated = fs::read_to_string(out.path().join("proto.rs"))?;
    let committed = root.join("src/wire/generated.rs");
    if std::env::var_os(GENERATE).is_some() {
        fs::write(&committed, &generated)?;
    }
    let committed = fs::read_to_string(&committed)?;
    assert!(
        committed == generated,
        "src/wire/generated.rs is not what proto/component.proto says: run this test with {GENERATE}=1"
    );
    Ok(())
}
