//! Which model is live, and where does it come from?
//!
//! Runs say what was tried (hyper-parameters, data fingerprint, code version, metrics). Versions are
//! what came of them: immutable files with checksums. Aliases (`champion`, `challenger`) say which
//! version does what, and move only through the [`Gate`]. Metadata lives in `qhatu-store`'s
//! documents, files in a folder per version:
//!
//! ```text
//! <artifacts>/<model>/<version>/manifest.json      what the files are, their sizes and SHA-256
//! <artifacts>/<model>/<version>/model.safetensors  …and any other file that was registered
//! ```
//!
//! A version is written beside its place and renamed into it, then its document is put: after a
//! crash there is either a whole version or none, and a number is never given twice.

mod artifact;
mod error;
mod gate;
mod registry;
mod run;
mod version;

pub use artifact::{ArtifactFile, Manifest, ManifestFile, OpenArtifact};
pub use error::RegistryError;
pub use gate::{Decision, Evidence, Gate};
pub use registry::Registry;
pub use run::{NewRun, Run, RunStatus};
pub use version::{Alias, AliasMove, ModelVersion, NewVersion};
