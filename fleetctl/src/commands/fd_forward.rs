//! `fd-forward`: the far end of a tunnel.

use tokio::io::{AsyncWriteExt, copy, stdin, stdout};
use tokio::net::UnixStream;

use crate::cli::FdForward;
use crate::context::{Failure, Outcome};
use crate::error::io_words;

/// Copies until the socket has nothing more to say. The end of our input is passed on: an answer may still
/// be on its way.
pub(crate) async fn run(command: &FdForward) -> Outcome {
    let [path] = command.sockets.as_slice() else { return Err(Failure::new("Provide a single argument")) };
    let socket = UnixStream::connect(path).await.map_err(|error| {
        Failure::new(format!(
            "Failed dialing remote address: dial unix {path}: connect: {}",
            io_words(&error)
        ))
    })?;
    let failed = |error| Failure::new(format!("Encountered error during copy: {}", io_words(&error)));
    let (mut from_socket, mut to_socket) = socket.into_split();
    let sending = tokio::spawn(async move {
        copy(&mut stdin(), &mut to_socket).await?;
        to_socket.shutdown().await
    });
    let mut output = stdout();
    let copied = copy(&mut from_socket, &mut output).await;
    sending.abort();
    copied.map_err(failed)?;
    output.flush().await.map_err(failed)?;
    Ok(0)
}
