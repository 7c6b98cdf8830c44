//! Commands and shells on a remote machine, with the streams of this process.

use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Pty, Sig};
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::connection::Connection;
use super::error::SshError;
use super::terminal::{self, RawMode};
use crate::output::Console;

/// What remote programs are told of the terminal.
const TERMINAL: &str = "xterm-256color";

/// The number of the stream of standard error (RFC 4254, 5.2).
const STDERR: u32 = 1;

/// Whether a remote command reads our standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// It does.
    Pass,
    /// Only what a person types at a terminal: the input of a script is for the script.
    Typed,
}

/// Runs a command and returns its exit status. With a terminal at standard input it gets one too.
pub(crate) async fn execute(
    connection: &mut Connection,
    command: &str,
    input: Input,
    console: &Console,
) -> Result<u8, SshError> {
    interact(connection, Some(command), input, console).await
}

/// Runs the user's shell and returns its exit status.
pub(crate) async fn shell(connection: &mut Connection, console: &Console) -> Result<u8, SshError> {
    interact(connection, None, Input::Pass, console).await
}

async fn interact(
    connection: &mut Connection,
    command: Option<&str>,
    input: Input,
    console: &Console,
) -> Result<u8, SshError> {
    let interactive = terminal::is_interactive();
    let channel = connection.session().await?;
    let mut resized = None;
    let mut raw = None;
    if interactive {
        let failed = |source| SshError::Terminal { source };
        let size = terminal::size().map_err(failed)?;
        let modes = [(Pty::ECHO, 1), (Pty::TTY_OP_ISPEED, 14400), (Pty::TTY_OP_OSPEED, 14400)];
        channel.request_pty(false, TERMINAL, size.columns, size.rows, 0, 0, &modes).await?;
        resized = Some(signal(SignalKind::window_change()).map_err(failed)?);
        raw = Some(RawMode::enter().map_err(failed)?);
    }
    match command {
        Some(command) => channel.exec(false, command).await?,
        None => channel.request_shell(false).await?,
    }
    let (reader, writer) = channel.split();
    let reads = interactive || input == Input::Pass;
    if !reads {
        writer.eof().await?;
    }
    let status = pump(reader, writer, resized, reads, console).await;
    drop(raw);
    status
}

/// Carries data both ways until the far end has closed the channel.
async fn pump(
    mut reader: ChannelReadHalf,
    writer: ChannelWriteHalf<Msg>,
    mut resized: Option<Signal>,
    mut input_open: bool,
    console: &Console,
) -> Result<u8, SshError> {
    let mut stdin = tokio::io::stdin();
    let mut input = vec![0; 16 * 1024];
    let mut status = None;
    loop {
        tokio::select! {
            message = reader.wait() => match message {
                Some(ChannelMsg::Data { data }) => console.data(&data),
                Some(ChannelMsg::ExtendedData { data, ext: STDERR }) => console.pass_error(&data),
                Some(ChannelMsg::ExitStatus { exit_status }) => status = Some(exit_code(exit_status)),
                Some(ChannelMsg::ExitSignal { signal_name, .. }) => status = Some(signal_code(&signal_name)),
                Some(ChannelMsg::Close) | None => return status.ok_or(SshError::NoStatus),
                Some(_) => {}
            },
            read = stdin.read(&mut input), if input_open => match read {
                Ok(count) if count > 0 => writer.data(&input[..count]).await?,
                _ => {
                    input_open = false;
                    writer.eof().await?;
                }
            },
            Some(()) = next(&mut resized) => {
                if let Ok(size) = terminal::size() {
                    writer.window_change(size.columns, size.rows, 0, 0).await?;
                }
            }
        }
        if console.is_closed() {
            // Nobody reads any more: as if the command had been told by SIGPIPE.
            return Ok(status.unwrap_or(128 + 13));
        }
    }
}

async fn next(signal: &mut Option<Signal>) -> Option<()> {
    match signal {
        Some(signal) => signal.recv().await,
        None => std::future::pending().await,
    }
}

/// An exit status as this process can pass it on.
fn exit_code(status: u32) -> u8 {
    u8::try_from(status & 0xff).unwrap_or(u8::MAX)
}

/// A death by signal as shells tell it: 128 and the signal's number.
fn signal_code(signal: &Sig) -> u8 {
    let number = match signal {
        Sig::HUP => 1,
        Sig::INT => 2,
        Sig::QUIT => 3,
        Sig::ILL => 4,
        Sig::ABRT => 6,
        Sig::FPE => 8,
        Sig::KILL => 9,
        Sig::USR1 => 10,
        Sig::SEGV => 11,
        Sig::PIPE => 13,
        Sig::ALRM => 14,
        Sig::TERM => 15,
        Sig::Custom(_) => 0,
    };
    128 + number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_passed_on() {
        assert_eq!((exit_code(0), exit_code(7), exit_code(255), exit_code(256)), (0, 7, 255, 0));
        assert_eq!((signal_code(&Sig::TERM), signal_code(&Sig::KILL)), (143, 137));
        assert_eq!(signal_code(&Sig::Custom("X".to_owned())), 128);
    }
}
