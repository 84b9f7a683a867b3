//! Bounded copies of response bodies. The data is sent to the client without delay while it is
//! copied.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::route::Route;
use super::store_response::ToStore;
use crate::engine::Engine;
use crate::engine::copies::{Copies, Room, StreamCopy};
use crate::engine::fill::Fill;
use crate::http::storable::NotStorable;
use crate::observe::{TraceContext, Writes};

/// The largest number of frames that are read ahead. A body of more frames is streamed, even if all
/// frames are ready.
const MAX_FRAMES: usize = 1024;

/// The result of reading ahead in a body.
pub(crate) enum Captured {
    Whole(Bytes),
    /// The length of the body is unknown, or not all of its data is ready. The response is sent
    /// without waiting for the rest.
    Streaming(Body),
    /// The body cannot be stored. The client still gets the whole body.
    NotStorable(NotStorable, Body),
}

/// Reads the frames of a body that are ready. Reads none if the length of the body is unknown,
/// exceeds `limit`, or differs from the declared length.
///
/// Frames after the first are charged to the memory budget of the copies, because they stay in
/// memory if the client does not read.
pub(crate) fn capture(
    body: Body,
    declared: Option<u64>,
    limit: usize,
    copies: &Arc<Copies>,
) -> Captured {
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    let Some(length) = body.size_hint().exact() else {
        return Captured::Streaming(body);
    };
    if length > limit {
        return Captured::NotStorable(NotStorable::TooLarge, body);
    }
    if declared.is_some_and(|declared| declared != length) {
        return Captured::NotStorable(NotStorable::Incomplete, body);
    }
    let mut replay = Replay {
        frames: VecDeque::new(),
        room: None,
        rest: body,
        left: Some(length),
    };
    let mut received = 0;
    loop {
        let frame = match replay.rest.frame().now_or_never() {
            None => return Captured::Streaming(Body::new(replay)),
            Some(None) => break,
            Some(Some(frame)) => frame,
        };
        received += length_of(&frame) as u64;
        if replay.frames.len() == MAX_FRAMES {
            replay.frames.push_back(frame);
            return Captured::Streaming(Body::new(replay));
        }
        let has_room = replay.reserve(&frame, copies);
        let broken = frame.is_err() || received > length;
        let trailers = frame.as_ref().is_ok_and(Frame::is_trailers);
        replay.frames.push_back(frame);
        if broken || trailers {
            // The size hint does not describe the data, or trailers follow it.
            replay.left = None;
            let reason = if broken {
                NotStorable::Incomplete
            } else {
                NotStorable::Trailers
            };
            return Captured::NotStorable(reason, Body::new(replay));
        }
        if !has_room {
            return Captured::NotStorable(NotStorable::TooManyStreams, Body::new(replay));
        }
    }
    if received == length {
        Captured::Whole(replay.concat())
    } else {
        Captured::NotStorable(NotStorable::Incomplete, Body::new(replay))
    }
}

type FrameResult = Result<Frame<Bytes>, axum::Error>;

fn length_of(frame: &FrameResult) -> usize {
    let data = frame.as_ref().ok().and_then(Frame::data_ref);
    data.map_or(0, Bytes::len)
}

/// A body whose first frames have been read already.
struct Replay {
    frames: VecDeque<FrameResult>,
    /// The reserved memory for all frames except the first, which the handler held in memory
    /// anyway.
    room: Option<Room>,
    rest: Body,
    /// The length of the remaining data; `None`: the size hint does not describe the data, or trailers
    /// follow it.
    left: Option<u64>,
}

impl Replay {
    /// Reserves memory for a frame; returns `false` if the budget is used up.
    fn reserve(&mut self, frame: &FrameResult, copies: &Arc<Copies>) -> bool {
        if self.frames.is_empty() {
            return true;
        }
        let room = self.room.get_or_insert_with(|| Room::new(copies));
        room.grow(length_of(frame))
    }

    /// Returns the data of the frames, without a copy if there is only one.
    fn concat(self) -> Bytes {
        let data = |frame: FrameResult| frame.ok().and_then(|frame| frame.into_data().ok());
        let mut chunks = self.frames.into_iter().filter_map(data);
        let first = chunks.next().unwrap_or_default();
        let Some(second) = chunks.next() else {
            return first;
        };
        let mut whole = BytesMut::from(first);
        whole.extend_from_slice(&second);
        chunks.for_each(|chunk| whole.extend_from_slice(&chunk));
        whole.freeze()
    }
}

impl HttpBody for Replay {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<FrameResult>> {
        let frame = match self.frames.pop_front() {
            Some(frame) => {
                let next = self.frames.front().map_or(0, length_of);
                if let Some(room) = &mut self.room {
                    room.shrink(next);
                }
                Some(frame)
            }
            None => ready!(Pin::new(&mut self.rest).poll_frame(cx)),
        };
        let received = frame.as_ref().map_or(0, length_of) as u64;
        self.left = self.left.map(|left| left.saturating_sub(received));
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

/// A body that is sent to the client and copied. The copy is stored when the body ends without an error,
/// or reaches its declared length.
///
/// Data is never delayed. If the server polls for the end of the body, the end waits until the copy is
/// stored, so that the next request of the client finds the stored response. A server that knows the
/// length of the body may not poll for its end.
pub(crate) struct Tee {
    body: Body,
    declared: Option<u64>,
    engine: Engine,
    route: &'static Route,
    /// The trace context of the request, because another task may poll the body.
    trace: TraceContext,
    ended: bool,
    /// A frame that arrived after the declared length.
    excess: Option<FrameResult>,
    /// The body is read in the background, without a client.
    is_detached: bool,
    state: CopyState,
}

enum CopyState {
    Copying(Box<Copying>),
    Storing(JoinHandle<()>),
    PassingThrough,
}

/// A copy under way.
struct Copying {
    copy: StreamCopy,
    fill: Box<Fill>,
    response: ToStore,
}

impl Tee {
    pub(crate) fn new(
        body: Body,
        declared: Option<u64>,
        engine: &Engine,
        route: &'static Route,
        fill: Box<Fill>,
        response: ToStore,
    ) -> Self {
        let copying = Copying {
            copy: StreamCopy::new(engine.copies(), fill.end()),
            fill,
            response,
        };
        Self {
            body,
            declared,
            engine: engine.clone(),
            route,
            trace: TraceContext::current(),
            ended: false,
            excess: None,
            is_detached: false,
            state: CopyState::Copying(Box::new(copying)),
        }
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        let CopyState::Copying(copying) = &mut self.state else {
            return;
        };
        let copy = &mut copying.copy;
        let Some(data) = frame.data_ref() else {
            return self.give_up(NotStorable::Trailers);
        };
        if copy.len().saturating_add(data.len()) > self.engine.max_body_bytes() {
            return self.give_up(NotStorable::TooLarge);
        }
        if !copy.append(data) {
            self.give_up(NotStorable::TooManyStreams);
        }
    }

    /// Polls for the end of the body when its declared length is reached, because the server does
    /// not poll the body again after that.
    fn check_for_end(&mut self, cx: &mut Context<'_>) {
        let CopyState::Copying(copying) = &self.state else {
            return;
        };
        if self.declared != u64::try_from(copying.copy.len()).ok() {
            return;
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(None) => self.end(),
            Poll::Pending => self.store(),
            Poll::Ready(Some(frame)) => {
                let is_trailers = frame.as_ref().is_ok_and(Frame::is_trailers);
                self.excess = Some(frame);
                self.give_up(if is_trailers {
                    NotStorable::Trailers
                } else {
                    NotStorable::Incomplete
                });
            }
        }
    }

    fn end(&mut self) {
        self.ended = true;
        let CopyState::Copying(copying) = &self.state else {
            return;
        };
        let length = copying.copy.len() as u64;
        if self.declared.is_none_or(|declared| declared == length) {
            self.store();
        } else {
            self.give_up(NotStorable::Incomplete);
        }
    }

    /// Stores the copy in a task of its own, which finishes even if the client disconnects.
    fn store(&mut self) {
        let CopyState::Copying(copying) = &mut self.state else {
            return;
        };
        let Some(body) = copying.copy.take() else {
            return self.give_up(NotStorable::TooManyStreams);
        };
        let state = std::mem::replace(&mut self.state, CopyState::PassingThrough);
        if let CopyState::Copying(copying) = state
            && let Ok(runtime) = Handle::try_current()
        {
            let store = store_copy(*copying, body, self.route);
            self.state = CopyState::Storing(runtime.spawn(self.trace.clone().around(store)));
        }
    }

    /// Gives up the copy, and drops its fill, which releases the lease.
    fn give_up(&mut self, reason: NotStorable) {
        if let CopyState::Copying(_) = &self.state {
            self.route.refuse(reason, Writes::Fill, &self.engine);
        }
        self.state = CopyState::PassingThrough;
    }
}

async fn store_copy(copying: Copying, body: Vec<u8>, route: &'static Route) {
    let Copying {
        copy,
        fill,
        mut response,
    } = copying;
    let body = Bytes::from(body);
    response.add_etag(&body).await;
    response.store(fill, route, &body).await;
    // The copy is charged to the memory budget until here.
    drop(copy);
}

impl HttpBody for Tee {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<FrameResult>> {
        let this = &mut *self;
        if let Some(excess) = this.excess.take() {
            return Poll::Ready(Some(excess));
        }
        if !this.ended {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    this.keep(&frame);
                    this.check_for_end(cx);
                    return Poll::Ready(Some(Ok(frame)));
                }
                Some(Err(error)) => {
                    this.give_up(NotStorable::Incomplete);
                    return Poll::Ready(Some(Err(error)));
                }
                None => this.end(),
            }
        }
        if let CopyState::Storing(task) = &mut this.state {
            // The wait is bounded: each operation of the task has the time budget of the store. The
            // result is ignored, because the task records it.
            let _ = ready!(Pin::new(task).poll(cx));
            this.state = CopyState::PassingThrough;
        }
        Poll::Ready(None)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// So that other requests can use the copy, reads the rest of a body in the background if the client has
/// disconnected, or if the response is sent without its body. Only a body of declared length is read to
/// its end, because it is bounded.
impl Drop for Tee {
    fn drop(&mut self) {
        if !matches!(self.state, CopyState::Copying(_)) {
            return;
        }
        if self.ended || self.is_detached || self.declared.is_none() {
            return;
        }
        let mut rest = Self {
            body: std::mem::take(&mut self.body),
            declared: self.declared,
            engine: self.engine.clone(),
            route: self.route,
            trace: self.trace.clone(),
            ended: false,
            excess: None,
            is_detached: true,
            state: std::mem::replace(&mut self.state, CopyState::PassingThrough),
        };
        let read = async move {
            while !matches!(rest.state, CopyState::PassingThrough) {
                if !matches!(rest.frame().await, Some(Ok(_))) {
                    break;
                }
            }
        };
        let limit = self.engine.lease_ttl();
        let background = self.engine.background();
        background.detach(read, limit, self.trace.clone());
    }
}
