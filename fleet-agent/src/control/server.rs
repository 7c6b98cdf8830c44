//! Who answers.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Ask, Question, Questions, Told};

/// Questions that wait at most.
const WAITING: usize = 16;
/// Connections at a time.
const CONNECTIONS: usize = 16;
/// The largest question.
const LARGEST: u64 = 64 * 1024;
/// The longest time for a question to come, and for its answer.
const QUESTION_MAX: Duration = Duration::from_secs(10);
const ANSWER_MAX: Duration = Duration::from_secs(110);
/// Only the owner may ask.
const MODE: u32 = 0o600;
/// Its group may, too.
const GROUP_MODE: u32 = 0o660;

/// What the group is told when it asks for more.
const ONLY_LOOK: &str =
    "the agent's group may look (status, inspect), but not do this: run it as root (sudo)";

/// Why nobody answers.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another agent uses the same data directory.
    #[error("another agent runs with this data directory: it listens at {}", path.display())]
    Taken {
        /// The socket.
        path: PathBuf,
    },
    /// There is something else.
    #[error("{} is in the way: it is no socket", path.display())]
    InTheWay {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be made.
    #[error("the control socket {} cannot be made", path.display())]
    Bind {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The socket, open.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
    questions: mpsc::Sender<Question>,
}

impl Control {
    /// Opens the socket. A stale one is replaced, one that somebody answers at is not. `is_for_group`: the process's
    /// group may look, too.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn open(path: &Path, is_for_group: bool) -> Result<(Control, Questions), ServeError> {
        let failed = |source| ServeError::Bind { path: path.to_owned(), source };
        match fs::symlink_metadata(path) {
            // Nobody else has business in this directory: it is moved out of the way, and kept.
            Ok(file) if !file.file_type().is_socket() => {
                let aside = path.with_extension("sock.unusable");
                fs::rename(path, &aside).map_err(|_| ServeError::InTheWay { path: path.to_owned() })?;
                tracing::warn!(kept = %aside.display(), "what was in the way of the control socket is moved");
            }
            Ok(_) if UnixStream::connect(path).await.is_ok() => {
                return Err(ServeError::Taken { path: path.to_owned() });
            }
            _ => {}
        }
        let beside = path.with_extension("new");
        let mode = if is_for_group { GROUP_MODE } else { MODE };
        let _ = fs::remove_file(&beside);
        let listener = UnixListener::bind(&beside).map_err(failed)?;
        fs::set_permissions(&beside, Permissions::from_mode(mode)).map_err(failed)?;
        fs::rename(&beside, path).map_err(failed)?;
        let (questions, receiver) = mpsc::channel(WAITING);
        Ok((Control { listener, path: path.to_owned(), questions }, receiver))
    }

    /// Answers until it is cancelled.
    pub async fn run(self, token: CancellationToken) {
        let free = Arc::new(Semaphore::new(CONNECTIONS));
        token.clone().run_until_cancelled(self.accept(free)).await;
        // It may be gone with its directory.
        let _ = fs::remove_file(&self.path);
    }

    async fn accept(&self, free: Arc<Semaphore>) {
        loop {
            let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let questions = self.questions.clone();
                    tokio::spawn(async move {
                        if let Err(error) = serve(stream, questions).await {
                            tracing::debug!(%error, "a question at the control socket was not answered");
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

async fn serve(stream: UnixStream, questions: mpsc::Sender<Question>) -> io::Result<()> {
    let may_all = may_all(stream.peer_cred()?.uid());
    let (reader, mut writer) = stream.into_split();
    let mut line = Vec::new();
    timeout(QUESTION_MAX, BufReader::new(reader).take(LARGEST).read_until(b'\n', &mut line)).await??;
    let told = match serde_json::from_slice::<Ask>(&line) {
        Ok(ask) if may_all || ask.only_looks() => put(ask, questions).await,
        Ok(_) => Told::Refused(ONLY_LOOK.to_owned()),
        Err(error) => Told::Refused(format!("this question is not understood: {error}")),
    };
    let mut answer = serde_json::to_vec(&told)?;
    answer.push(b'\n');
    writer.write_all(&answer).await?;
    writer.shutdown().await
}

/// Whether a user may do more than look: the agent's own, and root.
fn may_all(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

async fn put(ask: Ask, questions: mpsc::Sender<Question>) -> Told {
    let (answer, answered) = oneshot::channel();
    let asked = timeout(ANSWER_MAX, async {
        questions.send(Question { ask, answer }).await.ok()?;
        answered.await.ok()
    });
    asked
        .await
        .ok()
        .flatten()
        .unwrap_or_else(|| Told::Refused("the agent is stopping or busy: ask again".to_owned()))
}
