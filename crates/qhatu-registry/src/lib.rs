//! Which model is live and where it comes from: runs, versions, aliases.
