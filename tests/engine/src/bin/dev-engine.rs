//! A search engine to try things on: prints its address, and goes when it is told to, with all that is in it.

use std::io::{self, Write as _};
use std::process::ExitCode;

use fleet_test_engine::{Engine, EngineError};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(io::stderr(), "{error}").ok();
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut ended = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let starting = Engine::start();
    let engine: Result<Engine, EngineError> = tokio::select! {
        engine = starting => engine,
        _ = ended.recv() => return Ok(()),
        _ = interrupted.recv() => return Ok(()),
    };
    let engine = engine?;
    writeln!(io::stdout(), "{}", engine.url())?;
    tokio::select! {
        _ = ended.recv() => {}
        _ = interrupted.recv() => {}
    }
    Ok(())
}
