//! Terminal sizes: JSON objects, one after the other.

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::mpsc,
};

use super::{Input, TerminalSize};

/// A terminal size in JSON takes some 30 bytes; a peer that sends more without finishing one is not heard any more.
const MAX_PENDING_BYTES: usize = 4 * 1024;

/// Hands the newest size to the handler whenever it is ready for one; an idle handler never holds the stream back.
/// Returns when there will be no more.
pub(super) async fn pump(stream: Option<Input>, sizes: mpsc::Sender<TerminalSize>) {
    let Some(stream) = stream else { return };
    let mut source = Sizes { stream, pending: Vec::new() };
    let mut newest = None;
    loop {
        tokio::select! {
            size = source.next() => match size {
                Some(size) => newest = Some(size),
                None => break,
            },
            permit = sizes.reserve(), if newest.is_some() => match (permit, newest.take()) {
                (Ok(permit), Some(size)) => permit.send(size),
                _ => return,
            },
        }
    }
    if let Some(size) = newest {
        let _ = sizes.send(size).await;
    }
}

struct Sizes<R> {
    stream: R,
    pending: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Sizes<R> {
    /// The last of the sizes that have arrived; none when there will be no more. Nothing is lost if it is cancelled.
    async fn next(&mut self) -> Option<TerminalSize> {
        loop {
            if self.pending.len() >= MAX_PENDING_BYTES || self.stream.read_buf(&mut self.pending).await.ok()? == 0 {
                return None;
            }
            if let Some(size) = take_newest(&mut self.pending)? {
                return Some(size);
            }
        }
    }
}

/// Takes every whole object off the front of `pending` and returns the last; the outer none means it is no JSON.
fn take_newest(pending: &mut Vec<u8>) -> Option<Option<TerminalSize>> {
    let mut objects = serde_json::Deserializer::from_slice(pending).into_iter::<TerminalSize>();
    let (mut newest, mut consumed) = (None, 0);
    loop {
        match objects.next() {
            Some(Ok(size)) => {
                newest = Some(size);
                consumed = objects.byte_offset();
            }
            Some(Err(error)) if !error.is_eof() => return None,
            Some(Err(_)) | None => break,
        }
    }
    pending.drain(..consumed);
    Some(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_objects_are_taken() {
        let check = |text: &str, want: Option<Option<(u16, u16)>>, rest: &str| {
            let mut pending = text.as_bytes().to_vec();
            let got = take_newest(&mut pending).map(|size| size.map(|size| (size.width, size.height)));
            assert_eq!(got, want, "{text}");
            assert_eq!(String::from_utf8_lossy(&pending), rest, "{text}");
        };
        check(r#"{"Width":80,"Height":24}"#, Some(Some((80, 24))), "");
        check("{\"Width\":80,\"Height\":24}\n{\"Width\":1,\"Hei", Some(Some((80, 24))), "\n{\"Width\":1,\"Hei");
        check(r#"{"Width":1,"Height":2}{"Width":3,"Height":4}"#, Some(Some((3, 4))), "");
        check("", Some(None), "");
        check("{", Some(None), "{");
        check("nonsense", None, "nonsense");
    }
}
