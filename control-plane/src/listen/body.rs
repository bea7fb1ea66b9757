//! A request body that ends with an error when it is too long or too slow.
//!
//! axum's own limit holds for extractors that ask for it; this one holds for whoever reads. The
//! fault is also kept beside the body, so that the answer says what was wrong with it even where
//! a handler only says that it could not read.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Sleep;

/// What was wrong with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("the body is longer than is taken")]
    TooLong,
    #[error("the body did not come in time")]
    Overdue,
}

/// An [`Incoming`] within bounds.
pub(super) struct Bounded {
    inner: Incoming,
    left: usize,
    time: Duration,
    /// Begins with the first wait: a handler that looks at the body late is not the peer's fault.
    deadline: Option<Pin<Box<Sleep>>>,
    fault: Arc<OnceLock<Fault>>,
}

impl Bounded {
    pub(super) fn new(
        inner: Incoming,
        bytes: usize,
        time: Duration,
        fault: Arc<OnceLock<Fault>>,
    ) -> Self {
        Self { inner, left: bytes, time, deadline: None, fault }
    }

    fn fail(&self, fault: Fault) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let _ = self.fault.set(fault);
        Poll::Ready(Some(Err(fault.into())))
    }
}

impl Body for Bounded {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        if let Some(fault) = self.fault.get() {
            return self.fail(*fault);
        }
        match Pin::new(&mut self.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                match self.left.checked_sub(length) {
                    Some(left) => self.left = left,
                    None => return self.fail(Fault::TooLong),
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                let time = self.time;
                let deadline =
                    self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(time)));
                match deadline.as_mut().poll(context) {
                    Poll::Ready(()) => self.fail(Fault::Overdue),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
