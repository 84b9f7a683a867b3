//! Keeping a bounded copy of a body without holding it back.

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
use super::store_response::store;
use crate::engine::Engine;
use crate::engine::copies::{Copies, Room, StreamCopy};
use crate::engine::fill::Fill;
use crate::http::conditional::add_etag;
use crate::http::storable::NotStorable;
use crate::observe::{Place, Writes};
use crate::store::entry::StoredHead;

/// A body in more pieces than these is not waited for, even if it is all there.
const MAX_FRAMES: usize = 1024;

/// The result of reading a body for a copy of it.
pub(crate) enum Captured {
    /// The body, complete.
    Whole(Bytes),
    /// Its length is not known, or it is not all there yet: it must not be waited for.
    Streaming(Body),
    /// The body cannot be stored. It is still complete.
    NotStorable(NotStorable, Body),
}

/// Reads a body whose length is known, as far as it is there already, if that is within `limit` and
/// what the handler declared.
///
/// Data that is read ahead takes room of the copies, as far as it is more than one piece: a client that does
/// not read leaves it here.
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
        let has_room = replay.make_room(&frame, copies);
        let broken = frame.is_err() || received > length;
        let trailers = frame.as_ref().is_ok_and(Frame::is_trailers);
        replay.frames.push_back(frame);
        if broken || trailers {
            // It is not what its length said.
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

/// A body of which some frames have been read already.
struct Replay {
    frames: VecDeque<FrameResult>,
    /// The room for all frames but the first, which the handler had in memory.
    room: Option<Room>,
    rest: Body,
    /// The length of the data still to come, if the body keeps its word.
    left: Option<u64>,
}

impl Replay {
    /// Makes room for a frame; `false`: there is none.
    fn make_room(&mut self, frame: &FrameResult, copies: &Arc<Copies>) -> bool {
        if self.frames.is_empty() {
            return true;
        }
        let room = self.room.get_or_insert_with(|| Room::new(copies));
        room.grow(length_of(frame))
    }

    /// The data of the frames; one frame is not copied.
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

/// Passes a body through and keeps a copy, which is stored when the body ended cleanly.
///
/// Data is never held back. Only the end waits until the copy is stored, so that whoever saw it
/// finds the stored response.
pub(crate) struct Tee {
    body: Body,
    declared: Option<u64>,
    engine: Engine,
    route: &'static Route,
    /// The place in the trace: the task that polls the body may be elsewhere in it.
    place: Place,
    ended: bool,
    /// A frame that came after the declared length.
    excess: Option<FrameResult>,
    /// The body is read without a client.
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
    head: StoredHead,
}

impl Tee {
    pub(crate) fn new(
        body: Body,
        declared: Option<u64>,
        engine: &Engine,
        route: &'static Route,
        fill: Box<Fill>,
        head: StoredHead,
    ) -> Self {
        let copying = Copying {
            copy: StreamCopy::new(engine.copies(), fill.end()),
            fill,
            head,
        };
        Self {
            body,
            declared,
            engine: engine.clone(),
            route,
            place: Place::current(),
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

    /// Looks for the end of a body that is as long as it was declared: the server stops reading once it
    /// has sent that much.
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

    /// Stores in a task of its own: it is finished even if the client goes away now.
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
            self.state = CopyState::Storing(runtime.spawn(self.place.clone().around(store)));
        }
    }

    /// Dropping the fill gives its lease back.
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
        mut head,
    } = copying;
    let body = Bytes::from(body);
    add_etag(head.status, &mut head.fields, &body).await;
    store(fill, route, &head, &body).await;
    // The room of the copy is taken until here.
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
            // It ends within the time budget of the store; how, the cache has recorded.
            let _ = ready!(Pin::new(task).poll(cx));
            this.state = CopyState::PassingThrough;
        }
        Poll::Ready(None)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body of known length is read to its end even if its client goes away, or does not want it: it is
/// bounded, and others can use the copy.
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
            place: self.place.clone(),
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
        background.detach(read, limit, self.place.clone());
    }
}
