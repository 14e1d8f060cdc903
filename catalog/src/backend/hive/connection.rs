//! One connection to a metastore: the binary protocol of Thrift over a socket, with Kerberos or without. What reads and writes blocks its thread.

use std::fmt;
use std::io::{self, BufReader, Read, Write};
use std::time::{Duration, Instant};

use thrift::protocol::{TBinaryInputProtocol, TBinaryOutputProtocol, TInputProtocol, TMessageIdentifier, TMessageType, TOutputProtocol};

use super::method::{ExceptionKind, Method};
use super::options::Options;
use super::sasl::Agreed;
use super::socket::Socket;
use super::unusable::Unusable;
use super::value::{Fields, Value};
use super::waiting::Waiting;

/// An answer that is longer than this is none that we asked for.
const ANSWER_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// The type of an exception of Thrift itself that says that there is no such call.
const UNKNOWN_METHOD: i64 = 1;

/// Where a metastore is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// Its name or address.
    pub(super) host: String,
    /// Its port.
    pub(super) port: u16,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "thrift://{}:{}", self.host, self.port)
    }
}

/// How long is waited.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// For a connection.
    pub(super) connect: Duration,
    /// For an answer.
    pub(super) answer: Duration,
}

/// A connection.
pub(super) struct Connection {
    reader: BufReader<Stream>,
    calls: i32,
    answer_timeout: Duration,
}

/// What calls and answers pass through.
enum Stream {
    /// As they are.
    Bare(Socket),
    /// In frames of SASL.
    Agreed(Box<Agreed>),
}

impl Stream {
    fn socket(&mut self) -> &mut Socket {
        match self {
            Self::Bare(socket) => socket,
            Self::Agreed(agreed) => agreed.socket(),
        }
    }

    fn is_quiet(&mut self) -> bool {
        match self {
            Self::Bare(socket) => socket.is_quiet(),
            Self::Agreed(agreed) => agreed.at_rest().is_some_and(Socket::is_quiet),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Bare(socket) => socket.read(buffer),
            Self::Agreed(agreed) => agreed.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Bare(socket) => socket.write(bytes),
            Self::Agreed(agreed) => agreed.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Bare(socket) => socket.flush(),
            Self::Agreed(agreed) => agreed.flush(),
        }
    }
}

/// What came of a call that was sent.
#[derive(Debug)]
pub(super) enum Answer {
    /// The fields of its result.
    Result(Fields),
    /// The metastore refused it, with these words.
    Exception(ExceptionKind, String),
}

/// Why no answer has come.
#[derive(Debug)]
pub(super) enum Broken {
    /// Nothing was sent.
    Unsent(String),
    /// The connection ended before the whole answer was there.
    Ended(String),
    /// The answer is late.
    Late,
    /// The answer is none.
    Nonsense(String),
}

impl Connection {
    /// Connects to a metastore, and agrees with it upon TLS and Kerberos where the options want them.
    pub(super) fn open(server: &Server, options: &Options, waiting: &Waiting) -> Result<Self, Unusable> {
        // Whom no ticket is to be had for is not connected to.
        let ticket = match &options.kerberos {
            Some(kerberos) => Some((kerberos, kerberos.tickets.get(&kerberos.service, &server.host, waiting)?)),
            None => None,
        };
        let socket = Socket::open(server, options.timeouts.connect, waiting, options.tls.as_ref())?;
        let stream = match ticket {
            Some((kerberos, ticket)) => Stream::Agreed(Box::new(Agreed::new(socket, &ticket, &kerberos.protections)?)),
            None => Stream::Bare(socket),
        };
        Ok(Self { reader: BufReader::new(stream), calls: 0, answer_timeout: options.timeouts.answer })
    }

    /// Whether it looks as if the other side still had it: nothing has come, and it has not ended.
    pub(super) fn is_alive(&mut self) -> bool {
        self.reader.buffer().is_empty() && self.reader.get_mut().is_quiet()
    }

    /// Makes a call. After anything but an answer the connection is of no more use.
    pub(super) fn call(&mut self, method: &Method, arguments: &Fields, waiting: &Waiting) -> Result<Answer, Broken> {
        self.calls = self.calls.wrapping_add(1);
        let request = self.request(method, arguments).map_err(|error| Broken::Unsent(error.to_string()))?;
        let began = Instant::now();
        let answer_timeout = self.answer_timeout;
        let is_late = || began.elapsed() >= answer_timeout || waiting.is_over();
        let stream = self.reader.get_mut();
        stream.socket().wait(answer_timeout, waiting);
        let sent = stream.write_all(&request).and_then(|()| stream.flush());
        sent.map_err(|error| if is_late() { Broken::Late } else { Broken::Ended(error.to_string()) })?;
        self.answer(method).map_err(|error| match error {
            thrift::Error::Transport(_) if is_late() => Broken::Late,
            thrift::Error::Transport(error) => Broken::Ended(error.message),
            thrift::Error::Protocol(error) => Broken::Nonsense(error.message),
            other => Broken::Nonsense(other.to_string()),
        })
    }

    fn request(&self, method: &Method, arguments: &Fields) -> thrift::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut output = TBinaryOutputProtocol::new(&mut bytes, true);
        output.write_message_begin(&TMessageIdentifier::new(method.name, TMessageType::Call, self.calls))?;
        arguments.write(&mut output)?;
        output.write_message_end()?;
        Ok(bytes)
    }

    fn answer(&mut self, method: &Method) -> thrift::Result<Answer> {
        let limited = self.reader.by_ref().take(ANSWER_BYTES_MAX);
        let mut input = TBinaryInputProtocol::new(limited, true);
        let message = input.read_message_begin()?;
        let fields = Fields::read(&mut input)?;
        input.read_message_end()?;
        if message.sequence_number != self.calls {
            return Err(thrift::Error::from("it is the answer to another call"));
        }
        Ok(match message.message_type {
            TMessageType::Exception => thrift_exception(&fields),
            _ => declared(method, fields),
        })
    }
}

/// The result of a call, or the exception that stands in one of its other fields.
fn declared(method: &Method, fields: Fields) -> Answer {
    let Some(id) = fields.ids().find(|id| *id > 0) else { return Answer::Result(fields) };
    let kind = usize::try_from(id - 1).ok().and_then(|index| method.exceptions.get(index)).copied();
    let message = fields.fields(id).and_then(|exception| exception.text(1)).unwrap_or_default();
    Answer::Exception(kind.unwrap_or(ExceptionKind::Undeclared), message.to_owned())
}

/// What Thrift's own part of the metastore says.
fn thrift_exception(fields: &Fields) -> Answer {
    let message = fields.text(1).unwrap_or_default().to_owned();
    match fields.get(2) {
        Some(Value::I32(kind)) if i64::from(*kind) == UNKNOWN_METHOD => Answer::Exception(ExceptionKind::UnknownMethod, message),
        _ => Answer::Exception(ExceptionKind::Undeclared, message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::hive::method;

    #[test]
    fn exceptions_are_told_by_their_fields() {
        let exception = Fields::new().with(1, "no such thing");
        let kind = |id, method| match declared(method, Fields::new().with(id, exception.clone())) {
            Answer::Exception(kind, message) if message == "no such thing" => Some(kind),
            _ => None,
        };
        assert_eq!(kind(2, &method::GET_TABLE_REQ), Some(ExceptionKind::NoSuchObject));
        assert_eq!(kind(1, &method::ALTER_TABLE), Some(ExceptionKind::InvalidOperation));
        assert_eq!(kind(9, &method::ALTER_TABLE), Some(ExceptionKind::Undeclared));
        assert!(matches!(declared(&method::GET_TABLE, Fields::new().with(0, exception.clone())), Answer::Result(_)));
        let unknown = Fields::new().with(1, "Invalid method name").with(2, 1i32);
        assert!(matches!(thrift_exception(&unknown), Answer::Exception(ExceptionKind::UnknownMethod, _)));
        assert!(matches!(thrift_exception(&Fields::new().with(2, 6i32)), Answer::Exception(ExceptionKind::Undeclared, _)));
    }
}
