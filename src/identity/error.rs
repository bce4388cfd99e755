//! What identity refuses, and how it is told outside.

use base::{Code, Fault, Problem};

#[derive(Clone, Debug, thiserror::Error)]
pub enum IdentityError {
    /// A field of the request is wrong; carries the finished answer.
    #[error(transparent)]
    Invalid(Problem),
    #[error("the phone has an account already")]
    PhoneTaken,
    #[error("phone and password don't belong together")]
    InvalidCredentials,
    #[error("the refresh token is unknown, used or ended")]
    InvalidRefreshToken,
    #[error("the login code is unknown, used or too old")]
    InvalidCode,
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<IdentityError> for Problem {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::Invalid(problem) => problem,
            IdentityError::PhoneTaken => {
                Self::new(Code::PhoneTaken, "this phone has an account already, log in instead")
            }
            IdentityError::InvalidCredentials => {
                Self::new(Code::InvalidCredentials, "phone and password don't belong together")
            }
            IdentityError::InvalidRefreshToken => {
                Self::new(Code::InvalidRefreshToken, "log in again")
            }
            IdentityError::InvalidCode => Self::new(
                Code::InvalidCode,
                "this link was used already or is older than a minute, ask for a new one",
            ),
            IdentityError::Fault(fault) => fault.into(),
        }
    }
}
