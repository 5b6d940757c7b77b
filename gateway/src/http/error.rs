//! Errors of the HTTP API: `{"error": {"code", "message"}}`, with the codes of the WebSocket protocol.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;
use shared::protocol::ErrorCode;

/// An answer that is an error.
#[derive(Debug)]
pub struct ApiError {
    code: ErrorCode,
    message: String,
}

/// The answer of a request that was refused.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Refusal")]
pub(super) struct Body {
    error: Inner,
}

/// Why.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RefusalReason")]
struct Inner {
    /// For programs.
    code: ErrorCode,
    /// For people.
    message: String,
}

impl ApiError {
    /// An error with this code, and words for people.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> ApiError {
        ApiError {
            code,
            message: message.into(),
        }
    }

    /// There is no such game.
    pub fn not_found() -> ApiError {
        ApiError::new(ErrorCode::GameNotFound, "there is no such game")
    }
}

impl From<pubsub::Unavailable> for ApiError {
    fn from(error: pubsub::Unavailable) -> ApiError {
        ApiError::new(ErrorCode::Unavailable, error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = match self.code {
            ErrorCode::GameNotFound => StatusCode::NOT_FOUND,
            ErrorCode::Unauthorized => StatusCode::UNAUTHORIZED,
            ErrorCode::Forbidden => StatusCode::FORBIDDEN,
            ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        };
        let body = Body {
            error: Inner {
                code: self.code,
                message: self.message,
            },
        };
        let mut response = (status, Json(body)).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// The answer to a path under `/api/` that there is not.
pub async fn no_such_path() -> Response {
    let message = "there is no such path; see the documentation of the HTTP interface";
    let body = serde_json::json!({"error": {"code": "not_found", "message": message}});
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}
