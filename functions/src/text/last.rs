//! What was made of a text, kept for the next row, which mostly has the same: patterns and the like are constants.

use datafusion::error::Result;

/// The last text, and what was made of it.
#[derive(Debug)]
pub(super) struct Last<T> {
    kept: Option<(String, T)>,
}

impl<T> Last<T> {
    pub(super) const fn new() -> Self {
        Self { kept: None }
    }

    /// What is made of a text.
    pub(super) fn get(&mut self, text: &str, make: impl FnOnce(&str) -> Result<T>) -> Result<&mut T> {
        let kept = match self.kept.take() {
            Some(kept) if kept.0 == text => kept,
            _ => (text.to_owned(), make(text)?),
        };
        Ok(&mut self.kept.insert(kept).1)
    }
}
