//! The documentation that aide makes of a handler: that of its own arguments and response, as
//! without the attribute.

use std::fmt;
use std::marker::PhantomData;

use aide::generate::GenContext;
use aide::openapi::{self, Operation};
use aide::{OperationInput, OperationOutput};
use axum::response::{IntoResponse, Response};

use super::{DebugHandlerBelongsBelow, Head};

impl OperationInput for DebugHandlerBelongsBelow {}

impl<T: OperationInput, K, const KEEP: u8> OperationInput for Head<T, K, KEEP> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        T::operation_input(ctx, operation);
    }

    fn inferred_early_responses(
        ctx: &mut GenContext,
        operation: &mut Operation,
    ) -> Vec<(Option<u16>, openapi::Response)> {
        T::inferred_early_responses(ctx, operation)
    }
}

/// A response that is documented as the return type of the handler.
pub struct Documented<T> {
    response: Response,
    of: PhantomData<fn() -> T>,
}

impl<T> Documented<T> {
    /// Wraps a response.
    pub fn new(response: Response) -> Self {
        Self {
            response,
            of: PhantomData,
        }
    }
}

impl<T> IntoResponse for Documented<T> {
    fn into_response(self) -> Response {
        self.response
    }
}

impl<T> fmt::Debug for Documented<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.response.fmt(f)
    }
}

impl<T: OperationOutput> OperationOutput for Documented<T> {
    type Inner = T::Inner;

    fn operation_response(
        ctx: &mut GenContext,
        operation: &mut Operation,
    ) -> Option<openapi::Response> {
        T::operation_response(ctx, operation)
    }

    fn inferred_responses(
        ctx: &mut GenContext,
        operation: &mut Operation,
    ) -> Vec<(Option<u16>, openapi::Response)> {
        T::inferred_responses(ctx, operation)
    }
}
