//! Keeping a bug that shows in one unit's task away from everything else.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use crate::systemd::Error;

/// Carries out a task. A panic in it is an error of that task: whoever waits for it must learn of its end.
///
/// What a panic may have left half done is the task's own: locks are taken for a moment only, and poisoning
/// is ignored everywhere.
pub(super) async fn guarded<T>(task: impl Future<Output = T>) -> Result<T, Error> {
    AssertUnwindSafe(task).catch_unwind().await.map_err(|panic| {
        let message = format!("a bug in fleetd: a task panicked: {}", text_of(&*panic));
        tracing::error!("{message}");
        Error { unreachable: false, message, source: None }
    })
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a word")
}
