//! The handshake: credentials against a token.
//!
//! Access is anonymous for now: every user and password is let in, and the user's name is taken over.

use arrow_flight::{BasicAuth, HandshakeRequest, HandshakeResponse};
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use prost::Message;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status, Streaming};

use super::Service;
use super::headers::{Headers, Identity};
use super::status;

impl Service {
    /// Opens a session and answers with its token: in the header that JDBC, ADBC and ODBC read, and in the payload for Flight's older way.
    pub(super) async fn shake_hands(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<BoxStream<'static, Result<HandshakeResponse, Status>>>, Status> {
        let headers = Headers::read(request.metadata())?;
        let identity = match headers.identity {
            Identity::Nobody => identity_of_payload(request.into_inner()).await?,
            identity => identity,
        };
        let user = self.sessions.user(&identity).await?;
        let token = self.sessions.open(&user).await?.to_string();
        let header = MetadataValue::try_from(format!("Bearer {token}")).map_err(|error| status::defect("cannot write a token", error))?;
        let answer = HandshakeResponse { protocol_version: 0, payload: token.into() };
        let mut response = Response::new(stream::iter([Ok(answer)]).boxed());
        response.metadata_mut().insert("authorization", header);
        Ok(response)
    }
}

/// Who the first message says it is from; ODBC sends a blank one after it has sent its token elsewhere.
async fn identity_of_payload(mut messages: Streaming<HandshakeRequest>) -> Result<Identity, Status> {
    let payload = messages.message().await?.unwrap_or_default().payload;
    Ok(match BasicAuth::decode(payload) {
        Ok(login) if !login.username.is_empty() => Identity::User(login.username),
        _ => Identity::Nobody,
    })
}
