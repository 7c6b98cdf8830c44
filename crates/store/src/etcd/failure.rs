//! What a failed call means: whether it may have been done, and what helps.
//!
//! etcd names its errors by a gRPC code and a fixed message; several errors share a code, so the message
//! decides. The list is `api/v3rpc/rpctypes/error.go` of etcd. Where each comes from in the server (before a
//! proposal, after it, or while it is applied) decides whether a write may have been done.

use std::sync::Arc;
use std::time::Duration;

use tonic::{Code, Status};

use super::connection::SendError;
use super::transport::ConnectError;
use crate::error::{Error, ErrorKind, RenewError, WriteError};

/// A call that failed.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// Certainly not done, as opposed to unknown.
    pub(super) not_done: bool,
    /// What kind of trouble, for the caller.
    pub(super) kind: ErrorKind,
    /// What the session does about it.
    pub(super) remedy: Remedy,
    /// What a backend module looks at.
    pub(super) what: What,
    cause: Arc<Cause>,
}

/// What may help against a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Nothing that a session can do.
    None,
    /// The same again, over a new connection if the old one is gone.
    Again,
    /// Another member.
    AnotherMember,
    /// A new login.
    Login,
}

/// Failures that have a meaning of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// No such lease.
    LeaseNotFound,
    /// The revision is compacted, or of another history.
    Compacted,
    /// The request is larger than the server takes.
    RequestTooLarge,
    /// The response is larger than we take.
    ResponseTooLarge,
    /// The server knows no users.
    AuthNotEnabled,
    /// Anything else.
    Other,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error("{0}")]
    Connect(Arc<ConnectError>),
    #[error("etcd did not answer within {0:?}")]
    Timeout(Duration),
    #[error("too many calls wait for etcd")]
    Busy,
    #[error("no connection within {0:?}")]
    NoConnection(Duration),
    #[error("{advice}")]
    Advice {
        advice: String,
        #[source]
        source: etcd_client::Error,
    },
    #[error("{0}")]
    Etcd(etcd_client::Error),
    #[error("{0}")]
    Words(String),
}

/// How one of etcd's errors is to be taken.
struct Rule {
    message: &'static str,
    not_done: bool,
    kind: ErrorKind,
    remedy: Remedy,
    what: What,
    advice: &'static str,
}

const fn rule(message: &'static str, not_done: bool, kind: ErrorKind, remedy: Remedy) -> Rule {
    Rule { message, not_done, kind, remedy, what: What::Other, advice: "" }
}

impl Rule {
    const fn what(self, what: What) -> Rule {
        Rule { what, ..self }
    }

    const fn advice(self, advice: &'static str) -> Rule {
        Rule { advice, ..self }
    }
}

const LOGIN: &str = "etcd demands a login: check etcd_username and etcd_password";

/// Without the leading "etcdserver: ". A message that is not here is unknown for a write.
const RULES: &[Rule] = &[
    // Refused before anything is proposed.
    rule("no leader", true, ErrorKind::Unavailable, Remedy::AnotherMember),
    rule("not leader", true, ErrorKind::Unavailable, Remedy::AnotherMember),
    rule("not capable", true, ErrorKind::Unavailable, Remedy::AnotherMember),
    rule("rpc not supported for learner", true, ErrorKind::Unavailable, Remedy::AnotherMember),
    rule("too many requests", true, ErrorKind::Unavailable, Remedy::None),
    rule("raft proposal dropped", true, ErrorKind::Unavailable, Remedy::AnotherMember),
    rule("request is too large", true, ErrorKind::Invalid, Remedy::None).what(What::RequestTooLarge),
    rule("key is not provided", true, ErrorKind::Invalid, Remedy::None),
    rule("too many operations in txn request", true, ErrorKind::Invalid, Remedy::None)
        .what(What::RequestTooLarge),
    rule("duplicate key given in txn request", true, ErrorKind::Invalid, Remedy::None),
    rule("too large lease TTL", true, ErrorKind::Invalid, Remedy::None),
    // Refused while it is applied, before it changes anything.
    rule("requested lease not found", true, ErrorKind::Invalid, Remedy::None).what(What::LeaseNotFound),
    rule("corrupt cluster", true, ErrorKind::Corrupt, Remedy::AnotherMember)
        .advice("etcd found its data corrupt: restore this member (`etcdctl alarm list` names it)"),
    rule("permission denied", true, ErrorKind::Denied, Remedy::None)
        .advice("this etcd user may not touch these keys: grant its role the prefix etcd_key_prefix"),
    rule("invalid auth token", true, ErrorKind::Denied, Remedy::Login).advice(LOGIN),
    rule("revision of auth store is old", true, ErrorKind::Denied, Remedy::Login).advice(LOGIN),
    rule("user name is empty", true, ErrorKind::Denied, Remedy::Login).advice(LOGIN),
    rule("user name not found", true, ErrorKind::Denied, Remedy::None).advice(LOGIN),
    rule("authentication failed, invalid user ID or password", true, ErrorKind::Denied, Remedy::None)
        .advice("etcd refuses this user or password: check etcd_username and etcd_password"),
    rule("authentication is not enabled", true, ErrorKind::Denied, Remedy::None).what(What::AuthNotEnabled),
    // Reads and watches.
    rule("mvcc: required revision has been compacted", true, ErrorKind::Compacted, Remedy::None)
        .what(What::Compacted),
    rule("mvcc: required revision is a future revision", true, ErrorKind::Compacted, Remedy::None)
        .what(What::Compacted),
    // After a proposal: nobody can tell.
    rule("leader changed", false, ErrorKind::Unavailable, Remedy::Again),
    rule("server stopped", false, ErrorKind::Unavailable, Remedy::AnotherMember),
    rule("request timed out", false, ErrorKind::Unavailable, Remedy::AnotherMember),
    rule(
        "request timed out, possibly due to previous leader failure",
        false,
        ErrorKind::Unavailable,
        Remedy::Again,
    ),
    rule(
        "request timed out, possibly due to connection lost",
        false,
        ErrorKind::Unavailable,
        Remedy::AnotherMember,
    ),
    rule(
        "request timed out, waiting for the applied index took too long",
        false,
        ErrorKind::Unavailable,
        Remedy::AnotherMember,
    ),
    rule("unhealthy cluster", false, ErrorKind::Unavailable, Remedy::AnotherMember),
    // The write that crosses the quota is done and answered with this error.
    rule("mvcc: database space exceeded", false, ErrorKind::Unsuitable, Remedy::None).advice(
        "etcd's database has reached its quota: compact and defragment it, then `etcdctl alarm disarm`",
    ),
];

impl Failure {
    /// No member could be reached.
    pub(super) fn connect(error: Arc<ConnectError>) -> Failure {
        Failure::new(true, error.kind(), Remedy::None, Cause::Connect(error))
    }

    /// No connection came up in time.
    pub(super) fn no_connection(limit: Duration) -> Failure {
        Failure::new(true, ErrorKind::Unavailable, Remedy::None, Cause::NoConnection(limit))
    }

    /// Too many calls are under way.
    pub(super) fn busy() -> Failure {
        Failure::new(true, ErrorKind::Unavailable, Remedy::None, Cause::Busy)
    }

    /// It was sent, and no answer came in time.
    pub(super) fn timeout(limit: Duration) -> Failure {
        Failure::new(false, ErrorKind::Unavailable, Remedy::None, Cause::Timeout(limit))
    }

    /// The server's answer is not what its protocol says.
    pub(super) fn nonsense(what: &str) -> Failure {
        let words = format!("etcd answered {what}");
        Failure::new(false, ErrorKind::Corrupt, Remedy::None, Cause::Words(words))
    }

    /// A message of the server that came without a gRPC status: the reason of a cancelled watch.
    pub(super) fn message(message: &str) -> Failure {
        // gRPC's Go library puts the status into words.
        let message = message.split_once(" desc = ").map_or(message, |(_, description)| description);
        Failure::from_status(&Status::unknown(message), |advice| match advice {
            "" => Cause::Words(message.to_owned()),
            advice => Cause::Words(format!("{advice} ({message})")),
        })
    }

    fn new(not_done: bool, kind: ErrorKind, remedy: Remedy, cause: Cause) -> Failure {
        Failure { not_done, kind, remedy, what: What::Other, cause: Arc::new(cause) }
    }

    fn from_status(status: &Status, cause: impl FnOnce(&str) -> Cause) -> Failure {
        let message = status.message();
        let bare = message.strip_prefix("etcdserver: ").unwrap_or(message);
        if let Some(rule) = RULES.iter().find(|rule| rule.message == bare) {
            return Failure {
                not_done: rule.not_done,
                kind: rule.kind,
                remedy: rule.remedy,
                what: rule.what,
                cause: Arc::new(cause(rule.advice)),
            };
        }
        let sent = std::error::Error::source(status).and_then(|source| source.downcast_ref::<SendError>());
        match (sent, status.code()) {
            (Some(SendError::NotSent), _) => {
                Failure::new(true, ErrorKind::Unavailable, Remedy::Again, cause(""))
            }
            (Some(SendError::Broken(_)), _) => {
                Failure::new(false, ErrorKind::Unavailable, Remedy::Again, cause(""))
            }
            (None, Code::Unimplemented) => Failure::new(
                true,
                ErrorKind::Unsuitable,
                Remedy::None,
                cause("this etcd does not serve the v3 API; Fleet needs etcd 3.4 or newer with the v3 API"),
            ),
            (None, Code::Unauthenticated) => {
                Failure::new(true, ErrorKind::Denied, Remedy::Login, cause(LOGIN))
            }
            (None, Code::PermissionDenied) => Failure::new(true, ErrorKind::Denied, Remedy::None, cause("")),
            // tonic's own code for a message beyond our bound.
            (None, Code::OutOfRange) => Failure {
                what: What::ResponseTooLarge,
                ..Failure::new(false, ErrorKind::Unavailable, Remedy::None, cause(""))
            },
            (None, Code::InvalidArgument | Code::FailedPrecondition) => {
                Failure::new(false, ErrorKind::Invalid, Remedy::None, cause(""))
            }
            (None, Code::DataLoss) => Failure::new(false, ErrorKind::Corrupt, Remedy::None, cause("")),
            (None, _) => Failure::new(false, ErrorKind::Unavailable, Remedy::Again, cause("")),
        }
    }

    /// This failure, of something on the way to a call that was then not sent.
    pub(super) fn certainly_not_done(self) -> Failure {
        Failure { not_done: true, ..self }
    }

    /// This failure as an error of the operation `of`, such as `get unit/a`.
    pub(super) fn into_error(self, of: impl Into<String>) -> Error {
        Error::caused_by(self.kind, of, self.cause)
    }

    /// This failure of a write.
    pub(super) fn into_write_error(self, of: impl Into<String>) -> WriteError {
        match (self.what, self.not_done) {
            (What::LeaseNotFound, _) => WriteError::LeaseLost,
            (_, true) => WriteError::NotDone(self.into_error(of)),
            (_, false) => WriteError::Unknown(self.into_error(of)),
        }
    }

    /// This failure of a renewal.
    pub(super) fn into_renew_error(self, of: impl Into<String>) -> RenewError {
        match self.what {
            What::LeaseNotFound => RenewError::Lost,
            _ => RenewError::Failed(self.into_error(of)),
        }
    }
}

impl From<etcd_client::Error> for Failure {
    fn from(error: etcd_client::Error) -> Failure {
        if let etcd_client::Error::LeaseKeepAliveError(message) = &error
            && message == "lease not found"
        {
            let failure = Failure::new(true, ErrorKind::Invalid, Remedy::None, Cause::Etcd(error));
            return Failure { what: What::LeaseNotFound, ..failure };
        }
        let etcd_client::Error::GRpcStatus(status) = error else {
            return Failure::new(false, ErrorKind::Unavailable, Remedy::Again, Cause::Etcd(error));
        };
        let words = status.message().to_owned();
        let boxed = etcd_client::Error::GRpcStatus(status.clone());
        Failure::from_status(&status, |advice| match advice {
            "" => Cause::Words(words),
            advice => Cause::Advice { advice: advice.to_owned(), source: boxed },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: Code, message: &str) -> Failure {
        Failure::from(etcd_client::Error::GRpcStatus(Status::new(code, message)))
    }

    fn write_error(code: Code, message: &str) -> WriteError {
        failure(code, message).into_write_error("write a")
    }

    #[test]
    fn what_is_refused_is_certainly_not_done() {
        for (code, message) in [
            (Code::Unavailable, "etcdserver: no leader"),
            (Code::Unavailable, "etcdserver: not capable"),
            (Code::ResourceExhausted, "etcdserver: too many requests"),
            (Code::InvalidArgument, "etcdserver: request is too large"),
            (Code::PermissionDenied, "etcdserver: permission denied"),
            (Code::Unauthenticated, "etcdserver: invalid auth token"),
            (Code::Unknown, "raft proposal dropped"),
            (Code::Unimplemented, "unknown service etcdserverpb.KV"),
        ] {
            let error = write_error(code, message);
            assert!(matches!(error, WriteError::NotDone(_)), "{message}: {error:?}");
        }
    }

    #[test]
    fn what_may_have_been_proposed_is_unknown() {
        for (code, message) in [
            (Code::Unavailable, "etcdserver: request timed out"),
            (Code::Unavailable, "etcdserver: request timed out, possibly due to previous leader failure"),
            (Code::Unavailable, "etcdserver: server stopped"),
            (Code::Unavailable, "etcdserver: leader changed"),
            // Done, and answered with this error, by the write that crosses the quota.
            (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
            (Code::Cancelled, "context canceled"),
            (Code::DeadlineExceeded, "context deadline exceeded"),
            (Code::Unavailable, "something that a proxy says"),
            (Code::Internal, "something new"),
            (Code::InvalidArgument, "something new"),
        ] {
            let error = write_error(code, message);
            assert!(matches!(error, WriteError::Unknown(_)), "{message}: {error:?}");
        }
    }

    #[test]
    fn a_connection_that_breaks_is_told_from_one_that_was_not_there() {
        let sent = |error: SendError| {
            Failure::from(etcd_client::Error::GRpcStatus(Status::from_error(error.into())))
        };
        assert!(sent(SendError::NotSent).not_done);
        let broken = sent(SendError::Broken("reset".to_owned()));
        assert!(!broken.not_done);
        assert_eq!((broken.kind, broken.remedy), (ErrorKind::Unavailable, Remedy::Again));
    }

    #[test]
    fn a_lost_lease_is_an_answer() {
        let error = write_error(Code::NotFound, "etcdserver: requested lease not found");
        assert!(matches!(error, WriteError::LeaseLost));
        let lost = etcd_client::Error::LeaseKeepAliveError("lease not found".to_owned());
        assert!(matches!(Failure::from(lost).into_renew_error("renew"), RenewError::Lost));
        let away = failure(Code::Unavailable, "etcdserver: no leader").into_renew_error("renew");
        assert!(matches!(away, RenewError::Failed(_)));
    }

    #[test]
    fn reasons_of_watches_are_read_too() {
        let failure =
            Failure::message("rpc error: code = Unauthenticated desc = etcdserver: invalid auth token");
        assert_eq!((failure.kind, failure.remedy), (ErrorKind::Denied, Remedy::Login));
        let compacted = Failure::message("etcdserver: mvcc: required revision has been compacted");
        assert_eq!(compacted.what, What::Compacted);
    }

    #[test]
    fn advice_names_the_options() {
        let error = failure(Code::PermissionDenied, "etcdserver: permission denied").into_error("get a");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("etcd_key_prefix"), "{cause}");
    }
}
