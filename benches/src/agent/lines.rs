//! The files that are shipped.

use std::io::{BufWriter, Write as _};
use std::path::Path;

use crate::error::BenchError;

/// Each line has it once, and nothing else has.
pub(super) const MARK: &str = "fleet-bench-line";

/// Writes `count` lines of some 160 bytes, as a web server writes them, and moves the file to its place when it is
/// whole: who watches the folder finds all of it at once.
pub(super) fn write(folder: &Path, name: &str, count: usize) -> Result<(), BenchError> {
    let (making, made) = (folder.join(format!("{name}.part")), folder.join(format!("{name}.log")));
    let file = std::fs::File::create(&making).map_err(BenchError::file("create", &making))?;
    let mut file = BufWriter::with_capacity(1 << 20, file);
    for number in 0..count {
        let (host, bytes, status) = (number % 251, number * 7919 % 100_000, [200, 304, 404, 500][number % 4]);
        writeln!(
            file,
            "10.0.{}.{host} - - [22/Nov/2026:12:00:00 +0000] \"GET /{name}/{number:08} HTTP/1.1\" {status} {bytes} \
             \"-\" \"Mozilla/5.0 (X11; Linux x86_64)\" {MARK}",
            number % 13,
        )
        .map_err(BenchError::file("write", &making))?;
    }
    file.flush().map_err(BenchError::file("write", &making))?;
    std::fs::rename(&making, &made).map_err(BenchError::file("rename", &making))
}
