//! Accepting connections as long as there is room for them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// After an error of the system, such as no descriptors left, this much later comes the next try.
const PAUSE: Duration = Duration::from_secs(1);

/// Takes what `next` accepts until `stop` is cancelled, and serves each connection in a task of its own. While there
/// are as many as are allowed, others wait in the system's queue. Returns those that have not ended.
pub(in crate::input) async fn accept<C, N, S>(
    most: usize,
    stop: &CancellationToken,
    next: impl Fn() -> N,
    serve: impl Fn(C) -> S,
) -> JoinSet<()>
where
    N: Future<Output = io::Result<C>>,
    S: Future<Output = ()> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(most));
    let mut tasks = JoinSet::new();
    loop {
        let accepted = async { (Arc::clone(&room).acquire_owned().await, next().await) };
        let (permit, accepted) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = accepted => accepted,
            Some(_) = tasks.join_next() => continue,
        };
        let tell = |error: &io::Error| tracing::warn!(%error, "cannot accept a connection; trying again");
        let (Ok(permit), Ok(connection)) = (permit, accepted.inspect_err(tell)) else {
            if tokio::time::timeout(PAUSE, stop.cancelled()).await.is_ok() {
                break;
            }
            continue;
        };
        let serving = serve(connection);
        tasks.spawn(async move {
            serving.await;
            drop(permit);
        });
    }
    tasks
}
