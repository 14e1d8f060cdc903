//! A file that comes in parts. They are written one after the other by a task of their own, so that an upload which is dropped leaves nothing behind.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use object_store::{MultipartUpload, PutPayload, PutResult, Result, UploadPart};
use tokio::sync::{mpsc, oneshot};

use super::connection::Connection;
use super::write::Writing;

/// What a put gives: HDFS has neither tags nor versions of files.
const PUT: PutResult = PutResult { e_tag: None, version: None };

type Answer = oneshot::Sender<Result<()>>;

enum Command {
    Part(PutPayload, Answer),
    Complete(Answer),
    Abort(Answer),
}

/// An upload.
pub(super) struct Upload {
    commands: mpsc::UnboundedSender<Command>,
    path: String,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Upload").field(&self.path).finish()
    }
}

impl Upload {
    /// Begins one of a file at `path`. Nothing is made before the first part, or the end.
    pub(super) fn start(connection: &Arc<Connection>, path: &str, replace: bool) -> Self {
        let (commands, receiver) = mpsc::unbounded_channel();
        connection.runtime().spawn(serve(Writing::new(connection, path), path.to_owned(), replace, receiver));
        Self { commands, path: path.to_owned() }
    }

    /// Sends a command in the order of the calls; the future waits until it is done.
    fn send(&self, command: impl FnOnce(Answer) -> Command) -> UploadPart {
        let (answer, answered) = oneshot::channel();
        let sent = self.commands.send(command(answer));
        let path = self.path.clone();
        async move {
            let ended = || object_store::Error::Generic { store: "HDFS", source: format!("the upload of '{path}' has ended").into() };
            sent.map_err(|_| ended())?;
            answered.await.map_err(|_| ended())?
        }
        .boxed()
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.send(|answer| Command::Part(data, answer))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.send(Command::Complete).await?;
        Ok(PUT)
    }

    async fn abort(&mut self) -> Result<()> {
        // One that has ended has nothing left to abort.
        let _ = self.send(Command::Abort).await;
        Ok(())
    }
}

/// Writes parts as they come. An upload that is dropped is one that is aborted.
async fn serve(mut writing: Writing, path: String, replace: bool, mut commands: mpsc::UnboundedReceiver<Command>) {
    // Parts behind one that has failed are not answered: that one is to be heard of.
    let (mut is_broken, mut unanswered) = (false, Vec::new());
    while let Some(command) = commands.recv().await {
        match command {
            Command::Part(_, answer) if is_broken => unanswered.push(answer),
            Command::Complete(answer) if is_broken => {
                let _ = answer.send(Err(broken(&path)));
            }
            Command::Part(payload, answer) => {
                let written = writing.write(payload.into_iter().collect()).await;
                is_broken = written.is_err();
                // Nobody may wait for it any more.
                let _ = answer.send(written.map_err(|failure| failure.at(&path)));
            }
            Command::Complete(answer) => {
                let finished = writing.finish(replace).await;
                let _ = answer.send(finished.map_err(|failure| failure.at(&path)));
                return;
            }
            Command::Abort(answer) => {
                writing.discard().await;
                let _ = answer.send(Ok(()));
                return;
            }
        }
    }
    writing.discard().await;
}

fn broken(path: &str) -> object_store::Error {
    object_store::Error::Generic { store: "HDFS", source: format!("the upload of '{path}' lacks a part that could not be written").into() }
}
