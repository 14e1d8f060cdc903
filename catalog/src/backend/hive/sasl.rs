//! SASL with Kerberos (`GSSAPI`, RFC 4752) as Thrift has it: both sides say who they are first, and what passes then passes in frames, protected as far as both want it.

use std::io::{self, Cursor, Read, Write};

use krb5::initiator::{GSS_C_CONF_FLAG, GSS_C_INTEG_FLAG, GSS_C_MUTUAL_FLAG, GSS_C_REPLAY_FLAG, GSS_C_SEQUENCE_FLAG};
use krb5::token::{ContextKey, PerMessageTokens, TokenError, Verified};
use krb5::{Credentials, InitiatorContext};

use super::socket::Socket;
use super::unusable::{Unusable, Why};

/// What a message of the negotiation is (Thrift: `TSaslTransport.NegotiationStatus`).
const START: u8 = 1;
const OK: u8 = 2;
const BAD: u8 = 3;
const ERROR: u8 = 4;
const COMPLETE: u8 = 5;
const MECHANISM: &[u8] = b"GSSAPI";
/// A message of the negotiation that is longer is none. Tickets with many groups have 64 KiB.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// A frame that is longer is none.
const FRAME_BYTES_MAX: usize = 512 * 1024 * 1024;
/// What is sent in one frame where the other side has no limit.
const SENT_BYTES_MAX: usize = 1024 * 1024;
/// What protection adds to a frame at most: a header of 16 bytes, sealed once more, a confounder of 16, a checksum of 24.
const PROTECTION_BYTES_MAX: usize = 128;
/// The longest frame that three bytes can tell: what we take.
const RECEIVED_BYTES_MAX: [u8; 3] = [0xff; 3];

/// How what passes is protected (`hadoop.rpc.protection`). The number is that of the layer in RFC 4752.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Protection {
    /// Not at all: who we are is all that is said.
    Authentication = 1,
    /// Nobody can change it.
    Integrity = 2,
    /// And nobody can read it.
    Privacy = 4,
}

/// A socket by which both sides have said who they are.
pub(super) struct Agreed {
    socket: Socket,
    layer: Option<Layer>,
    /// What has come in a frame and was not read yet.
    frame: Cursor<Vec<u8>>,
    sent_bytes_max: usize,
}

/// What protects frames.
struct Layer {
    tokens: PerMessageTokens<ContextKey>,
    is_private: bool,
    sequence: Sequence,
}

/// The numbers of the next frames: one that comes twice, or not at all, is noticed.
struct Sequence {
    sent: u64,
    received: Option<u64>,
}

impl Agreed {
    /// Says who we are by a ticket for the metastore, and hears that it is the one that it is for. Of the protections that we want, the first one is taken that it has.
    pub(super) fn new(mut socket: Socket, ticket: &Credentials, wanted: &[Protection]) -> Result<Self, Unusable> {
        let broken = |error: io::Error| Unusable::of_socket(&error, "SASL");
        let flags = GSS_C_MUTUAL_FLAG | GSS_C_REPLAY_FLAG | GSS_C_SEQUENCE_FLAG | GSS_C_CONF_FLAG | GSS_C_INTEG_FLAG;
        let (mut context, first) = InitiatorContext::new(ticket, flags).map_err(|error| not_agreed(&error))?;
        send(&mut socket, &[(START, MECHANISM), (OK, first.as_slice())]).map_err(broken)?;
        context.step(&receive(&mut socket, OK)?).map_err(|error| not_agreed(&error))?;
        send(&mut socket, &[(OK, b"".as_slice())]).map_err(broken)?;

        let offer = receive(&mut socket, OK)?;
        let tokens = context.per_message_tokens().map_err(|error| not_agreed(&error))?;
        let mut sequence = Sequence { sent: context.send_seq(), received: context.recv_seq() };
        let offer = sequence.check(tokens.verify_wrap_unsealed(&offer)).map_err(|error| not_agreed(&error))?;
        let &[layers, longest @ ..] = <&[u8; 4]>::try_from(offer.as_slice()).map_err(|_| not_agreed(&"it offers no layers"))?;
        let Some(taken) = wanted.iter().copied().find(|wanted| layers & *wanted as u8 != 0) else {
            return Err(Unusable::new(
                Why::Misconfigured,
                format!("has none of the protections that hadoop.rpc.protection wants; it has {}", names(layers)),
            ));
        };
        let is_bare = taken == Protection::Authentication;
        let [a, b, c] = if is_bare { [0; 3] } else { RECEIVED_BYTES_MAX };
        let answer = tokens.emit_wrap_unsealed(sequence.number(), &[taken as u8, a, b, c], 0).map_err(|error| not_agreed(&error))?;
        send(&mut socket, &[(COMPLETE, answer.as_slice())]).map_err(broken)?;
        receive(&mut socket, COMPLETE)?;

        let sent_bytes_max = if is_bare { SENT_BYTES_MAX } else { payload_bytes_max(longest) };
        let layer = (!is_bare).then_some(Layer { tokens, is_private: taken == Protection::Privacy, sequence });
        Ok(Self { socket, layer, frame: Cursor::default(), sent_bytes_max })
    }

    /// The socket, if nothing of what has come is still to be read.
    pub(super) fn at_rest(&mut self) -> Option<&mut Socket> {
        (!has_rest(&self.frame)).then_some(&mut self.socket)
    }

    /// The socket.
    pub(super) fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    fn receive_frame(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.socket.read_exact(&mut length)?;
        let frame = read_block(&mut self.socket, length, FRAME_BYTES_MAX)?;
        match &mut self.layer {
            Some(layer) => layer.unwrap(&frame).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
            None => Ok(frame),
        }
    }
}

impl Read for Agreed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !has_rest(&self.frame) {
            self.frame = Cursor::new(self.receive_frame()?);
        }
        self.frame.read(buffer)
    }
}

impl Write for Agreed {
    /// What is written at once goes in one frame, unless it is too long for one.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = &bytes[..bytes.len().min(self.sent_bytes_max)];
        let wrapped;
        let frame = match &mut self.layer {
            Some(layer) => {
                wrapped = layer.wrap(sent).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                wrapped.as_slice()
            }
            None => sent,
        };
        let mut message = Vec::with_capacity(4 + frame.len());
        put_block(&mut message, frame)?;
        self.socket.write_all(&message)?;
        Ok(sent.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

impl Layer {
    fn wrap(&mut self, bytes: &[u8]) -> Result<Vec<u8>, TokenError> {
        match self.is_private {
            true => self.tokens.emit_wrap(self.sequence.number(), bytes),
            false => self.tokens.emit_wrap_unsealed(self.sequence.number(), bytes, 0),
        }
    }

    fn unwrap(&mut self, token: &[u8]) -> Result<Vec<u8>, String> {
        self.sequence.check(if self.is_private { self.tokens.unwrap(token) } else { self.tokens.verify_wrap_unsealed(token) })
    }
}

impl Sequence {
    /// The number of what is sent next.
    fn number(&mut self) -> u64 {
        let number = self.sent;
        self.sent = number.wrapping_add(1);
        number
    }

    /// What has come, if it is what was to come next.
    fn check(&mut self, verified: Result<Verified, TokenError>) -> Result<Vec<u8>, String> {
        let Verified { seq, message, .. } = verified.map_err(|error| format!("what has come is not protected as agreed: {error}"))?;
        match self.received.replace(seq.wrapping_add(1)) {
            Some(expected) if expected != seq => Err(format!("frame {seq} has come in the place of {expected}")),
            _ => Ok(message),
        }
    }
}

fn has_rest(frame: &Cursor<Vec<u8>>) -> bool {
    (frame.position() as usize) < frame.get_ref().len()
}

/// How much can be sent in a frame to who takes so much.
fn payload_bytes_max([a, b, c]: [u8; 3]) -> usize {
    let taken = u32::from_be_bytes([0, a, b, c]) as usize;
    taken.saturating_sub(PROTECTION_BYTES_MAX).clamp(1, SENT_BYTES_MAX)
}

/// The protections whose bits are set.
fn names(layers: u8) -> String {
    let all = [(Protection::Authentication, "authentication"), (Protection::Integrity, "integrity"), (Protection::Privacy, "privacy")];
    let names: Vec<_> = all.into_iter().filter(|(protection, _)| layers & *protection as u8 != 0).map(|(_, name)| name).collect();
    names.join(", ")
}

fn send(socket: &mut Socket, messages: &[(u8, &[u8])]) -> io::Result<()> {
    let mut bytes = Vec::new();
    for (status, payload) in messages {
        bytes.push(*status);
        put_block(&mut bytes, payload)?;
    }
    socket.write_all(&bytes)
}

/// The next message of the negotiation, which has to be of a kind.
fn receive(socket: &mut Socket, expected: u8) -> Result<Vec<u8>, Unusable> {
    let broken = |error: io::Error| Unusable::of_socket(&error, "SASL");
    let mut header = [0; 5];
    socket.read_exact(&mut header).map_err(broken)?;
    let [status, length @ ..] = header;
    let payload = read_block(socket, length, MESSAGE_BYTES_MAX).map_err(broken)?;
    match status {
        _ if status == expected => Ok(payload),
        BAD | ERROR => {
            Err(Unusable::new(Why::NotAccepted, format!("does not let us in: {}", super::client::said(&String::from_utf8_lossy(&payload)))))
        }
        _ => Err(not_agreed(&format!("a message of the kind {status} has come in the place of {expected}"))),
    }
}

fn not_agreed(error: &dyn std::fmt::Display) -> Unusable {
    Unusable::new(Why::NotAccepted, format!("was not agreed with by SASL: {error}"))
}

/// Bytes with their length before them.
fn put_block(message: &mut Vec<u8>, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(bytes);
    Ok(())
}

/// So many bytes. Room is made as they come.
fn read_block(socket: &mut Socket, length: [u8; 4], longest: usize) -> io::Result<Vec<u8>> {
    let length = u32::from_be_bytes(length) as usize;
    if length > longest {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {length} bytes is none")));
    }
    let mut bytes = Vec::with_capacity(length.min(SENT_BYTES_MAX));
    match socket.take(length as u64).read_to_end(&mut bytes)? {
        read if read == length => Ok(bytes),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use krb5::token::Role;

    use super::*;

    /// Both sides of a layer. What is agreed upon before needs a server: `tests/system`.
    fn sides(is_private: bool) -> (Layer, Layer) {
        let side = |role, sent, received| {
            let tokens = PerMessageTokens::new(ContextKey::new(18, &[7; 32]).unwrap(), role, false);
            Layer { tokens, is_private, sequence: Sequence { sent, received } }
        };
        (side(Role::Initiator, 40, Some(u64::MAX)), side(Role::Acceptor, u64::MAX, None))
    }

    #[test]
    fn frames_are_protected_and_numbered() {
        for is_private in [false, true] {
            let (mut ours, mut theirs) = sides(is_private);
            for text in [b"one".as_slice(), b"", &[9; 70_000]] {
                let there = ours.wrap(text).unwrap();
                assert!(there.len() <= text.len() + PROTECTION_BYTES_MAX);
                if text == b"one" {
                    assert_eq!(there.windows(3).any(|window| window == b"one"), !is_private);
                }
                assert_eq!(theirs.unwrap(&there).unwrap(), text);
                let back = theirs.wrap(text).unwrap();
                assert_eq!(ours.unwrap(&back).unwrap(), text);
                assert!(ours.unwrap(&back).unwrap_err().contains("in the place of"));
            }
            let mut changed = theirs.wrap(b"two").unwrap();
            changed[20] ^= 1;
            assert!(ours.unwrap(&changed).unwrap_err().contains("not protected as agreed"));
        }
        let (ours, theirs) = (sides(true), sides(false));
        let (mut private, mut open) = (ours.0, theirs.1);
        assert!(private.unwrap(&open.wrap(b"open").unwrap()).is_err());
    }

    #[test]
    fn layers_have_names_and_lengths() {
        assert_eq!(names(7), "authentication, integrity, privacy");
        assert_eq!(names(4), "privacy");
        assert_eq!(payload_bytes_max([1, 0, 0]), 65_536 - PROTECTION_BYTES_MAX);
        assert_eq!(payload_bytes_max([0xff; 3]), SENT_BYTES_MAX);
        assert_eq!(payload_bytes_max([0, 0, 9]), 1);
    }
}
