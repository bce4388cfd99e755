//! The contract documents of `schema/`, printed from the code.

use clap::ValueEnum;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Document {
    /// REST, OpenAPI 3.1 (JSON).
    Openapi,
    /// The socket, AsyncAPI 3 (JSON).
    Asyncapi,
    /// What the event store holds, a JSON Schema per type of fact.
    Facts,
    /// Every refusal with its HTTP status (JSON).
    Refusals,
}

impl Document {
    /// Pretty JSON with a final newline, as kept in `schema/`.
    pub fn text(self) -> anyhow::Result<String> {
        let text = match self {
            Self::Openapi => api::openapi().to_pretty_json()?,
            Self::Asyncapi => serde_json::to_string_pretty(&realtime::asyncapi())?,
            Self::Facts => serde_json::to_string_pretty(&worker::facts())?,
            Self::Refusals => serde_json::to_string_pretty(&api::refusals())?,
        };
        Ok(text + "\n")
    }
}

#[expect(clippy::print_stdout, reason = "printing is what this command is for")]
pub fn print_document(document: Document) -> anyhow::Result<()> {
    print!("{}", document.text()?);
    Ok(())
}
