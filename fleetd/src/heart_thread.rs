//! A thread for the heart alone, so that no other work of the daemon can make a heartbeat late.

use std::io;
use std::sync::Arc;
use std::thread;

use fleet_cluster::heart::{Heart, heart};
use fleet_store::Store;

/// Starts a heart on a thread, a runtime and, by `open`, a store connection of its own. The thread ends when
/// every clone of the returned handle is gone.
pub(crate) fn start(
    open: impl FnOnce() -> Result<Arc<dyn Store>, fleet_store::Error> + Send + 'static,
) -> io::Result<Heart> {
    let (heart, beating) = heart();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("heart".to_owned()).stack_size(256 * 1024).spawn(move || {
        runtime.block_on(async move {
            match open() {
                Ok(store) => beating.run(store).await,
                // The main thread has opened the same store with the same options before.
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "no heartbeat is possible");
                }
            }
        });
    })?;
    Ok(heart)
}
