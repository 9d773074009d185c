//! Bodies on their way through: never buffered here, and counted as in flight until their last byte.

use crate::activity::Activity;
use crate::backend::{Permit, Sender};
use crate::site::file::FileBody;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// From the client to the replica.
#[derive(Debug)]
pub(crate) struct RequestBody {
    incoming: Option<Incoming>,
    /// Kept until hyper lets go of the body: a response can end before the upload does.
    permit: Option<Permit>,
}

impl RequestBody {
    pub(crate) fn new(incoming: Incoming) -> Self {
        Self { incoming: (!incoming.is_end_stream()).then_some(incoming), permit: None }
    }

    pub(crate) fn empty() -> Self {
        Self { incoming: None, permit: None }
    }

    /// Counts the upload at the replica that it goes to now.
    pub(crate) fn counted_by(&mut self, permit: &Permit) {
        self.permit = self.incoming.is_some().then(|| permit.clone());
    }

    /// It came back unsent.
    pub(crate) fn uncount(&mut self) {
        self.permit = None;
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        match &mut self.incoming {
            Some(incoming) => Pin::new(incoming).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// A connection lent to one request; goes back to the pool when the response has ended.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) sender: Sender,
    pub(crate) permit: Permit,
    pub(crate) thread: usize,
    /// How long the replica keeps the connection when idle; zero: not at all.
    pub(crate) keep: Duration,
}

impl Lease {
    fn give_back(self) {
        self.permit.backend().keep_idle(self.thread, self.sender, self.keep);
    }
}

/// Why a response ends before its end. The connection to the client is cut, so that it notices.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error(transparent)]
    Upstream(hyper::Error),
    #[error("a file of a site cannot be read")]
    File(#[source] io::Error),
}

/// From the replica, the files of a site, or the edge itself, to the client.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    source: Source,
    activity: Arc<Activity>,
}

#[derive(Debug)]
enum Source {
    Own(Option<Bytes>),
    /// Of a site, from memory.
    Held {
        bytes: Option<Bytes>,
        _permit: Permit,
    },
    /// Of a site, from disk.
    File(FileBody),
    Upstream {
        incoming: Incoming,
        lease: Option<Lease>,
    },
    /// Of a server outside; its connection lasts as long as the body.
    Outside {
        incoming: Incoming,
        _sender: Sender,
    },
}

impl ResponseBody {
    pub(crate) fn own(bytes: Bytes, activity: Arc<Activity>) -> Self {
        Self { source: Source::Own((!bytes.is_empty()).then_some(bytes)), activity }
    }

    pub(crate) fn held(bytes: Bytes, permit: Permit, activity: Arc<Activity>) -> Self {
        let bytes = (!bytes.is_empty()).then_some(bytes);
        Self { source: Source::Held { bytes, _permit: permit }, activity }
    }

    pub(crate) fn file(file: FileBody, activity: Arc<Activity>) -> Self {
        Self { source: Source::File(file), activity }
    }

    pub(crate) fn upstream(incoming: Incoming, lease: Lease, activity: Arc<Activity>) -> Self {
        let mut body = Self { source: Source::Upstream { incoming, lease: Some(lease) }, activity };
        body.give_back_if_ended();
        body
    }

    pub(crate) fn outside(incoming: Incoming, sender: Sender, activity: Arc<Activity>) -> Self {
        Self { source: Source::Outside { incoming, _sender: sender }, activity }
    }

    /// Hyper asks for no further frame once a body says that it ended, so this looks after each one.
    fn give_back_if_ended(&mut self) {
        if let Source::Upstream { incoming, lease } = &mut self.source
            && incoming.is_end_stream()
            && let Some(lease) = lease.take()
        {
            lease.give_back();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.source {
            Source::Own(bytes) | Source::Held { bytes, .. } => {
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))))
            }
            Source::File(file) => {
                file.poll_next(cx).map(|piece| piece.map(|piece| piece.map(Frame::data).map_err(BodyError::File)))
            }
            Source::Upstream { incoming, lease } => {
                let frame = ready!(Pin::new(incoming).poll_frame(cx));
                match &frame {
                    // A broken connection is not for the pool; the replica is done with this request all the same.
                    Some(Err(_)) => drop(lease.take()),
                    Some(Ok(_)) => self.give_back_if_ended(),
                    None => {
                        if let Some(lease) = lease.take() {
                            lease.give_back();
                        }
                    }
                }
                Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Upstream)))
            }
            Source::Outside { incoming, .. } => {
                Pin::new(incoming).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(BodyError::Upstream)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Own(bytes) | Source::Held { bytes, .. } => bytes.is_none(),
            Source::File(file) => file.left() == 0,
            Source::Upstream { incoming, .. } | Source::Outside { incoming, .. } => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Own(bytes) | Source::Held { bytes, .. } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Source::File(file) => SizeHint::with_exact(file.left()),
            Source::Upstream { incoming, .. } | Source::Outside { incoming, .. } => incoming.size_hint(),
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        self.activity.request_ended();
    }
}
