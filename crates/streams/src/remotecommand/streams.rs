//! The streams of a session, gathered from either dialect.

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Input, Options, Output};
use crate::{Error, spdy, websocket::Multiplex};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;

/// All that a client may have opened.
pub(super) struct Streams {
    pub(super) stdin: Option<Input>,
    pub(super) stdout: Option<Output>,
    pub(super) stderr: Option<Output>,
    pub(super) error: Output,
    pub(super) resize: Option<Input>,
    /// Keeps a SPDY connection open as long as the session is.
    pub(super) _connection: Option<spdy::Connection>,
}

impl Streams {
    /// Tells the client that the session has begun, by an empty message on the first channel we write. Browsers' clients
    /// wait for it. kubectl, which speaks v5, does not, and complains of it when it comes before its streams are set up.
    pub(super) fn announce<S>(multiplex: &Multiplex<S>, options: Options)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let written = [(options.stdout, STDOUT), (options.stderr, STDERR), (true, ERROR)];
        if let Some((_, first)) = written.into_iter().find(|(open, _)| *open) {
            multiplex.announce(first, b"");
        }
    }

    /// The channels of a WebSocket: there from the start.
    pub(super) fn of_channels<S>(multiplex: &mut Multiplex<S>, options: Options) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        Self {
            stdin: options.stdin.then(|| Box::new(multiplex.read(STDIN)) as Input),
            stdout: options.stdout.then(|| Box::new(multiplex.write(STDOUT)) as Output),
            stderr: options.stderr.then(|| Box::new(multiplex.write(STDERR)) as Output),
            error: Box::new(multiplex.write(ERROR)),
            resize: options.tty.then(|| Box::new(multiplex.read(RESIZE)) as Input),
            _connection: None,
        }
    }

    /// The streams of a SPDY connection: waits until the client has opened all that its request announced.
    pub(super) async fn of_spdy(
        mut connection: spdy::Connection,
        options: Options,
        resize: bool,
    ) -> Result<Self, Error> {
        let mut opened = Opened::default();
        while !opened.complete(options, resize) {
            let stream = connection.next().await.ok_or(Error::Spdy("the client left before all streams were open"))?;
            opened.add(stream);
        }
        let Opened { stdin, stdout, stderr, error, resize } = opened;
        let error = error.ok_or(Error::Spdy("there is no error stream"))?;
        Ok(Self {
            stdin: stdin.filter(|_| options.stdin).map(|stream| Box::new(stream) as Input),
            stdout: stdout.filter(|_| options.stdout).map(|stream| Box::new(stream) as Output),
            stderr: stderr.filter(|_| options.stderr).map(|stream| Box::new(stream) as Output),
            error: Box::new(error),
            resize: resize.map(|stream| Box::new(stream) as Input),
            _connection: Some(connection),
        })
    }
}

/// The SPDY streams so far.
#[derive(Default)]
struct Opened {
    stdin: Option<spdy::Stream>,
    stdout: Option<spdy::Stream>,
    stderr: Option<spdy::Stream>,
    error: Option<spdy::Stream>,
    resize: Option<spdy::Stream>,
}

impl Opened {
    /// Takes a stream by its `streamtype`, or refuses it: an unknown type, or a second one of its type.
    fn add(&mut self, stream: spdy::Stream) {
        let place = match stream.headers().get("streamtype") {
            Some("stdin") => &mut self.stdin,
            Some("stdout") => &mut self.stdout,
            Some("stderr") => &mut self.stderr,
            Some("error") => &mut self.error,
            Some("resize") => &mut self.resize,
            _ => return stream.refuse(),
        };
        if place.is_some() {
            return stream.refuse();
        }
        stream.accept();
        *place = Some(stream);
    }

    fn complete(&self, options: Options, resize: bool) -> bool {
        self.error.is_some()
            && self.stdin.is_some() >= options.stdin
            && self.stdout.is_some() >= options.stdout
            && self.stderr.is_some() >= options.stderr
            && self.resize.is_some() >= (options.tty && resize)
    }
}
