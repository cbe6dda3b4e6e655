//! `qhatu text explain`: which tokens a vector comes from, as a table and as a page.

use std::path::PathBuf;

use qhatu_text::TextEncoder;

use crate::fault::Fault;
use crate::shop::say;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The model's folder.
    #[arg(long, short)]
    model: PathBuf,
    /// The text, for instance a product's title.
    text: String,
    /// Another text, for instance a query: what makes the two alike?
    #[arg(long)]
    against: Option<String>,
    /// A page with the tokens coloured and the attention of each block.
    #[arg(long)]
    html: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<(), Fault> {
    let encoder = TextEncoder::read(&args.model)?;
    let explanation = encoder.explain(&args.text, args.against.as_deref())?;
    if let Some(similarity) = explanation.similarity {
        say(format!("cosine {similarity:.4}"));
    }
    for (place, token) in explanation.tokens.iter().enumerate() {
        let adds = explanation.attribution.get(place).map_or(String::new(), |adds| format!("  {adds:+.4}"));
        say(format!("{token:20} {:.4}{adds}", explanation.rollout[place]));
    }
    if let Some(path) = &args.html {
        std::fs::write(path, explanation.to_html()).map_err(Fault::io("write", path))?;
    }
    Ok(())
}
