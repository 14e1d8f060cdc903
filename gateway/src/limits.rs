//! The limits of the front doors, in one place.

use std::time::Duration;

/// A session that no call has used for so long is forgotten.
pub(crate) const SESSION_IDLE_MAX: Duration = Duration::from_secs(60 * 60);

/// Sessions kept at once; one more and the one idle for longest goes.
pub(crate) const SESSIONS_MAX: usize = 10_000;

/// A statement that was planned and whose rows nobody asked for is forgotten after this time.
pub(crate) const TICKET_TTL: Duration = Duration::from_secs(10 * 60);

/// Planned statements waiting for their rows to be asked for; one more and the oldest goes.
pub(crate) const TICKETS_MAX: usize = 100_000;

/// A prepared statement that nobody has used for so long is forgotten.
pub(crate) const PREPARED_IDLE_MAX: Duration = Duration::from_secs(60 * 60);

/// Prepared statements of one session.
pub(crate) const PREPARED_PER_SESSION_MAX: usize = 1_000;

/// Prepared statements of all sessions; one more and the one idle for longest goes.
pub(crate) const PREPARED_MAX: usize = 100_000;

/// Parameter values that one call may bind.
pub(crate) const PARAMETERS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The largest message that the Flight door reads.
pub(crate) const REQUEST_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a message of rows aims at. Clients refuse messages over 4 MiB unless told otherwise, and a batch is cut by its mean row.
pub(crate) const ROWS_MESSAGE_BYTES: usize = 2 * 1024 * 1024;

/// The longest error message that is sent: it travels in a header, of which Java's gRPC takes 8 KiB, and each byte can become three there.
pub(crate) const ERROR_MESSAGE_BYTES_MAX: usize = 2_048;

/// How long an update that was answered waits for its client to end the call.
pub(crate) const UPDATE_END_WAIT: Duration = Duration::from_secs(10);

/// How long calls may go on after shutdown was asked for.
pub(crate) const DRAIN_MAX: Duration = Duration::from_secs(10);

/// How often a silent gRPC connection is asked whether it still lives.
pub(crate) const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);

/// How long it may take to say so.
pub(crate) const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
