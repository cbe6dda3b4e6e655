//! The closed list of what can go wrong, as callers see it. Every error of every crate is one of
//! these ten; `qhatu-serve` maps them to HTTP in one place.

use serde::{Deserialize, Serialize};

/// What kind of fault an error is, and so whose it is and whether trying again helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The caller sent something that cannot be understood.
    InvalidArgument,
    /// The caller did not say who they are, or not convincingly.
    Unauthenticated,
    /// The caller is known and may not do this.
    PermissionDenied,
    /// What was asked for is not there.
    NotFound,
    /// It is there already, or was changed meanwhile.
    Conflict,
    /// The request is larger than what is taken at once.
    TooLarge,
    /// Too much at once: try again later.
    ResourceExhausted,
    /// Not ready or not reachable now: try again later.
    Unavailable,
    /// What is stored is damaged.
    DataLoss,
    /// A fault of ours.
    Internal,
}

impl ErrorKind {
    /// The stable code in answers and logs.
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid_argument",
            Self::Unauthenticated => "unauthenticated",
            Self::PermissionDenied => "permission_denied",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::TooLarge => "too_large",
            Self::ResourceExhausted => "resource_exhausted",
            Self::Unavailable => "unavailable",
            Self::DataLoss => "data_loss",
            Self::Internal => "internal",
        }
    }
}
