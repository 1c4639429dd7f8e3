//! Request bodies: bounded in bytes and in time, read only after the caller is known.

use std::future::poll_fn;
use std::pin::Pin;

use axum::body::{Body, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderValue, header};
use bytes::{Bytes, BytesMut};
use fairhook_common::limits;
use tokio::time::{Instant, timeout_at};

use super::json::Fields;
use super::problem::{Code, Problem};
use super::uploads::{Full, Room, Uploader};

/// A body of at most `LIMIT` bytes. In a handler it stands behind [`super::tenant::Asked`], so that nobody is read
/// from before it is known who it is, and takes its room of what its owner and all may hold.
pub struct Posted<const LIMIT: usize = { limits::REQUEST_BODY_BYTES }> {
    /// As they were sent.
    pub bytes: Bytes,
    _room: Room,
}

impl<const LIMIT: usize> Posted<LIMIT> {
    /// The JSON object that it is.
    pub fn fields(&self) -> Result<Fields<'_>, Problem> {
        Fields::parse(&self.bytes)
    }

    /// The JSON object that it is, if there is a body at all.
    pub fn fields_or_none(&self) -> Result<Fields<'_>, Problem> {
        Fields::parse_or_empty(&self.bytes)
    }
}

impl<S: Sync, const LIMIT: usize> FromRequest<S> for Posted<LIMIT> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (mut parts, mut body) = request.into_parts();
        plain(&parts.headers)?;
        let uploader = parts.extensions.remove::<Uploader>();
        let mut room = uploader.expect("`Asked`, behind which a body is read, leaves it").begin();
        let deadline = Instant::now() + limits::REQUEST_BODY_DEADLINE;
        match timeout_at(deadline, collect(&mut body, LIMIT, &mut room)).await {
            Ok(Ok(bytes)) => Ok(Self { bytes, _room: room }),
            Ok(Err(Unread::TooLarge)) => {
                let detail = format!("the body is larger than {LIMIT} bytes");
                Err(Problem::new(Code::TooLarge, detail).member("limit", LIMIT.into()))
            }
            Ok(Err(Unread::NoRoom(full))) => {
                Err(Problem::unavailable(format!("{full}; try again"), limits::ADMIT_RETRY_AFTER))
            }
            Ok(Err(Unread::Broken)) => Err(Problem::new(Code::InvalidRequest, "the body broke off")),
            Err(_) => Err(Problem::new(Code::RequestTimeout, "the body did not arrive in time")),
        }
    }
}

/// Refuses a body that is encoded: it would be kept, and sent, as what it is not.
fn plain(headers: &HeaderMap) -> Result<(), Problem> {
    let is_plain =
        |value: &HeaderValue| value.is_empty() || value.as_bytes().eq_ignore_ascii_case(b"identity");
    if headers.get_all(header::CONTENT_ENCODING).iter().all(is_plain) {
        return Ok(());
    }
    let detail = "bodies with a Content-Encoding are not taken: send it as it is, without that header";
    Err(Problem::new(Code::UnsupportedMediaType, detail))
}

enum Unread {
    TooLarge,
    NoRoom(Full),
    Broken,
}

async fn collect(body: &mut Body, limit: usize, room: &mut Room) -> Result<Bytes, Unread> {
    let announced = body.size_hint();
    if announced.lower() > limit as u64 {
        return Err(Unread::TooLarge);
    }
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(part) = next_part(body).await? {
        if first.len() + all.len() + part.len() > limit {
            return Err(Unread::TooLarge);
        }
        room.grow(part.len()).map_err(Unread::NoRoom)?;
        // Most bodies come in one part, which is then the body without being copied.
        if first.is_empty() && all.is_empty() {
            first = part;
            continue;
        }
        if all.is_empty() {
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&part);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

async fn next_part(body: &mut Body) -> Result<Option<Bytes>, Unread> {
    loop {
        match poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
            None => return Ok(None),
            Some(Err(_)) => return Err(Unread::Broken),
            Some(Ok(frame)) => {
                if let Ok(part) = frame.into_data() {
                    return Ok(Some(part));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::uploads::Uploads;
    use super::*;

    async fn read(bytes: usize) -> Result<usize, Code> {
        let mut request = Request::new(Body::from(vec![b'x'; bytes]));
        request.extensions_mut().insert(Uploads::of_callers().uploader(None));
        Posted::<8>::from_request(request, &()).await.map(|body| body.bytes.len()).map_err(|p| p.code())
    }

    #[tokio::test]
    async fn a_body_ends_at_its_limit() {
        assert_eq!(read(0).await, Ok(0));
        assert_eq!(read(8).await, Ok(8));
        assert_eq!(read(9).await, Err(Code::TooLarge));
    }
}
