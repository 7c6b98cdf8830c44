//! Following the files of a certificate.
//!
//! They are read again at each interval and compared by their content: times of files lie when a mounted
//! secret is switched by a link. A bad new file leaves the configuration that is in use, and is logged once,
//! not at each interval.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::load::Texts;
use super::{Acceptor, Loaded, ServerTls, TlsError};

/// How often files are read when nothing else is said.
pub const INTERVAL: Duration = Duration::from_secs(5);

/// A server's TLS that follows its files.
pub struct Reload {
    settings: ServerTls,
    acceptor: Acceptor,
    /// What is in use, or was found to be bad.
    seen: Option<Texts>,
    /// What was last said to be wrong.
    told: Option<String>,
}

/// What a look at the files found.
#[derive(Debug)]
pub enum Look {
    /// What was there at the last look, good or bad.
    Same,
    /// Something new, which is in use now.
    Swapped {
        /// When the new certificate ends.
        not_after: OffsetDateTime,
    },
    /// Something that cannot be used; what was in use before stays.
    Bad {
        /// What is wrong.
        error: TlsError,
        /// The last look did not find the same.
        is_news: bool,
    },
}

impl Reload {
    /// Reads the files, for the first time; an acceptor with what is in them comes along. Blocks as
    /// [`ServerTls::load`] does.
    ///
    /// # Errors
    /// [`TlsError`]: a server must not start with a bad certificate.
    pub fn start(settings: ServerTls) -> Result<(Acceptor, Reload), TlsError> {
        let texts = Texts::read(&settings)?;
        let loaded = settings.build(&texts, OffsetDateTime::now_utc())?;
        let acceptor = Acceptor::new(loaded.config);
        let reload = Reload { settings, acceptor: acceptor.clone(), seen: Some(texts), told: None };
        Ok((acceptor, reload))
    }

    /// Looks at the files each `interval` until the token is cancelled.
    pub async fn run(mut self, interval: Duration, token: CancellationToken) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = token.cancelled() => return,
                _ = ticks.tick() => {}
            }
            // The disk may be slow, and a passphrase's hash is.
            let looked = tokio::task::spawn_blocking(move || {
                let look = self.look();
                (self, look)
            });
            match looked.await {
                Ok((reload, look)) => {
                    self = reload;
                    self.log(&look);
                }
                Err(error) => {
                    tracing::error!(%error, "TLS files are not followed any more");
                    return;
                }
            }
        }
    }

    /// Looks at the files now. Blocks as [`ServerTls::load`] does.
    pub fn look(&mut self) -> Look {
        match self.read() {
            Ok(None) => Look::Same,
            Ok(Some(Loaded { config, not_after })) => {
                self.acceptor.swap(config);
                self.told = None;
                Look::Swapped { not_after }
            }
            Err(error) => {
                let text = Some(error.to_string());
                let is_news = self.told != text;
                self.told = text;
                Look::Bad { error, is_news }
            }
        }
    }

    /// What is in the files, if it was not there at the last look.
    fn read(&mut self) -> Result<Option<Loaded>, TlsError> {
        // Without it: what comes back is looked at, even if it is what was there before.
        let seen = self.seen.take();
        let texts = Texts::read(&self.settings)?;
        if seen.as_ref() == Some(&texts) {
            self.seen = seen;
            return Ok(None);
        }
        let built = self.settings.build(&texts, OffsetDateTime::now_utc());
        self.seen = Some(texts);
        built.map(Some)
    }

    fn log(&self, look: &Look) {
        match look {
            Look::Same | Look::Bad { is_news: false, .. } => {}
            Look::Swapped { not_after } => {
                tracing::info!(%not_after, "TLS files reloaded");
            }
            Look::Bad { error, is_news: true } => tracing::warn!(
                error = error as &dyn std::error::Error,
                "new TLS files are not used; those read before stay in use"
            ),
        }
    }
}
