//! Packs our own integration packages, which are part of the program: a fresh server has them.

use std::error::Error;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::{env, io};

use flate2::Compression;
use flate2::write::GzEncoder;

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../integrations");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    println!("cargo::rerun-if-changed={}", root.display());
    let mut table = String::from("&[\n");
    for folder in folders(&root)? {
        let name = folder.file_name().and_then(|name| name.to_str()).ok_or("a folder without a name")?;
        let packed = out.join(format!("{name}.tar.gz"));
        pack(&folder, name, &packed)?;
        writeln!(table, "    include_bytes!({:?}),", packed.display().to_string())?;
    }
    table.push_str("]\n");
    fs::write(out.join("bundled.rs"), table)?;
    Ok(())
}

/// The folders with a manifest, in order.
fn folders(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        if path.join("manifest.yml").is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The same bytes for the same files, whenever and wherever it is built.
fn pack(folder: &Path, name: &str, to: &Path) -> io::Result<()> {
    let mut tar = tar::Builder::new(GzEncoder::new(File::create(to)?, Compression::best()));
    let mut waiting = vec![(folder.to_owned(), name.to_owned())];
    let mut files = Vec::new();
    while let Some((directory, name)) = waiting.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let name = format!("{name}/{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                waiting.push((entry.path(), name));
            } else {
                files.push((name, entry.path()));
            }
        }
    }
    files.sort();
    for (name, path) in files {
        let bytes = fs::read(path)?;
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        tar.append_data(&mut header, name, bytes.as_slice())?;
    }
    tar.into_inner()?.finish()?;
    Ok(())
}
