//! `fd-forward`: the far end of a tunnel.

use std::io;

use tokio::io::{AsyncWriteExt, copy, stdin, stdout};
use tokio::net::UnixStream;

use crate::cli::FdForward;
use crate::context::{Failure, Outcome};
use crate::error::io_words;

/// Copies until the socket has nothing more to say. The end of our input is passed on: an answer may still
/// be on its way.
pub(crate) async fn run(command: &FdForward) -> Outcome {
    let [path] = command.sockets.as_slice() else { return Err(Failure::new("Provide a single argument")) };
    let socket =
        UnixStream::connect(path).await.map_err(|error| Failure::new(no_connection(path, &error)))?;
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

/// What is told of a socket that cannot be reached. Who comes through `--tunnel` reads it at home, and knows
/// nothing of the far machine's permissions.
fn no_connection(path: &str, error: &io::Error) -> String {
    let mut text = format!("Failed dialing remote address: dial unix {path}: connect: {}", io_words(error));
    if error.kind() == io::ErrorKind::PermissionDenied {
        text.push_str(
            "\nThe API's socket is root's: use --ssh-username root, or let a group use it, with the drop-in \
             fleet.socket.d/20-group.conf on that machine",
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_is_not_ours_is_told_with_what_to_do() {
        let told = |code| no_connection("/run/fleet.sock", &io::Error::from_raw_os_error(code));
        assert_eq!(
            told(13),
            "Failed dialing remote address: dial unix /run/fleet.sock: connect: permission denied\nThe API's \
             socket is root's: use --ssh-username root, or let a group use it, with the drop-in \
             fleet.socket.d/20-group.conf on that machine"
        );
        assert_eq!(
            told(111),
            "Failed dialing remote address: dial unix /run/fleet.sock: connect: connection refused"
        );
    }
}
