//! SPDY frames.

use bytes::BytesMut;
use sampan_streams::spdy::{Decoder, Encoder, Frame};

use crate::Target;

pub(super) const TARGET: Target = Target { name: "spdy", run };

/// A byte that says how the rest is cut, then what a peer sends: cut or not, it means the same, and written again it
/// is read again.
fn run(data: &[u8]) {
    let Some((cut, stream)) = data.split_first() else { return };
    let (whole, fault) = read([stream]);
    let (pieces, fault_in_pieces) = read(stream.chunks(usize::from(*cut).max(1)));
    assert_eq!(fault, fault_in_pieces, "in pieces it fails otherwise");
    assert_eq!(joined(pieces), joined(whole.clone()), "in pieces it is something else");
    let mut encoder = Encoder::default();
    let mut written = BytesMut::new();
    whole.iter().for_each(|frame| encoder.encode(frame, &mut written));
    assert_eq!(read([&written[..]]), (whole, None), "written and read again it is something else");
}

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Frame>, Option<String>) {
    let (mut decoder, mut buffer, mut frames) = (Decoder::default(), BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(fault) => return (frames, Some(fault.to_string())),
            }
        }
    }
    (frames, None)
}

/// The data of a frame come in as many pieces as they arrived in; here they are one again.
fn joined(frames: Vec<Frame>) -> Vec<Frame> {
    let mut all: Vec<Frame> = Vec::new();
    for frame in frames {
        match (all.last_mut(), frame) {
            (
                Some(Frame::Data { id, fin: fin @ false, payload }),
                Frame::Data { id: next, fin: next_fin, payload: more },
            ) if *id == next => {
                *payload = [payload.as_ref(), more.as_ref()].concat().into();
                *fin = next_fin;
            }
            (_, frame) => all.push(frame),
        }
    }
    all
}
