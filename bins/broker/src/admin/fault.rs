//! How the faults of administrative changes look from outside: one total match each.

use usher_api::ErrorCode;
use usher_enrollment::{PlacementError, TopologyError};
use usher_identity::NotPermitted;
use usher_store::{
    devices::DecideDeviceError,
    groups::{CreateGroupError, DeleteGroupError},
    project_groups::SetProjectGroupError,
    project_users::AllocateUserError,
    projects::{CreateProjectError, DeleteProjectError},
    users::{ChangeUserError, CreateUserError},
};

use crate::error::ApiError;

/// A conflict with what is there.
fn exists(error: &dyn std::error::Error) -> ApiError {
    ApiError::new(ErrorCode::AlreadyExists, error.to_string())
}

/// Input that means nothing; the cause says what was wrong with it.
fn invalid(error: &dyn std::error::Error) -> ApiError {
    let message = match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    ApiError::invalid(message)
}

impl From<NotPermitted> for ApiError {
    fn from(error: NotPermitted) -> Self {
        Self::new(ErrorCode::Forbidden, error.to_string()).with_next("ask somebody who has it")
    }
}

impl From<CreateUserError> for ApiError {
    fn from(error: CreateUserError) -> Self {
        match error {
            CreateUserError::LooksLikeId(_) => invalid(&error),
            CreateUserError::Store(source) => source.into(),
            CreateUserError::Taken { .. } => exists(&error),
            CreateUserError::UnixNameUsed(_) => exists(&error).with_next(
                "name another Unix user name: `unix_user_name`, or `--unix-user-name` of `usher user create`",
            ),
        }
    }
}

impl From<ChangeUserError> for ApiError {
    fn from(error: ChangeUserError) -> Self {
        match error {
            ChangeUserError::LastOwner(_) => Self::new(ErrorCode::InUse, error.to_string())
                .with_next("make another active user an owner first: `usher user set USER --role owner`"),
            ChangeUserError::Store(source) => source.into(),
        }
    }
}

impl From<CreateGroupError> for ApiError {
    fn from(error: CreateGroupError) -> Self {
        match error {
            CreateGroupError::LooksLikeId(_) => invalid(&error),
            CreateGroupError::Namespace(_) => exists(&error),
            CreateGroupError::Store(source) => source.into(),
            CreateGroupError::Taken(_) => exists(&error),
        }
    }
}

impl From<DeleteGroupError> for ApiError {
    fn from(error: DeleteGroupError) -> Self {
        match error {
            DeleteGroupError::InUse { .. } => Self::new(ErrorCode::InUse, error.to_string()),
            DeleteGroupError::Store(source) => source.into(),
        }
    }
}

impl From<CreateProjectError> for ApiError {
    fn from(error: CreateProjectError) -> Self {
        match error {
            CreateProjectError::Store(source) => source.into(),
            CreateProjectError::Taken(_) => exists(&error),
        }
    }
}

impl From<DeleteProjectError> for ApiError {
    fn from(error: DeleteProjectError) -> Self {
        match error {
            DeleteProjectError::InUse { .. } => Self::new(ErrorCode::InUse, error.to_string()),
            DeleteProjectError::Store(source) => source.into(),
        }
    }
}

impl From<SetProjectGroupError> for ApiError {
    fn from(error: SetProjectGroupError) -> Self {
        match error {
            SetProjectGroupError::Exhausted { .. } => Self::new(ErrorCode::InUse, error.to_string()),
            SetProjectGroupError::NotUnix { .. } => invalid(&error),
            SetProjectGroupError::Store(source) => source.into(),
            SetProjectGroupError::Taken { .. } => exists(&error),
        }
    }
}

impl From<AllocateUserError> for ApiError {
    fn from(error: AllocateUserError) -> Self {
        match error {
            AllocateUserError::Exhausted { .. } => Self::new(ErrorCode::InUse, error.to_string()),
            AllocateUserError::Store(source) => source.into(),
            AllocateUserError::Taken { .. } => exists(&error),
        }
    }
}

impl From<DecideDeviceError> for ApiError {
    fn from(error: DecideDeviceError) -> Self {
        match error {
            DecideDeviceError::Revoked(_) => Self::new(ErrorCode::DeviceRevoked, error.to_string()),
            DecideDeviceError::Store(source) => source.into(),
        }
    }
}

impl From<PlacementError> for ApiError {
    fn from(error: PlacementError) -> Self {
        match error {
            PlacementError::BastionWithoutGroup
            | PlacementError::GroupWithoutBastion { .. }
            | PlacementError::ViaItself { .. } => invalid(&error),
        }
    }
}

impl From<TopologyError> for ApiError {
    fn from(error: TopologyError) -> Self {
        match error {
            TopologyError::Cycle { .. }
            | TopologyError::DifferentVia { .. }
            | TopologyError::TooManyHops { .. } => invalid(&error),
        }
    }
}
