//! `START TRANSACTION`, `COMMIT` and `ROLLBACK`. What a transaction is says [`crate::query`].

use nunatak_core::{Code, Error, Result};
use nunatak_engine::sql::statement::TransactionModes;

use super::{Outcome, StatementContext};
use crate::query::{InTransaction, SessionChange, nested_transaction, unknown_transaction};

pub(super) fn start(context: &StatementContext, modes: TransactionModes) -> Result<Outcome> {
    match context.session.transaction {
        InTransaction::Never => Err(Error::new(Code::IncompatibleClient, "the client, or its protocol, does not support transactions")
            .with_hint("each statement is committed by itself")),
        InTransaction::Yes(_) => Err(nested_transaction()),
        InTransaction::No => {
            let id = context.transactions.begin(&context.session.user, modes)?;
            Ok(Outcome::done().with_changes(vec![SessionChange::StartTransaction { id }]))
        }
    }
}

/// Nothing is to be done but to end it: what it read was for it alone.
pub(super) fn commit(context: &StatementContext) -> Result<Outcome> {
    let InTransaction::Yes(id) = context.session.transaction else { return Err(none()) };
    let is_aborted = context.transactions.end(id, &context.session.user).ok_or_else(|| unknown_transaction(id))?;
    let done = match is_aborted {
        // It is over, and its client has to be told both.
        true => Outcome::update(async {
            Err(Error::new(Code::TransactionAlreadyAborted, "a statement of this transaction has failed: it was rolled back"))
        }),
        false => Outcome::done(),
    };
    Ok(done.with_changes(vec![SessionChange::EndTransaction]))
}

/// Of one that is not known any more nothing is left to be done.
pub(super) fn rollback(context: &StatementContext) -> Result<Outcome> {
    let InTransaction::Yes(id) = context.session.transaction else { return Err(none()) };
    context.transactions.end(id, &context.session.user);
    Ok(Outcome::done().with_changes(vec![SessionChange::EndTransaction]))
}

fn none() -> Error {
    Error::new(Code::NotInTransaction, "no transaction is in progress")
}
